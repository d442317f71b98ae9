"""Dead letters as they lie in Kafka: which there are, by topic, reason and time.

Workers send what they refuse to `<topic>.dlq` (`kafka.outbox`). A worker that crashes may do so twice, so what counts
is a letter's identity: where its record was first produced to, how often that had been replayed by then, and all that
is in it. The same record refused again after a replay is another letter.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka import headers, range_reader
from stream.kafka.headers import Headers, Origin
from stream.kafka.options import client_options
from stream.kafka.topics import partition_counts
from stream.settings import Settings, Unavailable

# The reason of a record in a dead-letter topic that no worker has written.
UNKNOWN = "unknown"

_SECONDS_BETWEEN_PROGRESS = 0.1


class Place(NamedTuple):
    """Where a letter lies in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """One refused message, with what its worker tells about it."""

    topic: str  # the input that it was read from: sessions, logins, surveys, or as `[[inputs]]` names it
    place: Place
    written_ms: int
    reason: str
    detail: str
    origin: Origin | None  # where the record was first produced to; None for what no worker has written
    attempts: int  # how often it had been replayed when it was refused
    by_reference: str | None  # what was too large and stays at the origin: the `value`, or the whole `record`
    key: bytes | None
    value: bytes | None
    headers: Headers  # the producer's own

    @property
    def identity(self) -> str | None:
        """The same for a letter written twice; None when it has no origin."""
        if self.origin is None:
            return None
        contents = msgspec.msgpack.encode((self.key, self.value, self.headers))
        digest = blake2b(contents, digest_size=8).hexdigest()
        return f"{self.origin.topic}/{self.origin.partition}/{self.origin.offset}/{self.attempts}/{digest}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are asked for."""

    topics: tuple[str, ...]  # names of inputs
    reasons: frozenset[str] = frozenset()  # none: all
    since_ms: int | None = None  # by the time a letter was written

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is among them."""
        is_new_enough = self.since_ms is None or letter.written_ms >= self.since_ms
        return is_new_enough and (not self.reasons or letter.reason in self.reasons)


def letter_of(topic: str, record: ConsumerRecord) -> Letter:
    """What a record of the dead-letter topic of `topic` tells."""
    ours, theirs = headers.split_headers(record.headers, headers.LETTER_HEADERS)
    origin = headers.origin_from_headers(ours)
    reason = _text(ours.get(headers.REASON))
    return Letter(
        topic=topic,
        place=Place(record.topic, record.partition, record.offset),
        written_ms=record.timestamp,
        reason=reason if reason and origin else UNKNOWN,
        detail=_text(ours.get(headers.DETAIL)),
        origin=origin,
        attempts=headers.number_from_header(ours, headers.ATTEMPTS) or 0,
        by_reference=_text(ours.get(headers.BY_REFERENCE)) or None,
        key=record.key,
        value=record.value,
        headers=theirs,
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


class DeadLetters:
    """The letters that lay in Kafka when it was opened. One written twice comes once."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topics: Mapping[str, str],
        lying: range_reader.OffsetRanges,
        asked: range_reader.OffsetRanges,
    ) -> None:
        """`topics` are ours by the name of their dead-letter topic; of all that is `lying` there, `asked` is read."""
        self._consumer = consumer
        self._topics = topics
        self._lying = lying
        self._asked = asked

    @property
    def records(self) -> int:
        """How many records there are to read."""
        return sum(span.end - span.first for span in self._asked.values())

    def is_gone(self, place: Place) -> bool:
        """Whether a letter has been deleted meanwhile."""
        span = self._lying.get(TopicPartition(place.topic, place.partition))
        return span is not None and place.offset < span.first

    async def read(
        self, wanted: Wanted, *, on_progress: Callable[[int], None], stopping: asyncio.Event | None = None
    ) -> AsyncGenerator[Letter, None]:
        """Each letter asked for, in each partition the oldest first, until all are read or `stopping` is set.

        `on_progress` is told some times a second how many records were read.
        """
        seen: set[str] = set()
        done, told = 0, 0.0
        async for record in range_reader.read_ranges(self._consumer, self._asked):
            if stopping is not None and stopping.is_set():
                return
            done += 1
            if time.monotonic() - told > _SECONDS_BETWEEN_PROGRESS:
                told = time.monotonic()
                on_progress(done)
            letter = letter_of(self._topics[record.topic], record)
            if not wanted.takes(letter):
                continue
            identity = letter.identity
            if identity is not None:
                if identity in seen:
                    continue
                seen.add(identity)
            yield letter


def require_topics(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has. Raises Unavailable when Kafka does not answer or a topic is missing."""
    counts = partition_counts(names, client_options=client_options(settings))
    for name in names:
        if name not in counts:
            told = f"topic {name!r} does not exist at {settings.kafka.servers}"
            raise Unavailable(f"{told}: create it with `engagement topics create`")
    return counts


@asynccontextmanager
async def dead_letters(settings: Settings, wanted: Wanted) -> AsyncIterator[DeadLetters]:
    """The letters of the topics asked for, as far back as asked for.

    Raises Unavailable when Kafka does not answer or a topic is missing.
    """
    topics = {settings.dead_letter_topic(settings.input_topics[topic]): topic for topic in wanted.topics}
    counts = require_topics(settings, list(topics))
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    async with range_reader.open_consumer(settings) as consumer:
        lying = await range_reader.current_ranges(consumer, partitions)
        asked = lying if wanted.since_ms is None else await range_reader.ranges_since(consumer, lying, wanted.since_ms)
        yield DeadLetters(consumer, topics, lying, asked)


async def newest(letters: AsyncIterator[Letter], limit: int) -> AsyncIterator[Letter]:
    """At most so many letters, the newest, in order of the time they were written."""
    kept: list[tuple[int, Place, Letter]] = []
    async for letter in letters:
        entry = (letter.written_ms, letter.place, letter)  # a place is there once: letters are never compared
        if len(kept) < limit:
            heappush(kept, entry)
        else:
            heappushpop(kept, entry)
    for _, _, letter in sorted(kept):
        yield letter


@dataclass(slots=True)
class Count:
    """The letters of one topic and reason."""

    topic: str
    reason: str
    letters: int = 0
    replayed: int = 0  # of them: sent back since
    again: int = 0  # of them: refused again after a replay
    by_reference: int = 0  # of them: kept without their value, which was too large
    oldest_ms: int = 0
    newest_ms: int = 0

    def add(self, letter: Letter, *, was_replayed: bool) -> None:
        """Count one letter."""
        self.oldest_ms = min(self.oldest_ms, letter.written_ms) if self.letters else letter.written_ms
        self.newest_ms = max(self.newest_ms, letter.written_ms)
        self.letters += 1
        self.replayed += was_replayed
        self.again += letter.attempts > 0
        self.by_reference += letter.by_reference is not None


async def counted(letters: AsyncIterator[Letter], replayed: Container[str | None]) -> list[Count]:
    """How many letters there are of each topic and reason; `replayed` are identities."""
    counts: dict[tuple[str, str], Count] = {}
    async for letter in letters:
        count = counts.setdefault((letter.topic, letter.reason), Count(letter.topic, letter.reason))
        count.add(letter, was_replayed=letter.identity in replayed)
    return [counts[place] for place in sorted(counts)]
