"""The task of one partition that this worker owns: it applies batches and writes checkpoints.

To apply a batch, it skips the records that the state has already applied, decodes the rest, fetches the rows of users
that are not in memory, applies the events, sends on what could not be applied, and records the offset. To write a
checkpoint, it collects what has changed, waits until everything sent on has arrived, saves the changes, and only then
lets the offsets be committed. If the store can't be reached, it retries until the store answers, and applies nothing
meanwhile.
"""

import asyncio
import time
import uuid
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import structlog
from aiokafka.structs import ConsumerRecord

from stream.agents import forwarded_events
from stream.agents.task_state import State, in_thread
from stream.core import zones
from stream.core.families.registry import events
from stream.core.messages import Reader, Record
from stream.core.partition.batch_reader import Batch
from stream.core.partition.closing import CLOSED
from stream.core.partition.partition import SWEPT_PREFIXES, USERS, Partition
from stream.core.privacy import ANONYMISED, AuditRecord, salt_of
from stream.core.snapshot import ClosedDay
from stream.core.store import StoreUnavailable
from stream.core.time import SECOND_MS, date_of, iso, seconds_of
from stream.core.user_scores import message_of
from stream.core.users import partition_key
from stream.kafka.forwarded_batches import ForwardedRecord, forwarded_batch_reader
from stream.kafka.outbox import Outbox
from stream.kafka.state_mismatch import StateMismatch
from stream.kafka.transactions import ReadProgress
from stream.partitioning import partition_of
from stream.settings import JsonOf, Settings
from stream.telemetry import (
    CHECKPOINT_BOUNDS,
    LATENCY_BOUNDS,
    ClosedDayReport,
    OpenTransaction,
    Owner,
    Report,
    Timings,
)

log = structlog.get_logger(__name__)

# A topic that was read to its end within this time counts as caught up, because new records arrive all the time.
_CAUGHT_UP_SECONDS = 5.0
# A topic without records for this time does not hold back the watermark any more. If this were shorter, newer events of
# one topic would make a burst of old events in another topic late.
QUIET_SECONDS = 5.0
# How long to wait before a store that can't be reached is tried again.
_RETRY_SECONDS = 0.5
# How many stored rows each checkpoint checks for whether they are still needed. A million rows take less than an hour.
SWEPT_ROWS = 500
# Of how many users the scores are calculated while a batch waits: less than five milliseconds.
_SCORED_AT_ONCE = 25

_Answer = TypeVar("_Answer")

# Records of one input, with the name of the input and its reader.
_RecordsOfInput = tuple[str, Reader, Sequence[Record]]

# Reads a record that was forwarded as an event.
_event_of: Reader = attrgetter("event")


class HalfDone(RuntimeError):
    """A batch or a checkpoint failed in the middle. The partition's next owner reads the events again."""


