"""Counters that never fall, whoever owns a partition.

What a partition has counted is part of its state: a worker that takes over begins with the last checkpoint and is a
second behind what its predecessor told. Timings live in the memory of a worker and begin with nothing. Prometheus takes
each fall for a restart and adds all that was ever counted, so the server keeps what it has told: a count waits until it
is reached again, timings go on from where they were. Only state that was reset counts from nothing, and so do these.

What can be counted is there from the first report on, as 0: `increase()` takes the first sample of a series for what it
begins with, and would miss the first dead letter ever.
"""

from collections.abc import Iterable, Mapping

from stream.core.partition.progress import OUTCOMES
from stream.core.rejections import Reason
from stream.telemetry import Report, Timings

Counts = Mapping[str, Mapping[str, int]]


class Counters:
    """What the counters of one partition have told, of the inputs named."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self._inputs = tuple(inputs)
        self._count_from_nothing(since_ms=0)
        self._before: dict[str, Timings] = {}  # of workers that owned the partition before
        self._now: dict[str, Timings] = {}

    def _count_from_nothing(self, *, since_ms: int) -> None:
        self.outcomes = {topic: dict.fromkeys(OUTCOMES, 0) for topic in self._inputs}
        self.reasons = {topic: dict.fromkeys((reason.value for reason in Reason), 0) for topic in self._inputs}
        self._since_ms = since_ms

    def take(self, report: Report) -> None:
        """Take in the next report of the partition."""
        if report.counted_since_ms != self._since_ms:
            self._count_from_nothing(since_ms=report.counted_since_ms)
        _raise(self.outcomes, report.snapshot.outcomes)
        _raise(self.reasons, report.snapshot.reasons)
        for name, told in (("event_latency", report.event_latency), ("checkpoints", report.checkpoints)):
            last = self._now.get(name, Timings())
            if sum(told.counts) < sum(last.counts):
                self._before[name] = self._before.get(name, Timings()) + last
            self._now[name] = told

    def timings(self, name: str) -> Timings:
        """All timings told so far."""
        return self._before.get(name, Timings()) + self._now.get(name, Timings())


def added(counts: Iterable[Counts]) -> dict[str, dict[str, int]]:
    """Sums of counts, by topic and name, in order."""
    sums: dict[str, dict[str, int]] = {}
    for one in counts:
        for topic, by_name in one.items():
            known = sums.setdefault(topic, {})
            for name, count in by_name.items():
                known[name] = known.get(name, 0) + count
    return {topic: dict(sorted(sums[topic].items())) for topic in sorted(sums)}


def _raise(told: dict[str, dict[str, int]], counts: Counts) -> None:
    for topic, by_name in counts.items():
        known = told.setdefault(topic, {})
        for name, count in by_name.items():
            known[name] = max(count, known.get(name, 0))
