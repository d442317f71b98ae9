"""Everything a worker writes to Kafka: checkpoints, dead letters, records for another partition, reports.

Each write is awaited by who needs it: a checkpoint waits for the dead letters and forwarded records before it, for they
count as dealt with once it is written.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.agents.kafka_options import client_options
from stream.core.events import Reason, partition_key
from stream.core.partition import Delta, Misplaced, Record, Refused
from stream.settings import Settings
from stream.telemetry import Report, encode_report

Headers = list[tuple[str, bytes]]

ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, ORIGIN_TIMESTAMP = (
    "origin-topic",
    "origin-partition",
    "origin-offset",
    "origin-timestamp",
)

# Room for the headers of a record batch and of its records beside their keys and values.
_BATCH_OVERHEAD = 64 * 1024


class DeltaTooLarge(RuntimeError):
    """A checkpoint does not fit into one record batch."""


class Outbox:
    """The producer of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        largest = settings.state.max_delta_bytes + _BATCH_OVERHEAD
        self._producer_options: dict[str, Any] = {
            **client_options(settings),
            "acks": "all",
            "enable_idempotence": settings.kafka.idempotent,
            "max_batch_size": largest,
            "max_request_size": largest + _BATCH_OVERHEAD,
            "linger_ms": 0,
        }
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(**self._producer_options)
        await self._producer.start()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    def _ready(self) -> AIOKafkaProducer:
        assert self._producer is not None, "the outbox is started before anything is sent"
        return self._producer

    async def write_delta(self, partition: int, delta: Delta) -> int:
        """Append a checkpoint to the changelog as one record batch; returns the offset of its last record."""
        producer = self._ready()
        batch = producer.create_batch()
        for key, value in delta:
            if batch.append(timestamp=None, key=key, value=value) is None:
                size = sum(len(key) + len(value or b"") for key, value in delta)
                limit = self._settings.state.max_delta_bytes
                told = f"{len(delta)} items of {size} bytes; state.max_delta_bytes is {limit}"
                raise DeltaTooLarge(f"a checkpoint of partition {partition} does not fit into one record batch: {told}")
        batch.close()
        written = await producer.send_batch(batch, self._settings.changelog_topic, partition=partition)
        return int((await written).offset) + len(delta) - 1

    async def dead_letter(self, topic: str, partition: int, refused: Refused) -> asyncio.Future[Any]:
        """Send a refused message, key and value byte for byte, with the reason and where it came from.

        A message that is refused for its size is sent by reference: the value stays where it came from.
        """
        record = refused.record
        headers = [
            ("reason", refused.reason.value.encode()),
            ("detail", refused.detail[:1_000].encode()),
            *_origin(topic, partition, record),
            *_without_origin(record.headers),
        ]
        value = None if refused.reason is Reason.TOO_LARGE else record.value
        return await self._send(self._settings.dead_letter_topic(topic), record.key, value, headers)

    async def forward(self, topic: str, partition: int, misplaced: Misplaced) -> asyncio.Future[Any]:
        """Send a record on to the partition of its user, with where it came from."""
        record = misplaced.record
        headers = [*_origin(topic, partition, record), *_without_origin(record.headers)]
        return await self._send(self._settings.rekey_topic, partition_key(misplaced.user), misplaced.value, headers)

    async def report(self, report: Report) -> None:
        """Tell the server what a partition adds. Not awaited: the next one replaces it."""
        key = str(report.partition).encode()
        topic = self._settings.snapshots_topic
        await self._ready().send(topic, encode_report(report), key=key, partition=report.partition)

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await self._ready().send(topic, value, key=key, headers=headers)
        return future


def _origin(topic: str, partition: int, record: Record) -> Headers:
    known = {name for name, _ in record.headers}
    if ORIGIN_TOPIC in known:  # it was forwarded already: its first origin is the one to tell
        return [(name, value) for name, value in record.headers if name.startswith("origin-")]
    return [
        (ORIGIN_TOPIC, topic.encode()),
        (ORIGIN_PARTITION, str(partition).encode()),
        (ORIGIN_OFFSET, str(record.offset).encode()),
        (ORIGIN_TIMESTAMP, str(record.timestamp).encode()),
    ]


def _without_origin(headers: Iterable[tuple[str, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if not name.startswith("origin-")]


def origin_topic(record: Record) -> str | None:
    """The topic that a forwarded record was produced to, or None when its header is missing."""
    return next((value.decode(errors="replace") for name, value in record.headers if name == ORIGIN_TOPIC), None)
