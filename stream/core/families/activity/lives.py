"""Since when a user is known: the first activity ever, as far as it is remembered.

What is heard of a user falls into lives: of two neighbouring days on which anything was heard, the later one begins a
new life when they lie more than `memory` apart. So whoever comes back within it is an old user, and after it a new one;
and that follows from the times of events alone, in whatever order they come. In each life a user is new once, with its
first activity, and nothing that was told of segments in an earlier one is known.
"""

from collections.abc import Iterable

import msgspec

NEVER = -1


class Life(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Days on which something was heard of a user, no two neighbours too far apart."""

    first_day: int
    last_day: int
    first_minute: int  # of the first activity; NEVER where all that was heard makes nobody active


Lives = tuple[Life, ...]  # in order of time


def with_day(lives: Lives, day: int, minute: int, *, memory_days: int) -> Lives:
    """The lives of a user heard of on a day, active in a minute of it (or NEVER); the very same if nothing changes."""
    if len(lives) == 1:  # nearly always
        (life,) = lives
        if life.first_day <= day <= life.last_day and (minute == NEVER or NEVER < life.first_minute <= minute):
            return lives
    if not lives:
        return (Life(day, day, minute),)
    near = [life for life in lives if life.first_day - memory_days <= day <= life.last_day + memory_days]
    active = [begun for begun in (minute, *(life.first_minute for life in near)) if begun != NEVER]
    grown = Life(
        min([day, *(life.first_day for life in near)]),
        max([day, *(life.last_day for life in near)]),
        min(active, default=NEVER),
    )
    if near == [grown]:
        return lives
    return tuple(sorted((*(life for life in lives if life not in near), grown), key=_first_day))


def that_can_change(lives: Lives, before_day: int, *, memory_days: int) -> Lives:
    """The lives that something heard on `before_day` or later may change; the last one and the last active one."""
    needed = last_active(lives), len(lives) - 1
    return tuple(
        life for place, life in enumerate(lives) if place in needed or life.last_day + memory_days >= before_day
    )


def last_active(lives: Lives) -> int:
    """Which life is the last one with any activity; the last of all where there is none."""
    return max((place for place, life in enumerate(lives) if life.first_minute != NEVER), default=len(lives) - 1)


def first_minutes(lives: Iterable[Life]) -> list[int]:
    """The minutes in which a user was new."""
    return [life.first_minute for life in lives if life.first_minute != NEVER]


def _first_day(life: Life) -> int:
    return life.first_day
