"""The reasons why a message or an event can't be used. It is always the producer who has to change something."""

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


class Rejected(ValueError):
    """A message or an event that can't be used. `reason` is a label; the text names the field and its value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
