"""The newest report of each partition, and what they add up to."""

from collections.abc import Callable
from functools import reduce
from operator import add

from stream.core.report import Sample, closed_days, closed_samples, live_samples
from stream.core.snapshot import Snapshot
from stream.core.time import SECOND_MS, seconds_of
from stream.settings import Settings
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, Report, Timings


class Board:
    """What is known of every partition. `now_ms` is the wall clock, for the age of reports."""

    def __init__(self, settings: Settings, *, now_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.rules = settings.rules
        self.now_ms = now_ms
        self._shared = settings.shared
        self.preparing = ""  # why numbers are not to be trusted before all has been sent; the demo's history
        self._reports: dict[int, Report] = {}
        self._arrived_ms: dict[int, int] = {}
        self._merged: Snapshot | None = None

    def put(self, report: Report) -> None:
        """Take in the next report of a partition. Kafka's order counts, not the clocks of workers."""
        self._reports[report.partition] = report
        self._arrived_ms[report.partition] = self.now_ms()
        self._merged = None

    @property
    def reports(self) -> list[Report]:
        """The newest report of each partition, by number."""
        return [self._reports[number] for number in sorted(self._reports)]

    @property
    def merged(self) -> Snapshot:
        """The sums over all partitions."""
        if self._merged is None:
            self._merged = reduce(add, (report.snapshot for report in self.reports), Snapshot())
        return self._merged

    # -- can it be trusted -----------------------------------------------------------------------------------------

    def age_seconds(self, report: Report) -> float:
        """How old a report is. A worker whose clock is ahead makes none younger than it is here."""
        told_ms = min(report.reported_ms, self._arrived_ms.get(report.partition, report.reported_ms))
        return max(0.0, (self.now_ms() - told_ms) / SECOND_MS)

    def stale(self) -> list[int]:
        """Partitions whose owner has not reported for too long, or never."""
        limit = seconds_of(self.settings.server.stale_after)
        fresh = {report.partition for report in self.reports if self.age_seconds(report) <= limit}
        return [number for number in range(self.settings.topics.partitions) if number not in fresh]

    def disagreements(self) -> list[str]:
        """Settings in which a worker and this server differ: then its numbers can't be added or shown."""
        found = {
            f"{name} is {own} here and {report.settings[name]} at worker {report.worker}"
            for report in self.reports
            for name, own in self._shared.items()
            if report.settings.get(name, own) != own
        }
        return sorted(found)

    def unready(self) -> list[str]:
        """Why the numbers can't be trusted now; empty when they can."""
        reasons = self.disagreements()
        stale = self.stale()
        if stale:
            told = ", ".join(map(str, stale))
            reasons.append(f"no report for {self.settings.server.stale_after} of partitions {told}")
        behind = {report.partition: report.behind for report in self.reports if report.behind}
        for partition, topics in behind.items():
            if partition not in stale:
                reasons.append(f"partition {partition} is still reading {', '.join(topics)}")
        if self.preparing:
            reasons.append(self.preparing)
        return reasons

    # -- the numbers -----------------------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        return len(self._reports) >= self.settings.topics.partitions and not self.disagreements()

    def live(self) -> list[Sample]:
        """The live number of every metric; none until every partition has reported once."""
        if not self._is_whole():
            return []
        return live_samples(self.merged, self.rules)

    def closed(self, *, days: int = 1) -> list[tuple[int, list[Sample]]]:
        """The samples of the last closed days, oldest first."""
        if not self._is_whole():
            return []
        told = closed_days(self.merged, count=days)
        return [(day, closed_samples(self.merged, self.rules, day)) for day in told]

    def health(self) -> list[Sample]:
        """How the pipeline fares, as gauges and counters."""
        merged = self.merged
        samples = [
            Sample("engagement_events_total", {"topic": topic, "outcome": outcome}, count)
            for topic, counts in merged.outcomes.items()
            for outcome, count in sorted(counts.items())
        ]
        samples += [
            Sample("engagement_dead_letters_total", {"topic": topic, "reason": reason}, count)
            for topic, counts in merged.reasons.items()
            for reason, count in sorted(counts.items())
        ]
        samples += [
            Sample("engagement_event_time_seconds", {"topic": topic}, at_ms / SECOND_MS)
            for topic, at_ms in merged.newest_ms.items()
            if at_ms >= 0
        ]
        if merged.now_ms >= 0:
            samples.append(Sample("engagement_clock_seconds", {}, merged.now_ms / SECOND_MS))
        samples += [Sample("engagement_state_rows", {"kind": kind}, count) for kind, count in merged.rows.items()]
        partitions = self.settings.topics.partitions
        samples.append(Sample("engagement_partitions", {}, partitions))
        samples.append(Sample("engagement_partitions_owned", {}, partitions - len(self.stale())))
        for report in self.reports:
            samples += self._partition_health(report)
        return samples

    def _partition_health(self, report: Report) -> list[Sample]:
        labels = {"partition": str(report.partition)}
        return [
            *(
                Sample("engagement_lag_events", {"topic": topic, **labels}, left)
                for topic, left in sorted(report.lag.items())
                if left >= 0
            ),
            Sample("engagement_snapshot_age_seconds", labels, self.age_seconds(report)),
            Sample("engagement_recovery_seconds", labels, report.recovery_seconds),
        ]

    def timings(self) -> list[tuple[str, tuple[float, ...], Timings]]:
        """The histograms: name, upper bounds in seconds, and counts."""
        event_to_gauge = sum((report.event_to_gauge for report in self.reports), Timings())
        checkpoints = sum((report.checkpoints for report in self.reports), Timings())
        return [
            ("engagement_event_to_gauge_seconds", LATENCY_BOUNDS, event_to_gauge),
            ("engagement_checkpoint_seconds", CHECKPOINT_BOUNDS, checkpoints),
        ]
