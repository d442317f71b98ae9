"""The worker: a Faust app with one agent for each topic, and a table that Faust recovers from the changelog."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.tables.recovery import Recovery
from faust.types import TP

from stream.agents.assignor import WholePartitionAssignor
from stream.agents.changelog_recovery import OpenStores, StateTable
from stream.agents.concurrent_batches import ConcurrentBatches
from stream.agents.credentials import faust_credentials
from stream.agents.task_manager import TaskManager
from stream.agents.task_state import ChangelogState, SharedState, State, in_thread
from stream.agents.timekeeping import AskStore
from stream.agents.transport import BatchConsumer, BatchSchema, Records
from stream.core.store import Store, StoreUnavailable
from stream.core.time import seconds_of
from stream.kafka.access_tokens import token_notes, token_problem
from stream.kafka.options import client_options
from stream.kafka.outbox import Outbox, PartitionChangelog
from stream.kafka.rights import Right, rights_of
from stream.kafka.state_mismatch import (
    StateMismatch,
    commands_for_new_changelog,
    describe_new_changelog,
    find_changelog_mismatch,
)
from stream.kafka.topic_watch import TopicWatch
from stream.kafka.topics import topic_ids
from stream.settings import Settings, Unavailable

log = structlog.get_logger(__name__)

_PROGRESS_SECONDS = 2.0
_CHECK_RANGES_SECONDS = 1.0

# How many batches of an input are applied at the same time if the store is across a network. A local store answers at
# once, so there it is one.
_MAX_CONCURRENT_BATCHES = 4

# How long a worker tries to commit its offsets and leave the group after the last checkpoint. It loses nothing if it
# fails: the others notice after a session timeout.
_LEAVE_TIMEOUT_SECONDS = 3.0

# A worker whose store can't be reached reads nothing. After its poll interval aiokafka would make it leave the group
# and never join again, so the interval is endless.
_ENDLESS_SECONDS = 1_000_000_000.0


class EngagementApp(faust.App):
    """A Faust app whose consumer takes the offsets from our tasks, and that creates no directories.

    `on_assigned` is called with each assignment before its recovery begins, which Faust's own signal may come after.
    """

    logger = logging.getLogger("faust.app")  # so that our log level does not apply to what Faust logs
    task_offsets: TaskManager
    settings: Settings
    on_assigned: Callable[[Collection[TP]], None]

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.on_assigned(assigned)
        await super()._on_partitions_assigned(assigned, generation_id)

    def _create_directories(self) -> None:
        """Do nothing: a store creates its own directory when it is opened."""


class Worker:
    """A worker: it processes its share of the partitions until it is stopped.

    `open_store` opens the store of a partition, `check_store` checks that stores can be trusted, `close_store` is
    called when the worker has stopped. A `shared` store is used by all workers and has no changelog, so it is up to
    date as soon as it is opened; `ask_store` asks it for the time. `only_worker` says that no other worker can take
    over the partitions.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        open_store: Callable[[int], Store],
        check_store: Callable[[], None] = lambda: None,
        close_store: Callable[[], None] = lambda: None,
        shared: bool = False,
        ask_store: AskStore | None = None,
        only_worker: bool = False,
    ) -> None:
        self._settings = settings
        self._check_store, self._close_store = check_store, close_store
        self._store_checked = False
        self._stores = OpenStores(open_store, now_ms=lambda: self.tasks.clock.now_ms())
        self._open_store = open_store
        self._shared = shared
        self._reporting: list[asyncio.Task[None]] = []
        self._topic_watch: TopicWatch | None = None
        self.tasks = TaskManager(
            settings,
            open_state=self._open_shared_state if shared else self._open_local_state,
            ask_store=ask_store,
            only_worker=only_worker,
        )
        self.app = self._new_app()
        self.app.task_offsets, self.app.settings = self.tasks, settings
        # The partitions of this worker: a new set with each assignment, None during a rebalance.
        self._assigned: set[int] | None = None
        self.app.on_assigned = self._remember_assigned
        if shared:
            self.app.on_rebalance_complete.connect(self._open_assigned)
        else:
            self._add_table()
        self.app.on_partitions_revoked.connect(self._close_revoked)
        for topic in (*settings.input_topics.values(), settings.rekey_topic):
            self._add_agent(topic)

    def _add_table(self) -> None:
        changelog = self.app.topic(
            self._settings.changelog_topic,
            schema=BatchSchema(),
            partitions=self._settings.topics.partitions,
            acks=False,
            internal=False,
            maxsize=self._settings.kafka.batches_in_flight,
            allow_empty=True,
        )
        self._table = StateTable(
            self.app,
            changelog=changelog,
            stores=self._stores,
            open_tasks=self._open_recovered,
            fail=self.tasks.fail,
        )
        self.app.tables.add(self._table)

    def _new_app(self) -> EngagementApp:
        settings = self._settings
        session_seconds = seconds_of(settings.kafka.session_timeout)
        return EngagementApp(
            settings.app_id,
            env={},  # else Faust would obey variables such as WEB_PORT, which may be set for other programs
            canonical_url="http://worker",  # the same for all, because a worker may have another host after a restart
            broker=[f"kafkabatch://{server.strip()}" for server in settings.kafka.servers.split(",")],
            broker_credentials=faust_credentials(settings),
            broker_client_id=self.tasks.worker,
            consumer_group_instance_id=settings.kafka.instance_id or None,
            broker_session_timeout=session_seconds,
            broker_heartbeat_interval=session_seconds / 4,
            broker_request_timeout=max(90, 2 * session_seconds),  # a connection has less (`kafka.timeouts`)
            broker_max_poll_interval=_ENDLESS_SECONDS,
            broker_max_poll_records=settings.kafka.batch_records,
            broker_commit_interval=2.0,
            consumer_max_fetch_size=settings.kafka.fetch_bytes,
            consumer_auto_offset_reset="earliest",
            store="memory://",
            table_standby_replicas=0 if self._shared else settings.state.standbys,
            recovery_consistency_check=False,
            stream_buffer_maxsize=self._settings.kafka.batches_in_flight,
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=settings.topics.partitions,
            PartitionAssignor=WholePartitionAssignor,
            web_enabled=False,
            autodiscover=False,
            worker_redirect_stdouts=False,
        )

    def _add_agent(self, topic: str) -> None:
        async def apply(batches: Any) -> AsyncIterator[int]:
            records: Records
            batches_of_partitions = ConcurrentBatches(
                self.tasks.apply, max_concurrent=_MAX_CONCURRENT_BATCHES if self._shared else 1
            )
            async for records in batches:
                await batches_of_partitions.start(topic, records)
                yield len(records)

        self.app.agent(self.app.topic(topic, schema=BatchSchema()), name=f"engagement.{topic}")(apply)

    @property
    def consumer(self) -> BatchConsumer:
        """The consumer of the Faust app."""
        consumer: Any = self.app.consumer
        return consumer  # type: ignore[no-any-return]

    def check_store(self) -> None:
        """Check once that the stores can be trusted. Raises StoreFailed or SettingsError if they can't."""
        if not self._store_checked:
            with contextlib.suppress(StoreUnavailable):  # each partition reports this later and waits for the store
                self._check_store()
            self._store_checked = True

    async def start(self) -> None:
        """Join the group and start to process. Raises StoreFailed or SettingsError, as `check_store`."""
        await in_thread(self.check_store)
        inputs = [*self._settings.input_topics.values(), self._settings.rekey_topic]
        topics = [*inputs, *([] if self._shared else [self._settings.changelog_topic])]
        options = client_options(self._settings)
        ids = await in_thread(lambda: topic_ids(topics, client_options=options))
        self.tasks.topic_ids = ids
        self._topic_watch = TopicWatch(
            topics,
            client_options=options,
            on_ids=self.tasks.take_topic_ids,
            rights=rights_of("worker", self._settings),
            on_missing_rights=self._take_missing_rights,
        )
        self._topic_watch.start()
        self._stores.topic_id = ids.get(self._settings.changelog_topic, "")
        await self.tasks.start(
            lambda topic, partition: self.consumer.remaining(topic, partition),
            lambda topic, partition: self.consumer.read_progress(topic, partition),
            lambda topic, partition: self.consumer.pause_reading(topic, partition),
        )
        self._reporting = [asyncio.create_task(work()) for work in (self._report_progress, self._check_ranges)]
        await self.app.start()  # this includes the first recovery

    def _take_missing_rights(self, missing: list[Right]) -> None:
        """Report rights that were taken away, and read the topics again that this worker may read again."""
        self.tasks.take_missing_rights(missing)
        may_not_read = {right.name for right in missing if right.operation == "Read"}
        with contextlib.suppress(ConsumerNotStarted):
            self.consumer.resume_allowed(may_not_read)

    # -- recovery --------------------------------------------------------------------------------------------------

    @property
    def _recovery(self) -> Recovery:
        recovery: Recovery = self.app.tables.recovery  # type: ignore[attr-defined]  # missing from Faust's interface
        return recovery

    def recovering(self) -> tuple[int, int] | None:
        """Return the changelog rows read so far and the records still to read, or None outside of a recovery."""
        if self._shared or not self._recovery.in_recovery:
            return None
        left = self._recovery.active_remaining_total()
        return (self._stores.rows_recovered, left) if left > 0 else None

    async def _report_progress(self) -> None:
        """Report regularly how far recoveries are, and which partitions this worker follows as a standby."""
        rows, since = 0, time.monotonic()
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            await self._report_standbys()
            if self._assigned == set():
                await self.tasks.report_idle()
            progress = self.recovering()
            if progress is None:
                rows, since = self._stores.rows_recovered, time.monotonic()
                continue
            rate = (progress[0] - rows) / (time.monotonic() - since)
            for tp, left in sorted(self._recovery.active_remaining().items()):
                if left > 0:
                    why = f"worker {self.tasks.worker} is reading its state from the changelog"
                    seconds = progress[1] / rate if rate > 0 else None
                    await self.tasks.report_unowned(tp.partition, why, rows_left=left, seconds_left=seconds)

    async def _check_ranges(self) -> None:
        """Look regularly for topics whose next offset Kafka does not have, and stop to read those that do not fit."""
        while True:
            await asyncio.sleep(_CHECK_RANGES_SECONDS)
            with contextlib.suppress(KafkaError):  # Kafka is away: ask again
                await self.consumer.check_out_of_range(self.tasks.stop_reading_on_mismatch)

    def unready(self) -> list[str]:
        """Return why this worker does not process all of its partitions now. Empty if it does."""
        if self.tasks.failure is not None:
            return [f"it stops: {self.tasks.failure!r}"]
        problem, has_token = token_problem(self._settings)
        if problem and not has_token:
            return [problem]
        if self._assigned is None:
            return ["no partitions are assigned yet", *self.tasks.unread()]
        waiting = sorted(partition for partition in self._assigned if not self.tasks.owns(partition))
        if not waiting or self.tasks.missing_rights:
            return self.tasks.unread()
        progress = self.recovering()
        left = f": {progress[1]:,} records to read" if progress is not None else ""
        return [f"the state of partitions {', '.join(map(str, waiting))} is being recovered{left}"]

    def notes(self) -> list[str]:
        """What people should know besides: that this machine's clock is wrong, or that a token can't be renewed."""
        return [*self.tasks.clock.notes("this worker"), *token_notes(self._settings)]

    async def _report_standbys(self) -> None:
        for tp in sorted(self._recovery.standby_tps):
            end = self.consumer.end(tp)
            if end is not None:
                held = self._stores.stored_offset(tp.partition)
                await self.tasks.report_standby(tp.partition, max(0, end - (-1 if held is None else held) - 1))

    async def wait_until_broken(self) -> BaseException:
        """Wait until the worker can't go on; returns the error."""
        while self.tasks.failure is None and not self.app.crashed:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.tasks.failed.wait(), 0.5)
        return self.tasks.failure or self.app.crash_reason or RuntimeError("the worker crashed")

    async def stop(self) -> None:
        """Write the last checkpoint, commit its offsets and leave the group. Raises Unavailable if Kafka is away."""
        unread = [] if self.recovering() is None else self._recovery.active_remaining()
        await self.tasks.close(save=self.tasks.failure is None, leaving=True)
        await self.tasks.report_stopped(dict.fromkeys((tp.partition for tp in unread), 0))
        for task in self._reporting:
            task.cancel()
        if self._topic_watch is not None:
            self._topic_watch.stop()
        # Not `wait_for`: it would wait longer, because aiokafka ignores that it is cancelled.
        leaving = asyncio.create_task(self._leave())
        await asyncio.wait({leaving}, timeout=_LEAVE_TIMEOUT_SECONDS)
        self._stores.close()
        self._close_store()
        if not leaving.done():
            raise Unavailable(
                f"Kafka at {self._settings.kafka.servers} did not answer for {_LEAVE_TIMEOUT_SECONDS:g} s"
            )
        leaving.result()

    async def _leave(self) -> None:
        if self.tasks.failure is None:
            with contextlib.suppress(ConsumerNotStarted):
                await self.consumer.commit_last()
        await self.app.stop()
        await self.tasks.stop()

    # -- partitions come and go ------------------------------------------------------------------------------------

    async def _open_local_state(self, partition: int, outbox: Outbox) -> State:
        return ChangelogState(
            self._stores.open_store(partition),
            PartitionChangelog(outbox, partition),
            overwritten=self._stores.overwritten(partition),
            topic_id=self._stores.topic_id,
            now_ms=self.tasks.clock.now_ms,
            commands=commands_for_new_changelog([partition]),
        )

    async def _open_shared_state(self, partition: int, outbox: Outbox) -> State:
        return SharedState(await in_thread(lambda: self._open_store(partition)))

    async def _open_recovered(self, partitions: Collection[int], seconds: float) -> None:
        """Open the partitions whose recovery has ended, if their changelogs are complete.

        If they were given up meanwhile, do nothing: Faust recovers the next assignment and calls this again.
        """
        assigned = self._assigned
        if assigned is None or set(partitions) != assigned:
            return
        await self.tasks.close(save=False)
        try:
            await self._require_complete_changelogs(partitions)
        except Unavailable as error:
            if self._assigned is assigned:
                self.tasks.fail(error)
            return
        await self.tasks.open(partitions, recovery_seconds=seconds, still_ours=lambda: self._assigned is assigned)

    def _remember_assigned(self, assigned: Collection[TP]) -> None:
        self.tasks.generation = self.app.consumer_generation_id
        inputs = set(self._settings.input_topics.values())
        self._assigned = {tp.partition for tp in assigned if tp.topic in inputs}

    async def _require_complete_changelogs(self, partitions: Collection[int]) -> None:
        topic = self._settings.changelog_topic
        places = [TP(topic, partition) for partition in partitions]
        firsts, ends = await self.consumer.earliest_offsets(*places), await self.consumer.highwaters(*places)
        for place in places:
            if self._stores.follows_another_topic(place.partition):
                raise StateMismatch(describe_new_changelog([place.partition]))
            held = self._stores.open_store(place.partition).offset()
            first, end = firsts.get(place) or 0, ends.get(place) or 0
            whole = self._stores.is_complete(place.partition, first=first)
            problem = find_changelog_mismatch(place.partition, held=held, first=first, end=end, whole=whole)
            if problem is not None:
                raise StateMismatch(problem)

    async def _open_assigned(self, *_: Any, **__: Any) -> None:
        """Open the partitions of a shared store as soon as they are assigned, because it needs no recovery."""
        assigned = self._assigned
        if assigned is None:
            return
        started = time.monotonic()
        await self.tasks.close(save=False)
        await self.tasks.open(
            assigned,
            recovery_seconds=time.monotonic() - started,
            still_ours=lambda: self._assigned is assigned,
        )

    async def _close_revoked(self, *_: Any, **__: Any) -> None:
        self._assigned = None
        await self.tasks.close(save=True)
