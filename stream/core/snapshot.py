"""What one partition contributes to every number: sums, which can be added over partitions and workers.

Ratios and quantiles can't be added, but the sums from which they are calculated can. Users of different partitions are
different users, so distinct counts can be added too.
"""

from collections.abc import Mapping

import msgspec

from stream.core.days import OfWindows
from stream.core.tally import Field, Tally, total


class Sums(msgspec.Struct, frozen=True, gc=False):
    """The sums of one family."""

    live: OfWindows = {}  # by window length in minutes
    ahead: Tally = {}  # amounts in future minutes, of the fields for which the family reports them
    segments: dict[int, dict[Field, int]] = {}  # by window length in minutes: the fields of values (`core.segments`)
    closed: dict[int, OfWindows] = {}  # by closed day and length of the window in days
    by_day: dict[int, Tally] = {}  # by window length in minutes and local day

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            live=added(self.live, other.live),
            ahead=total((self.ahead, other.ahead)),
            segments=added(self.segments, other.segments),
            closed={
                day: added(self.closed.get(day, {}), other.closed.get(day, {}))
                for day in sorted({*self.closed, *other.closed})
            },
            by_day=_added(self.by_day, other.by_day),
        )


NO_SUMS = Sums()


class ClosedDay(msgspec.Struct, frozen=True, gc=False):
    """What one partition says of one closed day."""

    day: int
    families: dict[str, OfWindows]  # by name of the family
    changed_ms: int  # the clock when it was said
    corrections: int = 0  # how often late events have changed the day since it was reported first


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The sums of one partition, or of several."""

    now_ms: int = -1  # the clock; -1 before the first event
    first_ms: int | None = None  # the time of the first event
    families: dict[str, Sums] = {}  # by name of the family
    last_closed_day: int | None = None
    final_through: int | None = None  # the last day that no event can change any more
    values_beyond: int = 0  # how often a value of a segment was booked as other, for there was no room for it
    corrections: int = 0  # how often closed days were changed by events that came late
    closing_backlog: int = 0  # closed days that are still to be looked at; of several partitions the most of one
    outcomes: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    newest_ms: dict[str, int] = {}
    rows: dict[str, int] = {}
    left_out: dict[str, dict[str, int]] = {}
    privacy_requests: dict[str, int] = {}  # by what people asked for: how many requests were fulfilled

    def __add__(self, other: "Snapshot") -> "Snapshot":
        closed = [day for day in (self.last_closed_day, other.last_closed_day) if day is not None]
        # Of the partitions that have read an event.
        final = [one.final_through for one in (self, other) if one.final_through is not None]
        first = [at_ms for at_ms in (self.first_ms, other.first_ms) if at_ms is not None]
        return Snapshot(
            now_ms=max(self.now_ms, other.now_ms),
            first_ms=min(first, default=None),
            families={
                name: self.family(name) + other.family(name) for name in sorted({*self.families, *other.families})
            },
            # A day is closed only if it is closed in all partitions.
            last_closed_day=min(closed, default=None),
            final_through=min(final, default=None),
            values_beyond=self.values_beyond + other.values_beyond,
            corrections=self.corrections + other.corrections,
            closing_backlog=max(self.closing_backlog, other.closing_backlog),
            outcomes=_counted(self.outcomes, other.outcomes),
            reasons=_counted(self.reasons, other.reasons),
            newest_ms=_newest(self.newest_ms, other.newest_ms),
            rows=_sum(self.rows, other.rows),
            left_out=_counted(self.left_out, other.left_out),
            privacy_requests=_sum(self.privacy_requests, other.privacy_requests),
        )

    def family(self, name: str) -> Sums:
        """The sums of a family; they are empty if it has counted nothing."""
        return self.families.get(name, NO_SUMS)

    def days(self) -> list[int]:
        """By closed day, oldest first. Days of which nothing is known are absent."""
        return sorted({day for sums in self.families.values() for day in sums.closed})


def added(one: OfWindows, other: OfWindows) -> OfWindows:
    """The sums of windows of several partitions."""
    return {length: total((one.get(length, {}), other.get(length, {}))) for length in sorted({*one, *other})}


def _added(one: Mapping[int, Tally], other: Mapping[int, Tally]) -> dict[int, Tally]:
    return {key: total((one.get(key, {}), other.get(key, {}))) for key in sorted({*one, *other})}


def _counted(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {key: _sum(one.get(key, {}), other.get(key, {})) for key in sorted({*one, *other})}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def _newest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, -1), other.get(key, -1)) for key in sorted({*one, *other})}
