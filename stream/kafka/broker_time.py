"""What a worker learns of the brokers' time from the answers to what it writes.

A broker answers with its own time if the topic has `message.timestamp.type=LogAppendTime`, as those that we create. A
topic of `CreateTime` takes the time that the producer gives, and its broker tells nothing. It also refuses a record
whose time is more than an hour ahead (`message.timestamp.after.max.ms`), but none that has no time.
"""

import asyncio
import time
import zlib
from collections import defaultdict
from contextlib import suppress
from typing import Any, Final

from aiokafka.structs import RecordMetadata, TopicPartition
from msgspec.structs import replace

from stream.clock import Clock, TimeTold
from stream.kafka.timeouts import WaitingProducer
from stream.telemetry import ClockReading, encode_report

# What Kafka calls a record without a time. A broker then goes by its own, for compaction too.
NO_TIMESTAMP: Final = -1

_CREATE_TIME, _LOG_APPEND_TIME = 0, 1

# How long the slower brokers are waited for when the first one has answered.
_SLOWER_BROKERS_SECONDS = 1.0

_KEY = b"clock"


class BrokerTime:
    """Tells a clock what the brokers' answers say, and asks every broker that leads a partition of a topic."""

    def __init__(self, clock: Clock, producer: WaitingProducer, topic: str, *, partitions: int) -> None:
        self._clock, self._producer = clock, producer
        self._topic, self._partitions = topic, partitions
        self._asked: dict[int, asyncio.Task[None]] = {}  # by partition

    def hear(self, answer: RecordMetadata, *, after: float) -> None:
        """Take in the answer to a record that was sent after a moment of the monotonic clock."""
        broker = self._leader(answer.topic_partition)
        # Without an offset it is the answer to a record sent twice, of which the broker knows no more than that.
        if answer.offset < 0 or broker is None or broker < 0:
            return
        if answer.timestamp_type == _LOG_APPEND_TIME:
            self._clock.hear(TimeTold(f"broker {broker}", answer.timestamp, after, time.monotonic()))
        elif answer.topic == self._topic:
            problem = f"topic {self._topic!r} has message.timestamp.type=CreateTime"
            self._clock.note_silence(self._topic, f"{problem} (see `engagement topics check`)")

    async def ask(self, reading: ClockReading) -> None:
        """Send a reading to every broker. Returns when the first has answered, and the others had some time for it.

        Raises what kept an answer away. A broker that has still to answer the last reading gets no other.
        """
        for partition in await self._one_partition_of_each_broker(reading.worker):
            if partition not in self._asked:
                asking = self._send(replace(reading, partition=partition))
                self._asked[partition] = asyncio.create_task(asking)
        asked = set(self._asked.values())
        answered, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            answered |= (await asyncio.wait(waiting, timeout=_SLOWER_BROKERS_SECONDS))[0]
        self._asked = {partition: task for partition, task in self._asked.items() if not task.done()}
        for task in answered:
            task.result()

    async def stop(self) -> None:
        """Wait for no more answers."""
        for task in self._asked.values():
            task.cancel()
        for task in self._asked.values():
            with suppress(asyncio.CancelledError, Exception):
                await task
        self._asked = {}

    async def _send(self, reading: ClockReading) -> None:
        after = time.monotonic()
        sent: Any = await self._producer.send(
            self._topic, encode_report(reading), key=_KEY, partition=reading.partition, timestamp_ms=NO_TIMESTAMP
        )
        self.hear(await sent, after=after)

    async def _one_partition_of_each_broker(self, worker: str) -> list[int]:
        """Return a partition for each broker that leads some, for different workers different ones."""
        await self._producer.partitions_for(self._topic)
        led: defaultdict[int | None, list[int]] = defaultdict(list)
        for partition in range(self._partitions):
            led[self._leader(TopicPartition(self._topic, partition))].append(partition)
        brokers = [broker for broker in led if broker is not None and broker >= 0]
        place = zlib.crc32(worker.encode())
        # While no leader is known, one that comes will take what is sent to any partition.
        return [led[broker][place % len(led[broker])] for broker in brokers] or [0]

    def _leader(self, place: TopicPartition) -> int | None:
        leader: int | None = self._producer.client.cluster.leader_for_partition(place)
        return leader
