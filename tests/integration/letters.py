"""Dead letters for tests, written by the outbox of a worker without the worker, and what replays leave in Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition
from click.testing import CliRunner

from stream.cli import main
from stream.core.partition.batch_reader import Refused
from stream.core.rejections import Reason
from stream.kafka.outbox import Outbox
from stream.kafka.topics import partition_counts
from stream.partitioning import partition_of
from tests.integration.deployment import Deployment
from tests.logs import logging_put_back

MIB = 1024 * 1024
Headers = Sequence[tuple[str, bytes | None]]


class Message(NamedTuple):
    """What is produced to an input, as it is."""

    topic: str
    value: bytes | None
    key: bytes | None = b"ada"
    headers: Headers = ()
    timestamp_ms: int | None = None


class Ended(NamedTuple):
    """What a command came to."""

    status: int
    stdout: str
    stderr: str


def produce(deployment: Deployment, messages: Iterable[Message]) -> list[ConsumerRecord]:
    """Produce messages, and tell what lies in Kafka of each."""

    async def scenario() -> list[ConsumerRecord]:
        async with AIOKafkaProducer(**deployment.client, max_request_size=32 * MIB) as producer:
            places = [await _sent(deployment, producer, message) for message in messages]
        async with AIOKafkaConsumer(**deployment.client, auto_offset_reset="earliest") as consumer:
            return [await _record_at(consumer, *place) for place in places]

    return asyncio.run(scenario())


async def _sent(deployment: Deployment, producer: Any, message: Message) -> tuple[str, int, int]:
    # In batches, for clients refuse to send some messages one by one.
    batch = producer.create_batch()
    batch.append(key=message.key, value=message.value, timestamp=message.timestamp_ms, headers=list(message.headers))
    batch.close()
    partition = 0 if message.key is None else partition_of(message.key, len(deployment.all_partitions))
    topic = deployment.settings.input_topics[message.topic]
    answer = await (await producer.send_batch(batch, topic, partition=partition))
    return topic, partition, answer.offset


async def _record_at(consumer: Any, topic: str, partition: int, offset: int) -> ConsumerRecord:
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    consumer.seek(place, offset)
    return await consumer.getone(place)


def refuse(deployment: Deployment, records: Iterable[ConsumerRecord], reason: Reason = Reason.NOT_JSON) -> None:
    """Write the dead letters of records as a worker does."""

    async def scenario() -> None:
        outbox = Outbox(deployment.settings)
        await outbox.start()
        for record in records:
            letter = Refused(record, reason, f"refused for {reason.value}")
            await (await outbox.dead_letter(record.topic, record.partition, letter))
        await outbox.stop()

    asyncio.run(scenario())


def in_topics(deployment: Deployment, topics: Iterable[str]) -> list[ConsumerRecord]:
    """All that lies in some topics, in order of place."""
    counts = partition_counts(list(topics), client_options=deployment.client)
    places = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]

    async def scenario() -> list[ConsumerRecord]:
        found: list[ConsumerRecord] = []
        async with AIOKafkaConsumer(**deployment.client, auto_offset_reset="earliest") as consumer:
            consumer.assign(places)
            for place, end in (await consumer.end_offsets(places)).items():
                while await consumer.position(place) < end:
                    fetched = await consumer.getmany(timeout_ms=300)
                    found += [record for records in fetched.values() for record in records]
        return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))

    return asyncio.run(scenario())


def replayed(deployment: Deployment) -> list[ConsumerRecord]:
    """What replays have sent to the inputs."""
    records = in_topics(deployment, deployment.settings.input_topics.values())
    return [record for record in records if "replayed-attempts" in dict(record.headers)]


def engagement(deployment: Deployment, *arguments: str, **settings: str) -> Ended:
    """Run a command to its end, in this process: a new one would take a second to import the clients of Kafka."""
    with logging_put_back():
        result = CliRunner().invoke(main, arguments, env={**deployment.variables, **settings}, catch_exceptions=False)
    return Ended(result.exit_code, result.stdout, result.stderr)


def listed(deployment: Deployment, *options: str) -> list[dict[str, Any]]:
    """What `engagement dlq list` counts."""
    ended = engagement(deployment, "dlq", "list", "--format", "json", *options)
    assert ended.status == 0, ended.stderr
    counts: list[dict[str, Any]] = json.loads(ended.stdout)["counts"]
    return counts


def shown(deployment: Deployment, *options: str) -> list[dict[str, Any]]:
    """What `engagement dlq show` tells."""
    ended = engagement(deployment, "dlq", "show", "--format", "json", *options)
    assert ended.status == 0, ended.stderr
    letters: list[dict[str, Any]] = json.loads(ended.stdout)["letters"]
    return letters


def replay(deployment: Deployment, *options: str, **settings: str) -> Ended:
    """Run `engagement dlq replay`."""
    ended = engagement(deployment, "dlq", "replay", *options, **settings)
    assert ended.status == 0, ended.stderr
    return ended
