"""Send the records of a replay to Kafka and log those that arrived; or, in a dry run, only count them."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from stream.dead_letters.reader import DeadLetter
from stream.dead_letters.replay_log import ReplayLog, ReplayLogEntry
from stream.kafka import range_reader
from stream.kafka.headers import Headers
from stream.kafka.options import client_options
from stream.settings import Settings

# How many sent records may still be missing from the replay log. They are held in memory, and if the run is killed, the
# next run sends them once more.
_MAX_UNLOGGED = 2_000
_MAX_UNLOGGED_BYTES = 16 * 1024 * 1024
MAX_UNLOGGED_SECONDS = 1.0

_ANY_SIZE = 2**31 - 1  # the broker decides what is too large
_RECORD_REFUSED = (MessageSizeTooLargeError, InvalidTimestampError)


class Outcome(str, Enum):
    """What a replay did with a dead letter. Each text continues a count, as in "12 replayed"."""

    REPLAYED = "replayed"
    ALREADY_REPLAYED = "replayed before"
    MAX_ATTEMPTS_REACHED = "replayed as often as allowed"
    RECORD_DELETED = "kept by reference whose record is gone"
    TOO_LARGE = "larger than max_message_bytes"
    REFUSED = "refused by the broker"
    NO_ORIGIN = "without an origin"


@dataclass(slots=True)
class OutcomeCounts:
    """How many dead letters of each topic and reason had which outcome, so far in this run."""

    by_outcome: dict[Outcome, Counter[tuple[str, str]]] = field(default_factory=dict)

    def add(self, letter: DeadLetter, outcome: Outcome) -> None:
        """Count one dead letter."""
        self.by_outcome.setdefault(outcome, Counter())[letter.topic, letter.reason] += 1

    def of(self, outcome: Outcome) -> Counter[tuple[str, str]]:
        """Return how many dead letters of each topic and reason had this outcome."""
        return self.by_outcome.get(outcome, Counter())

    def count(self, outcome: Outcome) -> int:
        """Return how many dead letters had this outcome."""
        return sum(self.of(outcome).values())


class ReplayRecord(NamedTuple):
    """A record to send, and the dead letter that it comes from."""

    letter: DeadLetter
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None  # None: the time when it is sent


class ReplaySender(Protocol):
    """Sends the records of a replay, and counts the outcome of each."""

    async def send(self, record: ReplayRecord) -> None:
        """Send one record."""
        ...

    async def flush(self) -> None:
        """Wait until every record sent so far has arrived."""
        ...


class DryRunSender:
    """Sends nothing, and counts each record as replayed. For `--dry-run`."""

    def __init__(self, outcomes: OutcomeCounts) -> None:
        self._outcome = outcomes

    async def send(self, record: ReplayRecord) -> None:
        """Count the record as one that would be replayed."""
        self._outcome.add(record.letter, Outcome.REPLAYED)

    async def flush(self) -> None:
        """Do nothing, because nothing was sent."""


class KafkaSender:
    """Sends records to Kafka, and logs each dead letter whose record has arrived. Use it with `async with`."""

    def __init__(self, settings: Settings, replay_log: ReplayLog, outcomes: OutcomeCounts) -> None:
        self._settings = settings
        self._replay_log = replay_log
        self._outcome = outcomes
        self._producer: Any = None
        self._sent: list[tuple[DeadLetter, asyncio.Future[Any]]] = []
        self._sent_bytes = 0
        self._first_sent = 0.0

    async def __aenter__(self) -> "KafkaSender":
        self._producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            max_request_size=_ANY_SIZE,
            request_timeout_ms=int(range_reader.NO_RECORDS_TIMEOUT_SECONDS * 1_000),
        )
        try:
            await self._producer.start()
        except BaseException:
            await range_reader.stop_client(self._producer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await range_reader.stop_client(self._producer)

    async def send(self, record: ReplayRecord) -> None:
        """Send one record. At times this waits until all records sent so far have arrived."""
        if not self._sent:
            self._first_sent, self._sent_bytes = time.monotonic(), 0
        self._sent.append((record.letter, await self._start_sending(record)))
        self._sent_bytes += len(record.key or b"") + len(record.value or b"")
        if (
            len(self._sent) >= _MAX_UNLOGGED
            or self._sent_bytes >= _MAX_UNLOGGED_BYTES
            or time.monotonic() - self._first_sent >= MAX_UNLOGGED_SECONDS
        ):
            await self.flush()

    async def _start_sending(self, record: ReplayRecord) -> "asyncio.Future[Any]":
        topic, partition, at_ms = record.topic, record.partition, record.timestamp_ms
        confirmed: asyncio.Future[Any]
        if record.key is None and record.value is None:  # aiokafka accepts such a record only in a batch
            batch = self._producer.create_batch()
            batch.append(timestamp=at_ms, key=None, value=None, headers=record.headers)
            confirmed = await self._producer.send_batch(batch, topic, partition=partition)
        else:
            confirmed = await self._producer.send(
                topic, record.value, record.key, partition=partition, timestamp_ms=at_ms, headers=record.headers
            )
        return confirmed

    async def flush(self) -> None:
        """Wait until every record sent so far has arrived or was refused, and log those that arrived.

        Raises KafkaError if a record could not be sent, ReplacedByNewerRun if another run has begun.
        """
        sent, self._sent = self._sent, []
        answers = await asyncio.gather(*(confirmed for _, confirmed in sent), return_exceptions=True)
        now_ms = time.time_ns() // 1_000_000
        entries: dict[str, ReplayLogEntry | None] = {}
        failures: list[BaseException] = []
        for (letter, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, _RECORD_REFUSED):
                self._outcome.add(letter, Outcome.REFUSED)
            elif isinstance(answer, BaseException):
                failures.append(answer)
            else:
                self._outcome.add(letter, Outcome.REPLAYED)
                entries[letter.identity or ""] = ReplayLogEntry(letter.position, now_ms)
        await self._replay_log.write(entries)
        if failures:
            raise failures[0]
