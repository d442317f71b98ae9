"""What the consumer does with what Faust's streams tell it."""

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
