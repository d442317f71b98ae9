"""Rolling windows: for which of them a family calculates its numbers, unless the settings say otherwise."""

from collections.abc import Iterable
from dataclasses import dataclass

from stream.core.time import minutes_of

_MINUTES_OF_A_DAY = 1_440


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one or several families: the name of the setting `windows.<name>`, and its default."""

    name: str
    default: tuple[str, ...]
    help: str


# Windows that may be used by more than one family. A family with windows of its own defines them in its module.
ACTIVITY = Windows("activity", ("5m", "1h", "1d", "7d", "28d", "30d"), "of active users and stickiness")
SESSIONS = Windows("sessions", ("1h", "1d", "7d", "28d", "30d"), "of sessions and logins")
SURVEYS = Windows("surveys", ("1d", "7d", "28d", "30d", "90d"), "of survey answers")
ACCOUNTS = Windows("accounts", ("1d", "7d", "28d", "30d", "90d"), "of sign-ups and churn")
ORDERS = Windows("orders", ("1d", "7d", "28d", "30d", "90d"), "of orders and revenue")
CONTACTS = Windows("contacts", ("1d", "7d", "28d", "30d", "90d"), "of conversations with customers")
FEATURES = Windows("features", ("1d", "7d", "28d", "30d", "90d"), "of features and adoption")
SOCIAL = Windows("social", ("1d", "7d", "28d", "30d", "90d"), "of interactions on social networks")
REVIEWS = Windows("reviews", ("1d", "7d", "28d", "30d", "90d"), "of reviews")

# By segment each number is told of some of these alone: each value is a series in each window. Of sessions
# it is the shortest one of whole days: those of a week are the sum of its days, but for the few taken up again.
SEGMENTS_ACTIVITY = Windows("segments_activity", ("1d", "7d", "30d"), "of active users and stickiness by segment")
SEGMENTS_SESSIONS = Windows("segments_sessions", ("1d",), "of sessions by segment")
SEGMENTS_SURVEYS = Windows("segments_surveys", ("30d",), "of survey answers by segment")


def whole_days(windows: Iterable[str]) -> tuple[int, ...]:
    """The lengths in days of those windows that are whole days. A window of one day is always among them."""
    minutes = map(minutes_of, windows)
    return tuple(sorted({length // _MINUTES_OF_A_DAY for length in minutes if length % _MINUTES_OF_A_DAY == 0} | {1}))
