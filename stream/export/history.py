"""The history of the live numbers in the last day, as far as this server has seen them.

The server stores nothing, so its history begins when it starts; the document says when that was. There is a point for
each minute of the last day, and one for each five seconds of the last quarter of an hour, in the time of the numbers.
While the numbers can't be trusted, and while they can be trusted for only a moment between two backlogs, no point is
added. An empty point marks such a gap.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.time import DAY_MS, MINUTE_MS, SECOND_MS, iso, minutes_of
from stream.core.windows import ACTIVITY, SESSIONS, SURVEYS
from stream.export.board import Board

_FINE_STEP_MS = 5 * SECOND_MS
_FINE_SPAN_MS = 15 * MINUTE_MS
# How many updates in a row, one each second, must find numbers that can be trusted before the first point is added.
_STEADY_UPDATES = 5

Key = tuple[str, tuple[tuple[str, str], ...]]


class Point(NamedTuple):
    """The values of all series at one time; None for each that is undefined."""

    at_ms: int
    values: tuple[float | None, ...]

    @property
    def is_gap(self) -> bool:
        """Whether nothing is known between this point and the next one."""
        return all(value is None for value in self.values)


class PointBuffer:
    """The points of the last `span_ms`, at most one for each `step_ms`."""

    def __init__(self, *, step_ms: int, span_ms: int) -> None:
        self._step_ms = step_ms
        self._span_ms = span_ms
        self.points: deque[Point] = deque(maxlen=span_ms // step_ms)

    def is_due(self, at_ms: int) -> bool:
        """Whether the step of this time has no point yet. It is False for a time before the last point."""
        return not self.points or at_ms // self._step_ms > self.points[-1].at_ms // self._step_ms

    def put(self, point: Point) -> None:
        """Add a point, and drop those that are too old."""
        self.points.append(point)
        while self.points[0].at_ms <= point.at_ms - self._span_ms:
            self.points.popleft()


class History:
    """The history of the live numbers since this server started."""

    def __init__(self, rules: Rules) -> None:
        self._series = _series(rules)
        self._steady_updates = 0
        self._minutes = PointBuffer(step_ms=MINUTE_MS, span_ms=DAY_MS)
        self._fine = PointBuffer(step_ms=_FINE_STEP_MS, span_ms=_FINE_SPAN_MS)

    def update(self, board: Board) -> None:
        """Add a point if one is due and the numbers can be trusted. It is called once a second."""
        self._steady_updates = 0 if board.unready() else self._steady_updates + 1
        if self._steady_updates == 0:
            self._leave_gap()
        at_ms = board.merged.now_ms
        due = [ring for ring in (self._minutes, self._fine) if ring.is_due(at_ms)]
        if at_ms < 0 or not due or self._steady_updates < _STEADY_UPDATES:
            return
        point = Point(at_ms, tuple(_values(self._series, [*board.live(), *totals(board.health())])))
        for ring in due:
            ring.put(point)

    def _leave_gap(self) -> None:
        for ring in (self._minutes, self._fine):
            if ring.points and not ring.points[-1].is_gap:
                ring.put(Point(ring.points[-1].at_ms + 1, (None,) * len(self._series)))

    def document(self) -> dict[str, Any]:
        """All points, oldest first, with a list for each series; `since` is the time of the oldest."""
        points = list(self._fine.points)
        since_fine = points[0].at_ms if points else 0
        points = [point for point in self._minutes.points if point.at_ms < since_fine] + points
        return {
            "since": iso(points[0].at_ms) if points else None,
            "at": [point.at_ms / SECOND_MS for point in points],
            "series": [
                {"name": name, "labels": dict(labels), "values": [_rounded(point.values[index]) for point in points]}
                for index, (name, labels) in enumerate(self._series)
            ],
        }


def _series(rules: Rules) -> tuple[Key, ...]:
    activity = rules.windows_of(ACTIVITY)
    within_a_day = [window for window in activity if minutes_of(window) <= minutes_of("1d")]
    month = _window(activity, "30d")
    sessions, surveys = _window(rules.windows_of(SESSIONS), "1d"), _window(rules.windows_of(SURVEYS), "30d")
    return (
        *(("engagement_active_users", (("window", window),)) for window in within_a_day),
        ("engagement_stickiness_ratio", (("window", month),)),
        ("engagement_open_sessions", ()),
        ("engagement_session_duration_seconds", (("quantile", "0.5"), ("window", sessions))),
        ("engagement_bounce_ratio", (("rule", "ga4"), ("window", sessions))),
        ("engagement_csat_ratio", (("window", surveys),)),
        ("engagement_nps", (("window", surveys),)),
        ("engagement_events_total", ()),
        ("engagement_lag_events", ()),
    )


def _window(windows: tuple[str, ...], wanted: str) -> str:
    """The window of a headline number: the usual one, or the longest if that is not configured."""
    return wanted if wanted in windows else max(windows, key=minutes_of)


def totals(health: Iterable[Sample]) -> list[Sample]:
    """Events that were read and records that wait, over all topics and partitions.

    A forwarded event is counted only in the partition to which it was forwarded.
    """
    sums: dict[str, float] = {"engagement_events_total": 0, "engagement_lag_events": 0}
    for sample in health:
        if sample.name in sums and sample.labels.get("outcome") != "rekeyed":
            sums[sample.name] += sample.value
    return [Sample(name, {}, value) for name, value in sums.items()]


def _values(series: Iterable[Key], samples: Iterable[Sample]) -> list[float | None]:
    values = {key_of(sample.name, sample.labels): sample.value for sample in samples}
    return [values.get(key) for key in series]


def key_of(name: str, labels: Mapping[str, str]) -> Key:
    """The key of a sample, which does not depend on the order of its labels."""
    return name, tuple(sorted(labels.items()))


def _rounded(value: float | None) -> float | None:
    # More digits than a chart shows. Whole numbers stay whole.
    return round(value, 4) if isinstance(value, float) else value
