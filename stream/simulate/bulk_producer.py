"""A fast producer that sends whole record batches, for loads of hundreds of thousands of events.

kafka-python and Faust send about 20,000 events a second. A batch built by aiokafka costs only a microsecond or two for
each event.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.partitioning import partition_of
from stream.simulate.recording import ReplayEvent
from stream.simulate.simulator import SimulatedEvent

_BATCH_BYTES = 512 * 1024
# How many batches may be unconfirmed: enough to keep a broker busy, few enough to limit memory.
_MAX_UNCONFIRMED_BATCHES = 16
_MAX_UNFLUSHED_EVENTS = 10_000


class BulkProducer:
    """Sends simulated events to their topics, in order within each partition. Use it with `async with`.

    `topics` maps each input to its Kafka topic. `flush` waits until all events are delivered, and raises aiokafka's
    error if a batch is not.
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
        """Add events to the batches of their partitions, and send the full ones."""
        for event in events:
            self._unsent += 1
            if self._unsent >= _MAX_UNFLUSHED_EVENTS:
                # Else a topic with few events would reach Kafka days of event time after a busy one.
                await self.flush()
            key = event.key.encode()
            topic_partition = (self._topics[event.topic], partition_of(key, self._partitions))
            batch = self._batches.get(topic_partition)
            if batch is None:
                batch = self._batches[topic_partition] = self._producer.create_batch()
            if batch.append(timestamp=None, key=key, value=event.value) is None:
                await self._send_batch(topic_partition)
                batch = self._batches[topic_partition] = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=event.value)

    async def flush(self) -> None:
        """Send all unfinished batches, and wait until everything is delivered."""
        self._unsent = 0
        for topic_partition in list(self._batches):
            await self._send_batch(topic_partition)
        await asyncio.gather(*self._sent)
        self._sent.clear()

    async def _send_batch(self, topic_partition: tuple[str, int]) -> None:
        topic, partition = topic_partition
        batch = self._batches.pop(topic_partition)
        batch.close()
        if len(self._sent) >= _MAX_UNCONFIRMED_BATCHES:
            done, self._sent = await asyncio.wait(self._sent, return_when=asyncio.FIRST_COMPLETED)
            for sent in done:
                sent.result()
        self._sent.add(await self._producer.send_batch(batch, topic, partition=partition))
