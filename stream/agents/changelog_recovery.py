"""Recover the state of partitions from their changelogs, as a Faust table.

Faust reads the changelogs and says when a partition is up to date. We write the rows to the store of the partition:
each batch of a changelog becomes one write.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

import faust
import structlog
from faust.stores import memory
from faust.tables.recovery import Recovery
from faust.types import TP, EventT

from stream.core.changelog import SEAL, Entry, Replay, decode_seal
from stream.core.store import Store

log = structlog.get_logger(__name__)

OpenTasks = Callable[[Collection[int], float], Awaitable[None]]

# A local state older than this is not used. Kafka keeps deletions in the changelog for a week (`kafka.topic_specs`), so
# an older state could miss some.
_MAX_LOCAL_STATE_AGE_MS = 6 * 86_400_000


class OpenStores:
    """The open stores of a worker, by partition, and how far each has followed its changelog."""

    def __init__(
        self, open_store: Callable[[int], Store], *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        """`now_ms` is the clock by which the age of a local state is judged."""
        self._open, self._now_ms = open_store, now_ms
        self._stores: dict[int, Store] = {}
        self._replays: dict[int, Replay] = {}
        self._offsets_when_opened: dict[int, int | None] = {}
        self.rows_recovered = 0
        self.topic_id = ""  # Kafka's id of the changelog; empty if unknown

    def open_store(self, partition: int) -> Store:
        """Return the store of a partition, and open it if necessary."""
        if partition not in self._stores:
            store = self._stores[partition] = self._open(partition)
            self._offsets_when_opened[partition] = store.offset()
        return self._stores[partition]

    def stored_offset(self, partition: int) -> int | None:
        """Return the changelog offset of the last write to an open store, or None."""
        store = self._stores.get(partition)
        return None if store is None else store.offset()

    def start_following(self, partition: int) -> int | None:
        """Prepare to follow the changelog of a partition. Returns the offset of the last write to the store, or None.

        A local state that is too old, or that followed another changelog of the same name, is deleted.
        """
        store = self.open_store(partition)
        (value,) = store.read([SEAL])
        seal = None if value is None else decode_seal(value)
        if seal is not None and seal.written_ms < self._now_ms() - _MAX_LOCAL_STATE_AGE_MS:
            log.warning("the local state is more than six days old: it is recovered from the changelog", at=partition)
            store.clear()
            seal = self._offsets_when_opened[partition] = None
        if seal is not None and seal.topic_id and self.topic_id and seal.topic_id != self.topic_id:
            log.warning("the changelog was created again since the local state followed it", partition=partition)
            store.clear()
            seal = self._offsets_when_opened[partition] = None
        before = self._replays.get(partition)
        self._replays[partition] = Replay(seal)
        if before is not None:
            self._replays[partition].overwritten |= before.overwritten
        return store.offset()

    def recover(self, partition: int, records: Sequence[Entry]) -> None:
        """Write the valid records of a batch of the changelog to the store of its partition."""
        if partition not in self._replays:
            return  # the partition was given up after the batch was fetched
        counted = self._replays[partition].read(records)
        self.rows_recovered += len(records)
        if counted is not None:
            if counted.replaces_all:
                self.open_store(partition).clear()
            self.open_store(partition).write(counted.items, offset=counted.offset)

    def overwritten(self, partition: int) -> set[bytes]:
        """Return the keys whose newest record in the changelog is from a replaced worker, and not valid."""
        return set(self._replays[partition].overwritten) if partition in self._replays else set()

    def follows_another_topic(self, partition: int) -> bool:
        """Whether the newest run in a changelog was written for another topic of the same name.

        A worker that did not notice that its changelog was created again has appended it. It is no whole state.
        """
        replay = self._replays.get(partition)
        seal = None if replay is None else replay.seal
        return bool(seal is not None and seal.topic_id and self.topic_id and seal.topic_id != self.topic_id)

    def is_complete(self, partition: int, *, first: int) -> bool:
        """Whether the store and a changelog that begins at offset `first` together have the whole state."""
        stored_offset = self._offsets_when_opened.get(partition)
        replay = self._replays.get(partition)
        whole_from = replay.seal.whole_from if replay is not None and replay.seal is not None else 0
        return first <= whole_from or (stored_offset is not None and stored_offset >= first - 1)

    def close(self, partitions: Collection[int] | None = None) -> None:
        """Close the stores of these partitions, or all."""
        for partition in list(self._stores) if partitions is None else partitions:
            store = self._stores.pop(partition, None)
            self._replays.pop(partition, None)
            if store is not None:
                store.close()


class _RecoveredStore(memory.Store[Any, Any]):
    """The store that Faust's recovery writes to. It passes everything on to `stores`."""

    logger = logging.getLogger("faust.stores")
    stores: OpenStores
    fail: Callable[[BaseException], None]

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the offset after which Faust reads. Faust asks for every partition at each rebalance."""
        recovery: Recovery = self.app.tables.recovery  # type: ignore[attr-defined]  # missing from its interface
        # Drop what Faust has buffered, because it is read again. Else half of a run could be written without the rest.
        recovery.buffers[self.table].clear()
        # For a partition that it once owned, Faust would keep buffering several batches, and a standby would lag
        # behind.
        recovery.buffer_sizes.clear()
        stored_offset = self.stores.start_following(tp.partition)
        # For None, Faust would go on where it stood before the rebalance, though the empty store has none of that.
        return -1 if stored_offset is None else stored_offset

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        try:
            for event in batch:
                records: Any = event.message.value
                self.stores.recover(event.message.partition, records)
        except Exception as error:  # noqa: BLE001  Faust would log it and go on without these rows
            self.fail(error)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        topic = self.table.changelog_topic.get_topic_name()
        self.stores.close({tp.partition for tp in revoked if tp.topic == topic})

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Do nothing: the stores of lost partitions are closed when they are lost."""


class StateTable(faust.Table):  # type: ignore[type-arg]
    """The Faust table whose changelog has the checkpoints. If a store breaks, `fail` stops the worker."""

    logger = logging.getLogger("faust.tables")

    def __init__(
        self,
        app: Any,
        *,
        changelog: Any,
        stores: OpenStores,
        open_tasks: OpenTasks,
        fail: Callable[[BaseException], None],
        **options: Any,
    ) -> None:
        super().__init__(
            app,
            name="state",
            changelog_topic=changelog,
            key_type=bytes,
            value_type=bytes,
            recovery_buffer_size=4,
            standby_buffer_size=1,
            **options,
        )
        self._stores = stores
        self._open_tasks = open_tasks
        self._fail = fail
        self._assigned_at = time.monotonic()

    def _new_store(self) -> Any:
        store = _RecoveredStore("memory://", self.app, self, loop=self.loop)
        store.stores = self._stores
        store.fail = self._fail
        return store

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self._assigned_at = time.monotonic()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps, standby_tps)
        await self._open_tasks({tp.partition for tp in active_tps}, time.monotonic() - self._assigned_at)
