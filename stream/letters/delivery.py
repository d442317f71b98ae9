"""Where replayed records go: to Kafka, with a note of each that has arrived; or nowhere, to see what would be sent."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from stream.kafka import range_reader
from stream.kafka.headers import Headers
from stream.kafka.options import client_options
from stream.letters.dead_letters import Letter
from stream.letters.replayed import Note, Notebook
from stream.settings import Settings

# What has no note yet when a run is killed is sent once more by the next. It is also what is held in memory.
_MOST_UNNOTED = 2_000
_MOST_UNNOTED_BYTES = 16 * 1024 * 1024
MOST_UNNOTED_SECONDS = 1.0

_ANY_SIZE = 2**31 - 1  # what is too large is for the broker to say
_FAULTS_OF_A_RECORD = (MessageSizeTooLargeError, InvalidTimestampError)


class Fate(str, Enum):
    """What becomes of a letter that is to be replayed; the text completes "12 …"."""

    REPLAYED = "replayed"
    BEFORE = "replayed before"
    OFTEN_ENOUGH = "replayed as often as allowed"
    GONE = "kept by reference whose record is gone"
    TOO_LARGE = "larger than max_message_bytes"
    REFUSED = "refused by the broker"
    UNKNOWN = "without an origin"


@dataclass(slots=True)
class Outcome:
    """What has become of the letters of a run so far, by topic and reason."""

    fates: dict[Fate, Counter[tuple[str, str]]] = field(default_factory=dict)

    def add(self, letter: Letter, fate: Fate) -> None:
        """Count a letter."""
        self.fates.setdefault(fate, Counter())[letter.topic, letter.reason] += 1

    def of(self, fate: Fate) -> Counter[tuple[str, str]]:
        """How many letters of each topic and reason met this fate."""
        return self.fates.get(fate, Counter())

    def count(self, fate: Fate) -> int:
        """How many letters met this fate."""
        return sum(self.of(fate).values())


class Outgoing(NamedTuple):
    """A record to send, and the letter it was in."""

    letter: Letter
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None  # None: now


class Delivery(Protocol):
    """Takes the records of a run, and tells its outcome which have arrived."""

    async def send(self, record: Outgoing) -> None:
        """Take one more record."""
        ...

    async def flush(self) -> None:
        """Wait until all that was taken has arrived."""
        ...


class DryDelivery:
    """Sends nothing."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def send(self, record: Outgoing) -> None:
        """Say that it would be replayed."""
        self._outcome.add(record.letter, Fate.REPLAYED)

    async def flush(self) -> None:
        """All has arrived where it goes."""


class KafkaDelivery:
    """Sends records, and notes each letter whose record Kafka has confirmed. Use it as an async context."""

    def __init__(self, settings: Settings, notebook: Notebook, outcome: Outcome) -> None:
        self._settings = settings
        self._notebook = notebook
        self._outcome = outcome
        self._producer: Any = None
        self._sent: list[tuple[Letter, asyncio.Future[Any]]] = []
        self._sent_bytes = 0
        self._first_sent = 0.0

    async def __aenter__(self) -> "KafkaDelivery":
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

    async def send(self, record: Outgoing) -> None:
        """Send one more record; now and then waits until all have arrived."""
        if not self._sent:
            self._first_sent, self._sent_bytes = time.monotonic(), 0
        self._sent.append((record.letter, await self._hand_over(record)))
        self._sent_bytes += len(record.key or b"") + len(record.value or b"")
        if (
            len(self._sent) >= _MOST_UNNOTED
            or self._sent_bytes >= _MOST_UNNOTED_BYTES
            or time.monotonic() - self._first_sent >= MOST_UNNOTED_SECONDS
        ):
            await self.flush()

    async def _hand_over(self, record: Outgoing) -> "asyncio.Future[Any]":
        topic, partition, at_ms = record.topic, record.partition, record.timestamp_ms
        confirmed: asyncio.Future[Any]
        if record.key is None and record.value is None:  # which aiokafka takes in batches only
            batch = self._producer.create_batch()
            batch.append(timestamp=at_ms, key=None, value=None, headers=record.headers)
            confirmed = await self._producer.send_batch(batch, topic, partition=partition)
        else:
            confirmed = await self._producer.send(
                topic, record.value, record.key, partition=partition, timestamp_ms=at_ms, headers=record.headers
            )
        return confirmed

    async def flush(self) -> None:
        """Wait until all that was sent has arrived or was refused, and note it.

        Raises KafkaError for what could not be sent, TakenOver when another run has begun.
        """
        sent, self._sent = self._sent, []
        answers = await asyncio.gather(*(confirmed for _, confirmed in sent), return_exceptions=True)
        now_ms = time.time_ns() // 1_000_000
        notes: dict[str, Note | None] = {}
        failures: list[BaseException] = []
        for (letter, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, _FAULTS_OF_A_RECORD):
                self._outcome.add(letter, Fate.REFUSED)
            elif isinstance(answer, BaseException):
                failures.append(answer)
            else:
                self._outcome.add(letter, Fate.REPLAYED)
                notes[letter.identity or ""] = Note(letter.place, now_ms)
        await self._notebook.write(notes)
        if failures:
            raise failures[0]
