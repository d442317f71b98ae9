"""What the consumer does with what Faust's streams and its rebalances tell it."""

import asyncio
from typing import Any

import pytest
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from stream.agents.app import Worker
from stream.kafka.state_mismatch import PartitionOffsets
from stream.settings import load
from stream.state.memory import MemoryStore

LOGINS = TP("logins", 0)


def record(offset: int) -> Any:
    return ConsumerRecord("logins", 0, offset, 1_740_787_200_000, 0, b"ada", b"{}", None, 3, 2, ())


def new_consumer() -> Any:
    app: Any = Worker(load(None, {}), open_store=lambda _: MemoryStore()).app
    return app.consumer


def test_inputs_are_read_after_they_were_sought_and_not_while_changelogs_are_read() -> None:
    async def scenario() -> None:
        consumer = new_consumer()
        consumer._seek_inputs = nothing
        consumer.stop_flow()
        consumer.resume_flow()
        assert not consumer._reads_inputs  # this is for the changelogs

        await consumer.perform_seek()
        consumer.resume_flow()
        assert consumer._reads_inputs

        consumer.stop_flow()
        consumer.resume_flow()
        assert not consumer._reads_inputs

    asyncio.run(scenario())


def test_a_seek_that_the_next_rebalance_overtakes_is_for_nothing() -> None:
    async def scenario() -> None:
        consumer = new_consumer()

        async def overtaken(reading: object) -> None:
            consumer.stop_flow()

        consumer._seek_inputs = overtaken
        await consumer.perform_seek()
        consumer.resume_flow()  # Faust goes on as if nothing had happened

        assert not consumer._reads_inputs

    asyncio.run(scenario())


def test_a_batch_knows_when_a_rebalance_has_overtaken_it() -> None:
    async def scenario() -> None:
        consumer = new_consumer()
        records = consumer._batch_message(LOGINS, [record(0)], 1).value
        assert not records.reading.is_over

        consumer.stop_flow()
        assert records.reading.is_over
        assert not consumer._batch_message(LOGINS, [record(0)], 2).value.reading.is_over

    asyncio.run(scenario())


async def nothing(*_: object) -> None:
    """All is done."""


def test_batches_that_are_done_leave_nothing_behind() -> None:
    streams = pytest.importorskip("faust._cython.streams", reason="Faust was installed without its compiled parts")

    async def scenario() -> None:
        app: Any = Worker(load(None, {}), open_store=lambda _: MemoryStore()).app
        consumer, stream = app.consumer, app.topic("logins").stream()
        app.topics._acking_topics.add("logins")
        done = streams.StreamIterator(stream)

        for offset in range(3):
            batch = consumer._batch_message(LOGINS, [record(offset)], 1)
            batch.incref()
            consumer.track_message(batch)
            done.after(app.create_event(None, [], {}, batch), do_ack=True, sensor_state=None)
            assert batch.acked

        assert len(consumer._unacked_messages) == 0
        assert (len(consumer._acked), len(consumer._acked_index)) == (0, 0)

    asyncio.run(scenario())


class Fetched:
    """What aiokafka notes of a partition; `position` is after all that was taken from it."""

    has_valid_position = True
    timestamp = 1_000

    def __init__(self, *, position: int, stable: int | None, end: int) -> None:
        self.position, self.lso, self.highwater = position, stable, end


