"""A fast way into Kafka: whole record batches, built per partition, for loads of hundreds of thousands of events.

kafka-python and Faust send some 20,000 events a second; a batch built by aiokafka costs a microsecond or two an event.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.partitioning import partition_of
from stream.simulate.replay import ReplayEvent
from stream.simulate.simulator import SimulatedEvent

_BATCH_BYTES = 512 * 1024
# Batches that may be on their way: enough to keep a broker busy, few enough to bound memory.
_IN_FLIGHT = 16
_EVENTS_HELD_BACK = 10_000


class BulkProducer:
    """Sends simulated events to their topics, in order within each partition. An async context manager.

    `topics` names the Kafka topic of each input. `flush` waits until all is delivered, and raises what aiokafka raises
    when a batch is not.
    """

    def __init__(self, client_options: dict[str, Any], *, topics: Mapping[str, str], partitions: int) -> None:
        self._producer = AIOKafkaProducer(**client_options, acks="all", max_batch_size=_BATCH_BYTES)
        self._topics = topics
        self._partitions = partitions
        self._batches: dict[tuple[str, int], Any] = {}
        self._sent: set[asyncio.Future[Any]] = set()
        self._unsent = 0

    async def __aenter__(self) -> "BulkProducer":
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(self, events: Iterable[SimulatedEvent | ReplayEvent]) -> None:
        """Add events to the batches of their partitions; full ones are sent."""
        for event in events:
            self._unsent += 1
            if self._unsent >= _EVENTS_HELD_BACK:
                # A topic of few events would reach Kafka days of event time after a busy one.
                await self.flush()
            key = event.key.encode()
            place = (self._topics[event.topic], partition_of(key, self._partitions))
            batch = self._batches.get(place)
            if batch is None:
                batch = self._batches[place] = self._producer.create_batch()
            if batch.append(timestamp=None, key=key, value=event.value) is None:
                await self._send_batch(place)
                batch = self._batches[place] = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=event.value)

    async def flush(self) -> None:
        """Send what is left and wait until all of it is delivered."""
        self._unsent = 0
        for place in list(self._batches):
            await self._send_batch(place)
        await asyncio.gather(*self._sent)
        self._sent.clear()

    async def _send_batch(self, place: tuple[str, int]) -> None:
        topic, partition = place
        batch = self._batches.pop(place)
        batch.close()
        if len(self._sent) >= _IN_FLIGHT:
            done, self._sent = await asyncio.wait(self._sent, return_when=asyncio.FIRST_COMPLETED)
            for sent in done:
                sent.result()
        self._sent.add(await self._producer.send_batch(batch, topic, partition=partition))
