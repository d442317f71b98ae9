"""Since when a user is known: the first activity ever, as far as it is remembered.

What is heard of a user falls into lives: of two neighbouring days on which anything was heard, the later one begins a
new life when they lie more than `memory` apart. So whoever comes back within it is an old user, and after it a new one;
and that follows from the times of events alone, in whatever order they come. In each life a user is new once, with its
first activity.
"""

from collections.abc import Iterable

import msgspec

NEVER = -1


class KnownPeriod(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Days on which something was heard of a user, no two neighbours too far apart."""

    first_day: int
    last_day: int
    first_minute: int  # of the first activity; NEVER where all that was heard makes nobody active


KnownPeriods = tuple[KnownPeriod, ...]  # in order of time


def with_day(periods: KnownPeriods, day: int, minute: int, *, memory_days: int) -> KnownPeriods:
    """The lives of a user heard of on a day, active in a minute of it (or NEVER); the very same if nothing changes."""
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
    """The lives that nothing heard on `before_day` or later leaves as they are; the last one in any case."""
    return (*(period for period in periods[:-1] if period.last_day + memory_days >= before_day), *periods[-1:])


def first_minutes(periods: Iterable[KnownPeriod]) -> list[int]:
    """The minutes in which a user was new."""
    return [period.first_minute for period in periods if period.first_minute != NEVER]


def _first_day(period: KnownPeriod) -> int:
    return period.first_day
