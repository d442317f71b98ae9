"""Events into Kafka, quickly, and not one lost in silence.

What replay, the simulator and the demo share: a KafkaProducer with settings made for many small JSON events, whose
first failed delivery is raised instead of waiting in a future that nobody asks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, cast

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from stream.settings import Unavailable

log = logging.getLogger(__name__)

_DEFAULTS: Final[Mapping[str, object]] = {
    "acks": "all",
    # kafka-python computes the checksum of a batch in Python, byte by byte, unless `crc32c` is installed. gzip
    # leaves it a tenth of them: 23,000 page views a second on two cores instead of 16,000.
    "compression_type": "gzip",
    "linger_ms": 20,
    "batch_size": 256 * 1024,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": 10_000,
    "max_block_ms": 30_000,
    "request_timeout_ms": 20_000,
    # Long enough for a broker that restarts, short enough to learn that it does not.
    "delivery_timeout_ms": 60_000,
    "metrics_enabled": False,
}

# kafka-python has no limit of its own on what waits for delivery. 20,000 events are a few MB and one second.
_MOST_UNCONFIRMED: Final = 20_000

# A little longer than a delivery may take (`delivery_timeout_ms`; a test may ask for minutes).
_FLUSH_GRACE_SECONDS: Final = 30.0

# For the rest of the events when something else went wrong already.
_CLOSE_TIMEOUT_SECONDS: Final = 2.0


class DeliveryFailed(Unavailable):
    """An event did not reach Kafka, or no event can: the message says which and why."""


class EventProducer:
    """Sends events keyed by user, all of them or an exception.

    `options` are keyword arguments of KafkaProducer (`bootstrap_servers`, `security_protocol`, ...) and win over the
    defaults above. Its partitioner hashes keys as Java's does (murmur2), so that records of one user share a partition
    whoever wrote them.

    Raises DeliveryFailed when no broker answers, ValueError for an option that does not exist.
    """

    def __init__(self, options: Mapping[str, object]) -> None:
        unknown = sorted(options.keys() - KafkaProducer.DEFAULT_CONFIG.keys())
        if unknown:
            # The producer would refuse them too, and print their values, of which one may be a password.
            raise ValueError(f"unknown options of the Kafka producer: {', '.join(unknown)}")
        self._options = {**_DEFAULTS, **options}
        self._known_topics: frozenset[str] = frozenset()
        self._unconfirmed = 0
        self._failure: str | None = None
        try:
            self._producer = connected(KafkaProducer, self._options)
        except KafkaError as error:
            raise DeliveryFailed(f"no Kafka broker answers at {self._address}: {error}") from error

    def send(self, topic: str, key: str, value: bytes, timestamp_ms: int | None = None) -> None:
        """Hand one event over; it is delivered by the next `flush()` or `close()` at the latest.

        `timestamp_ms` becomes the record's own time, by which Kafka deletes old records: leave it out, also for old
        events, unless the topic keeps everything.

        Raises DeliveryFailed, also for an event that was sent before.
        """
        if topic not in self._known_topics:
            self._require(topic)
        if self._unconfirmed >= _MOST_UNCONFIRMED:
            self.flush()
        try:
            future = self._producer.send(topic, value=value, key=key.encode(), timestamp_ms=timestamp_ms)
        except KafkaError as error:
            raise DeliveryFailed(f"cannot send to topic {topic!r} at {self._address}: {error}") from error
        future.add_errback(self._note_failure, topic, key)
        self._unconfirmed += 1
        self._raise_first_failure()

    def flush(self) -> None:
        """Wait until Kafka has confirmed every event sent. Raises DeliveryFailed for the first that it has not."""
        seconds = self._producer.config["delivery_timeout_ms"] / 1_000 + _FLUSH_GRACE_SECONDS
        try:
            # kafka-python may wait for ever for a batch that was on its way when it began a new epoch.
            self._producer.flush(timeout=seconds)
        except KafkaTimeoutError as error:
            self._raise_first_failure()
            raise DeliveryFailed(f"{self._address} has not confirmed all events within {seconds:.0f} s") from error
        self._unconfirmed = 0
        self._raise_first_failure()

    def close(self) -> None:
        """Flush, then disconnect. Closing twice is fine."""
        try:
            self.flush()
        finally:
            self._disconnect()

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self.close()
        else:
            self._disconnect()

    @property
    def _address(self) -> str:
        return _addresses(self._options)

    def _require(self, topic: str) -> None:
        # A metadata request for one missing topic creates it on some brokers, with their partition count and not ours,
        # whatever allow_auto_create_topics says. Asking for all topics never does.
        self._known_topics = _existing_topics(self._options)
        if topic not in self._known_topics:
            raise DeliveryFailed(
                f"topic {topic!r} does not exist at {self._address}: create it with `engagement topics create`"
            )

    def _note_failure(self, topic: str, key: str, error: Exception) -> None:
        # Called by the thread of the Kafka client.
        if self._failure is None:
            self._failure = f"an event of {key!r} did not reach topic {topic!r} at {self._address}: {error}"

    def _raise_first_failure(self) -> None:
        if self._failure is not None:
            raise DeliveryFailed(self._failure)

    def _disconnect(self) -> None:
        try:
            self._producer.close(timeout=_CLOSE_TIMEOUT_SECONDS)
        except KafkaTimeoutError:
            log.debug("closed the Kafka producer with events that were not delivered")
            # kafka-python 3.0 gives up before it has closed anything: its thread would go on for delivery_timeout_ms.
            # Told to end at once, that thread gives up what waits, and then there is nothing left to wait for.
            self._producer._sender.force_close()
            with suppress(KafkaTimeoutError):  # it may wait for a connection first, and ends by itself after that
                self._producer.close(timeout=_CLOSE_TIMEOUT_SECONDS)


def connected(kind: Any, options: Mapping[str, object]) -> Any:
    """A client of kafka-python; when none can be made, its thread and sockets are closed, which it forgets."""
    made: list[Any] = []

    def make(**config: object) -> object:
        made.append(kind.DEFAULT_CONFIG["kafka_client"](**config))
        return made[-1]

    try:
        return kind(**{"kafka_client": make, **options})
    except BaseException:
        for client in made:
            client.close()
        raise


def of_consumers(options: Mapping[str, object]) -> dict[str, Any]:
    """Those options of a producer that a KafkaConsumer takes too."""
    return {name: value for name, value in options.items() if name in KafkaConsumer.DEFAULT_CONFIG}


def _existing_topics(options: Mapping[str, object]) -> frozenset[str]:
    consumer = connected(KafkaConsumer, of_consumers(options))
    try:
        return frozenset(consumer.topics())
    except KafkaError as error:
        raise DeliveryFailed(f"cannot list the topics at {_addresses(options)}: {error}") from error
    finally:
        consumer.close()


def _addresses(options: Mapping[str, object]) -> str:
    servers = options.get("bootstrap_servers", "localhost:9092")
    return servers if isinstance(servers, str) else ",".join(cast("Sequence[str]", servers))
