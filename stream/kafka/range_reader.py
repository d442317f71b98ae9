"""Read the records that a partition has now, between two offsets, without a consumer group.

Commands on dead letters use this. Records that producers append in the meantime are not read.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka.options import client_options
from stream.settings import Settings, Unavailable

_POLL_MS = 500
# Long enough for a broker to restart, short enough to notice one that does not come back.
NO_RECORDS_TIMEOUT_SECONDS = 60.0
_STOP_SECONDS = 5.0
# How long to wait for an answer to the fetch at the end of each partition. A broker that has nothing there answers
# after half a second.
_END_SECONDS, _END_POLL_MS = 5.0, 100


class OffsetRange(NamedTuple):
    """Offsets of a partition from `first` up to, but not including, `end`."""

    first: int
    end: int


OffsetRanges = dict[TopicPartition, OffsetRange]


@asynccontextmanager
async def open_consumer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer without a group, and close it at the end. Kafka's errors inside the block become Unavailable."""
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    with kafka_errors_as_unavailable(settings):
        try:
            await consumer.start()
            yield consumer
        finally:
            await stop_client(consumer)


async def current_ranges(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> OffsetRanges:
    """Return the offsets that these partitions have now. The consumer reads what the caller assigns it afterwards.

    A broker's word for the end is only where to look for it: the embedded broker of the demo answers with the offset at
    which the last batch begins. So what is there is fetched, which a partition with nothing more answers too.
    """
    if not partitions:
        return {}
    first: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    consumer.assign(list(partitions))
    for partition, end in ends.items():
        consumer.seek(partition, end)
    unanswered, deadline = set(partitions), time.monotonic() + _END_SECONDS
    while unanswered and time.monotonic() < deadline:
        for partition, records in (await consumer.getmany(*unanswered, timeout_ms=_END_POLL_MS)).items():
            ends[partition] = records[-1].offset + 1
            unanswered.discard(partition)
        unanswered = {partition for partition in unanswered if consumer.highwater(partition) is None}
    return {partition: OffsetRange(first[partition], ends[partition]) for partition in partitions}


async def ranges_since(consumer: AIOKafkaConsumer, ranges: OffsetRanges, since_ms: int) -> OffsetRanges:
    """Narrow each range so that it begins at the first record with a timestamp of `since_ms` or later."""
    places: Mapping[TopicPartition, Any] = await consumer.offsets_for_times(dict.fromkeys(ranges, since_ms))
    return {
        partition: offsets._replace(first=offsets.end if places[partition] is None else places[partition].offset)
        for partition, offsets in ranges.items()
    }


async def read_ranges(consumer: AIOKafkaConsumer, wanted: OffsetRanges) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of these ranges, in order within each partition.

    Raises Unavailable when no record arrives for a minute.
    """
    left = {partition for partition, offsets in wanted.items() if offsets.first < offsets.end}
    consumer.assign(left)
    for partition in left:
        consumer.seek(partition, wanted[partition].first)
    silent_seconds = 0.0
    while left:
        asked = time.monotonic()
        fetched = await consumer.getmany(*left, timeout_ms=_POLL_MS)
        silent_seconds = 0.0 if fetched else silent_seconds + time.monotonic() - asked
        if silent_seconds > NO_RECORDS_TIMEOUT_SECONDS:
            raise Unavailable(f"no records of {_named(left)} came for {NO_RECORDS_TIMEOUT_SECONDS:g} s")
        for partition, records in fetched.items():
            for record in records:
                if record.offset < wanted[partition].end:
                    yield record
        # Compare positions, not record offsets: some offsets have no record, such as the markers of transactions.
        done = {partition for partition in left if await consumer.position(partition) >= wanted[partition].end}
        consumer.pause(*done)
        left -= done


def _named(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({partition.topic for partition in partitions}))


async def start_client(client: Any, starting: Awaitable[object]) -> None:
    """Wait until an aiokafka client has started. One that can't be started is stopped, for it may hold connections."""
    try:
        await starting
    except BaseException:
        await stop_client(client)
        raise


async def stop_client(client: Any) -> None:
    """Stop an aiokafka client, and give up after 5 s.

    A client that cannot reach its broker would wait for it, some kinds for ever. A consumer may also end with the
    CancelledError of its own tasks. Neither matters to the caller, so errors are ignored.
    """
    stopping = asyncio.ensure_future(client.stop())
    _, unfinished = await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    for task in unfinished:
        task.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


@contextmanager
def kafka_errors_as_unavailable(settings: Settings) -> Iterator[None]:
    """Turn Kafka's errors inside the block into Unavailable, with the address of the brokers."""
    try:
        yield
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka.servers}: {error}") from error
