"""Which dead letters were replayed: notes in a compacted topic, so that no run sends again what another has sent.

Offsets of a consumer group can't tell, for a run may ask for some reasons only. So each letter that was replayed has a
note under its identity. A run writes the notes of some letters when Kafka has confirmed their records: if it is killed
in between, the next one sends those again, which counts once.

Two runs at the same time are kept apart by Kafka: notes are written in transactions of one id, and who begins last
fences the others, whose next notes are refused. Brokers without idempotent producers (`kafka.idempotent`) have no
transactions either, and keep no runs apart.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from stream.kafka import range_reader
from stream.kafka.options import client_options
from stream.kafka.topics import partition_counts
from stream.letters.dead_letters import Place
from stream.settings import Settings, Unavailable


class Note(msgspec.Struct, frozen=True):
    """That a letter was replayed.

    Topic: the replayed topic, compacted; key: the letter's identity; removed when the letter itself has been deleted.
    """

    letter: Place  # where it lies
    replayed_ms: int


Notes = dict[str, Note]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Note).decode


class TakenOver(Unavailable):
    """Another run has begun to replay: this one must not go on."""


async def read_notes(settings: Settings) -> Notes:
    """All notes, by identity; none where nothing was ever replayed."""
    topic = settings.replayed_topic
    notes: Notes = {}
    if topic not in partition_counts([topic], client_options=client_options(settings)):
        return notes
    async with range_reader.open_consumer(settings, isolation_level="read_committed") as consumer:
        async for record in range_reader.read_ranges(
            consumer, await range_reader.current_ranges(consumer, [TopicPartition(topic, 0)])
        ):
            identity = (record.key or b"").decode(errors="replace")
            if record.value is None:
                notes.pop(identity, None)
            else:
                notes[identity] = _decode(record.value)
    return notes


class Notebook:
    """Writes notes. The topic must be there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fences = settings.kafka.idempotent
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> "Notebook":
        options: dict[str, Any] = {"acks": "all"}
        if self._fences:
            options["transactional_id"] = f"{self._settings.app_id}-dlq-replay"
        self._producer = AIOKafkaProducer(**client_options(self._settings), **options)
        try:
            with range_reader.kafka_errors_as_unavailable(self._settings):
                await self._answered(self._producer.start())
        except BaseException:
            await range_reader.stop_client(self._producer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await range_reader.stop_client(self._producer)

    async def write(self, notes: Mapping[str, Note | None]) -> None:
        """Write notes, all of them or none; None removes one. Raises TakenOver, or Unavailable."""
        if not notes:
            return
        with range_reader.kafka_errors_as_unavailable(self._settings):
            try:
                await self._answered(self._write(notes))
            except (ProducerFenced, InvalidProducerEpoch):
                raise TakenOver("another `engagement dlq replay` has begun, and goes on in place of this one") from None

    async def _answered(self, request: Coroutine[Any, Any, None]) -> None:
        """Wait no longer than a broker needs: aiokafka asks for ever where transactions are concerned."""
        try:
            await asyncio.wait_for(request, range_reader.NO_RECORDS_TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            seconds = range_reader.NO_RECORDS_TIMEOUT_SECONDS
            told = f"no broker at {self._settings.kafka.servers} has taken notes for {seconds:g} s"
            raise Unavailable(told) from None

    async def _write(self, notes: Mapping[str, Note | None]) -> None:
        producer, topic = self._producer, self._settings.replayed_topic
        assert producer is not None, "a notebook is opened before it is written to"
        if self._fences:
            await producer.begin_transaction()
        sent: list[asyncio.Future[Any]] = []
        for identity, note in notes.items():
            sent.append(await producer.send(topic, None if note is None else _encode(note), key=identity.encode()))
            sent[-1].add_done_callback(_look_at)
        if self._fences:
            await producer.commit_transaction()
        await asyncio.gather(*sent)


def _look_at(sent: "asyncio.Future[Any]") -> None:
    """When a commit fails it tells why, and what it took down with it need not be logged as never looked at."""
    if not sent.cancelled():
        sent.exception()
