"""What one account contributes to each number.

Sign-ups and onboarding are booked in windows and on days, of cohorts on the day of signing up. Who subscribes is a
ledger: each status counts from the moment on at which it begins. So is churn: whether somebody was a customer at the
end of D-w and is none at the end of D changes on a few days only. They follow from the days on which she became one
and ceased to be one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from stream.core.account_changes import CUSTOMERS, Status
from stream.core.contribution import Contribution, add_to
from stream.core.families.accounts.part import Account, Life, Period, lives
from stream.core.first_week import WEEK_MS
from stream.core.histogram import bin_of
from stream.core.tally import Field, add
from stream.core.time import MINUTE_MS, SECOND_MS, Days

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
SIGNUPS, ONBOARDED, ONBOARDED_KNOWN, ONBOARDING_SECONDS = 1, 2, 3, 4
ONBOARDED_IN_WEEK = 5  # on the day of signing up
FIRST_BIN = 10_000  # one a bin of `histogram`: seconds to onboard

# Users who completed a step of onboarding, on the day of signing up: a text field, because settings name the steps.
STEP = "s"

# In the ledger:
KNOWN, NEWSLETTER, LOYALTY = 1, 2, 3
SUBSCRIBERS = {status: 10 + index for index, status in enumerate(Status)}
STANDING_NOW = frozenset({KNOWN, NEWSLETTER, LOYALTY, *SUBSCRIBERS.values()})
# By closed day alone:
AT_START, CHURNED, SHORT_LIVED = 1_000, 2_000, 3_000  # and the days of the window

# Among the windows: what holds at the moment itself.
NOW = 0


class Contributions:
    """Calculates contributions by the rules of a deployment."""

    def __init__(self, days: Days, *, memory_days: int, windows: Iterable[int]) -> None:
        self._days = days
        self._day_of: Callable[[int], int] = days.day_of
        self._memory_days = memory_days
        self._windows = tuple(windows)  # in days

    def lives(self, account: Account) -> list[Life]:
        """The lives of an account."""
        return lives(account, memory_days=self._memory_days, day_of=self._day_of, starts_ms=self._days.starts_ms)

    def add(self, to: Contribution, account: Account, times: int) -> None:
        """Add what an account contributes, or with `times=-1` take it out."""
        found = self.lives(account)
        for life in found:
            self._add_beginnings(to, life.period, times)
        if found:
            self._at(to, found[0].period.first_ms, {KNOWN: 1}, times)
        for at_ms, change in _changes(found):
            self._at(to, at_ms, change, times)
        self._add_churn(to, list(self._customer_spans(found)), times)

    def _at(self, to: Contribution, at_ms: int, amounts: Mapping[Field, int], times: int) -> None:
        """Change the ledger at a moment."""
        add(to.changes[self._day_of(at_ms)], amounts, times)
        add(to.ahead[at_ms // MINUTE_MS], amounts, times)

    # -- sign-ups and onboarding -----------------------------------------------------------------------------------

    def _add_beginnings(self, to: Contribution, period: Period, times: int) -> None:
        signed_ms, onboarded_ms = period.signed_up_ms, period.onboarded_ms
        if onboarded_ms is not None:
            self._book(to, onboarded_ms, onboarded_ms, {ONBOARDED: 1}, times)
        if signed_ms is None:
            return
        self._book(to, signed_ms, signed_ms, {SIGNUPS: 1}, times)
        if onboarded_ms is not None:
            seconds = max(0, onboarded_ms - signed_ms) // SECOND_MS
            amounts: dict[Field, int] = {ONBOARDED_KNOWN: 1, FIRST_BIN + bin_of(seconds): 1}
            if seconds:
                amounts[ONBOARDING_SECONDS] = seconds
            self._book(to, signed_ms, onboarded_ms, amounts, times)
            self._add_of_week(to, signed_ms, onboarded_ms, {ONBOARDED_IN_WEEK: 1}, times)
        for step, at_ms in period.steps:
            self._add_of_week(to, signed_ms, at_ms, {f"{STEP}{step}": 1}, times)

    def _book(self, to: Contribution, since_ms: int, at_ms: int, amounts: dict[Field, int], times: int) -> None:
        add_to(to.by_minute, since_ms // MINUTE_MS, at_ms // MINUTE_MS, amounts, times)
        add_to(to.by_day, self._day_of(since_ms), self._day_of(at_ms), amounts, times)

    def _add_of_week(self, to: Contribution, signed_ms: int, at_ms: int, amounts: dict[Field, int], times: int) -> None:
        """Count on the day of signing up what happened up to a week later, or before, since the day it happened."""
        if at_ms <= signed_ms + WEEK_MS:
            add_to(to.by_day, self._day_of(at_ms), self._day_of(signed_ms), amounts, times)

    # -- customers -------------------------------------------------------------------------------------------------

    def _customer_spans(self, found: list[Life]) -> Iterator[tuple[int, int | None]]:
        """The days on which somebody became a customer and ceased to be one; None for a customer still."""
        began: int | None = None
        for at_ms, status in statuses(found):
            if status in CUSTOMERS:
                began = self._day_of(at_ms) if began is None else began
            elif began is not None:
                yield began, self._day_of(at_ms)
                began = None
        if began is not None:
            yield began, None

    def _add_churn(self, to: Contribution, spans: list[tuple[int, int | None]], times: int) -> None:
        if not spans:
            return
        edges = {day for span in spans for day in span if day is not None}
        for window in self._windows:
            fields = AT_START + window, CHURNED + window, SHORT_LIVED + window
            before = (False, False, False)
            for day in sorted(edges | {edge + window for edge in edges}):
                now = _churn(spans, day, window)
                amounts = {
                    field: is_so - was_so
                    for field, was_so, is_so in zip(fields, before, now, strict=True)
                    if is_so != was_so
                }
                if amounts:
                    add(to.changes[day], amounts, times)
                before = now


def _churn(spans: list[tuple[int, int | None]], day: int, window: int) -> tuple[bool, bool, bool]:
    """Whether somebody was a customer at the start of the window, and lost in it; or came and left within it."""
    at_start, at_end = _is_customer(spans, day - window), _is_customer(spans, day)
    came = any(day - window < began <= day for began, _ in spans)
    return at_start, at_start and not at_end, came and not at_start and not at_end


def _is_customer(spans: list[tuple[int, int | None]], day: int) -> bool:
    """Whether somebody is a customer at the end of a day."""
    return any(began <= day and (ended is None or day < ended) for began, ended in spans)


# -- the statuses of an account, as they change ------------------------------------------------------------------------


def _moments(found: list[Life]) -> Iterator[tuple[int, Life]]:
    """The moments at which anything may change, each with the life in which it lies."""
    for life, following in pairwise([*found, None]):
        assert life is not None
        moments = {one.at_ms for one in life.told} | {one.effective_ms for one in life.told}
        moments |= {period.first_ms for period in life.periods} | {*life.forgotten}
        ends_ms = None if following is None else following.period.first_ms
        for at_ms in sorted(moments):
            if ends_ms is None or at_ms < ends_ms:
                yield at_ms, life


def statuses(found: list[Life]) -> Iterator[tuple[int, Status | None]]:
    """Each status with the moment at which it begins."""
    before: Status | None = None
    for at_ms, life in _moments(found):
        status = life.status(at_ms)
        if status is not before:
            yield at_ms, status
            before = status


def _changes(found: list[Life]) -> Iterator[tuple[int, dict[Field, int]]]:
    """How the numbers of subscribers and members change, and when."""
    before: dict[Field, int] = {}
    for at_ms, life in _moments(found):
        status = life.status(at_ms)
        now: dict[Field, int] = {} if status is None else {SUBSCRIBERS[status]: 1}
        if life.has_newsletter(at_ms):
            now[NEWSLETTER] = 1
        if life.is_loyal(at_ms):
            now[LOYALTY] = 1
        if now != before:
            change = dict(now)
            add(change, before, -1)
            yield at_ms, change
            before = now
