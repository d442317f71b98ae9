"""How far a worker has got, as it tells itself: the reports in the snapshots topic, read while it runs."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from kafka import KafkaConsumer, TopicPartition

from stream.core.snapshot import Snapshot
from stream.kafka.options import client_options
from stream.settings import Settings
from stream.telemetry import Report, Timings, decode_report
from tests.bench.processes import family

_POLL_MS = 50


class Watcher:
    """Reads the reports of one process and those it has started, in a thread of its own; a context manager.

    Those of processes before it don't count.

    `applied` is the course of the number of events dealt with: (worker's clock in seconds, count).
    """

    def __init__(self, settings: Settings, process: subprocess.Popen[bytes]) -> None:
        self._settings = settings
        self._process = process
        self._latest: dict[int, Report] = {}
        self._ours: dict[int, bool] = {}  # by process that has reported
        self.applied: list[tuple[float, float]] = []
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
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        consumer.assign([TopicPartition(self._settings.snapshots_topic, number) for number in range(partitions)])
        while not self._over.is_set():
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    told = decode_report(record.value)
                    if isinstance(told, Report):
                        self._take(told)
        consumer.close()

    def _take(self, report: Report) -> None:
        if not self._is_ours(int(report.worker.rpartition("-")[2])):
            return
        with self._changed:
            self._latest[report.partition] = report
            self.applied.append((report.reported_ms / 1_000, self.dealt_with()))
            self._changed.notify_all()

    def _is_ours(self, pid: int) -> bool:
        if pid not in self._ours:
            with suppress(OSError):  # one of them has just ended
                self._ours[pid] = pid in family(self._process.pid)
        return self._ours.get(pid, False)

    def outcomes(self) -> Counter[str]:
        """What became of the events so far, over all topics and partitions."""
        counted: Counter[str] = Counter()
        for report in self._latest.values():
            for outcomes in report.snapshot.outcomes.values():
                counted.update(outcomes)
        return counted

    def dealt_with(self) -> int:
        """How many events are dealt with. One that is forwarded is so where it arrives."""
        counted = self.outcomes()
        return counted.total() - counted["rekeyed"]

    def snapshot(self) -> Snapshot:
        """The sums of all partitions."""
        return sum((report.snapshot for report in self._latest.values()), Snapshot())

    def rows(self) -> Counter[str]:
        """How many rows the state holds, by kind."""
        counted: Counter[str] = Counter()
        for report in self._latest.values():
            counted.update(report.snapshot.rows)
        return counted

    def event_latency(self) -> Timings:
        """The worker's own histogram of how old events were when they were reported."""
        return sum((report.event_latency for report in self._latest.values()), Timings())

    def checkpoints(self) -> Timings:
        """The worker's own histogram of how long checkpoints took."""
        return sum((report.checkpoints for report in self._latest.values()), Timings())

    def recovery_seconds(self) -> float:
        """The longest recovery of a partition."""
        return max((report.recovery_seconds for report in self._latest.values()), default=0.0)

    def wait_until_ready(self, *, timeout_seconds: float) -> None:
        """Wait until the process owns all partitions and is behind in none."""
        self._wait(self._is_ready, timeout_seconds)

    def wait_for(self, events: int, *, misplaced: int = 0, timeout_seconds: float) -> None:
        """Wait until so many events are dealt with, and so many of them are known to have been forwarded."""
        self._wait(lambda: self.outcomes().total() >= events + misplaced, timeout_seconds)

    def wait_as_long_as_it_goes_on(self, events: int, *, misplaced: int = 0, still_seconds: float) -> None:
        """Wait for the same, however long it takes. It fails if in `still_seconds` nothing more was dealt with."""
        dealt_with = 0
        while dealt_with < events + misplaced:
            self.wait_for(dealt_with + 1, timeout_seconds=still_seconds)
            dealt_with = self.outcomes().total()

    def _is_ready(self) -> bool:
        ready = [report for report in self._latest.values() if not report.behind]
        return len(ready) == self._settings.topics.partitions

    def _wait(self, until: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._changed.wait_for(until, 0.5):
                assert self._process.poll() is None, f"the process ended with {self._process.returncode}"
                assert time.monotonic() < deadline, f"{dict(self.outcomes())} after {timeout_seconds:.0f} s"
