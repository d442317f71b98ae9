"""The tasks of a worker. A task is opened when its partition's state is recovered, and closed when the partition goes.

At each rebalance all tasks write a checkpoint and are closed. Those whose partitions stay are opened again from their
stores. So the memory of a task always agrees with its changelog, whoever owned the partition in between.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from os import getpid
from typing import Any

import structlog
from msgspec.structs import replace

from stream.agents.held_batches import HeldBatches, PauseReading
from stream.agents.partition_task import PartitionTask
from stream.agents.recognised_formats import RecognisedFormats
from stream.agents.task_state import State
from stream.agents.timekeeping import AskStore, Timekeeping
from stream.agents.transport import Records
from stream.clock import Clock
from stream.core.store import PartitionTakenOver, StoreUnavailable
from stream.core.time import seconds_of
from stream.inputs.encodings.schemas import Schemas
from stream.kafka.access import describe_missing
from stream.kafka.outbox import Outbox
from stream.kafka.rights import Right
from stream.kafka.schema_registry import schema_registry_of
from stream.kafka.state_mismatch import (
    PartitionOffsets,
    StateMismatch,
    describe_new_changelog,
    find_mismatch,
    in_one_line,
)
from stream.kafka.timeouts import missing_topic
from stream.kafka.transactions import ReadProgress
from stream.settings import Settings, Unavailable
from stream.telemetry import ClockReading, Idle, Standby, Unowned

log = structlog.get_logger(__name__)

_REPORT_SECONDS = 1.0
# How often a worker records that it runs.
_ALIVE_SECONDS = 0.5
# How many records are applied without a pause. There are fewer if they take longer than this time, because the rows of
# very busy users cost ten times as much as others. A record of forwarded events has some hundreds.
_MAX_RECORDS_AT_ONCE, _MIN_RECORDS_AT_ONCE = 2_000, 100
_MIN_FORWARDED_AT_ONCE = 1
_MAX_SECONDS_AT_ONCE = 0.05

# For at most so long after it began does a round of reports close days that wait. The others wait for the next round.
_MAX_CLOSING_SECONDS = 0.3
# How long to wait for a last checkpoint when partitions go. Without it, some events are read again.
_LAST_CHECKPOINT_SECONDS = 4.0

# How long to wait before a store that can't be reached is opened again.
_RETRY_SECONDS = 1.0

OpenState = Callable[[int, Outbox], Awaitable[State]]


class BatchMissing(RuntimeError):
    """A batch does not follow the one before it. The worker stops, and a restart continues from the last checkpoint."""


class Fenced(Unavailable):
    """The worker must not write: it was silent for so long that its partitions have, or may have, another owner."""


class TaskManager:
    """All partitions that this worker owns. If one fails, the worker stops before any more offsets are committed."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_state: OpenState,
        ask_store: AskStore | None = None,
        only_worker: bool = False,
    ) -> None:
        """`open_state` opens the state of a partition whose store is up to date. `ask_store` asks it for the time.

        `only_worker` says that no other worker can take over the partitions: this one may write after any silence.
        """
        self._settings, self._only_worker = settings, only_worker
        self._open_state = open_state
        self.clock = Clock(is_only_machine=only_worker)
        self._outbox = Outbox(settings, self.clock)
        self._timekeeping = Timekeeping(self.clock, ask_brokers=self._report_clock, ask_store=ask_store)
        self._tasks: dict[int, PartitionTask] = {}
        self._opening: set[int] = set()
        self._openings: set[asyncio.Task[PartitionTask | None]] = set()
        self._checkpointed_offsets: dict[tuple[str, int], int] = {}
        self._remaining: Callable[[str, int], int | None] = lambda topic, partition: None
        self._read_progress: Callable[[str, int], ReadProgress] = lambda topic, partition: ReadProgress()
        self._pause_reading: PauseReading = lambda topic, partition: lambda: None
        self._registry = schema_registry_of(settings)
        self._decoders = settings.decoders(self._registry.schemas if self._registry is not None else Schemas())
        self._formats = RecognisedFormats(settings, self._decoders)
        self._held: HeldBatches | None = None
        if self._registry is not None:
            self._held = HeldBatches(self._registry, apply=self._apply_now, fail=self.fail)
        self._loops: list[asyncio.Task[None]] = []
        self._saves: set[asyncio.Task[None]] = set()  # the checkpoints of this interval
        self._records_at_once = _MAX_RECORDS_AT_ONCE
        self._forwarded_at_once = _MIN_FORWARDED_AT_ONCE  # of the re-key topic
        self._ownership_round = 0  # grows when partitions are given up, which ends takeovers that are under way
        self._alive_at = time.monotonic()
        self.worker = f"{socket.gethostname()}-{getpid()}"
        self.generation = -1  # of the consumer group, at the last assignment of partitions
        self._started_ms = time.time_ns() // 1_000_000  # not for numbers: it only tells processes of one name apart
        self.topic_ids: Mapping[str, str] = {}  # by Kafka topic, as far as the broker tells them
        self.missing_topics: list[str] = []
        self.missing_rights: list[Right] = []
        self._inputs = {*settings.input_topics.values(), settings.rekey_topic}
        named = settings.named_inputs.values()
        self._named_by_schema = {input_.topic for input_ in named if input_.encoding == "registry"}
        self._has_read = False  # whether this worker has begun to read its inputs
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()

    async def start(
        self,
        remaining: Callable[[str, int], int | None],
        read_progress: Callable[[str, int], ReadProgress] = lambda topic, partition: ReadProgress(),
        pause_reading: PauseReading = lambda topic, partition: lambda: None,
    ) -> None:
        """Ask what time it is, then start to send reports and write checkpoints.

        `remaining` returns how many records of a partition are still to be applied, `read_progress` how far it is read.
        `pause_reading` stops reading a partition, and returns what begins it again.
        """
        self._remaining, self._read_progress, self._pause_reading = remaining, read_progress, pause_reading
        self._alive_at = time.monotonic()
        self._start_loops(self._alive_loop)
        await self._outbox.start()
        await self._timekeeping.start(self._clock_reading)
        self._start_loops(self._report_loop, self._checkpoint_loop, self._timekeeping.run, self._formats.look)

    def _start_loops(self, *loops: Callable[[], Any]) -> None:
        self._loops += [asyncio.create_task(self._fail_on_error(loop)) for loop in loops]

    async def stop(self) -> None:
        """Stop the reports and checkpoints, and close everything."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.close(save=self.failure is None)
        for saving in self._saves:
            saving.cancel()
        await asyncio.gather(*self._saves, return_exceptions=True)
        await self._outbox.stop()

    # -- which partitions ------------------------------------------------------------------------------------------

    async def open(
        self,
        partitions: Collection[int],
        *,
        recovery_seconds: float,
        still_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take over partitions whose stores are up to date, unless they are given up again meanwhile."""
        ownership_round = self._ownership_round
        self._opening = set(partitions)

        def wanted() -> bool:
            return self._ownership_round == ownership_round and still_ours()

        openings = [
            asyncio.create_task(self._open_partition(number, recovery_seconds, wanted)) for number in partitions
        ]
        for opening in openings:
            self._openings.add(opening)
            opening.add_done_callback(self._openings.discard)
        opened = await asyncio.gather(*openings, return_exceptions=True)
        if not wanted():
            return
        self._opening = set()
        for result in opened:
            if isinstance(result, BaseException):  # Faust would drop it and go on without the partition
                self.fail(result)
                return
        for task in opened:
            assert isinstance(task, PartitionTask)
            self._tasks[task.number] = task
            self._checkpointed_offsets.update(
                {(topic, task.number): offset for topic, offset in task.checkpointed_offsets().items()}
            )
        log.info("partitions taken over", partitions=sorted(partitions), seconds=round(recovery_seconds, 3))

    async def _open_partition(
        self, number: int, recovery_seconds: float, wanted: Callable[[], bool]
    ) -> PartitionTask | None:
        """Open one partition, retrying while its store can't be reached. Returns None if it is given up meanwhile."""
        while wanted():
            try:
                await self._timekeeping.hear_store()
                state = await self._open_state(number, self._outbox)
                task = PartitionTask(
                    self._settings,
                    number,
                    state,
                    self._outbox,
                    remaining=partial(self._remaining_of, number),
                    recovery_seconds=recovery_seconds,
                    read_progress=lambda topic: self._read_progress(topic, number),
                    decoders=self._decoders,
                    on_recognised=self._formats.recognised,
                )
                await task.open(wanted)
                return task
            except StoreUnavailable as error:  # noqa: PERF203  it waits between two rounds
                log.warning("the state can't be reached: nothing is consumed", partition=number, why=str(error))
                await self.report_unowned(number, str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def report_unowned(self, partition: int, why: str, **progress: Any) -> None:
        """Report to the servers why this worker has no numbers of a partition now."""
        at_ms, started_ms = self.clock.now_ms(), self._started_ms
        report = Unowned(partition, self.worker, at_ms, why=why, started_ms=started_ms, **progress)
        await self._outbox.report(report)

    async def report_standby(self, partition: int, lag: int) -> None:
        """Report to the servers that this worker follows a partition as a standby."""
        at_ms, started_ms = self.clock.now_ms(), self._started_ms
        await self._outbox.report(Standby(partition, self.worker, at_ms, lag=lag, started_ms=started_ms))

    async def report_idle(self) -> None:
        """Report to the servers that this worker is running, although it has no partition."""
        await self._outbox.report(Idle(self.worker, self.clock.now_ms(), started_ms=self._started_ms))

    async def _report_clock(self, reading: ClockReading) -> None:
        await self._outbox.ask_the_time(reading)

    def _clock_reading(self) -> ClockReading:
        return ClockReading(
            self.worker,
            self.clock.now_ms(),
            self._started_ms,
            skew_seconds=self.clock.skew_seconds(),
            why_own=self.clock.why_own,
        )

    def _remaining_of(self, partition: int, topic: str) -> int | None:
        return self._remaining(topic, partition)

    async def close(self, *, save: bool, leaving: bool = False) -> None:
        """Give up all partitions, with `save` after a last checkpoint. With `leaving`, report it to the servers.

        After that nothing is written to their state, because another worker may become their owner.
        """
        tasks, self._tasks = self._tasks, {}
        given_up = {**dict.fromkeys(self._opening, 0), **{number: task.epoch for number, task in tasks.items()}}
        self._opening = set()
        self._ownership_round += 1
        if save and tasks:
            try:
                saving = asyncio.gather(*(self._save(task) for task in tasks.values()))
                await asyncio.wait_for(saving, _LAST_CHECKPOINT_SECONDS)
            except Exception as error:  # noqa: BLE001  whatever it is: Kafka still has the events
                log.warning("the last checkpoint failed; its events will be read again", reason=repr(error))
        for task in tasks.values():
            task.close()
        if self._held is not None:
            self._held.drop()
        await self._wait_for_openings()
        if leaving:
            await self.report_stopped(given_up)

    async def _wait_for_openings(self) -> None:
        """Wait for takeovers that are under way, although their partitions are given up already.

        If such a takeover ended after the next owner has begun, it would take the partition away from that owner.
        """
        if not self._openings:
            return
        _, unfinished = await asyncio.wait(self._openings, timeout=_LAST_CHECKPOINT_SECONDS)
        for opening in unfinished:
            opening.cancel()

    async def report_stopped(self, epochs: Mapping[int, int]) -> None:
        """Report to the servers that these partitions have no owner now, unless another worker has taken them over.

        `epochs` has the epoch that ends, by partition; 0 for a partition that was not taken over yet.
        """
        if not isinstance(self.failure, (Fenced, PartitionTakenOver)):
            for number, epoch in epochs.items():
                await self.report_unowned(number, f"worker {self.worker} has stopped", epoch=epoch)

    # -- called by the consumer ------------------------------------------------------------------------------------

    def owns(self, partition: int) -> bool:
        """Whether the state of a partition is open."""
        return partition in self._tasks

    def position(self, topic: str, partition: int) -> int | None:
        """Return the next offset to apply, or None if the state has none."""
        task = self._tasks.get(partition)
        return task.position(topic) if task is not None else None

    def start_reading(self, topic: str, partition: int, offset: int) -> None:
        """Start reading at this offset: everything before it was applied, or is deleted from Kafka."""
        self._has_read = True
        if partition in self._tasks:
            self._tasks[partition].start_reading(topic, offset, topic_id=self.topic_ids.get(topic, ""))

    def refuse_on_mismatch(self, place: PartitionOffsets) -> bool:
        """Refuse a topic that does not fit the state of its partition. Returns whether it does not fit.

        A worker that has read nothing yet stops. One that runs stops only to read this topic.
        """
        if self._has_read and self.stop_reading_on_mismatch(place):
            return True
        problem = self._find_mismatch(place)
        if problem is not None:
            self.fail(StateMismatch(problem))
        return problem is not None

    def stop_reading_on_mismatch(self, place: PartitionOffsets) -> bool:
        """Stop to read a topic if its records do not fit the state of a partition. Returns whether they do not fit."""
        problem = self._find_mismatch(place._replace(committed=None))
        if problem is not None:
            self._tasks[place.partition].stop_reading(place.topic, in_one_line(problem))
        return problem is not None

    def _find_mismatch(self, place: PartitionOffsets) -> str | None:
        task = self._tasks.get(place.partition)
        if task is None:
            return None
        id_in_state, id_now = task.topic_id(place.topic), self.topic_ids.get(place.topic, "")
        return find_mismatch(place._replace(id_in_state=id_in_state, id_now=id_now))

    def take_topic_ids(self, ids: Mapping[str, str | None]) -> None:
        """Take in what Kafka says now of the ids of topics. None stands for a topic that does not exist any more."""
        self.missing_topics = [topic for topic, topic_id in ids.items() if topic_id is None]
        changelog = self._settings.changelog_topic
        before, now = self.topic_ids.get(changelog), ids.get(changelog)
        if before and now and before != now:
            self.fail(StateMismatch(describe_new_changelog(self._tasks)))
        self.topic_ids = {**self.topic_ids, **{topic: topic_id for topic, topic_id in ids.items() if topic_id}}
        for number in self._tasks:
            for topic in ids.keys() & self._inputs:
                self.stop_reading_on_mismatch(PartitionOffsets(topic, number, None, first=0, end=0, committed=None))

    def take_missing_rights(self, missing: list[Right]) -> None:
        """Take in which rights Kafka does not grant this worker now."""
        for told in describe_missing((right for right in missing if right not in self.missing_rights), self._settings):
            log.error("a right is missing", grant=told)
        for right in self.missing_rights:
            if right not in missing:
                log.info("a right was granted again", right=str(right))
        self.missing_rights = missing

    def unread(self) -> list[str]:
        """Return which topics are not read, and why, and which rights are missing."""
        found = [missing_topic(topic) for topic in self.missing_topics]
        found += describe_missing(self.missing_rights, self._settings)
        for number, task in sorted(self._tasks.items()):
            found += [f"partition {number}: {why}" for why in task.unread.values()]
        waiting = {topic: why for (topic, _), why in self._waiting().items()}
        return [*found, *(f"{topic} is not read: {why}" for topic, why in sorted(waiting.items()))]

    def _waiting(self) -> Mapping[tuple[str, int], str]:
        """By topic and partition: why its messages wait, if the schema registry can't be asked."""
        return self._held.waiting() if self._held is not None else {}

    def _missing_inputs(self) -> dict[str, str]:
        """By input: why its topic is not read, if Kafka does not have it any more, or does not let us read it."""
        inputs = self._settings.input_topics.items()
        refused = {right.name: right for right in self.missing_rights if right.operation == "Read"}
        return {
            **{name: missing_topic(topic) for name, topic in inputs if topic in self.missing_topics},
            **{
                name: describe_missing([refused[topic]], self._settings)[0]
                for name, topic in inputs
                if topic in refused
            },
        }

    def _waiting_inputs(self, partition: int) -> dict[str, str]:
        waiting, inputs = self._waiting(), self._settings.input_topics.items()
        return {name: waiting[topic, partition] for name, topic in inputs if (topic, partition) in waiting}

    def checkpointed_offsets(self) -> Mapping[tuple[str, int], int]:
        """By topic and partition: the next offset to apply, according to the checkpoints written so far."""
        return self._checkpointed_offsets

    def fail_as_replaced(self) -> None:
        """Stop the worker, because another one has joined under its name."""
        name = self._settings.kafka.instance_id
        self.fail(Fenced(f"another worker has joined with kafka.instance_id {name!r}: each needs one of its own"))

    # -- batches ---------------------------------------------------------------------------------------------------

    async def apply(self, topic: str, records: Records) -> int:
        """Apply a batch. Returns how many of its records were new.

        A batch from before a rebalance is dropped, and so is one whose partition was given up: the owner of the
        partition reads it again, in order. A batch of a topic that does not fit the state any more is dropped too. A
        batch whose schemas are not known yet is applied later.
        """
        may_wait = self._held is not None and topic in self._named_by_schema and self._is_wanted(topic, records)
        if may_wait and self._held is not None and self._held.hold(topic, records, self._pause_reading):
            return 0
        return await self._apply_now(topic, records)

    def _is_wanted(self, topic: str, records: Records) -> bool:
        task = self._tasks.get(records[0].partition)
        return not (task is None or records.reading.is_over or self.failure is not None or topic in task.unread)

    async def _apply_now(self, topic: str, records: Records) -> int:
        if not self._is_wanted(topic, records):
            return 0
        task = self._tasks[records[0].partition]
        try:
            self._raise_on_gap(task, topic, records)
            return await self._apply_in_parts(task, topic, records)
        except Exception as error:  # noqa: BLE001  an exception that reaches Faust would make it skip the batch
            if self._tasks.get(task.number) is task:
                self.fail(error)
            return 0

    def _raise_on_gap(self, task: PartitionTask, topic: str, records: Records) -> None:
        applied_to = task.position(topic) or 0
        if records[0].offset < records.previous_end:
            problem = f"offset {records[0].offset} came after {records.previous_end - 1}"
            raise BatchMissing(f"{topic}/{task.number} went back: {problem}")
        if records.previous_end > applied_to:
            raise BatchMissing(
                f"{topic}/{task.number}: {applied_to} is next, but a batch follows {records.previous_end}"
            )

    async def _apply_in_parts(self, task: PartitionTask, topic: str, records: Records) -> int:
        applied = first = 0
        while first < len(records):
            is_forwarded = topic == self._settings.rekey_topic
            part = records[first : first + (self._forwarded_at_once if is_forwarded else self._records_at_once)]
            first += len(part)
            before = task.cpu_seconds
            await self._timekeeping.be_sure()
            applied += await task.apply(topic, part, now_ms=self.clock.now_ms(), clock_ms=self._clock_ms())
            seconds = task.cpu_seconds - before
            if is_forwarded:
                self._forwarded_at_once = _adapted(self._forwarded_at_once, _MIN_FORWARDED_AT_ONCE, len(part), seconds)
            else:
                self._records_at_once = _adapted(self._records_at_once, _MIN_RECORDS_AT_ONCE, len(part), seconds)
            if task.unsaved_bytes > self._settings.state.max_delta_bytes // 2:
                await self._save(task)
            await asyncio.sleep(0)
            if self._tasks.get(task.number) is not task or topic in task.unread:
                return applied
        if records.reaches_end:
            task.mark_end_reached(topic)
        return applied

    # -- once a second ---------------------------------------------------------------------------------------------

    async def _alive_loop(self) -> None:
        """Record that this process runs. This loop waits for nothing but time: Kafka may take as long as it likes."""
        while True:
            self._raise_if_silent()
            self._alive_at = time.monotonic()
            await asyncio.sleep(_ALIVE_SECONDS)

    async def _report_loop(self) -> None:
        while True:
            self._raise_if_silent()
            started = time.monotonic()
            clock_ms = self._clock_ms()
            for task in list(self._tasks.values()):
                if self._tasks.get(task.number) is not task:
                    continue  # it was given up meanwhile, and its next owner reports it
                lag = task.tick(clock_ms)
                report = task.report(self.worker, lag, now_ms=self.clock.now_ms())
                unread = {**self._missing_inputs(), **self._waiting_inputs(task.number), **report.unread}
                report = replace(report, unread=unread, generation=self.generation, started_ms=self._started_ms)
                task.send_closed_days(self.worker, now_ms=self.clock.now_ms())
                await self._outbox.report(report)
                await asyncio.sleep(0)
                while task.has_closing_backlog and time.monotonic() - started < _MAX_CLOSING_SECONDS:
                    task.send_closed_days(self.worker, now_ms=self.clock.now_ms())
                    await asyncio.sleep(0)  # events are applied in between
            await asyncio.sleep(max(0.0, _REPORT_SECONDS * self._interval_factor() - (time.monotonic() - started)))

    def _clock_ms(self) -> int:
        if self._settings.clock == "wall":
            return self.clock.now_ms()
        return max((task.newest_ms for task in self._tasks.values()), default=-1)

    async def _checkpoint_loop(self) -> None:
        """Write a checkpoint of each partition in every interval, one after the other at equal distances.

        Nothing else runs while a checkpoint is collected. All at once would hold up events, reports and pages for as
        long as all of them take together.
        """
        interval, collecting_seconds = seconds_of(self._settings.state.checkpoint_interval), 0.0
        while True:
            # At least half of the time is for events, so that a worker that catches up makes progress.
            seconds = max(interval * self._interval_factor(), 2 * collecting_seconds)
            tasks = list(self._tasks.values())
            collected_before = sum(task.collecting_seconds for task in tasks)
            self._saves = set()
            for task in tasks:
                self._saves.add(asyncio.create_task(self._save_in_background(task)))
                await asyncio.sleep(seconds / len(tasks))
            # Not `gather`: if this loop is cancelled, a checkpoint that is under way still comes to its end.
            await (asyncio.wait(self._saves) if self._saves else asyncio.sleep(seconds))
            collecting_seconds = sum(task.collecting_seconds for task in tasks) - collected_before

    def _interval_factor(self) -> int:
        """How much longer the intervals are: while it catches up, a worker reports and saves half as often."""
        return 2 if any(task.behind() for task in self._tasks.values()) else 1

    async def _save_in_background(self, task: PartitionTask) -> None:
        """Write a checkpoint. If that fails the worker stops at once, unless the partition was given up meanwhile."""
        try:
            await self._save(task)
        except Exception as error:  # noqa: BLE001  nobody waits for this task
            if self._tasks.get(task.number) is task:
                self.fail(error)

    def _raise_if_silent(self) -> None:
        """Raise Fenced after a silence so long that another worker may own the partitions. Called before each write."""
        silent = time.monotonic() - self._alive_at
        if silent > seconds_of(self._settings.kafka.session_timeout) and not self._only_worker:
            limit = self._settings.kafka.session_timeout
            problem = f"nothing ran for {silent:.1f} s: the process was frozen or had no CPU"
            raise Fenced(f"{problem}; kafka.session_timeout is {limit}")

    async def _save(self, task: PartitionTask) -> None:
        self._raise_if_silent()
        await task.checkpoint()
        self._checkpointed_offsets.update(
            {(topic, task.number): offset for topic, offset in task.checkpointed_offsets().items()}
        )
        await task.forget_users(keep=self._settings.state.cached_users // max(1, len(self._tasks)))

    async def _fail_on_error(self, loop: Callable[[], Any]) -> None:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001  after any error, a worker must not go on without checkpoints
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Stop the worker. Offsets after the last checkpoint are not committed."""
        if self.failure is None:
            self.failure = error
            log.error("the worker stops: nothing after the last checkpoint is acknowledged", reason=repr(error))
        self.failed.set()


def _adapted(at_once: int, fewest: int, count: int, seconds: float) -> int:
    """How many records are applied at once after `count` of them have taken `seconds` of CPU time."""
    if seconds > _MAX_SECONDS_AT_ONCE:
        return max(fewest, count // 2)
    return min(_MAX_RECORDS_AT_ONCE, 2 * count) if count == at_once else at_once
