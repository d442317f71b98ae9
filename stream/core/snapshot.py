"""What one partition adds to every number: sums that add up over partitions and workers.

Ratios, quantiles and distinct counts can't be added, divided or averaged afterwards; what they are made of can. Users
of different partitions are different users, so even distinct counts are plain sums.
"""

from collections.abc import Mapping

import msgspec

from stream.core import segments
from stream.core.tally import Tally, total


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The sums of one partition, or of several.

    `traffic` and `opinions` hold a tally for each window length in minutes, `segments` the active users by segment,
    value and window length in minutes, `closed_users` for each closed day the distinct users by window length in days.
    """

    now_ms: int = -1  # the clock; -1 where no event was seen
    traffic: dict[int, Tally] = {}
    opinions: dict[int, Tally] = {}
    segments: dict[str, dict[str, Tally]] = {}
    open_sessions: int = 0
    last_closed_day: int | None = None
    closed_users: dict[int, Tally] = {}
    outcomes: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    newest_ms: dict[str, int] = {}
    rows: dict[str, int] = {}

    def __add__(self, other: "Snapshot") -> "Snapshot":
        closed = [day for day in (self.last_closed_day, other.last_closed_day) if day is not None]
        return Snapshot(
            now_ms=max(self.now_ms, other.now_ms),
            traffic=_added(self.traffic, other.traffic),
            opinions=_added(self.opinions, other.opinions),
            segments=segments.added(self.segments, other.segments),
            open_sessions=self.open_sessions + other.open_sessions,
            # A day is closed when it is for all.
            last_closed_day=min(closed, default=None),
            closed_users=_added(self.closed_users, other.closed_users),
            outcomes=_counted(self.outcomes, other.outcomes),
            reasons=_counted(self.reasons, other.reasons),
            newest_ms=_newest(self.newest_ms, other.newest_ms),
            rows=_sum(self.rows, other.rows),
        )


def _added(one: Mapping[int, Tally], other: Mapping[int, Tally]) -> dict[int, Tally]:
    return {key: total((one.get(key, {}), other.get(key, {}))) for key in sorted({*one, *other})}


def _counted(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {key: _sum(one.get(key, {}), other.get(key, {})) for key in sorted({*one, *other})}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def _newest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, -1), other.get(key, -1)) for key in sorted({*one, *other})}
