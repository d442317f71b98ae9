"""Since when a user is known, which decides when the user is new.

The days with events of a user are divided into known periods. If two neighbouring days lie more than `memory` apart, a
new period begins with the later one. So a user who comes back within that time is known, and one who comes back later
is new. This follows from the times of events alone, so the order in which they arrive does not matter. In each period
the user is new once, at the first activity.
"""

from collections.abc import Iterable

import msgspec

NEVER = -1


class KnownPeriod(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A range of days with events of a user, in which no pause is longer than `memory`."""

    first_day: int
    last_day: int
    first_minute: int  # of the first activity; NEVER if no event made the user active


KnownPeriods = tuple[KnownPeriod, ...]  # in order of time


def with_day(periods: KnownPeriods, day: int, minute: int, *, memory_days: int) -> KnownPeriods:
    """The periods after an event on a day that made the user active in a minute, or NEVER.

    Returns `periods` itself if nothing changes.
    """
    if len(periods) == 1:  # nearly always
        (period,) = periods
        if period.first_day <= day <= period.last_day and (minute == NEVER or NEVER < period.first_minute <= minute):
            return periods
    if not periods:
        return (KnownPeriod(day, day, minute),)
    near = [period for period in periods if period.first_day - memory_days <= day <= period.last_day + memory_days]
    active = [begun for begun in (minute, *(period.first_minute for period in near)) if begun != NEVER]
    grown = KnownPeriod(
        min([day, *(period.first_day for period in near)]),
        max([day, *(period.last_day for period in near)]),
        min(active, default=NEVER),
    )
    if near == [grown]:
        return periods
    return tuple(sorted((*(period for period in periods if period not in near), grown), key=_first_day))


def changeable_periods(periods: KnownPeriods, before_day: int, *, memory_days: int) -> KnownPeriods:
    """The periods that an event on `before_day` or later can change. The last period is always among them."""
    return (
        *(period for period in periods[:-1] if period.last_day + memory_days >= before_day),
        *periods[-1:],
    )


def first_minutes(periods: Iterable[KnownPeriod]) -> list[int]:
    """The minutes in which a user was new."""
    return [period.first_minute for period in periods if period.first_minute != NEVER]


def _first_day(period: KnownPeriod) -> int:
    return period.first_day
