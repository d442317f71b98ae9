"""Fetch original records, for dead letters that lack a part because it was too large."""

import time
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka import range_reader
from stream.kafka.headers import Origin
from stream.settings import Unavailable


class OriginalRecords:
    """Finds records by the place where they were produced to."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._stored: range_reader.OffsetRanges = {}

    async def find(self, origin: Origin) -> ConsumerRecord | None:
        """Return the record that was produced to this place, or None if Kafka has it no more.

        Raises Unavailable if Kafka does not answer.
        """
        partition = TopicPartition(origin.topic, origin.partition)
        if partition not in self._stored:
            self._stored |= await range_reader.current_ranges(self._consumer, [partition])
        offsets = self._stored[partition]
        if not offsets.first <= origin.offset < offsets.end:
            return None
        record = await self._first_record_from(partition, origin.offset)
        # If the topic was deleted and created again, another record may have this offset: compare the time too.
        if record is None or (record.offset, record.timestamp) != (origin.offset, origin.timestamp):
            return None
        return record

    async def _first_record_from(self, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
        """Return the first record at this offset or after it, or None if there is none."""
        self._consumer.assign([partition])
        self._consumer.seek(partition, offset)
        deadline = time.monotonic() + range_reader.NO_RECORDS_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            fetched: dict[Any, list[ConsumerRecord]] = await self._consumer.getmany(timeout_ms=500, max_records=1)
            for records in fetched.values():
                return records[0]
            if await self._consumer.position(partition) >= self._stored[partition].end:
                return None
        raise Unavailable(f"no record of {partition.topic} came within {range_reader.NO_RECORDS_TIMEOUT_SECONDS:g} s")
