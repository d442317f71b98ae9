"""Reading what lies in Kafka now: from one offset to another, without a group, and without what comes meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka.options import client_options
from stream.settings import Settings, Unavailable

_POLL_MS = 500
# Long enough for a broker that restarts, short enough to learn that it does not.
ANSWER_SECONDS = 60.0
_STOP_SECONDS = 5.0


class Span(NamedTuple):
    """Offsets of a partition, half open."""

    first: int
    end: int


Spans = dict[TopicPartition, Span]


@asynccontextmanager
async def reader(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group. What Kafka raises while it is open becomes Unavailable."""
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    with kafka_told(settings):
        try:
            await consumer.start()
            yield consumer
        finally:
            await stopped(consumer)


async def spans(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> Spans:
    """What lies in these partitions now."""
    if not partitions:
        return {}
    first: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
    end: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return {partition: Span(first[partition], end[partition]) for partition in partitions}


async def newer(consumer: AIOKafkaConsumer, lying: Spans, since_ms: int) -> Spans:
    """The same, each from its first record that is as new as `since_ms`."""
    places: Mapping[TopicPartition, Any] = await consumer.offsets_for_times(dict.fromkeys(lying, since_ms))
    return {
        partition: span._replace(first=span.end if places[partition] is None else places[partition].offset)
        for partition, span in lying.items()
    }


async def read(consumer: AIOKafkaConsumer, wanted: Spans) -> AsyncIterator[ConsumerRecord]:
    """The records of these spans, each partition in order. Raises Unavailable when none come any more."""
    left = {partition for partition, span in wanted.items() if span.first < span.end}
    consumer.assign(left)
    for partition in left:
        consumer.seek(partition, wanted[partition].first)
    silent_seconds = 0.0
    while left:
        asked = time.monotonic()
        fetched = await consumer.getmany(*left, timeout_ms=_POLL_MS)
        silent_seconds = 0.0 if fetched else silent_seconds + time.monotonic() - asked
        if silent_seconds > ANSWER_SECONDS:
            raise Unavailable(f"no records of {_named(left)} came for {ANSWER_SECONDS:g} s")
        for partition, records in fetched.items():
            for record in records:
                if record.offset < wanted[partition].end:
                    yield record
        # Not every offset has a record: think of markers of transactions.
        done = {partition for partition in left if await consumer.position(partition) >= wanted[partition].end}
        consumer.pause(*done)
        left -= done


def _named(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({partition.topic for partition in partitions}))


async def stopped(client: Any) -> None:
    """Stop a client of aiokafka.

    One that can't reach its broker would wait for it, some kinds for ever, and a consumer may end with the
    CancelledError of its own tasks: what comes of it is not looked at.
    """
    stopping = asyncio.ensure_future(client.stop())
    _, unfinished = await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    for task in unfinished:
        task.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


@contextmanager
def kafka_told(settings: Settings) -> Iterator[None]:
    """What Kafka raises becomes Unavailable, with the brokers it came from."""
    try:
        yield
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka.servers}: {error}") from error
