"""Everything a worker writes to Kafka: checkpoints, dead letters, records for another partition, reports.

Each write is awaited by who needs it: a checkpoint waits for the dead letters and forwarded records before it, for they
count as dealt with once it is written.
"""

import asyncio
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.core.events import encode_event
from stream.core.messages import Record
from stream.core.partition.reading import Misplaced, Refused
from stream.core.partition.rows import Delta
from stream.core.rejections import Reason
from stream.core.users import partition_key
from stream.kafka.headers import (
    ATTEMPTS,
    BY_REFERENCE,
    DETAIL,
    FORWARDED,
    ORIGIN_KEY,
    ORIGIN_OFFSET,
    ORIGIN_PARTITION,
    ORIGIN_SAVED,
    ORIGIN_THING,
    ORIGIN_TOPIC,
    ORIGIN_VALUE,
    REASON,
    RECORD,
    VALUE,
    Headers,
    Origin,
    origin_headers,
    origin_in,
    parted,
    replayed_headers,
    replayed_in,
)
from stream.kafka.in_flight import InFlight
from stream.kafka.inventory import largest_message
from stream.kafka.messages import Letter, Messages
from stream.kafka.options import client_options
from stream.kafka.patience import PatientProducer, answer_seconds
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.telemetry import Day, Idle, Standby, Told, encode_day, encode_report

# Room for the headers of a record batch and of its records beside their keys and values.
_BATCH_OVERHEAD = 64 * 1024

# Checkpoints of several partitions go to a broker in one request, and of requests over 100 MiB
# (`socket.request.max.bytes`) it only closes the connection.
_DELTAS_IN_FLIGHT_BYTES = 64 * 1024 * 1024

# What a dead-letter topic has room for beside a message of the largest size and our own headers (`inventory`).
_LARGEST_KEY_AND_HEADERS = 48 * 1024


# So long a worker that stops waits until Kafka has what it tells the servers last.
_LAST_WORDS_SECONDS = 1.0


class DeltaTooLarge(RuntimeError):
    """A checkpoint does not fit into one record batch."""


