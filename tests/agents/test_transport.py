"""What the consumer does with what Faust's streams and its rebalances tell it."""

import asyncio
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from stream.agents.app import Worker
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
