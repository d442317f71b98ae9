"""The first week of those who signed up: which days of signing up are a cohort, and what follows from active days.

The first week is 7 times 24 hours for what happens at a moment, such as being onboarded. Active days are local days:
the day of signing up and the 6 after it.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from stream.core.time import DAY_MS

WEEK_DAYS = 7
WEEK_MS = WEEK_DAYS * DAY_MS

# The cohorts of so many days are pooled, as for retention.
POOLED_DAYS = 28

# Fields of tallies, booked on the day of signing up: users who were active on a later day of the week, and active days.
CAME_BACK, ACTIVE_DAYS = 1, 2

# By day of signing up, the first day that says so, the day that says so no more (-1 for none) and field: how often.
Bookings = Counter[tuple[int, int, int, int]]
NEVER_AGAIN = -1


def last_cohort(day: int, starts_ms: Callable[[int], int]) -> int:
    """The newest day that ended at least a week before the end of a day."""
    limit_ms = starts_ms(day + 1) - WEEK_MS
    last = day - WEEK_DAYS
    while starts_ms(last + 1) > limit_ms:
        last -= 1
    return last


def add_weeks(to: Bookings, signed_up_on: Iterable[int], active: Iterable[int], times: int) -> None:
    """Add what a user contributes who signed up on these days and was active on those."""
    add_weeks_between(to, signed_up_on, active, 0, NEVER_AGAIN, times)


def add_weeks_between(
    to: Bookings, signed_up_on: Iterable[int], active: Iterable[int], since: int, until: int, times: int
) -> None:
    """The same, for the closed days from `since` to the one before `until`."""
    days = sorted(active)
    for signed_up in signed_up_on:
        in_week = [day for day in days if signed_up <= day < signed_up + WEEK_DAYS]
        for day in in_week:
            _add(to, signed_up, max(day, since), until, ACTIVE_DAYS, times)
        later = [day for day in in_week if day > signed_up]
        if later:
            _add(to, signed_up, max(later[0], since), until, CAME_BACK, times)


def _add(to: Bookings, signed_up: int, since: int, until: int, field: int, times: int) -> None:
    if until == NEVER_AGAIN or since < until:
        to[signed_up, since, until, field] += times
