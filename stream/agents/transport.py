"""A Faust transport that gives an agent whole batches: one fetched batch of a partition is one Faust event.

Faust spends 150 to 230 microseconds on each event, while aiokafka can deliver hundreds of thousands of records a
second. So the consumer yields batches instead of single records. The transport is registered as `kafkabatch://` through
the entry point `faust.transports`.

We manage the offsets ourselves. Faust commits what an agent has acknowledged, but state that is checkpointed later than
that would be lost with the process. Here the state has the offsets that it has applied, and reading begins there. What
is committed to Kafka are the offsets of the checkpoints, and it is used only for monitoring.

Inputs are read committed: a partition can be read up to its last stable offset, which is where the oldest open
transaction begins. Markers of transactions and records of aborted transactions take offsets too, but are not delivered.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import faust
import structlog
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import IllegalStateError, TopicAuthorizationFailedError
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage, Message
from mode.threads import ServiceThread, WorkerThread

from stream.agents.group_membership import OffsetCommits, keep_membership
from stream.agents.instance_fencing import stop_when_replaced
from stream.kafka.connections import adapt_aiokafka
from stream.kafka.state_mismatch import PartitionOffsets
from stream.kafka.timeouts import MAX_FETCH_BYTES, request_timeout_seconds, set_request_timeout
from stream.kafka.transactions import ReadProgress, StableOffsets

log = structlog.get_logger(__name__)

# The poll timeout while a state is recovered. It is short, because inputs are read only after that.
_RECOVERY_POLL_SECONDS = 0.1


# Faust lets brokers hold a fetch for 1.5 s while its partitions have no new records. There is one fetch at a time for
# each broker, so a partition that was just read to its end waited behind quiet ones: a median of a second for each
# event.
_FETCH_MAX_WAIT_MS = 150


class ReadingPeriod:
    """The period from one rebalance to the next, in which inputs are read.

    It begins when a rebalance has ended the period before. Inputs are read only after they were sought, each to the
    offset of its state. When the period is over, another worker may own the partitions, or this worker opens their
    states again. Batches of an ended period are dropped, and the owner of the partition reads them again.
    """

    def __init__(self) -> None:
        self.inputs_sought = False  # whether the inputs were sought to the offsets of their states
        self.is_over = False  # whether the next rebalance has begun


class Records(list[ConsumerRecord]):
    """A batch of one partition, in order of offset.

    `previous_end` is the offset at which the batch before it ended. `reaches_end` says that the broker had no more
    records when this batch was fetched. A batch whose `reading` is over must not be applied.
    """

    previous_end: int = 0
    reaches_end: bool = False
    reading: ReadingPeriod = ReadingPeriod()


class TaskOffsets(Protocol):
    """What the consumer needs to know about offsets. The app provides it as `task_offsets`."""

    def owns(self, partition: int) -> bool:
        """Whether the state of a partition is open."""
        ...

    def position(self, topic: str, partition: int) -> int | None:
        """Return the next offset to apply, or None if the state has none."""
        ...

    def refuse_on_mismatch(self, place: PartitionOffsets) -> bool:
        """Do not read a topic that does not fit the state. Returns whether it does not fit."""
        ...

    def start_reading(self, topic: str, partition: int, offset: int) -> None:
        """Start reading at this offset."""
        ...

    def checkpointed_offsets(self) -> Mapping[tuple[str, int], int]:
        """By topic and partition: the next offset to apply, according to the checkpoints written so far."""
        ...

    def fail_as_replaced(self) -> None:
        """Stop the worker, because another one has joined under its name."""
        ...


# How long Faust waits for aiokafka's thread to stop. It can do nothing else in this time.
_THREAD_STOP_SECONDS = 1.0


class _DaemonThread(WorkerThread):
    """A daemon thread: neither Faust nor Python waits for its end, which may take long while Kafka is away."""

    def __init__(self, service: ServiceThread, **named: Any) -> None:
        super().__init__(service, name="kafka", **named)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(_THREAD_STOP_SECONDS)


# What Faust's services log is of use only to developers of Faust.
_faust_log = logging.getLogger("faust.transport")


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer in a thread of its own."""

    logger = _faust_log
    Worker = _DaemonThread

    async def on_start(self) -> None:
        await super().on_start()
        app: Any = self.app
        coordinator = self._ensure_consumer()._coordinator
        keep_membership(coordinator)
        self._commits = OffsetCommits(coordinator)
        if app.conf.consumer_group_instance_id:
            on_replaced = partial(app.loop.call_soon_threadsafe, app.task_offsets.fail_as_replaced)
            stop_when_replaced(coordinator, on_replaced)

    async def on_thread_stop(self) -> None:
        # A fetcher that is cancelled while it waits for a broker raises this.
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> Any:
        adapt_aiokafka()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_MAX_WAIT_MS  # aiokafka reads this and the next when the consumer starts
        consumer._fetch_max_bytes = MAX_FETCH_BYTES
        consumer._isolation_level = "read_committed"
        app: Any = self.app
        set_request_timeout(consumer._client, request_timeout_seconds(app.settings))
        # Without tables, Faust assigns partitions topic by topic, so a user's logins and sessions would go to different
        # workers.
        self._assignor = self.app.assignor
        consumer._partition_assignment_strategy = [self.app.assignor]
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *options: Any, **named: Any) -> Any:
        """Fetch records. Returns none if partitions were assigned again while we waited.

        The new owner of a partition seeks it, and aiokafka gives records found after the seek to a fetch that was
        already waiting. Nobody would read them again, so the partition is sought back here, before anything else runs.
        """
        reader = cast(BatchConsumer, self.consumer)
        reading = reader.reading
        try:
            records = await super()._fetch_records(consumer, active_partitions, *options, **named)
        except TopicAuthorizationFailedError as error:
            reader.pause_refused(error)
            return {}
        if not records or (reader.flow_active and not reading.is_over):
            return records
        for tp, batch in records.items():
            with suppress(IllegalStateError):  # another worker owns the partition now
                consumer.seek(tp, batch[0].offset)
        return {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        return await self._commits.commit({TopicPartition(*tp): offsets[tp] for tp in offsets if tp in assigned})

    def call_soon(self, work: Callable[[], object]) -> None:
        """Do something in the thread of aiokafka."""
        self.thread_loop.call_soon_threadsafe(work)

    async def wait_for_pending_commit(self) -> None:
        """Wait for the answer to a pending commit, if there is one."""
        await self.call_thread(self._commits.wait_for_pending)

    async def committed(self, partitions: list[TP]) -> dict[TP, int]:
        """Return the committed offset of each partition that has one."""
        coordinator = self._ensure_consumer()._coordinator
        found = await self.call_thread(coordinator.fetch_committed_offsets, [TopicPartition(*tp) for tp in partitions])
        offsets = {tp: found[TopicPartition(*tp)].offset for tp in partitions if TopicPartition(*tp) in found}
        return {tp: offset for tp, offset in offsets.items() if offset >= 0}

    async def ends(self, partitions: list[TP]) -> dict[TP, int]:
        """Return the end of each partition, open transactions included."""
        found: dict[TopicPartition, int] = await self.call_thread(self._ends, partitions)
        return {ensure_TP(tp): offset for tp, offset in found.items()}

    async def _ends(self, partitions: list[TP]) -> Any:
        consumer = self._ensure_consumer()
        # A fetcher that reads committed returns the last stable offset for the end, so ask one that reads uncommitted.
        uncommitted = copy(consumer._fetcher)
        uncommitted._isolation_level = READ_UNCOMMITTED
        return await uncommitted.end_offsets([TopicPartition(*tp) for tp in partitions], consumer._request_timeout_ms)


_Collection = TypeVar("_Collection")


class _DiscardingDict(dict[TP, _Collection]):
    """A dict that returns a new collection for each partition, and keeps none."""

    def __init__(self, new: Callable[[], _Collection]) -> None:
        super().__init__()
        self._new = new

    def __missing__(self, tp: TP) -> _Collection:
        return self._new()


class BatchConsumer(driver.Consumer):
    """Yields one message for each fetched batch of a partition. Its value is the list of records."""

    logger = _faust_log

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered_to: dict[TP, int] = {}  # the next offset after the last batch handed to an agent
        self._fetched_to: dict[TP, int] = {}  # the next offset after the last record taken from the fetcher
        self._readable_to: dict[TP, int] = {}  # up to here there is nothing more to deliver after `_fetched_to`
        self._stable = StableOffsets()
        self._at_end: set[TP] = set()  # partitions that had no more records at the last fetch
        self._reads_inputs = False
        self.reading = ReadingPeriod()
        self._out_of_range: dict[TP, Any] = {}  # partitions that were paused, with aiokafka's record of each
        self._refused: dict[TP, Any] = {}  # the same for topics that Kafka does not let this worker read
        # Faust's streams record each acknowledged offset here themselves, until Faust commits, which it never does
        # here. A worker would keep two numbers for each batch for its whole life.
        self._acked = _DiscardingDict[list[int]](list)
        self._acked_index = _DiscardingDict[set[int]](set)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode's annotation knows its own events only
        reading = self.reading
        records, active = await self._wait_next_records(timeout)
        if not reading.is_over:
            self._record_fetched(records or {})
        if not records or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        for tp, batch in records.items():
            if reading.is_over:
                return  # the owner of the partition reads these records again, from the offset of its state
            if batch and (active is None or tp in active or tp in self._buffered_partitions):
                yield tp, self._batch_message(tp, batch, generation)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch no inputs and no standby changelogs before `resume_flow`, because Faust then empties its queues."""
        if self._reads_inputs or active_partitions is None:
            return await super()._getmany(active_partitions, timeout)
        # Use a set of our own, because Faust adds the inputs to its set while the fetcher waits for records.
        standbys = self.app.assignor.assigned_standbys()
        changelogs = {tp for tp in active_partitions if not self._is_input(tp) and tp not in standbys}
        if changelogs:
            return await super()._getmany(changelogs, min(timeout, _RECOVERY_POLL_SECONDS))
        await self.sleep(_RECOVERY_POLL_SECONDS)  # the fetcher would take an empty set for all partitions
        return {}

    def stop_flow(self) -> None:
        """Stop reading. Faust calls this when a rebalance begins."""
        self.reading.is_over = True
        self.reading = ReadingPeriod()
        self._reads_inputs = False
        self._fetched_to.clear()
        self._readable_to.clear()
        super().stop_flow()

    def resume_flow(self) -> None:
        """Resume reading. Faust calls this before it reads changelogs, and again after the inputs were sought."""
        self._reads_inputs = self.reading.inputs_sought
        super().resume_flow()

    def _is_input(self, tp: Any) -> bool:
        return bool(self.app.topics.acks_enabled_for(tp.topic))

    def _batch_message(self, tp: TP, batch: list[ConsumerRecord], generation: int) -> ConsumerMessage:
        last = batch[-1]
        records = Records(batch)
        records.previous_end = self._delivered_to.get(ensure_TP(tp), 0)
        records.reaches_end = ensure_TP(tp) in self._at_end
        records.reading = self.reading
        self._delivered_to[ensure_TP(tp)] = last.offset + 1
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            cast(bytes, records),
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )

    # -- where to read from ----------------------------------------------------------------------------------------

    @property
    def _task_offsets(self) -> TaskOffsets:
        return cast(TaskOffsets, self.app.task_offsets)  # type: ignore[attr-defined]

    async def perform_seek(self) -> None:
        """Seek the inputs. Faust calls this at the end of a recovery. The next rebalance may begin meanwhile."""
        reading = self.reading
        await self._seek_inputs(reading)
        reading.inputs_sought = True

    async def _seek_inputs(self, reading: ReadingPeriod) -> None:
        """Seek each input partition to the offset of its state, or to its beginning if there is no state."""
        sources = [tp for tp in self.assignment() if self._is_input(tp) and self._task_offsets.owns(tp.partition)]
        if not sources:
            return
        places = await self._offsets_of_partitions(sources)
        if reading is not self.reading:
            return
        refused = [place for place in places if self._task_offsets.refuse_on_mismatch(place)]
        wanted = {
            TP(place.topic, place.partition): max(place.first, place.position or 0)
            for place in places
            if place not in refused
        }
        self._readable_to.clear()
        # Where a topic is not read, it does not matter where its reading stands: batches of it are dropped.
        await self.seek_wait({**wanted, **{TP(place.topic, place.partition): place.end for place in refused}})
        if reading is not self.reading:
            return
        self._stop_where_out_of_range(wanted)
        self._delivered_to, self._fetched_to = dict(wanted), dict(wanted)
        for tp, offset in wanted.items():
            self._task_offsets.start_reading(tp.topic, tp.partition, offset)
            self._read_offset[tp] = offset or None
            self._committed_offset[tp] = offset or None

    def _stop_where_out_of_range(self, partitions: Iterable[TP]) -> None:
        """Pause a partition when Kafka says that the next offset is not in it.

        The records were deleted, or the topic was created again. aiokafka would go on at the beginning of the topic.
        """
        self._out_of_range.clear()
        for tp in partitions:
            state = self._fetch_state(tp)
            if state is not None:
                state.await_reset = partial(self._pause_out_of_range, tp, state)

    def _pause_out_of_range(self, tp: TP, state: Any, strategy: object) -> None:
        """Do this in the place of aiokafka's reset, in its thread."""
        state.pause()
        self._out_of_range[tp] = state

    async def check_out_of_range(self, does_not_fit: Callable[[PartitionOffsets], bool]) -> None:
        """Ask whether each partition that is out of range fits its state. One that does is read again."""
        out_of_range = dict(self._out_of_range)
        if not out_of_range:
            return
        reading = self.reading
        places = await self._offsets_of_partitions(list(out_of_range))
        if reading is not self.reading:
            return
        for place in places:
            tp = TP(place.topic, place.partition)
            self._out_of_range.pop(tp, None)
            if not does_not_fit(place._replace(position=out_of_range[tp].position)):
                cast(_ConsumerThread, self._thread).call_soon(out_of_range[tp].resume)

    def pause_refused(self, error: TopicAuthorizationFailedError) -> None:
        """Stop fetching a topic that Kafka does not let this worker read. Called in the thread of aiokafka.

        Kafka answers such a fetch at once, so without a pause the next one would follow at once too.
        """
        for tp in self.assignment():
            state = self._fetch_state(tp)
            if tp.topic in error.args and state is not None:
                state.pause()
                self._refused[tp] = state

    def resume_allowed(self, may_not_read: Collection[str]) -> None:
        """Fetch the topics again that were refused, except those that may still not be read."""
        thread = cast(_ConsumerThread, self._thread)
        for tp in [tp for tp in self._refused if tp.topic not in may_not_read]:
            thread.call_soon(self._refused.pop(tp).resume)

    def pause_reading(self, topic: str, partition: int) -> Callable[[], None]:
        """Stop fetching a partition, and return what begins it again. What was fetched already may still come."""
        state, thread = self._fetch_state(TP(topic, partition)), cast(_ConsumerThread, self._thread)
        if state is None:
            return lambda: None
        thread.call_soon(state.pause)
        return lambda: thread.call_soon(state.resume)

    async def _offsets_of_partitions(self, sources: list[TP]) -> list[PartitionOffsets]:
        """Return what the state, the topic and the consumer group know of each partition."""
        firsts = await self.earliest_offsets(*sources)
        thread = cast(_ConsumerThread, self._thread)
        # Not the last stable offset: a state of an older version, which read uncommitted, may be beyond it.
        ends = await thread.ends(sources)
        committed = await thread.committed(sources)
        return [
            PartitionOffsets(
                tp.topic,
                tp.partition,
                self._task_offsets.position(tp.topic, tp.partition),
                first=firsts.get(TopicPartition(*tp)) or 0,
                end=ends.get(tp) or 0,
                committed=committed.get(tp),
            )
            for tp in sources
        ]

    def _record_fetched(self, records: Mapping[TP, list[ConsumerRecord]]) -> None:
        """Record how far each partition was fetched. Called when no fetched records wait in aiokafka's thread."""
        self._at_end.clear()
        if not self._reads_inputs:
            return
        self._fetched_to.update({ensure_TP(tp): batch[-1].offset + 1 for tp, batch in records.items() if batch})
        for tp in self.assignment():
            state = self._fetch_state(tp)
            if state is not None and state.has_valid_position:
                self._readable_to[tp] = state.position
                end = readable_end(state)
                if end is not None and state.position >= end:
                    self._at_end.add(tp)

    def remaining(self, topic: str, partition: int) -> int | None:
        """Return how many readable records are not applied yet, or None before the first answer of a broker."""
        tp = TP(topic, partition)
        state = self._fetch_state(tp)
        end = None if state is None else readable_end(state)
        if end is None or tp not in self._readable_to:
            return None
        applied = self._task_offsets.position(topic, partition) or 0
        if self._readable_to[tp] >= end and applied >= self._fetched_to.get(tp, 0):
            return 0  # the offsets that are left have no readable records
        return max(1, end - applied)

    def read_progress(self, topic: str, partition: int) -> ReadProgress:
        """Return how far an input is read, and the open transaction that stops it there."""
        tp = TP(topic, partition)
        state = self._fetch_state(tp)
        end = None if state is None else readable_end(state)
        if end is None or tp not in self._readable_to or tp not in self._fetched_to:
            return ReadProgress()
        is_read = (self._task_offsets.position(topic, partition) or 0) >= self._fetched_to[tp]
        found = self._stable.observe(tp, stable=end, end=state.highwater, at_ms=state.timestamp)
        return ReadProgress(read_to=self._readable_to[tp] if is_read else None, open_transaction=found)

    def end(self, tp: TP) -> int | None:
        """Return the offset after the newest record of a partition, as of the last fetch."""
        state = self._fetch_state(tp)
        return None if state is None else state.highwater

    def _fetch_state(self, tp: TP) -> Any:
        consumer = self._thread._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None
        return assignment.state_value(TopicPartition(tp.topic, tp.partition))

    # -- offsets: only those of checkpoints are committed ----------------------------------------------------------

    def ack(self, message: Message) -> bool:
        """Mark a batch as done. Its offsets are committed only when a checkpoint has them."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: gaps between batches (from compaction or transaction markers) need no bookkeeping."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the offsets of the checkpoints, so that the lag of the group can be watched."""
        assigned = self.assignment()
        wanted = {
            tp: offset
            for (topic, partition), offset in self._task_offsets.checkpointed_offsets().items()
            if (tp := TP(topic, partition)) in assigned and offset > (self._committed_offset[tp] or 0)
        }
        if not wanted or not await self._commit(wanted):
            return False
        self._committed_offset.update(wanted)
        return True

    async def commit_last(self) -> None:
        """Commit the offsets of the last checkpoints, after the answer to a pending commit with older offsets."""
        if self.assignment():
            await cast(_ConsumerThread, self._thread).wait_for_pending_commit()
        await self.force_commit()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust would warn about slow streams, but does not know batches. There are metrics for lag."""

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        await self._thread.seek_wait({TP(tp.topic, tp.partition): offset for tp, offset in partitions.items()})


def readable_end(state: Any) -> int | None:
    """Return the last stable offset of a partition as aiokafka knows it, or the end if the broker tells none."""
    end, stable = state.highwater, state.lso
    known: int | None = end if stable is None or stable < 0 else stable
    return known


class Transport(driver.Transport):
    """Kafka through aiokafka, in batches."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema[Any, Any]):
    """Passes a batch on without decoding it, because the core decodes whole batches."""

    def loads_key(self, app: Any, message: Message, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Message, **kwargs: Any) -> Any:
        return message.value
