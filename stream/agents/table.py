"""Our state as a Faust table: Faust reads changelogs and says when a partition is up to date; we keep the rows.

A changelog is read in batches, as the input is, and each goes into the store of its partition in one write.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import faust
import structlog
from faust.stores import memory
from faust.types import TP, EventT

from stream.core.store import Items, Store

log = structlog.get_logger(__name__)

OpenTasks = Callable[[Collection[int], float], Awaitable[None]]


class Stores:
    """The open stores of a worker, by partition."""

    def __init__(self, open_store: Callable[[int], Store]) -> None:
        self._open = open_store
        self._stores: dict[int, Store] = {}
        self.rows_recovered = 0

    def of(self, partition: int) -> Store:
        """The store of a partition, opened when it was not."""
        if partition not in self._stores:
            self._stores[partition] = self._open(partition)
        return self._stores[partition]

    def recover(self, partition: int, items: Items, *, offset: int) -> None:
        """Write what a changelog says into the store of its partition."""
        rows = list(items)
        self.of(partition).write(rows, offset=offset)
        self.rows_recovered += len(rows)

    def close(self, partitions: Collection[int] | None = None) -> None:
        """Close the stores of some partitions, or all."""
        for partition in list(self._stores) if partitions is None else partitions:
            store = self._stores.pop(partition, None)
            if store is not None:
                store.close()


class _RecoveredStore(memory.Store[Any, Any]):
    """What Faust's recovery asks of a store."""

    logger = logging.getLogger("faust.stores")
    stores: Stores

    def persisted_offset(self, tp: TP) -> int | None:
        return self.stores.of(tp.partition).offset()

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        for event in batch:
            records: Any = event.message.value
            items = ((record.key, record.value) for record in records if record.key is not None)
            self.stores.recover(event.message.partition, items, offset=records[-1].offset)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        topic = self.table.changelog_topic.get_topic_name()
        self.stores.close({tp.partition for tp in revoked if tp.topic == topic})

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Nothing to tidy: stores of lost partitions are closed when they are lost."""


class StateTable(faust.Table):  # type: ignore[type-arg]
    """The table whose changelog holds the checkpoints. A store that breaks stops the worker."""

    logger = logging.getLogger("faust.tables")

    def __init__(self, app: Any, *, changelog: Any, stores: Stores, open_tasks: OpenTasks, **options: Any) -> None:
        super().__init__(
            app,
            name="state",
            changelog_topic=changelog,
            key_type=bytes,
            value_type=bytes,
            recovery_buffer_size=4,
            **options,
        )
        self._stores = stores
        self._open_tasks = open_tasks
        self._assigned_at = time.monotonic()

    def _new_store(self) -> Any:
        store = _RecoveredStore("memory://", self.app, self, loop=self.loop)
        store.stores = self._stores
        return store

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self._assigned_at = time.monotonic()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps, standby_tps)
        await self._open_tasks({tp.partition for tp in active_tps}, time.monotonic() - self._assigned_at)
