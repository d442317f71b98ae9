"""Records as they were produced, for the dead letters that are kept by reference."""

import time
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka import range_reader
from stream.kafka.headers import Origin
from stream.settings import Unavailable


class Origins:
    """Looks records up by where they were produced to."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._lying: range_reader.OffsetRanges = {}

    async def find(self, origin: Origin) -> ConsumerRecord | None:
        """The record that was produced to this place; None when it is there no more.

        Raises Unavailable when Kafka does not answer.
        """
        partition = TopicPartition(origin.topic, origin.partition)
        if partition not in self._lying:
            self._lying |= await range_reader.current_ranges(self._consumer, [partition])
        span = self._lying[partition]
        if not span.first <= origin.offset < span.end:
            return None
        record = await self._at(partition, origin.offset)
        # A topic that was deleted and made anew has other records at the same offsets.
        if record is None or (record.offset, record.timestamp) != (origin.offset, origin.timestamp):
            return None
        return record

    async def _at(self, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
        """The first record at an offset or after it; None when nothing follows."""
        self._consumer.assign([partition])
        self._consumer.seek(partition, offset)
        deadline = time.monotonic() + range_reader.NO_RECORDS_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            fetched: dict[Any, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=500, max_records=1)
            for records in fetched.values():
                return records[0]
            if await self._consumer.position(partition) >= self._lying[partition].end:
                return None
        raise Unavailable(f"no record of {partition.topic} came within {range_reader.NO_RECORDS_TIMEOUT_SECONDS:g} s")
