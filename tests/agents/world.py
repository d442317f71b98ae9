"""One partition and the processes that may own it, with a changelog, disks and a shared store that are lists and dicts.

What runs in it is the worker's own code: tasks, state, replay. Simulated is what surrounds it: a process that dies in
the middle of a checkpoint, one that was frozen and does not know that it lost the partition, a disk that is gone, a
compaction.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from stream.agents.changelog_recovery import OpenStores
from stream.agents.partition_task import HalfDone, PartitionTask
from stream.agents.task_state import ChangelogState, SharedState, State
from stream.core.changelog import SEAL
from stream.core.partition.partition import Partition
from stream.core.partition.rows import Delta
from stream.core.snapshot import Snapshot
from stream.core.store import Items, PartitionTakenOver, Store
from stream.settings import load
from stream.state.memory import MemoryStore
from tests.core.live import deliver
from tests.export.boards import Event, moment

NOW_MS = moment("2026-03-10T12:00:00Z")
PROCESSES = 3
USERS = "abc"
CRASHES = ("before append", "after append", "before store", "after store")

SETTINGS = load(None, {}, {"topics.partitions": 1, "topics.privacy": "privacy"})

_Result = TypeVar("_Result")


class Crash(Exception):
    """The process is gone."""


class Entry(NamedTuple):
    """A record of the changelog."""

    offset: int
    key: bytes | None
    value: bytes | None


class Log:
    """The changelog: a run is appended whole, and read from any offset."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.end = 0
        self.crash_at = ""

    async def append(self, run: Delta) -> int:
        if self.crash_at == "before append":
            raise Crash
        self.entries += [Entry(self.end + place, key, value) for place, (key, value) in enumerate(run)]
        self.end += len(run)
        if self.crash_at == "after append":
            raise Crash
        return self.end - 1

    async def read(self, first: int, end: int) -> list[Entry]:
        return [entry for entry in self.entries if first <= entry.offset < end]

    def compact(self, *, upto: int) -> None:
        """Keep of each key the last record before an offset, and all from there on."""
        last = {entry.key: entry.offset for entry in self.entries if entry.offset < upto}
        self.entries = [e for e in self.entries if e.offset >= upto or last[e.key] == e.offset]


class Disk(MemoryStore):
    """A local store that outlives its process."""

    crash_at = ""

    def write(self, items: Items, *, offset: int) -> None:
        if self.crash_at == "before store":
            raise Crash
        super().write(items, offset=offset)
        if self.crash_at == "after store":
            raise Crash


class Shared:
    """What a store that all processes share holds, and the epoch of its holder."""

    def __init__(self) -> None:
        self.disk = MemoryStore()
        self.epoch = 0

    def open(self) -> Held:
        """Take the partition over."""
        self.epoch += 1
        return Held(self, self.epoch)


class Held(Store):
    """The shared store as one holder sees it."""

    def __init__(self, shared: Shared, epoch: int) -> None:
        self._shared, self._epoch, self._disk = shared, epoch, shared.disk
        self.crash_at = ""

    def read(self, keys: Any) -> list[bytes | None]:
        return self._disk.read(keys)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._disk.scan(prefix)

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return self._disk.scan_some(prefix, after=after, count=count)

    def write(self, items: Items, *, offset: int) -> None:
        if self.crash_at in ("before append", "before store"):
            raise Crash
        if self.is_taken():
            raise PartitionTakenOver("another process has taken it over")
        self._disk.write(items, offset=offset)
        if self.crash_at:
            raise Crash

    def is_taken(self) -> bool:
        return self._epoch != self._shared.epoch

    def offset(self) -> int | None:
        return self._disk.offset()

    def clear(self) -> None:
        self._disk.clear()

    @property
    def epoch(self) -> int:
        return self._epoch

    def close(self) -> None:
        """Nothing to release."""


