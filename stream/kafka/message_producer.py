"""A producer for single messages: dead letters, and events that belong to another partition.

A broker refuses a record batch that is larger than its topic's `max.message.bytes`, even if each message in the batch
is small, and a producer fills its batches while a broker is busy. These messages therefore have a producer of their own
with small batches that every topic accepts. Only a single large message makes a larger batch.

A topic may still accept less than it should: the broker may not tell its settings, or somebody may have changed them
since the start. A refused message is then sent again in a batch of its own. If that is refused as well, its value is
left out, and finally everything but a reference to the original record. A message that is refused for its time is sent
again without one. This needs a second producer: an idempotent producer numbers its batches for each partition, and
after a refused batch the broker refuses all that follow.
"""

import asyncio
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
)

from stream.kafka.broker_time import NO_TIMESTAMP
from stream.kafka.headers import BY_REFERENCE, RECORD, VALUE, Headers
from stream.kafka.timeouts import WaitingProducer
from stream.settings import Unavailable

log = structlog.get_logger(__name__)

# Half of Kafka's default for `max.message.bytes`.
_BATCH_BYTES = 512 * 1024

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, OutOfOrderSequenceNumber)


class OutgoingMessage(NamedTuple):
    """A message for one partition of a topic. `theirs` are the headers of its producer, `ours` those that we add.

    `at_ms` is the time of the record; a topic that gives records the broker's time ignores it.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    theirs: Headers
    ours: Headers
    at_ms: int = NO_TIMESTAMP

    @property
    def headers(self) -> Headers:
        """All headers of the message, ours last."""
        return [*self.theirs, *self.ours]

    def smaller(self) -> "OutgoingMessage | None":
        """Return a smaller version of this message, or None if it is the smallest.

        First the value is left out, then also the key and the producer's headers. A header says what is missing.
        """
        if self.value is not None:
            return self._replace(value=None, ours=_by_reference(self.ours, VALUE))
        if self.key is not None or self.theirs:
            return self._replace(key=None, theirs=[], ours=_by_reference(self.ours, RECORD))
        return None


def _by_reference(ours: Headers, missing_part: bytes) -> Headers:
    return [*(header for header in ours if header[0] != BY_REFERENCE), (BY_REFERENCE, missing_part)]


class MessageTooLargeForTopic(Unavailable):
    """A topic refuses a message that it must accept. The text names the topic and the setting to change."""


class MessageProducer:
    """Sends messages one by one, each of at most `largest` bytes. `producer_options` are those of its producers."""

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
        self._producer: WaitingProducer | None = None
        self._fallback_producer: WaitingProducer | None = None
        self._starting_fallback = asyncio.Lock()
        self._topics_that_refused: set[str] = set()  # topics that have refused a batch because of its size or time

    async def start(self) -> None:
        self._producer = WaitingProducer(**self._options, enable_idempotence=self._idempotent)
        await self._producer.start()

    async def stop(self) -> None:
        for producer in (self._producer, self._fallback_producer):
            if producer is not None:
                await producer.stop()

    async def send(self, message: OutgoingMessage) -> asyncio.Future[Any]:
        """Send a message and return a future of its delivery. If the topic refuses its size, a smaller one is sent."""
        if message.topic in self._topics_that_refused:
            return asyncio.ensure_future(self._send_smaller_until_accepted(message))
        return asyncio.ensure_future(self._wait_or_send_smaller(message, await self._start_sending(message)))

    async def send_whole(self, message: OutgoingMessage) -> asyncio.Future[Any]:
        """Send a message that must arrive complete, and return a future of its delivery.

        The future raises MessageTooLargeForTopic when the topic refuses the size.
        """
        return asyncio.ensure_future(self._wait_complete(message, await self._start_sending(message)))

    async def _start_sending(self, message: OutgoingMessage) -> asyncio.Future[Any]:
        assert self._producer is not None, "it is started before anything is sent"
        while True:
            try:
                if message.key is None and message.value is None:
                    return await _send_alone(self._producer, message)
                return await self._producer.send(  # type: ignore[no-any-return]
                    message.topic,
                    message.value,
                    key=message.key,
                    partition=message.partition,
                    headers=message.headers,
                    timestamp_ms=message.at_ms,
                )
            except KafkaTimeoutError:  # noqa: PERF203  the send buffer is full because nothing gets through
                log.warning("cannot send to Kafka, waiting", topic=message.topic)

    async def _wait_or_send_smaller(self, message: OutgoingMessage, sent: asyncio.Future[Any]) -> None:
        try:
            await sent
        except (InvalidTimestampError, *_TOO_LARGE) as error:
            if message.topic not in self._topics_that_refused:
                self._topics_that_refused.add(message.topic)
                self._warn(message, error)
            await self._send_smaller_until_accepted(message)

    def _warn(self, message: OutgoingMessage, error: Exception) -> None:
        if isinstance(error, InvalidTimestampError):
            remedy = f"set message.timestamp.type of topic {message.topic!r} to LogAppendTime"
            log.warning("a topic refuses this machine's time: messages are sent one by one, without it", remedy=remedy)
        else:
            log.warning(
                "a topic accepts only smaller messages than it should: they are sent one by one now",
                remedy=self._remedy(message),
            )

    async def _wait_complete(self, message: OutgoingMessage, sent: asyncio.Future[Any]) -> None:
        try:
            await sent
        except _TOO_LARGE:
            size = len(message.key or b"") + len(message.value or b"")
            problem = f"topic {message.topic!r} refuses a message of {size} bytes"
            raise MessageTooLargeForTopic(f"{problem}\n  {self._remedy(message)}") from None

    async def _send_smaller_until_accepted(self, message: OutgoingMessage) -> None:
        async with self._starting_fallback:
            if self._fallback_producer is None:
                self._fallback_producer = WaitingProducer(**self._options)
                await self._fallback_producer.start()
        part: OutgoingMessage | None = message
        while part is not None:
            try:
                await (await _send_alone(self._fallback_producer, part))
            except InvalidTimestampError:
                part = part._replace(at_ms=NO_TIMESTAMP)
                continue
            except _TOO_LARGE:
                part = part.smaller()
                continue
            return
        raise MessageTooLargeForTopic(
            f"topic {message.topic!r} refuses even a message without key and value\n  {self._remedy(message)}"
        )

    def _remedy(self, message: OutgoingMessage) -> str:
        return f"set max.message.bytes of topic {message.topic!r} to {self._largest} or more"


async def _send_alone(producer: WaitingProducer, message: OutgoingMessage) -> asyncio.Future[Any]:
    """Send a message in a batch of its own. In this way key and value may both be null, which `send` refuses."""
    batch = producer.create_batch()
    batch.append(timestamp=message.at_ms, key=message.key, value=message.value, headers=message.headers)
    batch.close()
    sent: asyncio.Future[Any] = await producer.send_batch(batch, message.topic, partition=message.partition)
    return sent
