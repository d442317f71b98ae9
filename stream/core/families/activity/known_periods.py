"""Since when a user is known, which decides when the user is new.

The days with events of a user are divided into known periods. If two neighbouring days lie more than `memory` apart, a
new period begins with the later one. So a user who comes back within that time is known, and one who comes back later
is new. This follows from the times of events alone, so the order in which they arrive does not matter. In each period
the user is new once, at the first activity, and has no attributes until an event of that period has one.
"""

from collections.abc import Callable, Iterable

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


def needed_periods(periods: KnownPeriods, before_day: int, *, kept_days: int) -> KnownPeriods:
    """The periods that ended no more than `kept_days` before a day, the last one, and the last one with activity."""
    always = last_active(periods), len(periods) - 1
    return tuple(
        period for index, period in enumerate(periods) if index in always or period.last_day + kept_days >= before_day
    )


def last_active(periods: KnownPeriods) -> int:
    """The index of the last period with activity; of the last one if there is none."""
    active = (index for index, period in enumerate(periods) if period.first_minute != NEVER)
    return max(active, default=len(periods) - 1)


# By period with activity: the day of the first activity, and the first day whose attributes count from then on.
AttributeDays = tuple[tuple[int, int], ...]


def attribute_days(periods: KnownPeriods, day_of_minute: Callable[[int], int]) -> AttributeDays:
    """Since when attributes count, in order. Empty if all of them count."""
    if len(periods) < 2:
        return ()
    ended = (-1, *(period.last_day for period in periods))
    return tuple(
        (day_of_minute(period.first_minute), before + 1)
        for before, period in zip(ended, periods, strict=False)
        if period.first_minute != NEVER
    )


def counted_since(days: AttributeDays, day: int) -> int:
    """The first day whose attributes count at the end of a day."""
    return max((since for first_active, since in days if first_active <= day), default=0)


def first_minutes(periods: Iterable[KnownPeriod]) -> list[int]:
    """The minutes in which a user was new."""
    return [period.first_minute for period in periods if period.first_minute != NEVER]


def _first_day(period: KnownPeriod) -> int:
    return period.first_day
