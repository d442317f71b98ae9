"""How far a worker has got, as it tells itself: the reports in the snapshots topic, read while it runs."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from kafka import KafkaConsumer, TopicPartition

from stream.agents.kafka_options import client_options
from stream.settings import Settings
from stream.telemetry import Report, Timings, decode_report

_POLL_MS = 50


class Watcher:
    """Reads the reports of all partitions in a thread of its own; a context manager.

    `applied` is the course of the number of events dealt with: (worker's clock in seconds, count).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._latest: dict[int, Report] = {}
        self.applied: list[tuple[float, int]] = []
        self.seen_at: list[tuple[float, int]] = []  # the same by the reader's clock
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        partitions = self._settings.topics.partitions
        consumer = KafkaConsumer(
            **client_options(self._settings), enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        consumer.assign([TopicPartition(self._settings.snapshots_topic, number) for number in range(partitions)])
        while not self._over.is_set():
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    self._take(decode_report(record.value))
        consumer.close()

    def _take(self, report: Report) -> None:
        with self._changed:
            self._latest[report.partition] = report
            total = self.outcomes().total()
            self.applied.append((report.reported_ms / 1_000, total))
            self.seen_at.append((time.time(), total))
            self._changed.notify_all()

    def outcomes(self) -> Counter[str]:
        """What became of the events so far, over all topics and partitions."""
        counted: Counter[str] = Counter()
        for report in self._latest.values():
            for outcomes in report.snapshot.outcomes.values():
                counted.update(outcomes)
        return counted

    def event_to_gauge(self) -> Timings:
        """The worker's own histogram of how old events were when they were reported."""
        return sum((report.event_to_gauge for report in self._latest.values()), Timings())

    def checkpoints(self) -> Timings:
        """The worker's own histogram of how long checkpoints took."""
        return sum((report.checkpoints for report in self._latest.values()), Timings())

    def recovery_seconds(self) -> float:
        """The longest recovery of a partition."""
        return max((report.recovery_seconds for report in self._latest.values()), default=0.0)

    def wait_for(self, events: int, *, timeout_seconds: float) -> None:
        """Wait until so many events are dealt with. Raises TimeoutError, and tells how many were."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.outcomes().total() >= events, timeout_seconds):
                raise TimeoutError(f"{self.outcomes()} of {events} events after {timeout_seconds:.0f} s")


def moment_of(course: Sequence[tuple[float, int]], count: float) -> float:
    """When a growing count reached `count`, on the straight line between the two points around it."""
    counts = [reached for _, reached in course]
    place = bisect_left(counts, count)
    if place == 0:
        return course[0][0]
    (before, less), (after, more) = course[place - 1], course[place]
    return before + (after - before) * (count - less) / (more - less)


def value_at(course: Sequence[tuple[float, float]], moment: float) -> float:
    """What a sampled value was at a moment, on the straight line between the two samples around it."""
    place = min(max(bisect_left([at for at, _ in course], moment), 1), len(course) - 1)
    (before, less), (after, more) = course[place - 1], course[place]
    return less + (more - less) * (moment - before) / (after - before)
