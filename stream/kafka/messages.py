"""Single messages on their way to Kafka: dead letters, and records for another partition.

A broker refuses a record batch larger than its topic's `max.message.bytes`, however small the messages in it, and a
client fills its batches while a broker is busy. So these messages have a producer of their own, whose batches are far
smaller than what every topic takes; only one large message alone makes a larger batch.

A topic may still take less than it should: where the broker tells nobody its settings, or when somebody has changed
them since. Then a letter goes again in a batch of its own, and where that is too large, by reference. This takes
another producer: an idempotent one counts what it sends to a partition, and a refused batch leaves a gap behind which
everything is refused.
"""

import asyncio
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
)

from stream.kafka.headers import BY_REFERENCE, RECORD, VALUE, Headers
from stream.kafka.patience import PatientProducer
from stream.settings import Unavailable

log = structlog.get_logger(__name__)

# Half of Kafka's default for `max.message.bytes`.
_BATCH_BYTES = 512 * 1024

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, OutOfOrderSequenceNumber)


class Letter(NamedTuple):
    """A message for one partition of a topic, with its producer's headers and `ours`."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    theirs: Headers
    ours: Headers

    @property
    def headers(self) -> Headers:
        """All headers, ours last."""
        return [*self.theirs, *self.ours]

    def lesser(self) -> "Letter | None":
        """The same with less in it, and a header that says so: without the value, then by reference."""
        if self.value is not None:
            return self._replace(value=None, ours=_without(self.ours, VALUE))
        if self.key is not None or self.theirs:
            return self._replace(key=None, theirs=[], ours=_without(self.ours, RECORD))
        return None


def _without(ours: Headers, what: bytes) -> Headers:
    return [*(header for header in ours if header[0] != BY_REFERENCE), (BY_REFERENCE, what)]


class TopicTooNarrow(Unavailable):
    """A topic refuses a message that it must take. The text names the topic and what to set."""


class Messages:
    """Sends messages one by one; `largest` bytes is one at most. The options are those of a `PatientProducer`."""

    def __init__(self, producer_options: dict[str, Any], *, largest: int, idempotent: bool) -> None:
        self._options = {
            **producer_options,
            "acks": "all",
            "max_batch_size": _BATCH_BYTES,
            "max_request_size": largest + _BATCH_BYTES,
            "linger_ms": 0,
        }
        self._largest = largest
        self._idempotent = idempotent
        self._producer: PatientProducer | None = None
        self._spare: PatientProducer | None = None
        self._starting_spare = asyncio.Lock()
        self._narrow: set[str] = set()  # topics that have refused a batch for its size

    async def start(self) -> None:
        self._producer = PatientProducer(**self._options, enable_idempotence=self._idempotent)
        await self._producer.start()

    async def stop(self) -> None:
        for producer in (self._producer, self._spare):
            if producer is not None:
                await producer.stop()

    async def send(self, letter: Letter) -> asyncio.Future[Any]:
        """Send a letter; await the future to know that Kafka has it. What a topic does not take shrinks."""
        if letter.topic in self._narrow:
            return asyncio.ensure_future(self._send_whatever_fits(letter))
        return asyncio.ensure_future(self._delivered(letter, await self._begin(letter)))

    async def send_whole(self, letter: Letter) -> asyncio.Future[Any]:
        """Send a message that is of no use in part. The future raises TopicTooNarrow where its topic refuses it."""
        return asyncio.ensure_future(self._delivered_whole(letter, await self._begin(letter)))

    async def _begin(self, letter: Letter) -> asyncio.Future[Any]:
        assert self._producer is not None, "it is started before anything is sent"
        while True:
            try:
                if letter.key is None and letter.value is None:
                    return await _send_alone(self._producer, letter)
                return await self._producer.send(  # type: ignore[no-any-return]
                    letter.topic,
                    letter.value,
                    key=letter.key,
                    partition=letter.partition,
                    headers=letter.headers,
                )
            except KafkaTimeoutError:  # noqa: PERF203  it has waited long: no room, for nothing gets through
                log.warning("no message gets through to Kafka, waiting", topic=letter.topic)

    async def _delivered(self, letter: Letter, sent: asyncio.Future[Any]) -> None:
        try:
            await sent
        except _TOO_LARGE:
            if letter.topic not in self._narrow:
                self._narrow.add(letter.topic)
                log.warning(
                    "a topic takes less than it should: letters are sent one by one", remedy=self._remedy(letter)
                )
            await self._send_whatever_fits(letter)

    async def _delivered_whole(self, letter: Letter, sent: asyncio.Future[Any]) -> None:
        try:
            await sent
        except _TOO_LARGE:
            size = len(letter.key or b"") + len(letter.value or b"")
            told = f"topic {letter.topic!r} refuses a message of {size} bytes"
            raise TopicTooNarrow(f"{told}\n  {self._remedy(letter)}") from None

    async def _send_whatever_fits(self, letter: Letter) -> None:
        async with self._starting_spare:
            if self._spare is None:
                self._spare = PatientProducer(**self._options)
                await self._spare.start()
        part: Letter | None = letter
        while part is not None:
            try:
                await (await _send_alone(self._spare, part))
            except _TOO_LARGE:
                part = part.lesser()
                continue
            return
        raise TopicTooNarrow(f"topic {letter.topic!r} refuses even a reference\n  {self._remedy(letter)}")

    def _remedy(self, letter: Letter) -> str:
        return f"set max.message.bytes of topic {letter.topic!r} to {self._largest} or more"


async def _send_alone(producer: PatientProducer, letter: Letter) -> asyncio.Future[Any]:
    """Send a message in a batch of its own. It may have neither key nor value, which aiokafka refuses otherwise."""
    batch = producer.create_batch()
    batch.append(timestamp=None, key=letter.key, value=letter.value, headers=letter.headers)
    batch.close()
    sent: asyncio.Future[Any] = await producer.send_batch(batch, letter.topic, partition=letter.partition)
    return sent
