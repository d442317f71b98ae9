"""Counters that never fall when a partition gets another owner.

The counts of a partition are part of its state. A worker that takes over starts from the last checkpoint, so its counts
are about a second behind those that its predecessor reported. Timings are in the memory of a worker and begin at 0.
Prometheus takes each fall of a counter for a restart, and counts everything again. So the server keeps the values that
it has shown. A count stays until the new owner has reached it, and timings are added to those of earlier owners. Only
after a reset of the state do the counters begin at 0 again.

From the first report on, all counters exist with the value 0. Otherwise `increase()` would miss the first dead letter,
because it takes the first sample of a series as the start value.
"""

from collections.abc import Iterable, Mapping

from stream.core.partition.progress import OUTCOMES
from stream.core.rejections import LeftOut, Reason
from stream.telemetry import Report, Timings

Counts = Mapping[str, Mapping[str, int]]


class Counters:
    """The counters of one partition, for these inputs."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self._inputs = tuple(inputs)
        self._count_from_nothing(since_ms=0)
        self._before: dict[str, Timings] = {}  # of earlier owners of the partition
        self._now: dict[str, Timings] = {}  # of its owner

    def _count_from_nothing(self, *, since_ms: int) -> None:
        self.outcomes = {topic: dict.fromkeys(OUTCOMES, 0) for topic in self._inputs}
        self.reasons = {topic: dict.fromkeys((reason.value for reason in Reason), 0) for topic in self._inputs}
        self.left_out = {topic: dict.fromkeys((word.value for word in LeftOut), 0) for topic in self._inputs}
        self._since_ms = since_ms

    def take(self, report: Report) -> None:
        """Take over the next report of the partition."""
        if report.counted_since_ms != self._since_ms:
            self._count_from_nothing(since_ms=report.counted_since_ms)
        _raise(self.outcomes, report.snapshot.outcomes)
        _raise(self.reasons, report.snapshot.reasons)
        _raise(self.left_out, report.snapshot.left_out)
        for name, timings in (("event_latency", report.event_latency), ("checkpoints", report.checkpoints)):
            last = self._now.get(name, Timings())
            if sum(timings.counts) < sum(last.counts):
                self._before[name] = self._before.get(name, Timings()) + last
            self._now[name] = timings

    def timings(self, name: str) -> Timings:
        """The timings of all owners so far."""
        return self._before.get(name, Timings()) + self._now.get(name, Timings())


def added(counts: Iterable[Counts]) -> dict[str, dict[str, int]]:
    """The sums of counts, by topic and name, in order of both."""
    sums: dict[str, dict[str, int]] = {}
    for one in counts:
        for topic, by_name in one.items():
            known = sums.setdefault(topic, {})
            for name, count in by_name.items():
                known[name] = known.get(name, 0) + count
    return {topic: dict(sorted(sums[topic].items())) for topic in sorted(sums)}


def _raise(shown: dict[str, dict[str, int]], counts: Counts) -> None:
    for topic, by_name in counts.items():
        known = shown.setdefault(topic, {})
        for name, count in by_name.items():
            known[name] = max(count, known.get(name, 0))