class Sent:
    """An outbox from which all arrives at once: who was erased is told there."""

    async def tell_others(self, *_: object, **__: object) -> list[asyncio.Future[None]]:
        return []  # there is one partition

    async def send_score(self, partition: int, user: str, message: object) -> asyncio.Future[None]:
        return _arrived()

    async def send_audit(self, partition: int, record: object) -> asyncio.Future[None]:
        return _arrived()


def _arrived() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


class Process:
    """A worker that may own the partition."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.disk = Disk()
        self.stores = OpenStores(lambda _: self.disk)
        self.task: PartitionTask | None = None
        self.held: Held | None = None
        self.state: ChangelogState

    def crash_at(self, step: str) -> None:
        self._world.log.crash_at = self.disk.crash_at = step
        if self.held is not None:
            self.held.crash_at = step

    def die(self) -> None:
        """End, with what was in memory; in memory may be all of the state."""
        self.task = None
        self.stores = OpenStores(lambda _: self.disk)
        if self._world.kind == "memory":
            self.disk = Disk()

    def follow(self, count: int) -> None:
        """Read so many more records of the changelog, as a standby or in a recovery."""
        held = self.stores.start_following(0)
        after = -1 if held is None else held
        records = [entry for entry in self._world.log.entries if entry.offset > after][:count]
        if records:
            self.stores.recover(0, records)

    def recover(self) -> None:
        """Read the changelog to its end, some records at a time."""
        held = self.stores.start_following(0)
        after = -1 if held is None else held
        records = [entry for entry in self._world.log.entries if entry.offset > after]
        for first in range(0, len(records), 3):
            self.stores.recover(0, records[first : first + 3])

    async def take_over(self) -> None:
        state: State
        if self._world.kind == "redis":
            self.held = self._world.shared.open()
            state = SharedState(self.held)
        else:
            state = ChangelogState(self.stores.open_store(0), self._world.log, overwritten=self.stores.overwritten(0))
            self.state = state
        sent: Any = Sent()
        self.task = PartitionTask(SETTINGS, 0, state, sent, remaining=lambda topic: 0, recovery_seconds=0.0)
        await self.task.open()


class World:
    """A topic or two, and who reads them. `kind` is rocksdb, memory or redis."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.log = Log()
        self.shared = Shared()
        self.inputs: dict[str, list[Event]] = {"logins": [], "sessions": []}
        self.processes = [Process(self) for _ in range(PROCESSES)]
        self.owner: Process | None = None
        self.frozen: list[Process] = []  # they lost the partition and don't know it
        self.epoch = 0  # of the last takeover
        self.compactable = 0  # up to here the owners have mended what late ones wrote
        self.committed: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @property
    def owning(self) -> Process:
        """The owner, where there is one."""
        assert self.owner is not None
        return self.owner

    def run(self, work: Awaitable[_Result]) -> _Result:
        return self._loop.run_until_complete(work)

    # -- what happens ----------------------------------------------------------------------------------------------

    def produce(self, topic: str, user: str, minutes_ago: int) -> None:
        told: dict[str, object] = {"user_id": user, "event_time": NOW_MS - minutes_ago * 60_000}
        if topic == "sessions":
            told["type"] = "page_view"
        records = self.inputs[topic]
        records.append(Event(msgspec.json.encode(told), len(records), key=user.encode(), timestamp=NOW_MS))

    def deliver(self, topic: str, count: int, *, again: int) -> None:
        """Give the owner so many more records, and before them some that it has had."""
        assert self.owner is not None
        task = self.owner.task
        assert task is not None
        position = self.next_of(task, topic)
        records: Any = self.inputs[topic][max(0, position - again) : position + count]
        if records:
            self.run(task.apply(topic, records, now_ms=NOW_MS, clock_ms=NOW_MS))

    def next_of(self, task: PartitionTask, topic: str) -> int:
        return task.position(topic) or 0

    def checkpoint(self, process: Process, *, crash_at: str = "", dies: bool = True) -> None:
        """Let a process save; it dies at a step of it, when its run is refused, or not at all.

        If it does not die at that step, the checkpoint has failed, and the process goes on as if nobody had noticed.
        """
        assert process.task is not None
        process.crash_at(crash_at)
        try:
            self.run(process.task.checkpoint())
        except Crash:
            if dies:
                self.lose(process)
        except (PartitionTakenOver, HalfDone):
            self.lose(process)
        else:
            if process is self.owner:
                self.committed.update(process.task.checkpointed_offsets())
                self._note_what_is_mended()
        finally:
            process.crash_at("")

    def pass_time(self) -> None:
        """So long that a worker looks at its changelog even if it has nothing to save, and Kafka may compact it."""
        assert self.owning.task is not None
        if self.kind != "redis":
            self.owning.state._appended_at = -math.inf
            self.checkpoint(self.owning)
            if self.owner is None:
                return
            self.compactable = self.log.end
            self.log.compact(upto=self.compactable)

    def lose(self, process: Process) -> None:
        """A process is gone."""
        process.die()
        if process is self.owner:
            self.owner = None
        if process in self.frozen:
            self.frozen.remove(process)

    def freeze(self) -> None:
        """The owner is silent for so long that the group takes it for dead."""
        assert self.owner is not None
        self.frozen.append(self.owner)
        self.owner = None

    def take_over(self, process: Process, *, meanwhile: Callable[[], None] = lambda: None, crash_at: str = "") -> None:
        """The group gives the partition to a process; one that was frozen has woken up and joined again."""
        if process in self.frozen:
            self.frozen.remove(process)
        process.task = None
        if self.kind != "redis":
            process.recover()
        meanwhile()
        process.crash_at(crash_at)
        try:
            self.run(process.take_over())
        except Crash:
            process.die()
            return
        finally:
            process.crash_at("")
        self.owner = process
        task = self.owning.task
        assert task is not None
        assert task.epoch > self.epoch, "who has taken over is known by a higher epoch"
        self.epoch = task.epoch
        self._note_what_is_mended()

    def _note_what_is_mended(self) -> None:
        """The owner has seen all up to its own last run; what late ones wrote after it lies there untouched for now."""
        if self.kind != "redis":
            held = self.owning.stores.open_store(0).offset()
            self.compactable = 0 if held is None else held + 1

    # -- what must come out ----------------------------------------------------------------------------------------

    def recount(self) -> Snapshot:
        """What one partition tells that has read everything once."""
        partition = Partition(SETTINGS.rules)
        for topic, records in self.inputs.items():
            if records:
                deliver(partition, topic, records, not_after_ms=NOW_MS)
        partition.tick(NOW_MS, behind=())
        return _numbers(partition.snapshot())

    def touch_every_user(self) -> None:
        """One more event each: what a row contributed is taken back, so a wrong row shows."""
        for user in USERS:
            self.produce("logins", user, 0)

    def outcome(self, process: Process) -> Snapshot:
        """What a process tells that has nothing but what was saved, and perhaps a disk, and reads the rest."""
        self.owner = None
        self.take_over(process)
        task = self.owning.task
        assert task is not None
        for topic, offset in self.committed.items():
            assert (task.position(topic) or 0) >= offset, "more was committed than was saved"
        for topic, records in self.inputs.items():
            self.deliver(topic, len(records), again=0)
        task.tick(NOW_MS)
        return _numbers(task._core.snapshot())


def _numbers(snapshot: Snapshot) -> Snapshot:
    """A snapshot without what may differ: how many pages the totals take."""
    return replace(snapshot, rows={"user": snapshot.rows["user"]})


def without(keys: Callable[[bytes], bool], delta: Delta) -> Delta:
    """A delta that forgets some keys."""
    return [item for item in delta if item[0] == SEAL or not keys(item[0])]
