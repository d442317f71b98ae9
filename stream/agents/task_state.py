"""The state of one partition as its task uses it: read rows, and save checkpoints.

There are two kinds. A local store (RocksDB, memory) has a changelog in Kafka, which is the authority: a checkpoint is
first appended there, and runs of a replaced worker are recognised by their lower epoch (`core/changelog.py`). A store
that all workers share (Redis) has no changelog: it takes a whole checkpoint, but only from the worker that opened the
partition last.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import structlog
from msgspec.structs import replace

from stream.core.changelog import SEAL, Entry, Replay, Seal, decode_seal, encode_seal
from stream.core.partition.rows import Delta
from stream.core.store import PartitionTakenOver, StateLost, Store

log = structlog.get_logger(__name__)

# How many keys are removed in one record batch, which then has about a megabyte.
_KEYS_REMOVED_PER_BATCH = 10_000

# How often the owner of a quiet partition appends an empty run, to notice what a replaced worker has written to the
# changelog. It must write over it before Kafka may compact it (`kafka.topic_specs`).
_IDLE_APPEND_SECONDS = 20.0

# After this many attempts another worker is still claiming the partition as well, so this one gives up.
_MAX_CLAIMS = 3

_Result = TypeVar("_Result")


class State(Protocol):
    """What a task needs from its state."""

    @property
    def epoch(self) -> int:
        """Grows by one with each takeover of the partition; of two owners the later has the higher. 0 if not owned."""
        ...

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Become the owner. Raises PartitionTakenOver if another worker became the owner meanwhile and stays it."""
        ...

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, or None where there is none."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every item whose key begins with `prefix`."""
        ...

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return some items, and where to go on (`Store.part`)."""
        ...

    async def clear(self) -> None:
        """Remove everything."""
        ...

    async def save(self, delta: Delta) -> None:
        """Write a checkpoint, all of it or nothing. Raises PartitionTakenOver if the partition has another owner."""
        ...

    async def check_changelog(self) -> None:
        """Check from time to time, while there is nothing to save, whether a replaced worker has written."""
        ...


class Changelog(Protocol):
    """The changelog of one partition."""

    async def append(self, run: Delta) -> int:
        """Append records as one batch; returns the offset of the last one."""
        ...

    async def read(self, first: int, end: int) -> Sequence[Entry]:
        """Return the records from offset `first` up to, but not including, `end`."""
        ...


class SharedState:
    """State in a store that all workers share. Opening the store has fenced the earlier owner."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def epoch(self) -> int:
        return self._store.epoch

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Do nothing: opening the store has taken the partition over."""

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return await in_thread(lambda: self._store.read(keys))

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(prefix)

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return await in_thread(lambda: self._store.scan_some(prefix, after=after, count=count))

    async def clear(self) -> None:
        await in_thread(self._store.clear)

    async def save(self, delta: Delta) -> None:
        held = self._store.offset()
        offset = 0 if held is None else held + 1
        await in_thread(lambda: self._store.write(delta, offset=offset))

    async def check_changelog(self) -> None:
        """Do nothing: no other worker can write."""


class ChangelogState(SharedState):
    """State in a local store that follows a changelog. `topic_id` is Kafka's id of the changelog topic.

    `overwritten` are keys for which a replaced worker has written the newest record in the changelog. `commands` is
    what an operator is told when the changelog was created again.
    """

    def __init__(
        self,
        store: Store,
        changelog: Changelog,
        *,
        overwritten: set[bytes] | None = None,
        topic_id: str = "",
        commands: str = "",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(store)
        self._changelog = changelog
        self._overwritten = set() if overwritten is None else overwritten
        self._commands = commands
        self._now_ms = now_ms
        self._writer = uuid.uuid4().hex[:12]
        self._seal = Seal(0, self._writer, 0, 0, topic_id=topic_id)
        self._appended_at = time.monotonic()

    @property
    def epoch(self) -> int:
        return self._seal.epoch

    # Without a thread: while Kafka's thread decodes, a thread takes milliseconds to wake up, a local store answers
    # sooner.

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.read(keys)

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return self._store.scan_some(prefix, after=after, count=count)

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Append the first run of a new epoch, and take in what the last owner wrote until then.

        Another run of the same epoch may have been appended a moment before: by the last owner, which then died, or by
        this worker, if the partition was taken from it and given back. Then, while the partition is this worker's, it
        appends a run of the next epoch.
        """
        (stored,) = self._store.read([SEAL])
        before = None if stored is None else decode_seal(stored)
        if before is not None:
            self._seal = replace(self._seal, epoch=before.epoch, whole_from=before.whole_from)
        for _ in range(_MAX_CLAIMS):
            self._seal = replace(self._seal, epoch=self._seal.epoch + 1)
            run, between, last = await self._append([])
            replay = Replay(before)
            counted = replay.read(between)
            found = replay.seal
            if found is None or self._seal.outranks(found):
                break
            log.warning("another worker has begun the same epoch", epoch=found.epoch, still_ours=still_ours())
            self._seal = replace(self._seal, epoch=found.epoch)
            if not still_ours():
                raise _taken_over_error(found)
        else:
            raise _taken_over_error(found)
        self._overwritten |= replay.overwritten
        if counted is not None:
            await in_thread(lambda: self._store.write(counted.items, offset=counted.offset))
        await self._write_to_store(run, last)
        await self._rewrite_overwritten()

    async def save(self, delta: Delta) -> None:
        run, between, last = await self._append(delta)
        if between:
            replay = Replay(self._seal)
            replay.read(between)
            if replay.seal is None or replay.seal.writer != self._writer:
                raise _taken_over_error(replay.seal)
            log.warning("a worker that lost the partition has written to its changelog", records=len(between))
            self._overwritten |= replay.overwritten - {key for key, _ in run}
        await self._write_to_store(run, last)
        await self._rewrite_overwritten()

    async def check_changelog(self) -> None:
        """Append an empty run if none was appended for a while. This overwrites what replaced workers have written."""
        if time.monotonic() - self._appended_at >= _IDLE_APPEND_SECONDS:
            await self.save([])

    async def clear(self) -> None:
        """Remove everything. From here on the changelog begins with an empty state."""
        keys = [key for key, _ in self._store.scan(b"") if key != SEAL]
        for first in range(0, len(keys), _KEYS_REMOVED_PER_BATCH):
            await self.save([(key, None) for key in keys[first : first + _KEYS_REMOVED_PER_BATCH]])
        held = self._store.offset()
        self._seal = replace(self._seal, whole_from=0 if held is None else held + 1)
        await self.save([])

    async def _append(self, delta: Delta) -> tuple[Delta, Sequence[Entry], int]:
        """Append a run. Returns it, the records that others wrote before it, and the offset of its last record."""
        seal = replace(self._seal, records=len(delta) + 1, written_ms=self._now_ms())
        run: Delta = [*delta, (SEAL, encode_seal(seal))]
        last = await self._changelog.append(run)
        self._appended_at = time.monotonic()
        held = self._store.offset()
        end, first = 0 if held is None else held + 1, last - len(run) + 1
        if first < end:
            problem = f"the changelog goes on at offset {first}, but {end} were read: it was created again"
            raise StateLost(f"{problem}{self._commands}")
        return run, await self._changelog.read(end, first) if first > end else (), last

    async def _write_to_store(self, run: Delta, last: int) -> None:
        await in_thread(lambda: self._store.write(run, offset=last))

    async def _rewrite_overwritten(self) -> None:
        """Write again the keys that replaced workers have written, else compaction may delete our older records."""
        if self._overwritten:
            keys = sorted(self._overwritten - {SEAL})
            self._overwritten = set()
            await self.save(list(zip(keys, await self.read(keys), strict=True)))


def _taken_over_error(seal: Seal | None) -> PartitionTakenOver:
    epoch = None if seal is None else seal.epoch
    problem = f"another worker has taken the partition over, with epoch {epoch}"
    return PartitionTakenOver(f"{problem}: this one was silent for too long, or both have the same kafka.instance_id")


async def in_thread(work: Callable[[], _Result]) -> _Result:
    """Run something that waits for a disk or a server in a thread. If cancelled, still wait for its end.

    Otherwise the caller could close the store while it is in use.
    """
    working = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
