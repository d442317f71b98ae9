"""The tasks of a worker: opened when a partition's state is recovered, closed when the partition goes.

At each rebalance all tasks are checkpointed and closed, and those that stay are opened again from their stores: what a
task holds in memory is then always what its changelog says, whoever owned the partition in between.
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

from stream.agents.state import State
from stream.agents.task import Task
from stream.agents.transport import Records
from stream.core.store import StoreAway, StoreTaken
from stream.core.time import seconds_of
from stream.kafka.mismatch import Place, StateMismatch, mismatch
from stream.kafka.outbox import Outbox
from stream.kafka.transactions import Reach
from stream.settings import Settings, Unavailable
from stream.telemetry import Idle, Standby, Unowned

log = structlog.get_logger(__name__)

_REPORT_SECONDS = 1.0
# Records of a batch that are applied without a pause: fewer where they take longer than this. Rows of very busy users
# cost ten times as much as others.
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 2_000, 100
_LONGEST_AT_ONCE_SECONDS = 0.05
# A last checkpoint is worth so long a wait, when partitions go: without it some events are read again.
_LAST_CHECKPOINT_SECONDS = 4.0

# How long to wait before a store that could not be reached is opened again.
_AWAY_SECONDS = 1.0

OpenState = Callable[[int, Outbox], Awaitable[State]]


class BatchMissing(RuntimeError):
    """A batch does not follow the one before it. The worker stops, and begins anew at the last checkpoint."""


class Fenced(Unavailable):
    """The partitions of the worker have another owner, or may have: it was silent for too long. It must not write."""


class TaskManager:
    """All partitions that this worker owns. A failure of one stops the worker before anything more is acknowledged."""

    def __init__(self, settings: Settings, *, open_state: OpenState) -> None:
        """`open_state` gives the state of a partition, up to date."""
        self._settings = settings
        self._open_state = open_state
        self._outbox = Outbox(settings)
        self._tasks: dict[int, Task] = {}
        self._opening: set[int] = set()
        self._openings: set[asyncio.Task[Task | None]] = set()
        self._saved: dict[tuple[str, int], int] = {}
        self._remaining: Callable[[str, int], int | None] = lambda topic, partition: None
        self._reach: Callable[[str, int], Reach] = lambda topic, partition: Reach()
        self._loops: list[asyncio.Task[None]] = []
        self._at_once = _MOST_AT_ONCE
        self._round = 0  # of partitions taken over and given up
        self._alive_at = time.monotonic()
        self.worker = f"{socket.gethostname()}-{getpid()}"
        self.generation = -1  # of the consumer group, when partitions were last assigned
        self._started_ms = _wall_ms()
        self.topic_ids: Mapping[str, str] = {}  # by Kafka topic, where the broker tells
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()

    async def start(
        self,
        remaining: Callable[[str, int], int | None],
        reach: Callable[[str, int], Reach] = lambda topic, partition: Reach(),
    ) -> None:
        """Begin to report and to checkpoint.

        `remaining` tells how many records of a partition are still to apply, `reach` how far it is read.
        """
        self._remaining, self._reach = remaining, reach
        self._alive_at = time.monotonic()
        await self._outbox.start()
        self._loops = [asyncio.create_task(self._guarded(loop)) for loop in (self._report_loop, self._checkpoint_loop)]

    async def stop(self) -> None:
        """Stop to report and to checkpoint, and close everything."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.close(save=self.failure is None)
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
        round_ = self._round
        self._opening = set(partitions)

        def wanted() -> bool:
            return self._round == round_ and still_ours()

        openings = [asyncio.create_task(self._open_one(number, recovery_seconds, wanted)) for number in partitions]
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
            assert isinstance(task, Task)
            self._tasks[task.number] = task
            self._saved.update({(topic, task.number): offset for topic, offset in task.saved().items()})
        log.info("partitions taken over", partitions=sorted(partitions), seconds=round(recovery_seconds, 3))

    async def _open_one(self, number: int, recovery_seconds: float, wanted: Callable[[], bool]) -> Task | None:
        """Open one partition; while its store is away it is asked again. None when it is not wanted any more."""
        while wanted():
            try:
                state = await self._open_state(number, self._outbox)
                task = Task(
                    self._settings,
                    number,
                    state,
                    self._outbox,
                    remaining=partial(self._remaining_of, number),
                    recovery_seconds=recovery_seconds,
                    reach=lambda topic: self._reach(topic, number),
                )
                await task.open(wanted)
                return task
            except StoreAway as error:  # noqa: PERF203  it waits between two rounds
                log.warning("the state can't be reached: nothing is consumed", partition=number, why=str(error))
                await self.tell_unowned(number, str(error))
                await asyncio.sleep(_AWAY_SECONDS)
        return None

    async def tell_unowned(self, partition: int, why: str, **progress: Any) -> None:
        """Tell the servers why a partition has no numbers of this worker now."""
        at_ms, started_ms = _wall_ms(), self._started_ms
        told = Unowned(partition, self.worker, at_ms, why=why, started_ms=started_ms, **progress)
        await self._outbox.report(told)

    async def tell_standby(self, partition: int, lag: int) -> None:
        """Tell the servers that this worker follows a partition."""
        await self._outbox.report(Standby(partition, self.worker, _wall_ms(), lag=lag, started_ms=self._started_ms))

    async def tell_idle(self) -> None:
        """Tell the servers that this worker is there, though it has no partition."""
        await self._outbox.report(Idle(self.worker, _wall_ms(), started_ms=self._started_ms))

    def _remaining_of(self, partition: int, topic: str) -> int | None:
        return self._remaining(topic, partition)

    async def close(self, *, save: bool, leaving: bool = False) -> None:
        """Give all partitions up, after a last checkpoint if `save`; the servers are told when the worker leaves.

        Afterwards nothing is written to their state any more: somebody else may become their owner now.
        """
        tasks, self._tasks = self._tasks, {}
        given_up = {**dict.fromkeys(self._opening, 0), **{number: task.epoch for number, task in tasks.items()}}
        self._opening = set()
        self._round += 1
        if save and tasks:
            try:
                saving = asyncio.gather(*(self._save(task) for task in tasks.values()))
                await asyncio.wait_for(saving, _LAST_CHECKPOINT_SECONDS)
            except Exception as error:  # noqa: BLE001  whatever it is: Kafka still has the events
                log.warning("the last checkpoint failed; its events will be read again", reason=repr(error))
        for task in tasks.values():
            task.close()
        await self._end_openings()
        if leaving:
            await self.tell_stopped(given_up)

    async def _end_openings(self) -> None:
        """Wait for partitions that are just being taken over, and given up already.

        A takeover that came to its end only when the next owner has begun would take the partition from that one.
        """
        if not self._openings:
            return
        _, unfinished = await asyncio.wait(self._openings, timeout=_LAST_CHECKPOINT_SECONDS)
        for opening in unfinished:
            opening.cancel()

    async def tell_stopped(self, epochs: Mapping[int, int]) -> None:
        """Tell the servers that nobody has these partitions now, unless somebody else has taken them over.

        By partition the epoch that ends, 0 of one that was not taken over yet.
        """
        if not isinstance(self.failure, (Fenced, StoreTaken)):
            for number, epoch in epochs.items():
                await self.tell_unowned(number, f"worker {self.worker} has stopped", epoch=epoch)

    # -- what the consumer asks ------------------------------------------------------------------------------------

    def owns(self, partition: int) -> bool:
        """Whether the state of a partition is open."""
        return partition in self._tasks

    def position(self, topic: str, partition: int) -> int | None:
        """The next offset to apply, or None when the state holds none."""
        task = self._tasks.get(partition)
        return task.position(topic) if task is not None else None

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Reading begins at this offset: all before it was applied, or is in Kafka no more."""
        if partition in self._tasks:
            self._tasks[partition].begin(topic, offset, topic_id=self.topic_ids.get(topic, ""))

    def refuse(self, place: Place) -> bool:
        """Stop when a topic does not fit to the state of its partition; returns whether it does not."""
        task = self._tasks.get(place.partition)
        if task is None:
            return False
        known = task.topic_id(place.topic)
        problem = mismatch(place._replace(id_in_state=known, id_now=self.topic_ids.get(place.topic, "")))
        if problem is not None:
            self.fail(StateMismatch(problem))
        return problem is not None

    def saved(self) -> Mapping[tuple[str, int], int]:
        """By topic and partition: the next offset that the checkpoints written so far hold."""
        return self._saved

    def replaced(self) -> None:
        """Stop: another worker has joined under the name of this one."""
        name = self._settings.kafka.instance_id
        self.fail(Fenced(f"another worker has joined with kafka.instance_id {name!r}: each needs one of its own"))

    # -- batches ---------------------------------------------------------------------------------------------------

    async def apply(self, topic: str, records: Records) -> int:
        """Apply a batch; returns how many of its records were new.

        A batch that a rebalance has overtaken is dropped, and so is one of a partition that was given up: the owner
        reads it again, in order.
        """
        task = self._tasks.get(records[0].partition)
        if task is None or records.reading.is_over or self.failure is not None:
            return 0
        try:
            self._refuse_gap(task, topic, records)
            return await self._apply_in_parts(task, topic, records)
        except Exception as error:  # noqa: BLE001  Faust would skip the batch: nothing may leave an agent
            if self._tasks.get(task.number) is task:
                self.fail(error)
            return 0

    def _refuse_gap(self, task: Task, topic: str, records: Records) -> None:
        applied_to = task.position(topic) or 0
        if records[0].offset < records.follows:
            told = f"offset {records[0].offset} came after {records.follows - 1}"
            raise BatchMissing(f"{topic}/{task.number} went back: {told}")
        if records.follows > applied_to:
            raise BatchMissing(f"{topic}/{task.number}: {applied_to} is next, but a batch follows {records.follows}")

    async def _apply_in_parts(self, task: Task, topic: str, records: Records) -> int:
        applied = first = 0
        while first < len(records):
            part = records[first : first + self._at_once]
            first += len(part)
            before = task.cpu_seconds
            applied += await task.apply(topic, part, wall_ms=_wall_ms(), clock_ms=self._clock_ms())
            self._set_pace(len(part), task.cpu_seconds - before)
            if task.unsaved_bytes > self._settings.state.max_delta_bytes // 2:
                await self._save(task)
            await asyncio.sleep(0)
            if self._tasks.get(task.number) is not task:
                return applied
        if records.reaches_end:
            task.note_end(topic)
        return applied

    def _set_pace(self, count: int, seconds: float) -> None:
        """So many records took so much CPU."""
        if seconds > _LONGEST_AT_ONCE_SECONDS:
            self._at_once = max(_FEWEST_AT_ONCE, count // 2)
        elif count == self._at_once:
            self._at_once = min(_MOST_AT_ONCE, 2 * count)

    # -- once a second ---------------------------------------------------------------------------------------------

    async def _report_loop(self) -> None:
        while True:
            self._refuse_if_silent()
            started = self._alive_at = time.monotonic()
            clock_ms = self._clock_ms()
            for task in list(self._tasks.values()):
                if self._tasks.get(task.number) is not task:
                    continue  # given up meanwhile: its next owner reports it
                lag = task.tick(clock_ms)
                report = task.report(self.worker, lag, wall_ms=_wall_ms())
                report = replace(report, generation=self.generation, started_ms=self._started_ms)
                task.tell_days(self.worker, wall_ms=_wall_ms())
                await self._outbox.report(report)
                await asyncio.sleep(0)
            await asyncio.sleep(max(0.0, _REPORT_SECONDS * self._pace() - (time.monotonic() - started)))

    def _clock_ms(self) -> int:
        if self._settings.clock == "wall":
            return _wall_ms()
        return max((task.newest_ms for task in self._tasks.values()), default=-1)

    async def _checkpoint_loop(self) -> None:
        interval = seconds_of(self._settings.state.checkpoint_interval)
        while True:
            started = time.monotonic()
            await asyncio.gather(*(self._save_unless_given_up(task) for task in self._tasks.values()))
            took = time.monotonic() - started
            # At least as long between checkpoints as for one: a worker that catches up must get on.
            await asyncio.sleep(max(interval * self._pace() - took, took))

    def _pace(self) -> int:
        """While it catches up a worker reports and saves half as often: people wait for the end of it."""
        return 2 if any(task.behind() for task in self._tasks.values()) else 1

    async def _save_unless_given_up(self, task: Task) -> None:
        try:
            await self._save(task)
        except Exception:
            if self._tasks.get(task.number) is task:
                raise

    def _refuse_if_silent(self) -> None:
        """After so long a silence somebody else may own the partitions. Whatever runs first finds it out."""
        silent = time.monotonic() - self._alive_at
        if silent > seconds_of(self._settings.kafka.session_timeout):
            limit = self._settings.kafka.session_timeout
            raise Fenced(f"nothing ran for {silent:.1f} s; kafka.session_timeout is {limit}")

    async def _save(self, task: Task) -> None:
        self._refuse_if_silent()
        await task.checkpoint()
        self._saved.update({(topic, task.number): offset for topic, offset in task.saved().items()})
        await task.forget_users(keep=self._settings.state.cached_users // max(1, len(self._tasks)))

    async def _guarded(self, loop: Callable[[], Any]) -> None:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001  whatever it is, a worker must not go on without checkpoints
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Stop: nothing after the last checkpoint is acknowledged."""
        if self.failure is None:
            self.failure = error
            log.error("the worker stops: nothing after the last checkpoint is acknowledged", reason=repr(error))
        self.failed.set()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