class PartitionTask:
    """One partition that this worker owns."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        state: State,
        outbox: Outbox,
        *,
        remaining: Callable[[str], int | None],
        recovery_seconds: float,
        read_progress: Callable[[str], ReadProgress] = lambda topic: ReadProgress(),
        decoders: Mapping[str, JsonOf] = MappingProxyType({}),
        on_recognised: Callable[[str, str], None] = lambda name, format_: None,
    ) -> None:
        """`remaining` returns how many records of a Kafka topic are still to be applied, or None if that is unknown.

        `read_progress` returns how far the topic is read, and the open transaction that stops it there. `decoders`
        decode the messages of inputs that are not JSON. `on_recognised` is called with the name of an input and each
        format that its messages are recognised as. Call `open` first.
        """
        self.number = number
        self.away = ""  # why the store can't be reached; empty while it can
        self.cpu_seconds = 0.0  # the CPU time that reading and applying have taken
        self.collecting_seconds = 0.0  # and that it has taken to collect what checkpoints write
        self._settings = settings
        self._state = state
        self._outbox = outbox
        self._remaining = remaining
        self._read_progress = read_progress
        self._open_transaction_after = seconds_of(settings.kafka.open_transaction_after)
        self._open_transactions: dict[str, OpenTransaction] = {}  # by input
        self._unread: dict[str, str] = {}  # by Kafka topic: why it is not read any more
        self._core = Partition(
            settings.rules,
            max_message_bytes=settings.max_message_bytes,
            max_user_bytes=settings.state.max_user_bytes,
            salt=salt_of(settings.app_id),
            random_ids=self._random_id,
        )
        self._forwarded = forwarded_events.ForwardedEvents(())
        self._available = asyncio.Event()
        self._available.set()
        self._closed = False
        # What is being done, or has failed in the middle. After a batch that failed, memory has some of its events.
        # After a checkpoint that failed, no later one has what it collected.
        self._half_done: set[str] = set()
        self._swept = dict.fromkeys(SWEPT_PREFIXES, b"")  # by key prefix: how far the rows were checked
        # The closed day of which the scores of users are being told, and up to which row; and the one that was due when
        # a checkpoint had collected all rows, so that none of them is missed.
        self._day_of_scores: int | None = None
        self._told_after = b""
        self._saved_day: int | None = None
        self._shared_settings = settings.shared
        self._future_limit_ms = settings.rules.future_limit_ms
        self._topics = {name: topic for topic, name in settings.input_topics.items()}  # Kafka topic -> name of input
        self._privacy_topics = frozenset(settings.privacy_topics)
        self._readers = settings.readers_telling(on_recognised, decoders)
        self._read_forwarded = forwarded_batch_reader(events(self._core.families))
        self._sent: list[asyncio.Future[Any]] = []
        self._telling_all: asyncio.Future[None] | None = None  # all closed days, where their topic has lost them
        self._writing = asyncio.Lock()
        self._applying = asyncio.Lock()  # so that no checkpoint comes between a batch and what it sends on
        self._checkpointed_offsets: dict[str, int] = {}
        self._last_records_at: dict[str, float] = {}  # by input: when it last had records
        self._at_end: dict[str, float] = {}  # by Kafka topic: when it was last read to its end
        self._arrived: list[np.ndarray[Any, np.dtype[np.int64]]] = []  # timestamps of records that are in no report yet
        self._event_latency = np.zeros(len(LATENCY_BOUNDS) + 1, dtype=np.int64)
        self._event_latency_seconds = 0.0
        self._checkpoints = [0] * (len(CHECKPOINT_BOUNDS) + 1)
        self._checkpoint_seconds = 0.0
        self._recovery_seconds = recovery_seconds

    async def open(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Take the partition over and go on from its last checkpoint. Raises PartitionTakenOver, StateRefused."""
        await self._state.take_over(still_ours)
        await in_thread(self._restore)

    def _restore(self) -> None:
        self._core.restore(self._state.scan)
        progress, partitions = self._core.progress, self._settings.topics.partitions
        if progress.partitions not in (0, partitions):
            problem = f"the state of partition {self.number} was counted with {progress.partitions} partitions, not"
            raise StateMismatch(
                f"{problem} {partitions}: users would lie in two of them\n"
                f"  to move them: engagement topics grow --partitions {partitions}"
            )
        progress.partitions = partitions
        self._note_zone_database()
        self._forwarded = forwarded_events.ForwardedEvents(self._state.scan(forwarded_events.PREFIX))
        self._checkpointed_offsets = dict(self._core.progress.offsets)
        self._core.tell_days_again()  # the last owner may have gone before all of them were sent

    def _note_zone_database(self) -> None:
        """Take over which rules of the time zone count from now on, and log it if they are others than before."""
        zone, progress = self._settings.timezone, self._core.progress
        before, now = progress.zone_database, zones.rules_of(zone)
        if before and not zones.are_same_rules(before, now):
            fields = {"zone": zone, "before": before, "now": now, "partition": self.number}
            log.warning("days that are not final may be cut otherwise: the time zone has other rules now", **fields)
        progress.zone_database = now

    # -- a batch ---------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Grows by one with each takeover of the partition, this one included."""
        return self._state.epoch

    def position(self, topic: str) -> int | None:
        """Return the next offset of a Kafka topic to apply, or None if none was applied."""
        return self._core.progress.offsets.get(topic)

    def topic_id(self, topic: str) -> str:
        """Return the id that Kafka's topic had when we began to read it, or an empty text if unknown."""
        return self._core.progress.topic_ids.get(topic, "")

    def start_reading(self, topic: str, offset: int, *, topic_id: str = "") -> None:
        """Start reading a Kafka topic at this offset: nothing was applied before, or records up to here are deleted."""
        progress = self._core.progress
        progress.offsets[topic] = max(offset, progress.offsets.get(topic, 0))
        if topic_id:
            progress.topic_ids[topic] = topic_id

    def stop_reading(self, topic: str, why: str) -> None:
        """Apply nothing more of a Kafka topic, because it does not fit the state. The other topics go on."""
        if topic not in self._unread:
            fields = {"topic": topic, "partition": self.number, "why": why}
            log.error("a topic is not read any more, because it does not fit the state", **fields)
            self._unread[topic] = why

    @property
    def unread(self) -> dict[str, str]:
        """By Kafka topic: why it is not read any more."""
        return self._unread

    def checkpointed_offsets(self) -> dict[str, int]:
        """By Kafka topic: the next offset to apply, according to the last checkpoint."""
        return self._checkpointed_offsets

    @property
    def newest_ms(self) -> int:
        """The newest event time that was applied, or -1."""
        return max(self._core.progress.newest_ms.values(), default=-1)

    async def apply(self, topic: str, records: Sequence[ConsumerRecord], *, now_ms: int, clock_ms: int) -> int:
        """Apply a batch of a Kafka topic. Returns how many of its records were new to the state.

        Events are of the future that are later than `now_ms` by `future_limit`; the windows end with `clock_ms`.
        """
        position = self._core.progress.offsets.get(topic, 0)
        new = records if records[0].offset >= position else [record for record in records if record.offset >= position]
        if new:
            async with self._applying:
                self._half_done.add("batch")
                await self._apply(topic, new, now_ms=now_ms, clock_ms=clock_ms)
                self._half_done.remove("batch")
        return len(new)

    async def _apply(self, topic: str, new: Sequence[ConsumerRecord], *, now_ms: int, clock_ms: int) -> None:
        await self._available.wait()
        belongs: Callable[[str], bool] | None = self._belongs
        if topic in self._topics:
            source = self._topics[topic]
            by_input: list[_RecordsOfInput] = [(source, self._readers[source], new)]
        else:
            belongs = None  # all of it does: that is why it was forwarded
            with self._timed():
                by_input = self._forwarded_by_input(new)
        now = time.monotonic()
        self._last_records_at.update({source: now for source, _, _ in by_input})
        behind, active = self.behind(), self._active()
        self._core.tick(clock_ms, behind=behind, active=active)
        unsent = []
        for source, reader, its_records in by_input:
            with self._timed():
                batch = self._core.read(
                    source, its_records, reader, not_after_ms=now_ms + self._future_limit_ms, belongs=belongs
                )
            rows = await self._fetch_rows(batch)
            with self._timed():
                unused = self._core.apply(
                    batch,
                    rows,
                    belongs=belongs,
                    moves_clock=source in behind,
                    waits_for={*behind, *active} - {source},
                )
            unsent.append((source, unused, batch.requests() if topic in self._privacy_topics else []))
        self._core.progress.offsets[topic] = new[-1].offset + 1
        for _, _, its_records in by_input:
            timestamps = (record.timestamp for record in its_records)
            self._arrived.append(np.fromiter(timestamps, dtype=np.int64, count=len(its_records)))
        checkpointed_offset = self._checkpointed_offsets.get(topic, 0)
        for source, (refused, misplaced), requests in unsent:
            source_topic = self._settings.input_topics[source]
            for letter in refused:
                self._sent.append(await self._outbox.dead_letter(source_topic, self.number, letter))
            if misplaced:
                self._sent += await self._outbox.forward(
                    source_topic, self.number, misplaced, checkpointed_offset=checkpointed_offset
                )
            if requests:
                self._sent += await self._outbox.tell_others(
                    source_topic, self.number, requests, checkpointed_offset=checkpointed_offset
                )

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.cpu_seconds += time.thread_time() - began

    async def _fetch_rows(self, batch: Batch) -> dict[bytes, bytes | None]:
        """Fetch the rows that a batch needs and that are not in memory."""
        rows: dict[bytes, bytes | None] = {}
        while wanted := self._core.keys_to_fetch(batch, rows):
            rows.update(zip(wanted, await self._retry_until_available(partial(self._state.read, wanted)), strict=True))
        return rows

    async def _retry_until_available(self, request: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Repeat a request to the store until it answers."""
        while True:
            try:
                answer = await request()
            except StoreUnavailable as error:
                if self._closed:
                    raise
                if not self.away:
                    log.warning(
                        "the state can't be reached: nothing is consumed", partition=self.number, why=str(error)
                    )
                self.away = str(error)
                self._available.clear()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if self.away:
                log.info("the state can be reached again", partition=self.number)
                self.away = ""
                self._available.set()
            return answer

    def close(self) -> None:
        """Give the partition up: stop waiting for the store."""
        self._closed = True
        self._available.set()
        if self._telling_all is not None:
            self._telling_all.cancel()

    def _belongs(self, user: str) -> bool:
        return partition_of(partition_key(user), self._settings.topics.partitions) == self.number

    def _random_id(self) -> str:
        """An id of this partition for somebody who is made anonymous."""
        while True:
            name = f"{ANONYMISED}{uuid.uuid4().hex}"
            if self._belongs(name):
                return name

    def _forwarded_by_input(self, records: Sequence[ConsumerRecord]) -> list[_RecordsOfInput]:
        """The events in records of the re-key topic that have not come before, by the input that they are from."""
        grouped: dict[tuple[str, bool], list[ForwardedRecord[Any]]] = {}
        for record in records:
            batch = self._read_forwarded(record)
            if batch is None or batch.topic not in self._topics:
                log.warning("ignored a record of the re-key topic without origin", offset=record.offset)
                continue
            source = self._topics[batch.topic]
            for forwarded in self._forwarded.new_of(batch):
                grouped.setdefault((source, forwarded.event is not None), []).append(forwarded)
        return [
            (source, _event_of if is_event else self._readers[source], its_records)
            for (source, is_event), its_records in grouped.items()
        ]

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, clock_ms: int) -> dict[str, int]:
        """Advance the clock. Returns how many records of each input are still to be applied, -1 if unknown."""
        lag = {}
        for name, topic in self._topics.items():
            left = None if name in self._unread else self._remaining(name)
            if left == 0:
                self.mark_end_reached(name)
            lag[topic] = -1 if left is None else left
            if name not in self._unread:
                self._update_read_progress(name, topic)
        self._core.tick(clock_ms, behind=self.behind(), active=self._active())
        return lag

    def _update_read_progress(self, name: str, topic: str) -> None:
        """Skip offsets that have no readable record, and log a transaction that stays open for too long."""
        read_progress, offsets = self._read_progress(name), self._core.progress.offsets
        if read_progress.read_to is not None:
            offsets[name] = max(read_progress.read_to, offsets.get(name, 0))
        found = read_progress.open_transaction
        if found is not None and found.seconds >= self._open_transaction_after:
            if topic not in self._open_transactions:
                fields = {"topic": name, "partition": self.number, "records": found.records}
                log.warning("a producer's transaction hangs open: nothing after it can be read", **fields)
            self._open_transactions[topic] = found
        elif self._open_transactions.pop(topic, None) is not None:
            log.info("the transaction has ended", topic=name, partition=self.number)

    def _active(self) -> tuple[str, ...]:
        """The inputs that have records to read, had some in the last seconds, or have some that can't be read now."""
        quiet_since = time.monotonic() - QUIET_SECONDS
        return tuple(
            topic
            for name, topic in self._topics.items()
            if self._last_records_at.get(topic, quiet_since) > quiet_since
            or name in self._unread
            or self._remaining(name) != 0
            or self._read_progress(name).open_transaction is not None
        )

    def mark_end_reached(self, topic: str) -> None:
        """Remember that a Kafka topic was just read to its end."""
        self._at_end[topic] = time.monotonic()

    def behind(self) -> tuple[str, ...]:
        """The inputs that were not read to their end in the last seconds, without those that are not read any more."""
        now = time.monotonic()
        reached = self._unread.keys() | {name for name, at in self._at_end.items() if now - at < _CAUGHT_UP_SECONDS}
        return tuple(topic for name, topic in self._topics.items() if name not in reached)

    def report(self, worker: str, lag: dict[str, int], *, now_ms: int) -> Report:
        """Return what this partition adds to every number, and how its processing goes."""
        snapshot = self._core.live_snapshot()
        self._measure_latency(now_ms)
        return Report(
            partition=self.number,
            worker=worker,
            reported_ms=now_ms,
            counted_since_ms=self._core.progress.counted_since_ms,
            snapshot=snapshot,
            days_since=self._core.progress.closed_since,
            lag=lag,
            behind=self.behind(),
            event_latency=Timings(tuple(int(count) for count in self._event_latency), self._event_latency_seconds),
            checkpoints=Timings(tuple(self._checkpoints), self._checkpoint_seconds),
            recovery_seconds=self._recovery_seconds,
            settings=self._shared_settings,
            away=self.away,
            open_transactions=dict(self._open_transactions),
            unread={self._topics.get(name, name): why for name, why in self._unread.items()},
            epoch=self.epoch,
        )

    @property
    def has_closing_backlog(self) -> bool:
        """Whether days that have closed wait to be sent: in a catch-up many do within a second."""
        return not self._closed and self._core.closing_backlog > 0

    def send_closed_days(self, worker: str, *, now_ms: int) -> None:
        """Begin to send the days that have closed, or that late events have changed, to the servers.

        Does not wait for Kafka, so that the caller need not: the next checkpoint waits until the days have arrived.
        Call it again while it `has_closing_backlog`.
        """
        if self._closed:
            return
        self._core.update_totals()
        progress = self._core.progress
        if progress.tells_all_days and (self._telling_all is None or self._telling_all.done()):
            if self._telling_all is not None:
                self._telling_all.result()
            self._telling_all = asyncio.ensure_future(self._tell_all_days(worker, now_ms))
        for closed in self._core.close_days():
            self._sent.append(asyncio.ensure_future(self._send_closed_day(self._day_report(worker, now_ms, closed))))
        for day in self._core.take_dropped_days():
            self._sent.append(asyncio.ensure_future(self._delete_closed_day(day)))

    async def _delete_closed_day(self, day: int) -> None:
        """Have a day deleted that is older than `history_days`."""
        owner = Owner(self._core.progress.counted_since_ms, self.epoch)
        await (await self._outbox.delete_closed_day(self.number, day, by=owner))

    async def _send_closed_day(self, report: ClosedDayReport) -> None:
        """Send a closed day. If it arrives where an earlier one was, their topic was created again."""
        progress = self._core.progress
        end_before = progress.days_end
        offset = (await (await self._outbox.send_closed_day(report))).offset
        if offset < end_before and not progress.tells_all_days:
            log.warning("the topic of closed days was created again: all days are told again", partition=self.number)
            progress.tells_all_days, progress.days_end = True, 0
            self._core.tell_days_again()
        progress.days_end = max(progress.days_end, offset + 1)

    async def _tell_all_days(self, worker: str, now_ms: int) -> None:
        """Send every closed day that the state holds and that nothing changes any more; the others are told anyway."""
        async with self._writing:
            stored = await in_thread(lambda: list(self._state.scan(CLOSED.encode())))
        for closed in self._core.unchanging(stored):
            await (await self._outbox.send_closed_day(self._day_report(worker, now_ms, closed)))
        self._core.progress.tells_all_days = False

    def _day_report(self, worker: str, now_ms: int, closed: ClosedDay) -> ClosedDayReport:
        """What is sent of a closed day."""
        counted_since_ms = self._core.progress.counted_since_ms
        return ClosedDayReport(self.number, worker, now_ms, closed, self.epoch, counted_since_ms)

    def _measure_latency(self, now_ms: int) -> None:
        if self._arrived:
            arrived = np.concatenate(self._arrived)
            seconds = np.maximum(now_ms - arrived[arrived >= 0], 0) / SECOND_MS  # some records have no time
            self._arrived.clear()
            places = np.searchsorted(LATENCY_BOUNDS, seconds)
            self._event_latency += np.bincount(places, minlength=len(LATENCY_BOUNDS) + 1)
            self._event_latency_seconds += float(seconds.sum())

    # -- a checkpoint ----------------------------------------------------------------------------------------------

    @property
    def unsaved_bytes(self) -> int:
        """The approximate size of the next checkpoint in bytes."""
        return self._core.unsaved_bytes

    async def checkpoint(self) -> None:
        """Write what has changed, all of it or nothing. After any error of Kafka or the store the task is lost.

        After `close`, nothing is saved: the next owner reads again what has changed since. Raises HalfDone if a batch
        or an earlier checkpoint has failed: what would be saved now is not all that has changed.
        """
        async with self._writing:
            has_told = await self._tell_scores()
            async with self._applying:
                if self._closed:
                    return
                for what in self._half_done:
                    raise HalfDone(f"a {what} of partition {self.number} failed: nothing after it is saved")
                offsets = dict(self._core.progress.offsets)
                if (
                    offsets == self._checkpointed_offsets
                    and not self._core.unsaved_rows
                    and not self._core.unsaved_days
                    and self._scores_due() is None
                    and not has_told
                ):
                    await self._retry_until_available(self._state.check_changelog)
                    return
                started = time.monotonic()
                await self._sweep()
                self._half_done.add("checkpoint")
                began = time.thread_time()
                delta = [*self._core.collect_delta(), *self._forwarded.collect_delta()]
                saved_day = self._scores_due()
                self.collecting_seconds += time.thread_time() - began
                await self._tell_who_is_gone()
                sent, self._sent = self._sent, []
            if sent:
                await asyncio.gather(*sent)
            await self._retry_until_available(lambda: self._state.save(delta))
            self._half_done.remove("checkpoint")
            self._checkpointed_offsets, self._saved_day = offsets, saved_day
            seconds = time.monotonic() - started
            self._checkpoints[bisect_left(CHECKPOINT_BOUNDS, seconds)] += 1
            self._checkpoint_seconds += seconds

    async def _sweep(self) -> None:
        """Check some more of the stored rows for whether they are still needed."""
        for prefix, after in self._swept.items():
            request = partial(self._state.part, prefix, after=after, count=SWEPT_ROWS)
            items, self._swept[prefix] = await self._retry_until_available(request)
            self._core.sweep(items)
            if prefix == USERS:
                for user in self._core.forgotten(items):
                    self._sent.append(await self._outbox.send_score(self.number, user, None))
                if not self._swept[prefix]:
                    self._core.note_all_users_swept()

    def _scores_due(self) -> int | None:
        """The day of which the scores of users are to be told. While the partition is behind, that waits."""
        return None if self.behind() else self._core.day_of_scores()

    async def _tell_scores(self) -> bool:
        """Send the health scores of some more users. After a day has closed, those of all users are sent.

        Batches are applied meanwhile: they wait for a few users at most. Returns whether there was a day to tell.
        """
        day = self._day_of_scores
        if day is None:
            day = self._day_of_scores = self._saved_day
        if day is None or self._closed:
            return False
        request = partial(self._state.part, USERS, after=self._told_after, count=SWEPT_ROWS)
        items, self._told_after = await self._retry_until_available(request)
        for first in range(0, len(items), _SCORED_AT_ONCE):
            async with self._applying:
                scores = list(self._core.scores(items[first : first + _SCORED_AT_ONCE], day))
            for user, score in scores:
                message = None if score is None else message_of(user, str(date_of(day)), score)
                self._sent.append(await self._outbox.send_score(self.number, user, message))
        if not self._told_after:
            self._core.progress.scores_told = day
            self._day_of_scores = self._saved_day = None
        return True

    async def _tell_who_is_gone(self) -> None:
        """Have the scores deleted of those who were erased or made anonymous, and record that it was done."""
        gone, done = self._core.take_gone()
        for user in gone if self._settings.health.enabled else ():
            self._sent.append(await self._outbox.send_score(self.number, user, None))
        for one in done:
            record = AuditRecord(
                one.request,
                iso(one.at_ms),
                iso(self._core.progress.now_ms),
                self.number,
                one.was_known,
                one.parts,
                one.bytes,
            )
            fields = {"type": one.request.value, "partition": self.number, "was_known": one.was_known}
            log.info("a request of a person was fulfilled", **fields, parts=one.parts, bytes=one.bytes)
            self._sent.append(await self._outbox.send_audit(self.number, record))

    async def forget_users(self, *, keep: int) -> None:
        """Drop rows from memory until at most `check_changelog` are left."""
        async with self._applying:  # not while a batch is applied, which relies on the rows in memory
            self._core.forget_users(keep=keep)
