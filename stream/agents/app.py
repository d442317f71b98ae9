"""The Faust app: one agent a topic, each decode -> apply -> yield, and the table that Faust recovers for us."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
import structlog
from faust.exceptions import ConsumerNotStarted
from faust.tables.recovery import Recovery

from stream.agents.kafka_options import faust_credentials
from stream.agents.table import StateTable, Stores
from stream.agents.tasks import Tasks
from stream.agents.transport import BatchConsumer, BatchSchema, Records
from stream.core.store import Store
from stream.core.time import seconds_of
from stream.settings import Settings

log = structlog.get_logger(__name__)

# A batch of so many records keeps the event loop busy for less than 50 ms, so that a rebalance never waits for one.
_BATCH_RECORDS = 2_000
# Faust counts batches: a handful in flight is plenty, and bounds memory.
_BATCHES_IN_FLIGHT = 4


class EngagementApp(faust.App):
    """A Faust app whose consumer asks our tasks for offsets, and that makes no directories of its own."""

    logger = logging.getLogger("faust.app")  # what Faust tells of itself is not ours to tell
    positions: Tasks

    def _create_directories(self) -> None:
        """State has a directory of its own, made when it is opened."""


class Worker:
    """A worker: consumes its share of the partitions until it is stopped."""

    def __init__(self, settings: Settings, *, open_store: Callable[[int], Store]) -> None:
        self._settings = settings
        self._stores = Stores(open_store)
        self.tasks = Tasks(settings, open_store=self._stores.of)
        self.app = self._new_app()
        self.app.positions = self.tasks
        changelog = self.app.topic(
            settings.changelog_topic,
            schema=BatchSchema(),
            partitions=settings.topics.partitions,
            acks=False,
            internal=False,
            maxsize=_BATCHES_IN_FLIGHT,
            allow_empty=True,
        )
        table = StateTable(self.app, changelog=changelog, stores=self._stores, open_tasks=self._open)
        self.app.tables.add(table)
        self._assigned: set[int] | None = None  # partitions; None: not in the group, or a rebalance is under way
        self.app.on_partitions_assigned.connect(self._on_assigned)
        self.app.on_partitions_revoked.connect(self._on_revoked)
        for topic in (*settings.input_topics.values(), settings.rekey_topic):
            self._add_agent(topic)

    def _new_app(self) -> EngagementApp:
        settings = self._settings
        session_seconds = seconds_of(settings.kafka.session_timeout)
        return EngagementApp(
            settings.app_id,
            broker=[f"kafkabatch://{server.strip()}" for server in settings.kafka.servers.split(",")],
            broker_credentials=faust_credentials(settings),
            broker_client_id=self.tasks.worker,
            broker_session_timeout=session_seconds,
            broker_heartbeat_interval=session_seconds / 4,
            broker_request_timeout=max(90, 2 * session_seconds),
            broker_max_poll_records=_BATCH_RECORDS,
            broker_commit_interval=2.0,
            consumer_max_fetch_size=8 * 1024 * 1024,
            consumer_auto_offset_reset="earliest",
            store="memory://",
            table_standby_replicas=settings.state.standbys,
            recovery_consistency_check=False,
            stream_buffer_maxsize=_BATCHES_IN_FLIGHT,
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=settings.topics.partitions,
            web_enabled=False,
            autodiscover=False,
            worker_redirect_stdouts=False,
        )

    def _add_agent(self, topic: str) -> None:
        async def apply(batches: Any) -> AsyncIterator[int]:
            records: Records
            async for records in batches:
                yield await self.tasks.apply(topic, records)

        self.app.agent(self.app.topic(topic, schema=BatchSchema()), name=f"engagement.{topic}")(apply)

    @property
    def consumer(self) -> BatchConsumer:
        """The consumer that Faust runs for us."""
        consumer: Any = self.app.consumer
        return consumer  # type: ignore[no-any-return]

    async def start(self) -> None:
        """Join the group and begin to consume."""
        await self.tasks.start(lambda topic, partition: self.consumer.remaining(topic, partition))
        await self.app.start()

    def recovering(self) -> tuple[int, int] | None:
        """Changelog rows read so far and records still to read, or None when no recovery is under way."""
        recovery: Recovery = self.app.tables.recovery  # type: ignore[attr-defined]  # missing from Faust's interface
        if not recovery.in_recovery:
            return None
        return self._stores.rows_recovered, recovery.active_remaining_total()

    def unready(self) -> list[str]:
        """Why some partition of this worker is not processed now; empty when all it was given are recovered."""
        if self.tasks.failure is not None:
            return [f"it stops: {self.tasks.failure!r}"]
        if self._assigned is None:
            return ["no partitions are assigned yet"]
        waiting = sorted(partition for partition in self._assigned if not self.tasks.owns(partition))
        if not waiting:
            return []
        progress = self.recovering()
        left = f": {progress[1]:,} records to read" if progress is not None else ""
        return [f"the state of partitions {', '.join(map(str, waiting))} is being recovered{left}"]

    async def broken(self) -> BaseException:
        """Wait until the worker can't go on; returns why."""
        while self.tasks.failure is None and not self.app.crashed:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.tasks.failed.wait(), 0.5)
        return self.tasks.failure or self.app.crash_reason or RuntimeError("the worker crashed")

    async def stop(self) -> None:
        """Write the last checkpoint, commit its offsets and leave the group."""
        await self.tasks.close(save=self.tasks.failure is None)
        if self.tasks.failure is None:
            with contextlib.suppress(ConsumerNotStarted):
                await self.consumer.force_commit()
        await self.app.stop()
        await self.tasks.stop()
        self._stores.close()

    async def _open(self, partitions: Any, seconds: float) -> None:
        await self.tasks.close(save=False)
        await self.tasks.open(partitions, recovery_seconds=seconds)

    async def _on_assigned(self, *args: Any, **_: Any) -> None:
        inputs = set(self._settings.input_topics.values())
        self._assigned = {tp.partition for tp in args[-1] if tp.topic in inputs}

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._assigned = None
        await self.tasks.close(save=True)
