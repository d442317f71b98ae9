"""Read the dead letters that lie in Kafka, selected by topic, reason and time.

A worker sends each message that it refuses to the topic `<topic>.dlq` (`kafka.outbox`). A worker that crashes may send
the same message twice, so each dead letter has an identity: where its record was first produced to, how often the
record had been replayed, and its contents. The same record refused again after a replay is another dead letter.
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

# The reason shown for a record in a dead-letter topic that no worker has written.
UNKNOWN_REASON = "unknown"

_SECONDS_BETWEEN_PROGRESS = 0.1


class KafkaPosition(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused message, with what the worker that refused it says about it."""

    topic: str  # the name of the input that it was read from: sessions, logins, surveys, or as `[[inputs]]` names it
    position: KafkaPosition
    written_ms: int
    reason: str
    detail: str
    origin: Origin | None  # where the record was first produced to; None if no worker has written this record
    attempts: int  # how often the record had been replayed when it was refused
    by_reference: str | None  # the part that was too large and is only at the origin: `value`, or the whole `record`
    key: bytes | None
    value: bytes | None
    headers: Headers  # of the producer

    @property
    def identity(self) -> str | None:
        """A text that is equal for two copies of one dead letter; None if it has no origin."""
        if self.origin is None:
            return None
        contents = msgspec.msgpack.encode((self.key, self.value, self.headers))
        digest = blake2b(contents, digest_size=8).hexdigest()
        return f"{self.origin.topic}/{self.origin.partition}/{self.origin.offset}/{self.attempts}/{digest}"


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects dead letters by topic, reason and time."""

    topics: tuple[str, ...]  # names of inputs
    reasons: frozenset[str] = frozenset()  # empty: all reasons
    since_ms: int | None = None  # compared with the time when the dead letter was written

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a dead letter of one of these topics is selected."""
        is_new_enough = self.since_ms is None or letter.written_ms >= self.since_ms
        return is_new_enough and (not self.reasons or letter.reason in self.reasons)


def letter_from_record(topic: str, record: ConsumerRecord) -> DeadLetter:
    """Read a record of the dead-letter topic of the input `topic`."""
    ours, theirs = headers.split_headers(record.headers, headers.LETTER_HEADERS)
    origin = headers.origin_from_headers(ours)
    reason = _text(ours.get(headers.REASON))
    return DeadLetter(
        topic=topic,
        position=KafkaPosition(record.topic, record.partition, record.offset),
        written_ms=record.timestamp,
        reason=reason if reason and origin else UNKNOWN_REASON,
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
    """The dead letters that lay in Kafka when this was opened. Of two copies of one dead letter, only one is read."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topics: Mapping[str, str],
        stored: range_reader.OffsetRanges,
        selected: range_reader.OffsetRanges,
    ) -> None:
        """`topics` maps each dead-letter topic to its input. Of the records `stored` there, `selected` are read."""
        self._consumer = consumer
        self._topics = topics
        self._stored = stored
        self._selected = selected

    @property
    def records(self) -> int:
        """How many records are to be read."""
        return sum(offsets.end - offsets.first for offsets in self._selected.values())

    def is_deleted(self, place: KafkaPosition) -> bool:
        """Whether Kafka has deleted the record at this position since."""
        offsets = self._stored.get(TopicPartition(place.topic, place.partition))
        return offsets is not None and place.offset < offsets.first

    async def read(
        self, selection: LetterFilter, *, on_progress: Callable[[int], None], stopping: asyncio.Event | None = None
    ) -> AsyncGenerator[DeadLetter, None]:
        """Yield the selected dead letters, the oldest of each partition first, until the end or until `stopping` is
        set.

        `on_progress` is called several times a second with the number of records read so far.
        """
        seen: set[str] = set()
        done, last_progress = 0, 0.0
        async for record in range_reader.read_ranges(self._consumer, self._selected):
            if stopping is not None and stopping.is_set():
                return
            done += 1
            if time.monotonic() - last_progress > _SECONDS_BETWEEN_PROGRESS:
                last_progress = time.monotonic()
                on_progress(done)
            letter = letter_from_record(self._topics[record.topic], record)
            if not selection.matches(letter):
                continue
            identity = letter.identity
            if identity is not None:
                if identity in seen:
                    continue
                seen.add(identity)
            yield letter


def require_topics(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """Return the partition count of each topic. Raises Unavailable if Kafka does not answer or a topic is missing."""
    counts = partition_counts(names, client_options=client_options(settings))
    for name in names:
        if name not in counts:
            last_progress = f"topic {name!r} does not exist at {settings.kafka.servers}"
            raise Unavailable(f"{last_progress}: create it with `engagement topics create`")
    return counts


@asynccontextmanager
async def open_dead_letters(settings: Settings, selection: LetterFilter) -> AsyncIterator[DeadLetters]:
    """Open the dead letters of the selected topics, from the selected time on.

    Raises Unavailable if Kafka does not answer or a topic is missing.
    """
    topics = {settings.dead_letter_topic(settings.input_topics[topic]): topic for topic in selection.topics}
    counts = require_topics(settings, list(topics))
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    async with range_reader.open_consumer(settings) as consumer:
        stored = await range_reader.current_ranges(consumer, partitions)
        selected = (
            stored
            if selection.since_ms is None
            else await range_reader.ranges_since(consumer, stored, selection.since_ms)
        )
        yield DeadLetters(consumer, topics, stored, selected)


async def newest_letters(letters: AsyncIterator[DeadLetter], limit: int) -> AsyncIterator[DeadLetter]:
    """Yield the newest `limit` dead letters, in order of the time when they were written."""
    kept: list[tuple[int, KafkaPosition, DeadLetter]] = []
    async for letter in letters:
        # No two entries have the same position, so the comparison never gets as far as the dead letters.
        entry = (letter.written_ms, letter.position, letter)
        if len(kept) < limit:
            heappush(kept, entry)
        else:
            heappushpop(kept, entry)
    for _, _, letter in sorted(kept):
        yield letter


@dataclass(slots=True)
class Count:
    """How many dead letters one topic has for one reason."""

    topic: str
    reason: str
    letters: int = 0
    replayed: int = 0  # how many of them were sent back since
    refused_again: int = 0  # how many of them were refused again after a replay
    by_reference: int = 0  # how many of them lack a part that was too large
    oldest_ms: int = 0
    newest_ms: int = 0

    def add(self, letter: DeadLetter, *, was_replayed: bool) -> None:
        """Count one dead letter."""
        self.oldest_ms = min(self.oldest_ms, letter.written_ms) if self.letters else letter.written_ms
        self.newest_ms = max(self.newest_ms, letter.written_ms)
        self.letters += 1
        self.replayed += was_replayed
        self.refused_again += letter.attempts > 0
        self.by_reference += letter.by_reference is not None


async def count_letters(letters: AsyncIterator[DeadLetter], replayed: Container[str | None]) -> list[Count]:
    """Count dead letters by topic and reason. `replayed` has the identities of those that were replayed."""
    counts: dict[tuple[str, str], Count] = {}
    async for letter in letters:
        count = counts.setdefault((letter.topic, letter.reason), Count(letter.topic, letter.reason))
        count.add(letter, was_replayed=letter.identity in replayed)
    return [counts[place] for place in sorted(counts)]
