"""The newest report of each partition, and the sums of all of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import add
from secrets import token_hex

import msgspec
import structlog

from stream.clock import TOLD_SECONDS, clock_notes, span
from stream.core import zones
from stream.core.privacy import REQUESTS
from stream.core.report import live_samples
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot
from stream.core.time import SECOND_MS, iso, seconds_of
from stream.export.closed_days import ClosedDays
from stream.export.counters import Counters, added
from stream.export.takeovers import FrequentTakeovers, Takeovers
from stream.settings import Settings
from stream.telemetry import (
    CHECKPOINT_BOUNDS,
    LATENCY_BOUNDS,
    NOBODY,
    AnyReport,
    ClockReading,
    Idle,
    Owner,
    Report,
    Standby,
    Timings,
    Unowned,
)

log = structlog.get_logger(__name__)

# A worker reports its clock every five seconds; one that has not for so long is gone.
_CLOCK_SILENT_SECONDS = 20.0


class PartitionStatus(msgspec.Struct, frozen=True):
    """The status of one partition."""

    partition: int
    worker: str | None  # the worker that sent the last report of it
    age_seconds: float | None  # the age of its newest numbers
    stale: bool  # whether its numbers are too old, or no worker owns it
    reason: str  # why its numbers can't be trusted now; empty if they can
    standbys: dict[str, int]  # by standby worker: the number of changelog records that are not yet in its store


class Board:
    """What is known of all partitions. `now_ms` is the server's clock, which gives the age of reports.

    `own_notes` is what people should know of that clock.
    """

    def __init__(
        self, settings: Settings, *, now_ms: Callable[[], int], own_notes: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.settings = settings
        self._own_notes = own_notes
        self.rules = settings.rules
        self.now_ms = now_ms
        self._shared = settings.shared
        self.reports_missing = ""  # why no reports can come; else empty
        self.missing_rights: list[str] = []  # what Kafka does not let this server read, each with what grants it
        self.preparing = ""  # why the numbers can't be trusted yet, while the demo still sends its history; else empty
        self._reports: dict[int, Report] = {}
        self._unowned: dict[int, Unowned] = {}
        self._counters: dict[int, Counters] = {}
        self._standbys: dict[tuple[int, str], Standby] = {}
        self._clocks: dict[str, ClockReading] = {}  # by worker: the newest reading of its clock
        self._arrived_ms: dict[int, int] = {}  # by partition: when its newest report arrived
        self._takeovers = Takeovers(
            session_timeout_seconds=seconds_of(settings.kafka.session_timeout),
            stale_seconds=seconds_of(settings.server.stale_after),
        )
        self.closed_days = ClosedDays(settings.rules)
        self.instance = token_hex(8)  # tells this board from that of another process
        self._merged: Snapshot | None = None
        self._live: tuple[list[Sample] | None] | None = None  # calculated once after each change

    def put(self, report: AnyReport, *, appended_ms: int | None = None) -> None:
        """Take over the next report of a worker. Their order in Kafka counts, not the clocks of workers.

        `appended_ms` is when Kafka has appended the report, or None if Kafka does not tell. It counts instead of the
        time in the report. Reports of a worker that has lost the partition are ignored.
        """
        if appended_ms is not None:
            report = msgspec.structs.replace(report, reported_ms=appended_ms)
        now_ms = self.now_ms() if appended_ms is None else appended_ms
        if not self._takeovers.take(report, now_ms=now_ms) or isinstance(report, Idle):
            return
        if isinstance(report, ClockReading):
            self._clocks[report.worker] = report
            return
        if isinstance(report, Standby):
            self._standbys[report.partition, report.worker] = report
            return
        if isinstance(report, Unowned):
            self._unowned[report.partition] = report
            return
        self._unowned.pop(report.partition, None)
        self._reports[report.partition] = report
        self._arrived_ms[report.partition] = self.now_ms()
        self._counters.setdefault(report.partition, Counters(self.settings.input_topics)).take(report)
        self.closed_days.put_report(report)
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

    # -- whether the numbers can be trusted ------------------------------------------------------------------------

    def age_seconds(self, report: Report) -> float:
        """The age of a report. If the worker's clock is fast, it is the time since the report arrived."""
        return self._seconds_since(min(report.reported_ms, self._arrived_ms.get(report.partition, report.reported_ms)))

    def _seconds_since(self, at_ms: int) -> float:
        return max(0.0, (self.now_ms() - at_ms) / SECOND_MS)

    def standbys(self) -> list[Standby]:
        """The standby workers, by number of partition, without those that have not reported for too long."""
        limit = seconds_of(self.settings.server.stale_after)
        return [
            standby
            for _, standby in sorted(self._standbys.items())
            if self._seconds_since(standby.reported_ms) <= limit
        ]

    def clocks(self) -> list[ClockReading]:
        """The newest reading of each worker's clock, by name, without workers not heard of for too long."""
        self._clocks = {
            worker: reading
            for worker, reading in sorted(self._clocks.items())
            if self._seconds_since(reading.reported_ms) <= _CLOCK_SILENT_SECONDS
        }
        return list(self._clocks.values())

    def notes(self) -> list[str]:
        """What people should know besides: which machine's clock is wrong, or which goes by its own."""
        of_workers = (
            note
            for reading in self.clocks()
            for note in clock_notes(f"worker {reading.worker}", reading.skew_seconds, reading.why_own)
        )
        return [*of_workers, *self._own_notes()]

    def is_ahead(self) -> bool:
        """Whether the clock of a partition has gone by a wrong time, and stands still until that time comes."""
        return any(self._ahead_ms(report) for report in self.reports)

    def _ahead_ms(self, report: Report) -> int:
        """How far the clock of a partition is ahead of the time of its report; 0 for what needs not be told.

        A partition's clock never goes back: one that has gone by a wrong time waits until that time comes.
        """
        ahead_ms = report.snapshot.now_ms - report.reported_ms
        return ahead_ms if self.settings.clock == "wall" and ahead_ms > TOLD_SECONDS * SECOND_MS else 0

    def stale(self) -> list[int]:
        """The partitions that have no owner, or whose owner has never reported, or not for too long."""
        limit = seconds_of(self.settings.server.stale_after)
        fresh = {report.partition for report in self.reports if self.age_seconds(report) <= limit}
        fresh -= self._unowned.keys()
        return [number for number in range(self.settings.topics.partitions) if number not in fresh]

    def disagreements(self) -> list[str]:
        """Settings in which a worker and this server differ, so that its numbers can't be added or shown."""
        found = {
            f"{name} is {own} here and {report.settings[name]} at worker {report.worker}"
            for report in self.reports
            for name, own in self._shared.items()
            if not _agree(name, own, report.settings.get(name, own))
        }
        return sorted(found)

    def partitions(self) -> list[PartitionStatus]:
        """The status of each partition."""
        stale, standbys = self.stale(), self.standbys()
        frequent = {one.partition: one for one in self.frequent_takeovers()}
        return [
            self._partition_status(number, stale, standbys, frequent)
            for number in range(self.settings.topics.partitions)
        ]

    def _partition_status(
        self, number: int, stale: list[int], standbys: list[Standby], frequent: Mapping[int, FrequentTakeovers]
    ) -> PartitionStatus:
        report = self._reports.get(number)
        last = self._unowned.get(number, report)
        return PartitionStatus(
            partition=number,
            worker=None if last is None else last.worker,
            age_seconds=None if report is None else self.age_seconds(report),
            stale=number in stale,
            reason=self._reason(number, stale, frequent),
            standbys={standby.worker: standby.lag for standby in standbys if standby.partition == number},
        )

    def _reason(self, number: int, stale: list[int], frequent: Mapping[int, FrequentTakeovers]) -> str:
        """Why the numbers of a partition can't be trusted now; empty when they can."""
        if number in self._unowned:
            return self._why_unowned(self._unowned[number])
        if number in stale:
            return f"no report for {self.settings.server.stale_after}"
        report = self._reports[number]
        if report.away:
            return report.away
        if number in frequent:
            return f"changes hands again and again: {self._takeovers.describe([frequent[number]])}"
        if report.behind and not report.unread:
            return f"still reading {', '.join(report.behind)}"
        return "; ".join(self._held_back(report))

    def _why_unowned(self, unowned: Unowned) -> str:
        reason = unowned.why
        if unowned.rows_left is not None:
            reason += f", {unowned.rows_left:,} records to go"
        if unowned.seconds_left is not None:
            reason += f", about {unowned.seconds_left:.0f} s"
        age = self._seconds_since(unowned.reported_ms)
        return reason if age <= seconds_of(self.settings.server.stale_after) else f"{reason} (told {age:.0f} s ago)"

    def frequent_takeovers(self) -> list[FrequentTakeovers]:
        """The partitions with frequent takeovers, as the module `takeovers` defines them."""
        return self._takeovers.frequent_takeovers(now_ms=self.now_ms())

    def unready(self) -> list[str]:
        """Why the numbers can't be trusted now; empty when they can."""
        reasons = [*self.disagreements(), *self._reasons_of_partitions()]
        if self._is_whole() and self._samples() is None:
            reasons.append("sums of the workers can't be: a part is larger than its whole; look at their logs")
        if self.reports_missing:
            reasons.append(self.reports_missing)
        reasons += self.missing_rights
        if self.preparing:
            reasons.append(self.preparing)
        return reasons

    def _reasons_of_partitions(self) -> Iterator[str]:
        stale = self.stale()
        if found := self.frequent_takeovers():
            numbers = ", ".join(str(frequent.partition) for frequent in found)
            change = f"partitions {numbers} change" if len(found) > 1 else f"partition {numbers} changes"
            yield f"{change} hands again and again: {self._takeovers.describe(found)}"
        for number, unowned in sorted(self._unowned.items()):
            yield f"partition {number}: {self._why_unowned(unowned)}"
        silent = [number for number in stale if number not in self._unowned]
        if silent:
            yield f"no report for {self.settings.server.stale_after} of partitions {', '.join(map(str, silent))}"
        for report in self.reports:
            if report.away and report.partition not in self._unowned:
                yield f"partition {report.partition}: {report.away}"
            if report.partition in stale:
                continue
            if report.behind:
                yield f"partition {report.partition} is still reading {', '.join(report.behind)}"
            yield from (f"partition {report.partition}: {reason}" for reason in self._held_back(report))

    def _held_back(self, report: Report) -> Iterator[str]:
        """What keeps the numbers of a partition from moving on."""
        if ahead_ms := self._ahead_ms(report):
            until = iso(report.snapshot.now_ms // SECOND_MS * SECOND_MS)
            reason = f"its clock has gone by a wrong time, {span(ahead_ms / SECOND_MS)} ahead of the time now"
            yield f"{reason}: its numbers stand still until {until}"
        yield from _unread_reasons(report)

    # -- the numbers -----------------------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        return len(self._reports) >= self.settings.topics.partitions and not self.disagreements()

    def live(self) -> list[Sample]:
        """The live numbers of all metrics; none until every partition has reported once."""
        return (self._samples() or []) if self._is_whole() else []

    def _samples(self) -> list[Sample] | None:
        """The live numbers, or None if the sums of the workers contradict one another."""
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
        """The health of the pipeline, as gauges and counters."""
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
            samples.append(Sample("engagement_closing_backlog", {}, merged.closing_backlog))
            samples.append(Sample("engagement_segment_values_beyond_total", {}, merged.values_beyond))
        samples += [
            Sample("engagement_privacy_requests_total", {"type": asked}, merged.privacy_requests.get(asked, 0))
            for asked in (REQUESTS if self._reports else ())
        ]
        samples += [
            Sample("engagement_left_out_total", {"topic": topic, "what": what}, count)
            for topic, counts in added(counters.left_out for counters in self._counters.values()).items()
            for what, count in sorted(counts.items())
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
        samples += [
            Sample("engagement_clock_skew_seconds", {"worker": reading.worker}, reading.skew_seconds)
            for reading in self.clocks()
            if reading.skew_seconds is not None
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
            *(
                Sample("engagement_topic_readable", {"topic": topic, **labels}, int(topic not in report.unread))
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


def _agree(setting: str, here: str, at_worker: str) -> bool:
    return here == at_worker or (setting == zones.DATABASE and zones.are_same_rules(here, at_worker))


def _unread_reasons(report: Report) -> Iterator[str]:
    """What is not read of a partition: topics that do not fit its state, and what follows an open transaction."""
    yield from (f"{topic} is not read: {why}" for topic, why in sorted(report.unread.items()))
    for topic, found in sorted(report.open_transactions.items()):
        since = iso((report.reported_ms // SECOND_MS - round(found.seconds)) * SECOND_MS)
        problem = f"a producer's transaction in {topic} has been open for {found.seconds:.0f} s, since {since}"
        yield f"{problem}: {found.records:,} records wait for its end"


def _open_seconds(report: Report, topic: str) -> float:
    found = report.open_transactions.get(topic)
    return 0.0 if found is None else found.seconds
