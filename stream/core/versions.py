"""Things that are sent again with other content: a review that is edited, a like that is taken back.

Each event that tells of a thing is a version of it, and the greatest version counts: versions begin with their time. A
closed day says what a thing was at its end. So those versions are kept too that were the newest at the end of an
earlier day.

Versions are tuples or structs that have an order and a time, `at_ms`. The versions of a thing are in their order.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar


class Version(Protocol):
    """What one event tells of a thing."""

    @property
    def at_ms(self) -> int: ...
    def __lt__(self, other: Any, /) -> bool: ...


V = TypeVar("V", bound=Version)
DayOf = Callable[[int], int]
IsSameDay = Callable[[int, int], bool]


def with_version(known: tuple[V, ...], new: V, is_same_day: IsSameDay) -> tuple[V, ...]:
    """The versions after one more event; `known` itself if that makes no difference."""
    if not known:
        return (new,)
    newest = known[-1]
    if newest < new:  # nearly always
        return (*known[:-1], new) if is_same_day(newest.at_ms, new.at_ms) else (*known, new)
    if new in known:
        return known
    kept = newest_by_day((*known, new), is_same_day)
    return kept if new in kept else known


def newest_by_day(versions: Iterable[V], is_same_day: IsSameDay) -> tuple[V, ...]:
    """Of several versions those that were the newest at the end of a day."""
    kept: list[V] = []
    for version in sorted(versions):
        if kept and is_same_day(kept[-1].at_ms, version.at_ms):
            kept[-1] = version
        else:
            kept.append(version)
    return tuple(kept)


def needed(versions: tuple[V, ...], before_day: int, day_of: DayOf) -> tuple[V, ...]:
    """The versions since a day, and the newest one before it: all that an event of that day or a later one meets."""
    if len(versions) == 1:  # nearly always
        return versions
    old = sum(day_of(version.at_ms) < before_day for version in versions)
    return versions[max(0, old - 1) :]
