"""The replay log: a compacted topic that records which dead letters were replayed, so that none is replayed twice.

The offsets of a consumer group can't record this, because a run may replay only some reasons. So the log has an entry
for each replayed dead letter, under its identity. A run writes entries after Kafka has confirmed the records. If the
run is killed in between, the next run sends those records again, which counts each event only once.

Kafka prevents two runs at the same time. All runs write the log in transactions with the same transactional id, so a
run that begins fences the older ones, and their next write is refused. Brokers without idempotent producers
(`kafka.idempotent`) have no transactions either; there, two runs are not kept apart.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from stream.dead_letters.reader import KafkaPosition
from stream.kafka import range_reader
from stream.kafka.options import client_options
from stream.kafka.topics import partition_counts
from stream.settings import Settings, Unavailable


class ReplayLogEntry(msgspec.Struct, frozen=True):
    """Says that a dead letter was replayed.

    Topic: the replayed topic, compacted. Key: the identity of the dead letter. The entry is removed after Kafka has
    deleted the dead letter itself.
    """

    letter: KafkaPosition  # where the dead letter lies
    replayed_ms: int


ReplayLogEntries = dict[str, ReplayLogEntry]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ReplayLogEntry).decode


class ReplacedByNewerRun(Unavailable):
    """Another run has begun to replay, so this one must stop."""


async def read_replay_log(settings: Settings) -> ReplayLogEntries:
    """Return all entries of the replay log, by identity. Empty if nothing was ever replayed."""
    topic = settings.replayed_topic
    entries: ReplayLogEntries = {}
    if topic not in partition_counts([topic], client_options=client_options(settings)):
        return entries
    async with range_reader.open_consumer(settings, isolation_level="read_committed") as consumer:
        async for record in range_reader.read_ranges(
            consumer, await range_reader.current_ranges(consumer, [TopicPartition(topic, 0)])
        ):
            identity = (record.key or b"").decode(errors="replace")
            if record.value is None:
                entries.pop(identity, None)
            else:
                entries[identity] = _decode(record.value)
    return entries


class ReplayLog:
    """Writes the replay log. Use it with `async with`; the topic must exist."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fences = settings.kafka.idempotent
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> "ReplayLog":
        options: dict[str, Any] = {"acks": "all"}
        if self._fences:
            options["transactional_id"] = self._settings.replay_transactional_id
        self._producer = AIOKafkaProducer(**client_options(self._settings), **options)
        with range_reader.kafka_errors_as_unavailable(self._settings):
            await range_reader.start_client(self._producer, self._with_timeout(self._producer.start()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await range_reader.stop_client(self._producer)

    async def write(self, entries: Mapping[str, ReplayLogEntry | None]) -> None:
        """Write all entries or none. An entry of None is removed. Raises ReplacedByNewerRun, or Unavailable."""
        if not entries:
            return
        with range_reader.kafka_errors_as_unavailable(self._settings):
            try:
                await self._with_timeout(self._write(entries))
            except (ProducerFenced, InvalidProducerEpoch):
                raise ReplacedByNewerRun(
                    "another `engagement dlq replay` has begun, and goes on in place of this one"
                ) from None

    async def _with_timeout(self, request: Coroutine[Any, Any, None]) -> None:
        """Limit the wait for Kafka, because aiokafka retries requests about transactions for ever."""
        try:
            await asyncio.wait_for(request, range_reader.NO_RECORDS_TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            seconds = range_reader.NO_RECORDS_TIMEOUT_SECONDS
            problem = f"no broker at {self._settings.kafka.servers} has taken notes for {seconds:g} s"
            raise Unavailable(problem) from None

    async def _write(self, entries: Mapping[str, ReplayLogEntry | None]) -> None:
        producer, topic = self._producer, self._settings.replayed_topic
        assert producer is not None, "a notebook is opened before it is written to"
        if self._fences:
            await producer.begin_transaction()
        sent: list[asyncio.Future[Any]] = []
        for identity, entry in entries.items():
            sent.append(await producer.send(topic, None if entry is None else _encode(entry), key=identity.encode()))
            sent[-1].add_done_callback(_retrieve_exception)
        if self._fences:
            await producer.commit_transaction()
        await asyncio.gather(*sent)


def _retrieve_exception(sent: "asyncio.Future[Any]") -> None:
    """Retrieve the exception of a send, so that asyncio does not warn about it. The commit has raised it already."""
    if not sent.cancelled():
        sent.exception()
