"""The reasons why a message or an event can't be used, and the words for what can be used and is not counted.

Of the first it is always the producer who has to change something, of the second nobody.
"""

from enum import Enum


class Reason(str, Enum):
    """Why something is refused. The set is short and fixed, because reasons are labels of counters."""

    NOT_JSON = "not_json"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VALUE = "unknown_value"
    OUT_OF_RANGE = "out_of_range"
    BAD_USER = "bad_user"
    BAD_TIME = "bad_time"
    NO_RESPONSE = "no_response"
    TOO_LARGE = "too_large"
    USER_FULL = "user_full"
    FUTURE = "future"
    LATE = "late"


class LeftOut(str, Enum):
    """What a message may tell that no family counts. It is counted by this word. The set is short and fixed too."""

    IDENTITY = "identity"  # who somebody is: identify, alias, merge
    GROUP = "group"  # to which company or group somebody belongs
    ACCOUNT = "account"  # a sign-up, a trial, a subscription
    ORDER = "order"  # a purchase or a refund
    CONTACT = "contact"  # a conversation with support
    QUESTION = "question"  # an answer to a question of which nothing says what it asks for
    PROFILE = "profile"  # what somebody is like
    TEST = "test"  # what the maker of a survey has tried out
    UNMAPPED = "unmapped"  # a message that a mapping has no event for
    FILTERED = "filtered"  # a message that the filters of a mapping keep out
    EMPTY = "empty"  # a message that tells nothing at all


class Rejected(ValueError):
    """A message or an event that can't be used. `reason` is a label; the text names the field and its value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
