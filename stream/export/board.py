"""The newest report of each partition, and what they add up to."""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import add
from secrets import token_hex

import msgspec
import structlog

from stream.core.report import live_samples
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot
from stream.core.time import SECOND_MS, iso, seconds_of
from stream.export.closed_days import ClosedDays
from stream.export.counters import Counters, added
from stream.export.takeovers import Often, Takeovers
from stream.settings import Settings
from stream.telemetry import (
    CHECKPOINT_BOUNDS,
    LATENCY_BOUNDS,
    NOBODY,
    AnyReport,
    Idle,
    Owner,
    Report,
    Standby,
    Timings,
    Unowned,
)

log = structlog.get_logger(__name__)


class Standing(msgspec.Struct, frozen=True):
    """How one partition stands."""

    partition: int
    worker: str | None  # that told last
    age_seconds: float | None  # of its newest numbers
    stale: bool  # its numbers are too old, or nobody owns it
    reason: str  # why its numbers can't be trusted now; empty when they can
    standbys: dict[str, int]  # by worker that follows it: rows of the changelog not yet in its store


class Board:
    """What is known of every partition. `now_ms` is the wall clock, for the age of reports."""

    def __init__(self, settings: Settings, *, now_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.rules = settings.rules
        self.now_ms = now_ms
        self._shared = settings.shared
        self.preparing = ""  # why numbers are not to be trusted before all has been sent; the demo's history
        self._reports: dict[int, Report] = {}
        self._unowned: dict[int, Unowned] = {}
        self._counters: dict[int, Counters] = {}
        self._standbys: dict[tuple[int, str], Standby] = {}
        self._arrived_ms: dict[int, int] = {}  # of reports
        self._takeovers = Takeovers(
            session_timeout_seconds=seconds_of(settings.kafka.session_timeout),
            stale_seconds=seconds_of(settings.server.stale_after),
        )
        self.closed_days = ClosedDays(settings.rules)
        self.instance = token_hex(8)  # tells this board from that of another process
        self._merged: Snapshot | None = None
        self._live: tuple[list[Sample] | None] | None = None  # computed once for each change

    def put(self, told: AnyReport) -> None:
        """Take in what is told next of a partition. Kafka's order counts, not the clocks of workers.

        What an owner tells that has lost the partition meanwhile is left out.
        """
        if not self._takeovers.take(told, now_ms=self.now_ms()) or isinstance(told, Idle):
            return
        if isinstance(told, Standby):
            self._standbys[told.partition, told.worker] = told
            return
        if isinstance(told, Unowned):
            self._unowned[told.partition] = told
            return
        self._unowned.pop(told.partition, None)
        self._reports[told.partition] = told
        self._arrived_ms[told.partition] = self.now_ms()
        self._counters.setdefault(told.partition, Counters(self.settings.input_topics)).take(told)
        self.closed_days.put_report(told)
        self._merged = self._live = None

    def put_day(self, partition: int, day: int, value: bytes | None, *, deleted_by: Owner = NOBODY) -> None:
        """Take in what a partition says of a closed day, or that it is kept no more.

        What an owner says that has lost the partition meanwhile is left out, where a later one has told of the day.
        """
        self.closed_days.put(
            partition, day, value, deleted_by=deleted_by, owner_epoch=self._takeovers.epoch_of(partition)
        )

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
        return self._seconds_since(min(report.reported_ms, self._arrived_ms.get(report.partition, report.reported_ms)))

    def _seconds_since(self, at_ms: int) -> float:
        return max(0.0, (self.now_ms() - at_ms) / SECOND_MS)

    def standbys(self) -> list[Standby]:
        """Who follows which partition, by number, without those not heard of for too long."""
        limit = seconds_of(self.settings.server.stale_after)
        return [
            standby
            for _, standby in sorted(self._standbys.items())
            if self._seconds_since(standby.reported_ms) <= limit
        ]

    def stale(self) -> list[int]:
        """Partitions whose owner has not reported for too long, or never, or that have none."""
        limit = seconds_of(self.settings.server.stale_after)
        fresh = {report.partition for report in self.reports if self.age_seconds(report) <= limit}
        fresh -= self._unowned.keys()
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

    def partitions(self) -> list[Standing]:
        """How each partition stands."""
        stale, standbys = self.stale(), self.standbys()
        often = {one.partition: one for one in self.again_and_again()}
        return [self._standing(number, stale, standbys, often) for number in range(self.settings.topics.partitions)]

    def _standing(self, number: int, stale: list[int], standbys: list[Standby], often: Mapping[int, Often]) -> Standing:
        report = self._reports.get(number)
        told = self._unowned.get(number, report)
        return Standing(
            partition=number,
            worker=None if told is None else told.worker,
            age_seconds=None if report is None else self.age_seconds(report),
            stale=number in stale,
            reason=self._reason(number, stale, often),
            standbys={standby.worker: standby.lag for standby in standbys if standby.partition == number},
        )

    def _reason(self, number: int, stale: list[int], often: Mapping[int, Often]) -> str:
        """Why the numbers of a partition can't be trusted now; empty when they can."""
        if number in self._unowned:
            return self._why_unowned(self._unowned[number])
        if number in stale:
            return f"no report for {self.settings.server.stale_after}"
        report = self._reports[number]
        if report.away:
            return report.away
        if number in often:
            return f"changes hands again and again: {self._takeovers.describe([often[number]])}"
        return f"still reading {', '.join(report.behind)}" if report.behind else "; ".join(_held_back(report))

    def _why_unowned(self, unowned: Unowned) -> str:
        told = unowned.why
        if unowned.rows_left is not None:
            told += f", {unowned.rows_left:,} records to go"
        if unowned.seconds_left is not None:
            told += f", about {unowned.seconds_left:.0f} s"
        age = self._seconds_since(unowned.reported_ms)
        return told if age <= seconds_of(self.settings.server.stale_after) else f"{told} (told {age:.0f} s ago)"

    def again_and_again(self) -> list[Often]:
        """The partitions that change hands again and again, as `takeovers` defines it."""
        return self._takeovers.again_and_again(now_ms=self.now_ms())

    def unready(self) -> list[str]:
        """Why the numbers can't be trusted now; empty when they can."""
        reasons = [*self.disagreements(), *self._reasons_of_partitions()]
        if self._is_whole() and self._samples() is None:
            reasons.append("sums of the workers can't be: a part is larger than its whole; look at their logs")
        if self.preparing:
            reasons.append(self.preparing)
        return reasons

    def _reasons_of_partitions(self) -> Iterator[str]:
        stale = self.stale()
        if found := self.again_and_again():
            numbers = ", ".join(str(often.partition) for often in found)
            told = f"partitions {numbers} change" if len(found) > 1 else f"partition {numbers} changes"
            yield f"{told} hands again and again: {self._takeovers.describe(found)}"
        for number, unowned in sorted(self._unowned.items()):
            yield f"partition {number}: {self._why_unowned(unowned)}"
        silent = [number for number in stale if number not in self._unowned]
        if silent:
            yield f"no report for {self.settings.server.stale_after} of partitions {', '.join(map(str, silent))}"
        for report in self.reports:
            if report.away and report.partition not in self._unowned:
                yield f"partition {report.partition}: {report.away}"
            if report.behind and report.partition not in stale:
                yield f"partition {report.partition} is still reading {', '.join(report.behind)}"
            if report.partition not in stale:
                yield from (f"partition {report.partition}: {told}" for told in _held_back(report))

    # -- the numbers -----------------------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        return len(self._reports) >= self.settings.topics.partitions and not self.disagreements()

    def live(self) -> list[Sample]:
        """The live number of every metric; none until every partition has reported once."""
        return (self._samples() or []) if self._is_whole() else []

    def _samples(self) -> list[Sample] | None:
        """The live numbers, or None where the sums of the workers make no sense."""
        if self._live is None:
            try:
                self._live = (live_samples(self.merged, self.rules),)
            except ValueError as error:
                log.error("sums of the workers can't be", reason=str(error))
                self._live = (None,)
        return self._live[0]

    def last_closed_day(self) -> int | None:
        """The last day that every partition has closed; None before there is one."""
        if not self._is_whole() or self._samples() is None:
            return None
        return self.closed_days.through(self.reports)

    def closed(self, *, days: int = 1) -> list[tuple[int, list[Sample]]]:
        """The samples of the last closed days, oldest first."""
        last = self.last_closed_day()
        told = [] if last is None else self.closed_days.days(last - days + 1, last)
        return [(day, self.closed_samples(day)) for day in told]

    def closed_between(self, first: int, last: int) -> list[int]:
        """The closed days between two, both included, of which something is known."""
        through = self.last_closed_day()
        return [] if through is None else self.closed_days.days(first, min(last, through))

    def closed_samples(self, day: int) -> list[Sample]:
        """Every number of a closed day."""
        return self.closed_days.samples(day, first_ms=self.merged.first_ms)

    def health(self) -> list[Sample]:
        """How the pipeline fares, as gauges and counters."""
        merged = self.merged
        samples = [
            Sample("engagement_events_total", {"topic": topic, "outcome": outcome}, count)
            for topic, counts in added(counters.outcomes for counters in self._counters.values()).items()
            for outcome, count in sorted(counts.items())
        ]
        samples += [
            Sample("engagement_dead_letters_total", {"topic": topic, "reason": reason}, count)
            for topic, counts in added(counters.reasons for counters in self._counters.values()).items()
            for reason, count in sorted(counts.items())
        ]
        if self._reports:
            samples.append(Sample("engagement_closed_corrections_total", {}, merged.corrections))
            samples.append(Sample("engagement_segment_values_beyond_total", {}, merged.values_beyond))
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
        rebalances = self._takeovers.rebalances
        if rebalances is not None:
            samples.append(Sample("engagement_rebalances_total", {}, rebalances))
        samples += [
            Sample("engagement_takeovers_total", {"partition": str(partition)}, count)
            for partition, count in self._takeovers.counts()
        ]
        samples += [
            Sample("engagement_standby_lag_rows", {"partition": str(by.partition), "worker": by.worker}, by.lag)
            for by in self.standbys()
        ]
        for unowned in self._unowned.values():
            labels = {"partition": str(unowned.partition)}
            if unowned.rows_left is not None:
                samples.append(Sample("engagement_recovery_rows_remaining", labels, unowned.rows_left))
            if unowned.seconds_left is not None:
                samples.append(Sample("engagement_recovery_remaining_seconds", labels, unowned.seconds_left))
        return samples

    def _partition_health(self, report: Report) -> list[Sample]:
        labels = {"partition": str(report.partition)}
        owner = [] if report.partition in self.stale() else [{**labels, "worker": report.worker}]
        return [
            *(Sample("engagement_partition_owner_info", by, 1) for by in owner),
            Sample("engagement_store_available", labels, 0 if report.away else 1),
            *(
                Sample("engagement_lag_events", {"topic": topic, **labels}, left)
                for topic, left in sorted(report.lag.items())
                if left >= 0
            ),
            *(
                Sample("engagement_open_transaction_seconds", {"topic": topic, **labels}, _open_seconds(report, topic))
                for topic in sorted(report.lag)
            ),
            Sample("engagement_snapshot_age_seconds", labels, self.age_seconds(report)),
            Sample("engagement_recovery_seconds", labels, report.recovery_seconds),
        ]

    def timings(self) -> list[tuple[str, tuple[float, ...], Timings]]:
        """The histograms: name, upper bounds in seconds, and counts."""

        def of(name: str) -> Timings:
            return sum((counters.timings(name) for counters in self._counters.values()), Timings())

        return [
            ("engagement_event_latency_seconds", LATENCY_BOUNDS, of("event_latency")),
            ("engagement_checkpoint_seconds", CHECKPOINT_BOUNDS, of("checkpoints")),
        ]


def _held_back(report: Report) -> Iterator[str]:
    """What can't be read of a partition, for it lies behind the beginning of a transaction that hangs open."""
    for topic, found in sorted(report.open_transactions.items()):
        since = iso((report.reported_ms // SECOND_MS - round(found.seconds)) * SECOND_MS)
        told = f"a producer's transaction in {topic} has been open for {found.seconds:.0f} s, since {since}"
        yield f"{told}: {found.records:,} records wait for its end"


def _open_seconds(report: Report, topic: str) -> float:
    found = report.open_transactions.get(topic)
    return 0.0 if found is None else found.seconds
