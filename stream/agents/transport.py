"""The batched transport: a Faust agent gets a fetched batch of one partition as one event.

Faust costs 150 to 230 microseconds an event, and an event is whatever the consumer yields: so it yields batches, of
which aiokafka delivers hundreds of thousands of records a second. Registered as `kafkabatch://` through the entry point
`faust.transports`.

Offsets are ours. Faust commits what an agent has acknowledged, but state that is checkpointed later than that would be
lost with the process. The state itself holds the offsets it has applied; reading begins there, and what is committed to
Kafka is what the checkpoints say, for monitoring and for nothing else.

Inputs are read committed. What can be read ends at the last stable offset, where the oldest transaction that is still
open begins. Markers of transactions and records of aborted ones take offsets too, and nobody is given them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import faust
import structlog
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import IllegalStateError
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage, Message
from mode.threads import ServiceThread, WorkerThread

from stream.agents.fencing import stop_when_replaced
from stream.agents.membership import Commits, keep_membership
from stream.kafka.state_mismatch import PartitionOffsets
from stream.kafka.timeouts import MAX_FETCH_BYTES, request_timeout_seconds, set_request_timeout
from stream.kafka.transactions import ReadProgress, StableOffsets

log = structlog.get_logger(__name__)

# While a state is recovered: short, for inputs are read only when this is over.
_RECOVERY_POLL_SECONDS = 0.1


# Faust asks brokers to hold a fetch for 1.5 s while its partitions are quiet. There is one fetch at a time to a broker,
# so a partition that was just emptied waited behind the quiet ones: a median of a second for each event.
_FETCH_MAX_WAIT_MS = 150


class Reading:
    """The reading of the inputs from one rebalance to the next.

    It begins when a rebalance has ended the one before. The inputs are read once they have been sought, each from where
    its state has got to. When it is over, another worker may own the partitions, or this one has their state opened
    anew: what is still on its way is read again by whoever owns them.
    """

    def __init__(self) -> None:
        self.is_sought = False  # the inputs are at the places where their states have got to
        self.is_over = False  # a rebalance has begun


class Records(list[ConsumerRecord]):
    """A batch of one partition, in order of offset.

    `follows` is how far the batches before it went; `reaches_end` says that the broker had no more when it was fetched.
    A batch whose `reading` is over must not be applied.
    """

    follows: int = 0
    reaches_end: bool = False
    reading: Reading = Reading()


class Positions(Protocol):
    """What the consumer asks about offsets; the app has it as `positions`."""

    def owns(self, partition: int) -> bool:
        """Whether the state of a partition is open."""
        ...

    def position(self, topic: str, partition: int) -> int | None:
        """The next offset to apply, or None when the state holds none."""
        ...

    def refuse(self, place: PartitionOffsets) -> bool:
        """Stop when a topic does not fit to the state; returns whether it does not."""
        ...

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Reading begins at this offset."""
        ...

    def saved(self) -> Mapping[tuple[str, int], int]:
        """By topic and partition: the next offset that the checkpoints written so far hold."""
        ...

    def replaced(self) -> None:
        """Another worker has joined under the name of this one."""
        ...


# How long Faust may wait for the thread that aiokafka runs in, of which it waits for nothing else meanwhile.
_THREAD_ENDS_SECONDS = 1.0


class _Thread(WorkerThread):
    """Ends with the process: neither Faust nor Python waits for a goodbye to a Kafka that is away."""

    def __init__(self, service: ServiceThread, **named: Any) -> None:
        super().__init__(service, name="kafka", **named)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(_THREAD_ENDS_SECONDS)


