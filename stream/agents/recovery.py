"""Our state as a Faust table: Faust reads changelogs and says when a partition is up to date; we keep the rows.

A changelog is read in batches, as the input is, and what counts of each goes into the store of its partition in one
write.
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

# Kafka keeps removals for `delete.retention.ms`, a week (`inventory`): who was away longer would miss some.
_BELIEVED_MS = 6 * 86_400_000


class Stores:
    """The open stores of a worker, by partition, and how far each has followed its changelog."""

    def __init__(self, open_store: Callable[[int], Store]) -> None:
        self._open = open_store
        self._stores: dict[int, Store] = {}
        self._replays: dict[int, Replay] = {}
        self._held: dict[int, int | None] = {}
        self.rows_recovered = 0
        self.topic_id = ""  # Kafka's id of the changelog, where the broker tells

    def of(self, partition: int) -> Store:
        """The store of a partition, opened when it was not."""
        if partition not in self._stores:
            store = self._stores[partition] = self._open(partition)
            self._held[partition] = store.offset()
        return self._stores[partition]

    def held(self, partition: int) -> int | None:
        """The offset of the last record that an open store holds."""
        store = self._stores.get(partition)
        return None if store is None else store.offset()

    def begin(self, partition: int) -> int | None:
        """Begin to follow the changelog; returns the offset of the last record that the store holds."""
        store = self.of(partition)
        (value,) = store.read([SEAL])
        seal = None if value is None else decode_seal(value)
        if seal is not None and seal.written_ms < time.time_ns() // 1_000_000 - _BELIEVED_MS:
            log.warning(
                "the local state is of more than six days ago: it is read from the changelog anew", at=partition
            )
            store.clear()
            seal = self._held[partition] = None
        if seal is not None and seal.topic_id and self.topic_id and seal.topic_id != self.topic_id:
            log.warning("the changelog was made anew since the local state followed it", partition=partition)
            store.clear()
            seal = self._held[partition] = None
        before = self._replays.get(partition)
        self._replays[partition] = Replay(seal)
        if before is not None:
            self._replays[partition].overwritten |= before.overwritten
        return store.offset()

    def recover(self, partition: int, records: Sequence[Entry]) -> None:
        """Write what counts of a changelog's records into the store of its partition."""
        if partition not in self._replays:
            return  # it was given up while they were on their way
        counted = self._replays[partition].read(records)
        self.rows_recovered += len(records)
        if counted is not None:
            if counted.begins_anew:
                self.of(partition).clear()
            self.of(partition).write(counted.items, offset=counted.offset)

    def overwritten(self, partition: int) -> set[bytes]:
        """Keys of which the changelog's last value does not count."""
        return set(self._replays[partition].overwritten) if partition in self._replays else set()

    def is_whole(self, partition: int, *, first: int) -> bool:
        """Whether a changelog that begins at offset `first` and what the store held before make up the state."""
        held = self._held.get(partition)
        replay = self._replays.get(partition)
        whole_from = replay.seal.whole_from if replay is not None and replay.seal is not None else 0
        return first <= whole_from or (held is not None and held >= first - 1)

    def close(self, partitions: Collection[int] | None = None) -> None:
        """Close the stores of some partitions, or all."""
        for partition in list(self._stores) if partitions is None else partitions:
            store = self._stores.pop(partition, None)
            self._replays.pop(partition, None)
            if store is not None:
                store.close()


class _RecoveredStore(memory.Store[Any, Any]):
    """What Faust's recovery asks of a store."""

    logger = logging.getLogger("faust.stores")
    stores: Stores
    fail: Callable[[BaseException], None]

    def persisted_offset(self, tp: TP) -> int | None:
        """Where Faust begins to read. It is asked at each rebalance, of every partition."""
        recovery: Recovery = self.app.tables.recovery  # type: ignore[attr-defined]  # missing from its interface
        # What Faust still has is read again: of a run that was half read, it would write the other half alone.
        recovery.buffers[self.table].clear()
        # Of a partition once owned it would still gather several batches, and a standby would lag behind by those.
        recovery.buffer_sizes.clear()
        held = self.stores.begin(tp.partition)
        # Of None Faust makes where it stood before the rebalance, which an empty store does not hold.
        return -1 if held is None else held

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
        """Nothing to tidy: stores of lost partitions are closed when they are lost."""


class StateTable(faust.Table):  # type: ignore[type-arg]
    """The table whose changelog holds the checkpoints. A store that breaks stops the worker through `fail`."""

    logger = logging.getLogger("faust.tables")

    def __init__(
        self,
        app: Any,
        *,
        changelog: Any,
        stores: Stores,
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