class Outbox:
    """The producers of one worker: one for checkpoints and reports, one for single messages."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        largest = settings.state.max_delta_bytes + _BATCH_OVERHEAD
        options = {**client_options(settings), "answer_seconds": answer_seconds(settings)}
        self._producer_options: dict[str, Any] = {
            **options,
            "acks": "all",
            "enable_idempotence": settings.kafka.idempotent,
            "max_batch_size": largest,
            "max_request_size": largest + _BATCH_OVERHEAD,
            "linger_ms": 0,
        }
        self._producer: PatientProducer | None = None
        self._messages = Messages(options, largest=largest_message(settings), idempotent=settings.kafka.idempotent)
        # By key of the snapshots topic: what is told next, and the task that sends it.
        self._untold: dict[bytes, Told] = {}
        self._telling: dict[bytes, asyncio.Task[None]] = {}
        self._deltas = InFlight(_DELTAS_IN_FLIGHT_BYTES)

    async def start(self) -> None:
        self._producer = PatientProducer(**self._producer_options)
        await self._producer.start()
        await self._messages.start()

    async def stop(self) -> None:
        if self._telling:
            ended, untold = await asyncio.wait(self._telling.values(), timeout=_LAST_WORDS_SECONDS)
            for task in untold:
                task.cancel()
            for task in ended:
                task.exception()  # of no more use to anybody; asyncio would complain that nobody has asked
        await self._messages.stop()
        if self._producer is not None:
            await self._producer.stop()

    def _ready(self) -> PatientProducer:
        assert self._producer is not None, "the outbox is started before anything is sent"
        return self._producer

    async def write_delta(self, partition: int, delta: Delta) -> int:
        """Append a checkpoint to the changelog as one record batch; returns the offset of its last record."""
        producer = self._ready()
        size = sum(len(key) + len(value or b"") for key, value in delta)
        async with self._deltas.room_for(size):
            batch = producer.create_batch()
            for key, value in delta:
                if batch.append(timestamp=None, key=key, value=value) is None:
                    limit = self._settings.state.max_delta_bytes
                    told = f"{len(delta)} items of {size} bytes; state.max_delta_bytes is {limit}"
                    raise DeltaTooLarge(
                        f"a checkpoint of partition {partition} does not fit into one record batch: {told}"
                    )
            batch.close()
            written = await producer.send_batch(batch, self._settings.changelog_topic, partition=partition)
            return int((await written).offset) + len(delta) - 1

    async def read_changelog(self, partition: int, first: int, end: int) -> list[ConsumerRecord]:
        """The records of a changelog from offset `first` up to `end`, that one not."""
        place = TopicPartition(self._settings.changelog_topic, partition)
        consumer = AIOKafkaConsumer(**client_options(self._settings), enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, first)
            found: list[ConsumerRecord] = []
            while await consumer.position(place) < end:
                fetched = await consumer.getmany(timeout_ms=1_000)
                found += [record for record in fetched.get(place, []) if record.offset < end]
            return found
        finally:
            await consumer.stop()

    async def dead_letter(
        self, topic: str, partition: int, refused: Refused, *, forwarded: bool
    ) -> asyncio.Future[Any]:
        """Send a refused message, key and value byte for byte, with the reason and where it came from.

        A message that is too large is sent by reference: its value, and also a key or headers too large for a dead
        letter, stay where they came from. A header says which.
        """
        key, value, theirs, origin, is_whole = _as_produced(topic, partition, refused.record, forwarded=forwarded)
        replayed, theirs = replayed_in(theirs, topic)
        ours: Headers = [
            (REASON, refused.reason.value.encode()),
            (DETAIL, refused.detail[:1_000].encode(errors="replace")),
            *origin_headers(replayed.origin if replayed else origin),
        ]
        if replayed:
            ours.append((ATTEMPTS, str(replayed.attempts).encode()))
        if not is_whole or not _is_small(key, theirs):
            key, value, theirs = None, None, []
            ours.append((BY_REFERENCE, RECORD))
        elif refused.reason is Reason.TOO_LARGE:
            value = None
            ours.append((BY_REFERENCE, VALUE))
        letters = self._settings.dead_letter_topic(topic)
        return await self._messages.send(Letter(letters, partition, key, value, theirs, ours))

    async def forward(self, topic: str, partition: int, misplaced: Misplaced, *, saved: int) -> asyncio.Future[Any]:
        """Send an event on to the partition of its user, with where it came from.

        A message that tells nothing else goes as it came. Of one that tells several things the event itself goes, and
        so does what a null message means; should it be refused there, a message of several is kept by reference.
        `saved` is the offset up to which checkpoints have dealt with the topic.
        """
        record, key = misplaced.record, partition_key(misplaced.user)
        replayed, theirs = replayed_in(record.headers, topic)
        ours = origin_headers(Origin(topic, partition, record.offset, record.timestamp))
        ours.append((ORIGIN_SAVED, str(saved).encode()))
        value = record.value
        if misplaced.place is not None:
            value = encode_event(misplaced.event)
            ours.append((ORIGIN_THING, str(misplaced.place).encode()))
        if (misplaced.place is not None and record.value is not None) or not _is_small(record.key, theirs):
            theirs = []
            ours.append((BY_REFERENCE, RECORD))
        elif record.key != key:
            ours.append((ORIGIN_KEY, record.key))
        if record.value is None:
            ours.append((ORIGIN_VALUE, None))
        if replayed:
            theirs += replayed_headers(replayed)
        place = self._settings.rekey_topic, partition_of(key, self._settings.topics.partitions)
        return await self._messages.send_whole(Letter(*place, key, value, theirs, ours))

    async def report(self, report: Told) -> None:
        """Tell the servers how a partition stands. Not awaited: the next one of its key replaces it.

        Of each key one is on its way, and of those that come meanwhile the newest follows it: nothing piles up while a
        broker is away. Raises what kept the last one from being sent.
        """
        key = _key_of(report)
        self._untold[key] = report
        telling = self._telling.get(key)
        if telling is None or telling.done():
            self._telling[key] = asyncio.create_task(self._tell(key))
            if telling is not None:
                telling.result()

    async def tell_day(self, told: Day) -> asyncio.Future[Any]:
        """Tell the servers what a closed day says; a checkpoint waits until Kafka has it."""
        key, topic = str(told.closed.day).encode(), self._settings.days_topic
        sent: asyncio.Future[Any] = await self._ready().send(topic, encode_day(told), key=key, partition=told.partition)
        return sent

    async def forget_day(self, partition: int, day: int) -> asyncio.Future[Any]:
        """Have a day forgotten that is kept no more."""
        topic, key = self._settings.days_topic, str(day).encode()
        sent: asyncio.Future[Any] = await self._ready().send(topic, None, key=key, partition=partition)
        return sent

    async def _tell(self, key: bytes) -> None:
        while key in self._untold:
            told = self._untold.pop(key)
            topic = self._settings.snapshots_topic
            sent = await self._ready().send(topic, encode_report(told), key=key, partition=told.partition)
            await asyncio.wait({sent})  # what Kafka refuses the next one replaces


def _key_of(told: Told) -> bytes:
    """The key of the snapshots topic under which the newest of its kind stays."""
    place = "worker" if isinstance(told, Idle) else str(told.partition)
    return f"{place}/{told.worker}".encode() if isinstance(told, (Idle, Standby)) else place.encode()


class _Produced(NamedTuple):
    """A record as its producer sent it, and where to."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    origin: Origin
    is_whole: bool = True


