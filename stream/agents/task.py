"""A task: one partition that this worker owns, with its core, its store and what it still has to send.

The way of a batch: skip what the state holds already, decode, fetch the rows of users not in memory, apply, send on
what could not be applied, note the offset. The way of a checkpoint: collect the delta, wait for what was sent, save the
delta, and only then call the offsets saved. A store that can't be reached is asked again until it answers; meanwhile
nothing more is applied.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog
from aiokafka.structs import ConsumerRecord

from stream.agents import forwarded
from stream.agents.state import State, in_thread
from stream.core.messages import Reader
from stream.core.partition.partition import SWEPT, Partition
from stream.core.partition.reading import Batch
from stream.core.store import StoreAway
from stream.core.time import SECOND_MS, seconds_of
from stream.core.users import partition_key
from stream.inputs.carried import reader_of_events
from stream.kafka.mismatch import StateMismatch
from stream.kafka.outbox import Outbox, origin_of
from stream.kafka.transactions import Reach
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, Day, OpenTransaction, Report, Timings

log = structlog.get_logger(__name__)

# A reader that was at the end so short a time ago has caught up: something is always on its way.
_CAUGHT_UP_SECONDS = 5.0
# A topic that brought nothing for so long holds the watermark back no more. Shorter, and a burst of old events in one
# topic would be late because of newer ones in another.
QUIET_SECONDS = 5.0
# How long to wait before a store that could not be reached is asked again.
_AWAY_SECONDS = 0.5
# Stored rows that are looked at with each checkpoint, whether they are still needed: all of a million within the hour.
SWEPT_ROWS = 500

_Answer = TypeVar("_Answer")

# Records of one input, with its name and what reads them.
_FromOneSource = tuple[str, Reader, Sequence[ConsumerRecord]]


class HalfApplied(RuntimeError):
    """A batch failed before all of it was applied and sent on. Its events are read again by the next owner."""


class Task:
    """One partition."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        state: State,
        outbox: Outbox,
        *,
        remaining: Callable[[str], int | None],
        recovery_seconds: float,
        reach: Callable[[str], Reach] = lambda topic: Reach(),
    ) -> None:
        """`remaining` tells how many records of a Kafka topic are still to be applied, None while nobody knows; `reach`
        how far it is read, and what holds it back there.

        A task is opened before anything else is asked of it.
        """
        self.number = number
        self.away = ""  # why the store can't be reached, while it can't
        self.cpu_seconds = 0.0  # that reading and applying have taken
        self._settings = settings
        self._state = state
        self._outbox = outbox
        self._remaining = remaining
        self._reach = reach
        self._open_after = seconds_of(settings.kafka.open_transaction_after)
        self._open_transactions: dict[str, OpenTransaction] = {}  # by input
        self._core = Partition(
            settings.rules, max_message_bytes=settings.max_message_bytes, max_user_bytes=settings.state.max_user_bytes
        )
        self._forwarded = forwarded.Forwarded(())
        self._available = asyncio.Event()
        self._available.set()
        self._closed = False
        self._half_applied = False  # a batch ended in the middle: its events are in memory, its offset may be
        self._swept = dict.fromkeys(SWEPT, b"")  # by prefix: up to where
        self._shared_settings = settings.shared
        self._future_limit_ms = settings.rules.future_limit_ms
        self._topics = {name: topic for topic, name in settings.input_topics.items()}  # Kafka's name -> ours
        self._readers = settings.readers
        self._reader_of_events = reader_of_events(settings.rules)
        self._sent: list[asyncio.Future[Any]] = []
        self._writing = asyncio.Lock()
        self._applying = asyncio.Lock()  # no checkpoint between a batch and what it sends on
        self._saved: dict[str, int] = {}
        self._read_at: dict[str, float] = {}  # by topic: when it last brought records
        self._at_end: dict[str, float] = {}  # by Kafka topic: when it was last read to its end
        self._arrived: list[np.ndarray[Any, np.dtype[np.int64]]] = []  # times of records that no report holds yet
        self._event_latency = np.zeros(len(LATENCY_BOUNDS) + 1, dtype=np.int64)
        self._event_latency_seconds = 0.0
        self._checkpoints = [0] * (len(CHECKPOINT_BOUNDS) + 1)
        self._checkpoint_seconds = 0.0
        self._recovery_seconds = recovery_seconds

    async def open(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Take the partition over and go on from its last checkpoint. Raises StoreTaken, StateRefused."""
        await self._state.take_over(still_ours)
        await in_thread(self._restore)

    def _restore(self) -> None:
        self._core.restore(self._state.scan)
        progress, partitions = self._core.progress, self._settings.topics.partitions
        if progress.partitions not in (0, partitions):
            told = f"the state of partition {self.number} was counted with {progress.partitions} partitions, not"
            raise StateMismatch(
                f"{told} {partitions}: users would lie in two of them\n"
                f"  to move them: engagement topics grow --partitions {partitions}"
            )
        progress.partitions = partitions
        self._forwarded = forwarded.Forwarded(self._state.scan(forwarded.PREFIX))
        self._saved = dict(self._core.progress.offsets)
        self._core.tell_days_again()  # whoever had the partition may not have got it through

    # -- a batch ---------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Counts takeovers of the partition, this one too."""
        return self._state.epoch

    def position(self, topic: str) -> int | None:
        """The next offset of a Kafka topic to apply, or None when none was applied."""
        return self._core.progress.offsets.get(topic)

    def topic_id(self, topic: str) -> str:
        """The id that a Kafka topic had when its reading began; empty where nobody told."""
        return self._core.progress.topic_ids.get(topic, "")

    def begin(self, topic: str, offset: int, *, topic_id: str = "") -> None:
        """Reading of a Kafka topic begins at this offset, for nothing was applied or what follows was deleted."""
        progress = self._core.progress
        progress.offsets[topic] = max(offset, progress.offsets.get(topic, 0))
        if topic_id:
            progress.topic_ids[topic] = topic_id

    def saved(self) -> dict[str, int]:
        """By Kafka topic: the next offset that the checkpoints hold."""
        return self._saved

    @property
    def newest_ms(self) -> int:
        """The newest event time applied, or -1."""
        return max(self._core.progress.newest_ms.values(), default=-1)

    async def apply(self, topic: str, records: Sequence[ConsumerRecord], *, wall_ms: int, clock_ms: int) -> int:
        """Apply a batch of a Kafka topic; returns how many of its records were new to the state."""
        position = self._core.progress.offsets.get(topic, 0)
        new = records if records[0].offset >= position else [record for record in records if record.offset >= position]
        if new:
            async with self._applying:
                self._half_applied = True
                await self._apply(topic, new, wall_ms=wall_ms, clock_ms=clock_ms)
                self._half_applied = False
        return len(new)

    async def _apply(self, topic: str, new: Sequence[ConsumerRecord], *, wall_ms: int, clock_ms: int) -> None:
        await self._available.wait()
        by_source = self._by_source(topic, new)
        now = time.monotonic()
        self._read_at.update({source: now for source, _, _ in by_source})
        behind, active = self.behind(), self._active()
        self._core.tick(clock_ms, behind=behind, active=active)
        unsent = []
        for source, reader, its_records in by_source:
            with self._timed():
                batch = self._core.read(
                    source, its_records, reader, not_after_ms=wall_ms + self._future_limit_ms, belongs=self._belongs
                )
            rows = await self._rows_of(batch)
            with self._timed():
                not_used = self._core.apply(
                    batch,
                    rows,
                    belongs=self._belongs,
                    moves_clock=source in behind,
                    waits_for={*behind, *active} - {source},
                )
            unsent.append((source, not_used))
        self._core.progress.offsets[topic] = new[-1].offset + 1
        self._arrived.append(np.fromiter((record.timestamp for record in new), dtype=np.int64, count=len(new)))
        was_forwarded = topic not in self._topics
        for source, (refused, misplaced) in unsent:
            source_topic = self._settings.input_topics[source]
            for letter in refused:
                sent = self._outbox.dead_letter(source_topic, self.number, letter, forwarded=was_forwarded)
                self._sent.append(await sent)
            for record in misplaced:
                sent = self._outbox.forward(source_topic, self.number, record, saved=self._saved.get(topic, 0))
                self._sent.append(await sent)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.cpu_seconds += time.thread_time() - began

    async def _rows_of(self, batch: Batch) -> dict[bytes, bytes | None]:
        """What the store has of the rows that a batch needs and that are not in memory."""
        rows: dict[bytes, bytes | None] = {}
        while wanted := self._core.wants(batch, rows):
            rows.update(zip(wanted, await self._asked_again(partial(self._state.read, wanted)), strict=True))
        return rows

    async def _asked_again(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask the store until it answers."""
        while True:
            try:
                answer = await ask()
            except StoreAway as error:
                if self._closed:
                    raise
                if not self.away:
                    log.warning(
                        "the state can't be reached: nothing is consumed", partition=self.number, why=str(error)
                    )
                self.away = str(error)
                self._available.clear()
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            if self.away:
                log.info("the state can be reached again", partition=self.number)
                self.away = ""
                self._available.set()
            return answer

    def close(self) -> None:
        """Wait for the store no more: the partition has been given up."""
        self._closed = True
        self._available.set()

    def _belongs(self, user: str) -> bool:
        return partition_of(partition_key(user), self._settings.topics.partitions) == self.number

    def _by_source(self, topic: str, records: Sequence[ConsumerRecord]) -> list[_FromOneSource]:
        """The records by the input they were produced to: those of the re-key topic name it in a header."""
        if topic in self._topics:
            source = self._topics[topic]
            return [(source, self._readers[source], records)]
        grouped: dict[tuple[str, bool], list[ConsumerRecord]] = {}
        for record in records:
            origin = origin_of(record)
            if origin is None or origin.topic not in self._topics:
                log.warning("ignored a record of the re-key topic without origin", offset=record.offset)
            elif self._forwarded.is_new(
                origin.topic, origin.partition, origin.offset, saved=origin.saved, thing=origin.thing or 0
            ):
                grouped.setdefault((self._topics[origin.topic], origin.thing is not None), []).append(record)
        return [
            (source, self._reader_of_events if is_event else self._readers[source], its_records)
            for (source, is_event), its_records in grouped.items()
        ]

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, clock_ms: int) -> dict[str, int]:
        """Move the clock on; returns how many records of each topic are to be applied, -1 where nobody knows."""
        lag = {}
        for name, topic in self._topics.items():
            left = self._remaining(name)
            if left == 0:
                self.note_end(name)
            lag[topic] = -1 if left is None else left
            self._follow(name, topic)
        self._core.tick(clock_ms, behind=self.behind(), active=self._active())
        return lag

    def _follow(self, name: str, topic: str) -> None:
        """Pass over offsets that nobody is given, and tell of a transaction that hangs open."""
        reach, offsets = self._reach(name), self._core.progress.offsets
        if reach.read_to is not None:
            offsets[name] = max(reach.read_to, offsets.get(name, 0))
        found = reach.open_transaction
        if found is not None and found.seconds >= self._open_after:
            if topic not in self._open_transactions:
                told = {"topic": name, "partition": self.number, "records": found.records}
                log.warning("a producer's transaction hangs open: nothing after it can be read", **told)
            self._open_transactions[topic] = found
        elif self._open_transactions.pop(topic, None) is not None:
            log.info("the transaction has ended", topic=name, partition=self.number)

    def _active(self) -> tuple[str, ...]:
        """The inputs that have records to read now, or had some a moment ago, or have some in an open transaction."""
        quiet_since = time.monotonic() - QUIET_SECONDS
        return tuple(
            topic
            for name, topic in self._topics.items()
            if self._read_at.get(topic, quiet_since) > quiet_since
            or self._remaining(name) != 0
            or self._reach(name).open_transaction is not None
        )

    def note_end(self, topic: str) -> None:
        """All that the broker had of a Kafka topic is applied."""
        self._at_end[topic] = time.monotonic()

    def behind(self) -> tuple[str, ...]:
        """The inputs that have not been read to their end a moment ago."""
        now = time.monotonic()
        reached = {name for name, at in self._at_end.items() if now - at < _CAUGHT_UP_SECONDS}
        return tuple(topic for name, topic in self._topics.items() if name not in reached)

    def report(self, worker: str, lag: dict[str, int], *, wall_ms: int) -> Report:
        """What this partition adds to every number, and how it fares."""
        snapshot = self._core.live_snapshot()
        self._measure_latency(wall_ms)
        return Report(
            partition=self.number,
            worker=worker,
            reported_ms=wall_ms,
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
            epoch=self.epoch,
        )

    def tell_days(self, worker: str, *, wall_ms: int) -> None:
        """Tell what days say that have closed, or that late events have changed.

        Not awaited, for whoever calls this must not wait for Kafka: the next checkpoint does.
        """
        if self._closed:
            return
        for closed in self._core.close_days():
            told = Day(self.number, worker, wall_ms, closed, self.epoch)
            over = self._core.over_day() if closed.day == self._core.progress.closed_through else None
            self._sent.append(asyncio.ensure_future(self._tell_day(told, over)))

    async def _tell_day(self, told: Day, over: int | None) -> None:
        sent = [await self._outbox.tell_day(told)]
        if over is not None:
            sent.append(await self._outbox.forget_day(self.number, over))
        await asyncio.gather(*sent)

    def _measure_latency(self, wall_ms: int) -> None:
        if self._arrived:
            seconds = np.maximum(wall_ms - np.concatenate(self._arrived), 0) / SECOND_MS
            self._arrived.clear()
            places = np.searchsorted(LATENCY_BOUNDS, seconds)
            self._event_latency += np.bincount(places, minlength=len(LATENCY_BOUNDS) + 1)
            self._event_latency_seconds += float(seconds.sum())

    # -- a checkpoint ----------------------------------------------------------------------------------------------

    @property
    def unsaved_bytes(self) -> int:
        """About how large the next checkpoint will be."""
        return self._core.unsaved_bytes

    async def checkpoint(self) -> None:
        """Write what has changed, all of it or nothing. What Kafka or the store raises means: the task is lost.

        A partition that was given up is saved no more: what changed since is read again by its next owner. Raises
        HalfApplied when a batch has failed: what it did is not whole, and may never be saved.
        """
        async with self._writing:
            async with self._applying:
                if self._closed:
                    return
                if self._half_applied:
                    raise HalfApplied(f"a batch of partition {self.number} failed: nothing after it is saved")
                offsets = dict(self._core.progress.offsets)
                if offsets == self._saved and not self._core.unsaved_rows and not self._core.unsaved_days:
                    await self._asked_again(self._state.keep)
                    return
                started = time.monotonic()
                await self._sweep()
                delta = [*self._core.collect_delta(), *self._forwarded.collect_delta()]
                sent, self._sent = self._sent, []
            if sent:
                await asyncio.gather(*sent)
            await self._asked_again(lambda: self._state.save(delta))
            self._saved = offsets
            seconds = time.monotonic() - started
            self._checkpoints[bisect_left(CHECKPOINT_BOUNDS, seconds)] += 1
            self._checkpoint_seconds += seconds

    async def _sweep(self) -> None:
        """Look at some more of the stored rows, whether they are still needed."""
        for prefix, after in self._swept.items():
            ask = partial(self._state.part, prefix, after=after, count=SWEPT_ROWS)
            items, self._swept[prefix] = await self._asked_again(ask)
            self._core.sweep(items)

    async def forget_users(self, *, keep: int) -> None:
        """Keep at most so many rows in memory."""
        async with self._applying:  # a batch counts on what was in memory when it was read
            self._core.forget_users(keep=keep)
