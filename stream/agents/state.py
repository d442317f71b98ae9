"""The state of one partition as its task sees it: rows to read, and checkpoints to save.

Two kinds. A local store (RocksDB, memory) has a changelog in Kafka, which is the truth: a checkpoint is appended there
first, and whoever appends a run of a lower epoch is found out (`core/changelog.py`). A store that outlives the worker
(Redis) has no changelog: it takes a checkpoint whole, from the latest holder only.
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
from stream.core.store import StateLost, Store, StoreTaken

log = structlog.get_logger(__name__)

# Keys removed with one record batch: a megabyte or so.
_REMOVED_AT_ONCE = 10_000

# A partition that brings nothing is looked at so often. What a late worker has written to its changelog must be
# mended before Kafka may compact it (`inventory`).
_KEPT_EVERY_SECONDS = 20.0

# Who is outrun so often is not the only one who claims the partition again and again.
_MOST_CLAIMS = 3

_Result = TypeVar("_Result")


class State(Protocol):
    """What a task asks of its state."""

    @property
    def epoch(self) -> int:
        """Counts takeovers of the partition: of two owners the later one has the higher. 0 before `take_over`."""
        ...

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Become the one who writes. Raises StoreTaken when somebody else just did, and keeps the partition."""
        ...

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of some keys."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every item whose key begins with `prefix`."""
        ...

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Some items, and where to go on (`Store.part`)."""
        ...

    async def begin_anew(self) -> None:
        """Remove everything."""
        ...

    async def save(self, delta: Delta) -> None:
        """Write a checkpoint, all of it or nothing. Raises StoreTaken for who has lost the partition."""
        ...

    async def keep(self) -> None:
        """There is nothing to write: look all the same, from time to time, whether somebody else has written."""
        ...


class ChangelogEnd(Protocol):
    """The end of one partition's changelog."""

    async def append(self, run: Delta) -> int:
        """Append records as one batch; returns the offset of the last one."""
        ...

    async def read(self, first: int, end: int) -> Sequence[Entry]:
        """The records from offset `first` up to `end`, that one not."""
        ...


class StoredState:
    """State in a store that outlives the worker: opening it has fenced whoever held it before."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def epoch(self) -> int:
        return self._store.epoch

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """The store did that when it was opened."""

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return await in_thread(lambda: self._store.read(keys))

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(prefix)

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return await in_thread(lambda: self._store.part(prefix, after=after, count=count))

    async def begin_anew(self) -> None:
        await in_thread(self._store.clear)

    async def save(self, delta: Delta) -> None:
        held = self._store.offset()
        offset = 0 if held is None else held + 1
        await in_thread(lambda: self._store.write(delta, offset=offset))

    async def keep(self) -> None:
        """Nobody else can write."""


class LoggedState(StoredState):
    """State in a local store that follows a changelog, whose id in Kafka is `topic_id`.

    `overwritten` are keys that runs without effect have touched.
    """

    def __init__(
        self,
        store: Store,
        changelog: ChangelogEnd,
        *,
        overwritten: set[bytes] | None = None,
        topic_id: str = "",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(store)
        self._changelog = changelog
        self._overwritten = set() if overwritten is None else overwritten
        self._now_ms = now_ms
        self._writer = uuid.uuid4().hex[:12]
        self._seal = Seal(0, self._writer, 0, 0, topic_id=topic_id)
        self._appended_at = time.monotonic()

    @property
    def epoch(self) -> int:
        return self._seal.epoch

    # A local store answers sooner than a thread wakes up: while Kafka's thread decodes, that takes milliseconds.

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.read(keys)

    async def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return self._store.part(prefix, after=after, count=count)

    async def take_over(self, still_ours: Callable[[], bool] = lambda: True) -> None:
        """Append the first run of a new epoch. What the last owner wrote until then is taken in.

        Somebody may have appended one of the same epoch a moment before: the last owner, who died over it, or this
        worker, from whom the partition went and came back. While it is this worker's it then begins the epoch after it.
        """
        (stored,) = self._store.read([SEAL])
        before = None if stored is None else decode_seal(stored)
        if before is not None:
            self._seal = replace(self._seal, epoch=before.epoch, whole_from=before.whole_from)
        for _ in range(_MOST_CLAIMS):
            self._seal = replace(self._seal, epoch=self._seal.epoch + 1)
            run, between, last = await self._append([])
            replay = Replay(before)
            counted = replay.read(between)
            found = replay.seal
            if found is None or self._seal.outranks(found):
                break
            log.warning("somebody else has begun the same epoch", epoch=found.epoch, still_ours=still_ours())
            self._seal = replace(self._seal, epoch=found.epoch)
            if not still_ours():
                raise _taken_by(found)
        else:
            raise _taken_by(found)
        self._overwritten |= replay.overwritten
        if counted is not None:
            await in_thread(lambda: self._store.write(counted.items, offset=counted.offset))
        await self._put(run, last)
        await self._mend()

    async def save(self, delta: Delta) -> None:
        run, between, last = await self._append(delta)
        if between:
            replay = Replay(self._seal)
            replay.read(between)
            if replay.seal is None or replay.seal.writer != self._writer:
                raise _taken_by(replay.seal)
            log.warning("a worker that lost the partition has written to its changelog", records=len(between))
            self._overwritten |= replay.overwritten - {key for key, _ in run}
        await self._put(run, last)
        await self._mend()

    async def keep(self) -> None:
        """Append a run of nothing when there was none for a while, and mend what others wrote before it."""
        if time.monotonic() - self._appended_at >= _KEPT_EVERY_SECONDS:
            await self.save([])

    async def begin_anew(self) -> None:
        """Remove everything: from here on the changelog begins with an empty state."""
        keys = [key for key, _ in self._store.scan(b"") if key != SEAL]
        for first in range(0, len(keys), _REMOVED_AT_ONCE):
            await self.save([(key, None) for key in keys[first : first + _REMOVED_AT_ONCE]])
        held = self._store.offset()
        self._seal = replace(self._seal, whole_from=0 if held is None else held + 1)
        await self.save([])

    async def _append(self, delta: Delta) -> tuple[Delta, Sequence[Entry], int]:
        """Append a run; returns it with what others wrote before it, and the offset of its last record."""
        seal = replace(self._seal, records=len(delta) + 1, written_ms=self._now_ms())
        run: Delta = [*delta, (SEAL, encode_seal(seal))]
        last = await self._changelog.append(run)
        self._appended_at = time.monotonic()
        held = self._store.offset()
        end, first = 0 if held is None else held + 1, last - len(run) + 1
        if first < end:
            raise StateLost(f"the changelog goes on at offset {first}, but {end} were read: it was made anew")
        return run, await self._changelog.read(end, first) if first > end else (), last

    async def _put(self, run: Delta, last: int) -> None:
        await in_thread(lambda: self._store.write(run, offset=last))

    async def _mend(self) -> None:
        """Write again what runs without effect have touched: after compaction theirs would be the only copy."""
        if self._overwritten:
            keys = sorted(self._overwritten - {SEAL})
            self._overwritten = set()
            await self.save(list(zip(keys, await self.read(keys), strict=True)))


def _taken_by(seal: Seal | None) -> StoreTaken:
    epoch = None if seal is None else seal.epoch
    told = f"another worker has taken the partition over, with epoch {epoch}"
    return StoreTaken(f"{told}: this one was silent for too long, or both have the same kafka.instance_id")


async def in_thread(work: Callable[[], _Result]) -> _Result:
    """Run what waits for a disk or a server. Whoever cancels waits too: a store must not be closed under it."""
    working = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
