"""Everything that a worker writes to Kafka: checkpoints, dead letters, forwarded events and reports.

The caller awaits each write that it depends on. A checkpoint waits for the dead letters and forwarded events before it,
because after the checkpoint their source records are never read again.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.clock import Clock
from stream.core.partition.batch_reader import Misplaced, Refused
from stream.core.partition.rows import Delta
from stream.core.privacy import AuditRecord
from stream.core.rejections import Reason
from stream.core.user_scores import ScoreMessage
from stream.core.users import partition_key, public_id
from stream.kafka.broker_time import NO_TIMESTAMP, BrokerTime
from stream.kafka.forwarded_batches import ForwardedRecord, batches, encode_misplaced, fit_into_dead_letter
from stream.kafka.headers import (
    ATTEMPTS,
    BY_REFERENCE,
    DELETED_BY,
    DETAIL,
    REASON,
    RECORD,
    VALUE,
    Headers,
    Origin,
    origin_headers,
    replay_from_headers,
)
from stream.kafka.message_producer import MessageProducer, OutgoingMessage
from stream.kafka.options import client_options
from stream.kafka.pending_sends import PendingSends
from stream.kafka.timeouts import WaitingProducer, request_timeout_seconds
from stream.kafka.topic_specs import max_forwarded_message_bytes
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.telemetry import (
    AnyReport,
    ClockReading,
    ClosedDayReport,
    Idle,
    Owner,
    Standby,
    encode_closed_day,
    encode_report,
)

# Room in a record batch for the headers of the batch and of its records.
_BATCH_OVERHEAD = 64 * 1024

# aiokafka sends the checkpoints of several partitions in one request. A broker closes the connection when a request is
# larger than 100 MiB (`socket.request.max.bytes`).
_MAX_PENDING_DELTA_BYTES = 64 * 1024 * 1024

# Room for the headers of a message that has forwarded events: the longest is the name of a topic.
_LARGEST_HEADERS_OF_A_BATCH = 2 * 1024


# How long a worker that stops waits until Kafka has its last reports.
_LAST_REPORTS_SECONDS = 1.0


class DeltaTooLarge(RuntimeError):
    """A checkpoint does not fit into one record batch. The text names the setting that limits it."""


class Outbox:
    """The two producers of a worker: one for checkpoints and reports, one for single messages.

    Checkpoints, reports and forwarded events are sent without a time: the broker gives them its own, and from its
    answers `clock` hears what time it is.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = Clock() if clock is None else clock
        self._broker_time: BrokerTime | None = None
        largest = settings.state.max_delta_bytes + _BATCH_OVERHEAD
        options = {**client_options(settings), "request_timeout_seconds": request_timeout_seconds(settings)}
        self._producer_options: dict[str, Any] = {
            **options,
            "acks": "all",
            "enable_idempotence": settings.kafka.idempotent,
            "max_batch_size": largest,
            "max_request_size": largest + _BATCH_OVERHEAD,
            "linger_ms": 0,
        }
        self._producer: WaitingProducer | None = None
        self._message_producer = MessageProducer(
            options, largest=max_forwarded_message_bytes(settings), idempotent=settings.kafka.idempotent
        )
        # Both by key of the snapshots topic: the report to send next, and the task that sends the reports of that key.
        self._unsent_reports: dict[bytes, AnyReport] = {}
        self._sending_reports: dict[bytes, asyncio.Task[None]] = {}
        self._pending_deltas = PendingSends(_MAX_PENDING_DELTA_BYTES)
        # Closed days are handed to the producer one after the other: of a day the newest must be the last in Kafka.
        self._sending_closed_day = asyncio.Lock()

    async def start(self) -> None:
        self._producer = WaitingProducer(**self._producer_options)
        await self._producer.start()
        settings = self._settings
        partitions = settings.topics.partitions
        self._broker_time = BrokerTime(self._clock, self._producer, settings.snapshots_topic, partitions=partitions)
        await self._message_producer.start()

    async def stop(self) -> None:
        if self._sending_reports:
            ended, unsent = await asyncio.wait(self._sending_reports.values(), timeout=_LAST_REPORTS_SECONDS)
            for task in unsent:
                task.cancel()
            for task in ended:
                task.exception()  # nobody needs it any more; asyncio warns about exceptions that are not retrieved
        if self._broker_time is not None:
            await self._broker_time.stop()
        await self._message_producer.stop()
        if self._producer is not None:
            await self._producer.stop()

    def _started_producer(self) -> WaitingProducer:
        assert self._producer is not None, "the outbox is started before anything is sent"
        return self._producer

    async def write_delta(self, partition: int, delta: Delta) -> int:
        """Append a checkpoint to the changelog as one record batch; returns the offset of its last record."""
        producer = self._started_producer()
        size = sum(len(key) + len(value or b"") for key, value in delta)
        async with self._pending_deltas.reserve(size):
            batch = producer.create_batch()
            for key, value in delta:
                if batch.append(timestamp=NO_TIMESTAMP, key=key, value=value) is None:
                    limit = self._settings.state.max_delta_bytes
                    size_and_limit = f"{len(delta)} items of {size} bytes; state.max_delta_bytes is {limit}"
                    raise DeltaTooLarge(
                        f"a checkpoint of partition {partition} does not fit into one record batch: {size_and_limit}"
                    )
            batch.close()
            after = time.monotonic()
            written = await (await producer.send_batch(batch, self._settings.changelog_topic, partition=partition))
            self._hear(written, after=after)
            return int(written.offset) + len(delta) - 1

    async def read_changelog(self, partition: int, first: int, end: int) -> list[ConsumerRecord]:
        """Return the records of a changelog from offset `first` up to, but not including, `end`."""
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

    async def dead_letter(self, topic: str, partition: int, refused: Refused) -> asyncio.Future[Any]:
        """Send a refused message to the dead-letter topic, and return a future of its delivery.

        Key, value and headers are copied byte for byte; our headers add the reason and the origin. What is too large
        stays in the original record, and a header says so: the value, or the whole record if key or headers are large.
        """
        record = refused.record
        key, value = record.key, record.value
        origin, is_complete = Origin(topic, partition, record.offset, record.timestamp), True
        if isinstance(record, ForwardedRecord):
            origin, is_complete = origin._replace(partition=record.partition), record.is_complete
        replayed, theirs = replay_from_headers(record.headers, topic)
        ours: Headers = [
            (REASON, refused.reason.value.encode()),
            (DETAIL, refused.detail[:1_000].encode(errors="replace")),
            *origin_headers(replayed.origin if replayed else origin),
        ]
        if replayed:
            ours.append((ATTEMPTS, str(replayed.attempts).encode()))
        if not is_complete or not fit_into_dead_letter(key, theirs):
            key, value, theirs = None, None, []
            ours.append((BY_REFERENCE, RECORD))
        elif refused.reason is Reason.TOO_LARGE:
            value = None
            ours.append((BY_REFERENCE, VALUE))
        letters = self._settings.dead_letter_topic(topic)
        at_ms = self._clock.now_ms()
        return await self._message_producer.send(OutgoingMessage(letters, partition, key, value, theirs, ours, at_ms))

    async def forward(
        self, topic: str, partition: int, misplaced: Iterable[Misplaced], *, checkpointed_offset: int
    ) -> list[asyncio.Future[Any]]:
        """Send events of a Kafka topic to the partitions of their users; returns a future of each message's delivery.

        Events that go to one partition are sent together, in their order. `checkpointed_offset` is the offset up to
        which checkpoints have dealt with the topic.
        """
        by_target: dict[int, list[bytes]] = {}
        for target, item in self._encode_misplaced(misplaced, topic, partition):
            by_target.setdefault(target, []).append(item)
        return await self._send_forwarded(by_target, topic, partition, checkpointed_offset)

    async def tell_others(
        self, topic: str, partition: int, requests: Iterable[Misplaced], *, checkpointed_offset: int
    ) -> list[asyncio.Future[Any]]:
        """Tell all other partitions of requests of people that were read here; returns a future of each message.

        A person's own partition gets the request itself.
        """
        by_target: dict[int, list[bytes]] = {}
        for hers, item in self._encode_misplaced(requests, topic, partition):
            for target in range(self._settings.topics.partitions):
                if target not in (partition, hers):
                    by_target.setdefault(target, []).append(item)
        return await self._send_forwarded(by_target, topic, partition, checkpointed_offset)

    def _encode_misplaced(
        self, misplaced: Iterable[Misplaced], topic: str, partition: int
    ) -> Iterator[tuple[int, bytes]]:
        """Events as they are forwarded, each with the partition of its user."""
        max_bytes = max_forwarded_message_bytes(self._settings) - _LARGEST_HEADERS_OF_A_BATCH
        for one in misplaced:
            target = partition_of(partition_key(one.user), self._settings.topics.partitions)
            yield target, encode_misplaced(one, topic, partition, max_bytes=max_bytes)

    async def _send_forwarded(
        self, by_target: dict[int, list[bytes]], topic: str, partition: int, checkpointed_offset: int
    ) -> list[asyncio.Future[Any]]:
        sent = []
        for target, encoded in by_target.items():
            for value, headers in batches(encoded, topic, partition, checkpointed_offset=checkpointed_offset):
                message = OutgoingMessage(self._settings.rekey_topic, target, None, value, [], headers)
                sent.append(await self._message_producer.send_whole(message))
        return sent

    async def report(self, report: AnyReport) -> None:
        """Send a report to the servers in the background. The next report of the same key replaces it.

        Of each key at most one report is being sent and one waits, the newest, so nothing piles up while no broker can
        be reached. Raises the error that stopped the sending of an earlier report.
        """
        key = _report_key(report)
        self._unsent_reports[key] = report
        sending = self._sending_reports.get(key)
        if sending is None or sending.done():
            self._sending_reports[key] = asyncio.create_task(self._send_reports(key))
            if sending is not None:
                sending.result()

    async def send_closed_day(self, report: ClosedDayReport) -> asyncio.Future[Any]:
        """Send what a closed day says to the servers, and return a future of its delivery.

        Closed days, and deletions of them, arrive in the order of the calls.
        """
        return await self._send_of_day(report.partition, report.closed.day, encode_closed_day(report))

    async def delete_closed_day(self, partition: int, day: int, *, by: Owner) -> asyncio.Future[Any]:
        """Have the servers and Kafka delete a day that is kept no longer, and return a future of the delivery."""
        headers: Headers = [(DELETED_BY, f"{by.counted_since_ms}/{by.epoch}".encode())]
        return await self._send_of_day(partition, day, None, headers=headers)

    async def send_score(self, partition: int, user: str, message: ScoreMessage | None) -> asyncio.Future[Any]:
        """Send the health score of a user, or None to have it deleted, and return a future of its delivery."""
        value = None if message is None else msgspec.json.encode(message)
        sent: asyncio.Future[Any] = await self._started_producer().send(
            self._settings.health_topic,
            value,
            key=public_id(user).encode(),
            partition=partition,
            timestamp_ms=NO_TIMESTAMP,
        )
        return sent

    async def send_audit(self, partition: int, record: AuditRecord) -> asyncio.Future[Any]:
        """Record that a person was erased or made anonymous, and return a future of the delivery."""
        sent: asyncio.Future[Any] = await self._started_producer().send(
            self._settings.privacy_audit_topic,
            msgspec.json.encode(record),
            partition=partition,
            timestamp_ms=NO_TIMESTAMP,
        )
        return sent

    async def _send_of_day(
        self, partition: int, day: int, value: bytes | None, *, headers: Headers | None = None
    ) -> asyncio.Future[Any]:
        # The producer lets a message pass another one that waits, for example until the topic is known.
        async with self._sending_closed_day:
            sent: asyncio.Future[Any] = await self._started_producer().send(
                self._settings.days_topic,
                value,
                key=str(day).encode(),
                partition=partition,
                headers=headers,
                timestamp_ms=NO_TIMESTAMP,
            )
        return sent

    async def _send_reports(self, key: bytes) -> None:
        while key in self._unsent_reports:
            report = self._unsent_reports.pop(key)
            topic, after = self._settings.snapshots_topic, time.monotonic()
            sent = await self._started_producer().send(
                topic, encode_report(report), key=key, partition=report.partition, timestamp_ms=NO_TIMESTAMP
            )
            await asyncio.wait({sent})
            if sent.exception() is None:  # an error does not matter: the next report replaces this one
                self._hear(sent.result(), after=after)

    async def ask_the_time(self, reading: ClockReading) -> None:
        """Report a reading of this machine's clock to every broker, so that their answers tell the time.

        Returns when the first one has answered. Raises KafkaError, or Unavailable if the topic does not exist.
        """
        assert self._broker_time is not None, "the outbox is started before anything is sent"
        await self._broker_time.ask(reading)

    def _hear(self, answer: Any, *, after: float) -> None:
        if self._broker_time is not None:
            self._broker_time.hear(answer, after=after)


def _report_key(report: AnyReport) -> bytes:
    """Return the key of a report in the snapshots topic, which keeps the newest report of each key."""
    place = "worker" if isinstance(report, Idle) else str(report.partition)
    return f"{place}/{report.worker}".encode() if isinstance(report, (Idle, Standby)) else place.encode()


class PartitionChangelog:
    """The changelog of one partition, for its owner to append to and to read."""

    def __init__(self, outbox: Outbox, partition: int) -> None:
        self._outbox = outbox
        self._partition = partition

    async def append(self, run: Delta) -> int:
        """Append records as one record batch; returns the offset of the last one."""
        return await self._outbox.write_delta(self._partition, run)

    async def read(self, first: int, end: int) -> list[ConsumerRecord]:
        """Return the records from offset `first` up to, but not including, `end`."""
        return await self._outbox.read_changelog(self._partition, first, end)