def _as_produced(topic: str, partition: int, record: Record, *, forwarded: bool) -> _Produced:
    if not forwarded:
        origin = Origin(topic, partition, record.offset, record.timestamp)
        return _Produced(record.key, record.value, list(record.headers), origin)
    ours, theirs = parted(record.headers, FORWARDED)
    first = origin_in(ours)
    assert first is not None, "who takes a record of the re-key topic has read its origin"
    value = None if ORIGIN_VALUE in ours else record.value
    return _Produced(ours.get(ORIGIN_KEY, record.key), value, theirs, first, BY_REFERENCE not in ours)


def _is_small(key: bytes | None, headers: Headers) -> bool:
    """Whether there is room for key and headers beside a value of the largest size. Header values may be null."""
    bytes_of_headers = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    return len(key or b"") + bytes_of_headers <= _LARGEST_KEY_AND_HEADERS


class PartitionChangelog:
    """The end of the changelog of one partition."""

    def __init__(self, outbox: Outbox, partition: int) -> None:
        self._outbox = outbox
        self._partition = partition

    async def append(self, run: Delta) -> int:
        """Append records as one batch; returns the offset of the last one."""
        return await self._outbox.write_delta(self._partition, run)

    async def read(self, first: int, end: int) -> list[ConsumerRecord]:
        """The records from offset `first` up to `end`, that one not."""
        return await self._outbox.read_changelog(self._partition, first, end)


class ForwardedOrigin(NamedTuple):
    """Where a forwarded record was produced to, and how far the checkpoints of who forwarded it had got."""

    topic: str
    partition: int
    offset: int
    saved: int
    thing: int | None  # which of several that its message tells, where it carries an event; None for a message


def origin_of(record: Record) -> ForwardedOrigin | None:
    """The origin of a forwarded record; None when its headers don't tell."""
    headers: dict[str, Any] = parted(record.headers, FORWARDED)[0]
    try:
        partition, offset, saved = (int(headers[name]) for name in (ORIGIN_PARTITION, ORIGIN_OFFSET, ORIGIN_SAVED))
        thing = int(headers[ORIGIN_THING]) if ORIGIN_THING in headers else None
        return ForwardedOrigin(headers[ORIGIN_TOPIC].decode(), partition, offset, saved, thing)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