class Applied:
    """What the state of a partition has applied."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def position(self, topic: str, partition: int) -> int:
        return self.offset


def reader(state: Fetched, applied: Applied) -> Any:
    """A consumer of one partition whose reading began at offset 0."""
    worker = Worker(load(None, {}), open_store=lambda _: MemoryStore())
    consumer: Any = worker.app.consumer
    worker.app.task_offsets = applied  # type: ignore[assignment]
    consumer.assignment = lambda: {LOGINS}
    consumer._fetch_state = lambda tp: state
    consumer._reads_inputs = True
    consumer._fetched_to = {LOGINS: 0}
    return consumer


def test_what_lies_behind_an_open_transaction_is_not_left_to_apply() -> None:
    async def scenario() -> None:
        consumer = reader(Fetched(position=5, stable=5, end=9), Applied(5))
        consumer._record_fetched({LOGINS: [record(4)]})

        assert consumer.remaining("logins", 0) == 0
        assert consumer._batch_message(LOGINS, [record(4)], 1).value.reaches_end
        assert consumer.read_progress("logins", 0).open_transaction.records == 4

    asyncio.run(scenario())


def test_offsets_that_nobody_is_given_count_as_read_once_all_before_them_is_applied() -> None:
    async def scenario() -> None:
        applied = Applied(0)
        consumer = reader(Fetched(position=9, stable=9, end=9), applied)
        consumer._record_fetched({LOGINS: [record(4)]})  # and what was aborted after it

        assert (consumer.remaining("logins", 0), consumer.read_progress("logins", 0).read_to) == (9, None)
        applied.offset = 5
        assert (consumer.remaining("logins", 0), consumer.read_progress("logins", 0).read_to) == (0, 9)

    asyncio.run(scenario())


def test_a_state_beyond_the_last_stable_offset_has_nothing_to_read() -> None:
    """An earlier version has read on in a transaction that is still open."""

    async def scenario() -> None:
        consumer = reader(Fetched(position=8, stable=5, end=9), Applied(8))
        consumer._fetched_to = {LOGINS: 8}
        consumer._record_fetched({})

        assert (consumer.remaining("logins", 0), consumer.read_progress("logins", 0).read_to) == (0, 8)

    asyncio.run(scenario())


@pytest.mark.parametrize("stable", [None, -1])
def test_a_broker_without_transactions_is_read_to_its_end(stable: int | None) -> None:
    async def scenario() -> None:
        consumer = reader(Fetched(position=5, stable=stable, end=9), Applied(5))
        consumer._record_fetched({LOGINS: [record(4)]})

        assert consumer.remaining("logins", 0) == 4
        assert consumer.read_progress("logins", 0).open_transaction is None

    asyncio.run(scenario())


def test_nobody_knows_how_far_an_input_is_read_before_it_was_sought_anew() -> None:
    async def scenario() -> None:
        consumer = reader(Fetched(position=9, stable=9, end=9), Applied(5))
        consumer._record_fetched({LOGINS: [record(4)]})
        consumer.stop_flow()
        consumer._record_fetched({LOGINS: [record(8)]})

        assert consumer.remaining("logins", 0) is None
        assert consumer.read_progress("logins", 0).read_to is None

    asyncio.run(scenario())


@pytest.mark.parametrize("does_not_fit", [True, False])
def test_a_partition_out_of_range_is_paused_and_read_again_if_it_fits(*, does_not_fit: bool) -> None:
    """aiokafka would go on at the beginning of the topic, as if nothing had happened."""

    async def scenario() -> None:
        consumer = new_consumer()
        state = TopicPartitionState(None)
        state.seek(7)
        consumer._fetch_state = lambda tp: state
        consumer._stop_where_out_of_range([LOGINS])
        asked: list[PartitionOffsets] = []

        async def offsets(partitions: list[TP]) -> list[PartitionOffsets]:
            return [PartitionOffsets(*tp, 3, first=0, end=2, committed=None) for tp in partitions]

        def check(place: PartitionOffsets) -> bool:
            asked.append(place)
            return does_not_fit

        consumer._offsets_of_partitions = offsets
        consumer._thread.call_soon = lambda work: work()
        await consumer.check_out_of_range(check)
        assert asked == []

        state.await_reset(None)  # as the fetcher does it
        assert state.paused
        assert state.position == 7
        await consumer.check_out_of_range(check)
        await consumer.check_out_of_range(check)
        assert [(place.position, place.end) for place in asked] == [(7, 2)]
        assert state.paused == does_not_fit

    asyncio.run(scenario())
