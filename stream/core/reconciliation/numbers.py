"""The numbers of one local day by some conventions, as exact fractions: their differences add up without rounding."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from stream.core.reconciliation.actions import ACTIVE, STEP
from stream.core.reconciliation.conventions import ActiveBy, Conventions, Number
from stream.core.reconciliation.visits import Cut, Visit
from stream.core.time import SECOND_MS, Days, date_of

# In GA4 and with us a session is engaged from so long on, and in PostHog it is no bounce.
_ENGAGED_MS = 10_000
_NEVER = -1


@dataclass(frozen=True, slots=True)
class Description:
    """One of the numbers that are compared."""

    title: str
    metric: str  # the number of closed days that is ours
    labels: tuple[tuple[str, str], ...]
    unit: str


_DAY = (("window", "1d"),)
NUMBERS: dict[Number, Description] = {
    "active_1d": Description("active users, the day", "engagement_active_users_closed", _DAY, "users"),
    "active_7d": Description("active users, 7 days", "engagement_active_users_closed", (("window", "7d"),), "users"),
    "active_30d": Description("active users, 30 days", "engagement_active_users_closed", (("window", "30d"),), "users"),
    "sessions": Description("sessions", "engagement_sessions_closed", _DAY, "sessions"),
    "duration": Description(
        "session duration, mean", "engagement_session_duration_mean_closed_seconds", _DAY, "seconds"
    ),
    "bounce": Description("bounce rate", "engagement_bounce_closed_ratio", _DAY, "ratio"),
    "views": Description("views per session", "engagement_page_views_per_session_closed", _DAY, "views"),
}
_WINDOWS: Final[tuple[tuple[Number, int], ...]] = (("active_1d", 1), ("active_7d", 7), ("active_30d", 30))

Numbers = dict[Number, Fraction | None]

_is_bounce: dict[str, Callable[[Visit], bool]] = {
    "single_page": lambda visit: visit.views == 1 and not visit.key_events,
    "ga4": lambda visit: visit.views < 2 and not visit.key_events and _attention_ms(visit) < _ENGAGED_MS,
    "plausible": lambda visit: visit.views < 2 and not visit.custom_events,
    "posthog": lambda visit: visit.views == 1 and not visit.custom_events and visit.length_ms < _ENGAGED_MS,
    "matomo": lambda visit: visit.views == 1 and not visit.custom_events and not visit.passive_events,
}


def _attention_ms(visit: Visit) -> int:
    return visit.length_ms if visit.engaged_ms is None else visit.engaged_ms


class Counter:
    """Counts one day by some conventions, user by user."""

    def __init__(self, conventions: Conventions, days: Days, day: int) -> None:
        self._conventions, self._days, self._day = conventions, days, day
        # What happens later changes no closed day of ours; a tool tells of sessions as they are when it is asked.
        until_day = day if conventions.session_day == "closing" else None
        self.cutting = conventions.cutting(), until_day
        self._windows = [(number, range(_first_day(day, length, conventions), day + 1)) for number, length in _WINDOWS]
        self._users: dict[Number, int] = dict.fromkeys((number for number, _ in _WINDOWS), 0)
        self._sessions = self._with_views = self._length_ms = self._bounces = self._bases = self._views = 0

    def count(self, cut: Cut) -> None:
        """Count what one user did."""
        for visit in cut.visits:
            if self._is_of_the_day(visit):
                self._count_session(visit)
        self._count_user(_active_days[self._conventions.active_by](cut), cut.visits)

    def _is_of_the_day(self, visit: Visit) -> bool:
        if self._conventions.session_day == "each":
            return self._day in visit.days
        at_ms = visit.closes_ms if self._conventions.session_day == "closing" else visit.first_ms
        return self._days.day_of(at_ms) == self._day

    def _count_session(self, visit: Visit) -> None:
        conventions = self._conventions
        is_bounce = _is_bounce[conventions.bounce](visit)
        length_ms = visit.length_ms if conventions.cap_ms is None else min(visit.length_ms, conventions.cap_ms)
        self._sessions += 1
        self._length_ms += 0 if is_bounce and conventions.bounces_last_0 else length_ms
        self._views += visit.views
        self._with_views += visit.views > 0
        if visit.views or conventions.bounce_of_all:
            self._bases += 1
            self._bounces += is_bounce

    def _count_user(self, active: set[int], made: Iterable[Visit]) -> None:
        for number, window in self._windows:
            within = {day for day in active if day in window}
            if not within:
                continue
            if not self._conventions.new_every_day:
                self._users[number] += 1
                continue
            over_midnight = {day for visit in made for day in visit.days[1:] if day in within and day - 1 in visit.days}
            self._users[number] += len(within) - sum(day - 1 in within for day in over_midnight)

    def numbers(self) -> Numbers:
        """The numbers; None for what is undefined."""
        counts = {number: Fraction(users) for number, users in self._users.items()}
        views_of = self._sessions if self._conventions.views_of_all else self._with_views
        return {
            **counts,
            "sessions": Fraction(self._sessions),
            "duration": _ratio(self._length_ms, self._sessions * SECOND_MS),
            "bounce": _ratio(self._bounces, self._bases),
            "views": _ratio(self._views, views_of),
        }


def _ratio(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _first_day(day: int, length: int, conventions: Conventions) -> int:
    """The first day of a window that ends with a day."""
    if not conventions.calendar or length == 1:
        return day - length + 1
    date = date_of(day)
    return day - (date.weekday() if length == 7 else date.day - 1)


def _by_activity(cut: Cut) -> set[int]:
    return {day for action, day in cut.actions if action.flags & ACTIVE} | cut.days_told


def _by_engagement(cut: Cut) -> set[int]:
    active = {day for visit in cut.visits if _is_engaged(visit) for day in visit.days}
    active |= {day for action, day in cut.actions if action.engaged_ms is not None}
    firsts = [day for action, day in cut.actions if action.flags & STEP][:1]
    active.add(min((*firsts, *cut.days_told), default=_NEVER))
    return active


def _is_engaged(visit: Visit) -> bool:
    return not _is_bounce["ga4"](visit)


def _by_visit(cut: Cut) -> set[int]:
    return {day for visit in cut.visits for day in visit.days}


def _by_event(cut: Cut) -> set[int]:
    return {day for _, day in cut.actions} | cut.days_told


# The local days on which a user was active.
_active_days: dict[ActiveBy, Callable[[Cut], set[int]]] = {
    "activity": _by_activity,
    "engagement": _by_engagement,
    "visit": _by_visit,
    "event": _by_event,
}