# What Faust tells of its services is for those who look into Faust.
_faust_log = logging.getLogger("faust.transport")


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The service that aiokafka runs in, in a thread of its own."""

    logger = _faust_log
    Worker = _Thread

    async def on_start(self) -> None:
        await super().on_start()
        app: Any = self.app
        coordinator = self._ensure_consumer()._coordinator
        keep_membership(coordinator)
        self._commits = Commits(coordinator)
        if app.conf.consumer_group_instance_id:
            tell = partial(app.loop.call_soon_threadsafe, app.positions.replaced)
            stop_when_replaced(coordinator, tell)

    async def on_thread_stop(self) -> None:
        # A fetcher that is cancelled while it waits for a broker says so of itself.
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_MAX_WAIT_MS  # read when it starts
        consumer._fetch_max_bytes = MAX_FETCH_BYTES
        consumer._isolation_level = "read_committed"
        app: Any = self.app
        set_request_timeout(consumer._client, request_timeout_seconds(app.settings))
        # Without tables Faust deals partitions out topic by topic, so a user's logins and sessions would lie with
        # different workers.
        self._assignor = self.app.assignor
        consumer._partition_assignment_strategy = [self.app.assignor]
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *options: Any, **named: Any) -> Any:
        """Take fetched records, or none at all if partitions were assigned anew while they were waited for.

        Whoever takes over seeks, and aiokafka lets those who wait have what is found from there on: nobody would see
        it again. It is given back here, where nothing can come between.
        """
        reader = cast(BatchConsumer, self.consumer)
        reading = reader.reading
        records = await super()._fetch_records(consumer, active_partitions, *options, **named)
        if not records or (reader.flow_active and not reading.is_over):
            return records
        for tp, batch in records.items():
            with suppress(IllegalStateError):  # it is another worker's now
                consumer.seek(tp, batch[0].offset)
        return {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        return await self._commits.commit({TopicPartition(*tp): offsets[tp] for tp in offsets if tp in assigned})

    async def commit_answered(self) -> None:
        """Wait for the answer to the commit that is on its way, if there is one."""
        await self.call_thread(self._commits.answered)

    async def committed(self, partitions: list[TP]) -> dict[TP, int]:
        """The committed offset of each partition that has one."""
        coordinator = self._ensure_consumer()._coordinator
        told = await self.call_thread(coordinator.fetch_committed_offsets, [TopicPartition(*tp) for tp in partitions])
        offsets = {tp: told[TopicPartition(*tp)].offset for tp in partitions if TopicPartition(*tp) in told}
        return {tp: offset for tp, offset in offsets.items() if offset >= 0}

    async def ends(self, partitions: list[TP]) -> dict[TP, int]:
        """The end of each partition, with what lies there in open transactions."""
        told: dict[TopicPartition, int] = await self.call_thread(self._ends, partitions)
        return {ensure_TP(tp): offset for tp, offset in told.items()}

    async def _ends(self, partitions: list[TP]) -> Any:
        consumer = self._ensure_consumer()
        uncommitted = copy(
            consumer._fetcher
        )  # asked about ends it tells the last stable offsets, at this level the ends
        uncommitted._isolation_level = READ_UNCOMMITTED
        return await uncommitted.end_offsets([TopicPartition(*tp) for tp in partitions], consumer._request_timeout_ms)


_Kept = TypeVar("_Kept")


class _Forgetful(dict[TP, _Kept]):
    """Gives a new collection for each partition, and keeps none."""

    def __init__(self, new: Callable[[], _Kept]) -> None:
        super().__init__()
        self._new = new

    def __missing__(self, tp: TP) -> _Kept:
        return self._new()


class BatchConsumer(driver.Consumer):
    """Yields one message for each fetched batch of a partition; its value is the list of records."""

    logger = _faust_log

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered: dict[TP, int] = {}  # the next offset after the last batch handed to an agent
        self._taken: dict[TP, int] = {}  # the next offset after the last record taken from the fetcher
        self._drained: dict[TP, int] = {}  # from `_taken` to here there are no records that anybody is given
        self._stable = StableOffsets()
        self._at_end: set[TP] = set()  # of which there was no more when records were last taken
        self._reads_inputs = False
        self.reading = Reading()
        # Faust's streams note each offset here themselves, past `ack`, until a commit of Faust's own, which never
        # comes: for the life of a worker two numbers a batch would be kept.
        self._acked = _Forgetful[list[int]](list)
        self._acked_index = _Forgetful[set[int]](set)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode's annotation knows its own events only
        reading = self.reading
        records, active = await self._wait_next_records(timeout)
        if not reading.is_over:
            self._note_drained(records or {})
        if not records or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        for tp, batch in records.items():
            if reading.is_over:
                return  # they are read again from where whoever owns the partition has got to
            if batch and (active is None or tp in active or tp in self._buffered_partitions):
                yield tp, self._batch_message(tp, batch, generation)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch no input, and nothing to stand by, before `resume_flow`: what Faust's queues hold then is lost."""
        if self._reads_inputs or active_partitions is None:
            return await super()._getmany(active_partitions, timeout)
        # A set of our own: Faust adds the inputs to its one while the fetcher waits for records.
        standbys = self.app.assignor.assigned_standbys()
        changelogs = {tp for tp in active_partitions if not self._is_input(tp) and tp not in standbys}
        if changelogs:
            return await super()._getmany(changelogs, min(timeout, _RECOVERY_POLL_SECONDS))
        await self.sleep(_RECOVERY_POLL_SECONDS)  # no partition would mean all to the fetcher
        return {}

    def stop_flow(self) -> None:
        """Faust calls it when a rebalance begins."""
        self.reading.is_over = True
        self.reading = Reading()
        self._reads_inputs = False
        self._taken.clear()
        self._drained.clear()
        super().stop_flow()

    def resume_flow(self) -> None:
        """Faust calls it before it reads changelogs, and again, its queues emptied, when the inputs were sought."""
        self._reads_inputs = self.reading.is_sought
        super().resume_flow()

    def _is_input(self, tp: Any) -> bool:
        return bool(self.app.topics.acks_enabled_for(tp.topic))

    def _batch_message(self, tp: TP, batch: list[ConsumerRecord], generation: int) -> ConsumerMessage:
        last = batch[-1]
        records = Records(batch)
        records.follows = self._delivered.get(ensure_TP(tp), 0)
        records.reaches_end = ensure_TP(tp) in self._at_end
        records.reading = self.reading
        self._delivered[ensure_TP(tp)] = last.offset + 1
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
    def _positions(self) -> Positions:
        return cast(Positions, self.app.positions)  # type: ignore[attr-defined]

    async def perform_seek(self) -> None:
        """What Faust calls at the end of a recovery. The next rebalance may begin meanwhile: then it is for nothing."""
        reading = self.reading
        await self._seek_inputs(reading)
        reading.is_sought = True

    async def _seek_inputs(self, reading: Reading) -> None:
        """Read each input partition from where its state has got to; from its beginning where there is no state."""
        sources = [tp for tp in self.assignment() if self._is_input(tp) and self._positions.owns(tp.partition)]
        if not sources:
            return
        places = await self._places(sources)
        if reading is not self.reading:
            return
        refused = [place for place in places if self._positions.refuse(place)]
        if refused:
            return
        wanted = {TP(place.topic, place.partition): max(place.first, place.position or 0) for place in places}
        self._drained.clear()
        await self.seek_wait(wanted)
        if reading is not self.reading:
            return
        self._delivered, self._taken = dict(wanted), dict(wanted)
        for tp, offset in wanted.items():
            self._positions.begin(tp.topic, tp.partition, offset)
            self._read_offset[tp] = offset or None
            self._committed_offset[tp] = offset or None

    async def _places(self, sources: list[TP]) -> list[PartitionOffsets]:
        """What state, topic and group tell of each partition."""
        firsts = await self.earliest_offsets(*sources)
        thread = cast(_ConsumerThread, self._thread)
        # Not the last stable offset: an earlier version read what was not committed, and its state may be beyond it.
        ends = await thread.ends(sources)
        committed = await thread.committed(sources)
        return [
            PartitionOffsets(
                tp.topic,
                tp.partition,
                self._positions.position(tp.topic, tp.partition),
                first=firsts.get(TopicPartition(*tp)) or 0,
                end=ends.get(tp) or 0,
                committed=committed.get(tp),
            )
            for tp in sources
        ]

    def _note_drained(self, records: Mapping[TP, list[ConsumerRecord]]) -> None:
        """Note how far records were taken from the fetcher. Called when no others are on their way from its thread."""
        self._at_end.clear()
        if not self._reads_inputs:
            return
        self._taken.update({ensure_TP(tp): batch[-1].offset + 1 for tp, batch in records.items() if batch})
        for tp in self.assignment():
            state = self._fetch_state(tp)
            if state is not None and state.has_valid_position:
                self._drained[tp] = state.position
                end = readable_to(state)
                if end is not None and state.position >= end:
                    self._at_end.add(tp)

    def remaining(self, topic: str, partition: int) -> int | None:
        """How many records lie between what can be read and what was applied; None before the first answer."""
        tp = TP(topic, partition)
        state = self._fetch_state(tp)
        end = None if state is None else readable_to(state)
        if end is None or tp not in self._drained:
            return None
        applied = self._positions.position(topic, partition) or 0
        if self._drained[tp] >= end and applied >= self._taken.get(tp, 0):
            return 0  # what is left nobody is given
        return max(1, end - applied)

    def reach(self, topic: str, partition: int) -> ReadProgress:
        """How far an input is read, and whether an open transaction holds it back there."""
        tp = TP(topic, partition)
        state = self._fetch_state(tp)
        end = None if state is None else readable_to(state)
        if end is None or tp not in self._drained or tp not in self._taken:
            return ReadProgress()
        is_read = (self._positions.position(topic, partition) or 0) >= self._taken[tp]
        found = self._stable.observe(tp, stable=end, end=state.highwater, at_ms=state.timestamp)
        return ReadProgress(read_to=self._drained[tp] if is_read else None, open_transaction=found)

    def end(self, tp: TP) -> int | None:
        """The offset after the newest record of a partition, as it was last fetched."""
        state = self._fetch_state(tp)
        return None if state is None else state.highwater

    def _fetch_state(self, tp: TP) -> Any:
        consumer = self._thread._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None
        return assignment.state_value(TopicPartition(tp.topic, tp.partition))

    # -- offsets: acknowledged is what a checkpoint holds ----------------------------------------------------------

    def ack(self, message: Message) -> bool:
        """An agent is done with a batch. Whether it may be committed is for its checkpoint to say."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps between batches (compaction, transaction markers) need no bookkeeping."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what checkpoints hold, for those who watch the group's lag."""
        assigned = self.assignment()
        wanted = {
            tp: offset
            for (topic, partition), offset in self._positions.saved().items()
            if (tp := TP(topic, partition)) in assigned and offset > (self._committed_offset[tp] or 0)
        }
        if not wanted or not await self._commit(wanted):
            return False
        self._committed_offset.update(wanted)
        return True

    async def commit_last(self) -> None:
        """Commit what the last checkpoints hold: after a commit that is still on its way, which holds less."""
        if self.assignment():
            await cast(_ConsumerThread, self._thread).commit_answered()
        await self.force_commit()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's guesses about slow streams don't know batches; lag and freshness are metrics of their own."""

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        await self._thread.seek_wait({TP(tp.topic, tp.partition): offset for tp, offset in partitions.items()})


def readable_to(state: Any) -> int | None:
    """The last stable offset of a partition, by aiokafka's notes of it; the end, where the broker knows none."""
    end, stable = state.highwater, state.lso
    known: int | None = end if stable is None or stable < 0 else stable
    return known


class Transport(driver.Transport):
    """Kafka by aiokafka, in batches."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema[Any, Any]):
    """Hands the batch through undecoded: the core decodes it in one go."""

    def loads_key(self, app: Any, message: Message, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Message, **kwargs: Any) -> Any:
        return message.value
