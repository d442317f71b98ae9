"""A producer for many small JSON events that reports every event it can't deliver.

Replay, simulator and demo use it. It is a KafkaProducer with suitable settings. The first failed delivery is raised as
an exception, instead of waiting in a future that nobody looks at.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, cast

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from stream.kafka.connections import EachAddressClient
from stream.settings import Unavailable

log = logging.getLogger(__name__)

_DEFAULTS: Final[Mapping[str, object]] = {
    "acks": "all",
    # kafka-python computes the checksum of a batch in Python, byte by byte, unless `crc32c` is installed. gzip leaves a
    # tenth of the bytes: 23,000 page views a second on two cores instead of 16,000.
    "compression_type": "gzip",
    "linger_ms": 20,
    "batch_size": 256 * 1024,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": 10_000,
    "max_block_ms": 30_000,
    "request_timeout_ms": 20_000,
    # Long enough for a broker to restart, short enough to notice one that does not come back.
    "delivery_timeout_ms": 60_000,
    "metrics_enabled": False,
}

# kafka-python does not limit how many events wait for delivery. 20,000 events are a few MB and about one second.
_MAX_UNCONFIRMED: Final = 20_000

# How much longer to wait for a flush than a delivery may take (`delivery_timeout_ms`, in tests perhaps minutes).
_FLUSH_GRACE_SECONDS: Final = 30.0

# How long to wait for the events that are left after something else has failed.
_CLOSE_TIMEOUT_SECONDS: Final = 2.0


class DeliveryFailed(Unavailable):
    """An event did not reach Kafka, or no event can. The text says which, and why."""


class EventProducer:
    """Sends events with their user as the key. Either all are delivered or an exception is raised.

    `options` are keyword arguments of KafkaProducer (`bootstrap_servers`, `security_protocol`, ...) and replace the
    defaults above. Keys are hashed as by the Java client (murmur2), so that all records of a user have the same
    partition, whoever wrote them.

    Raises DeliveryFailed if no broker answers, ValueError for an unknown option.
    """

    def __init__(self, options: Mapping[str, object]) -> None:
        unknown = sorted(options.keys() - KafkaProducer.DEFAULT_CONFIG.keys())
        if unknown:
            # KafkaProducer would refuse them too, but print their values, and one may be a password.
            raise ValueError(f"unknown options of the Kafka producer: {', '.join(unknown)}")
        self._options = {**_DEFAULTS, **options}
        self._known_topics: frozenset[str] = frozenset()
        self._unconfirmed = 0
        self._failure: DeliveryFailed | None = None
        try:
            self._producer = connect(KafkaProducer, self._options)
        except KafkaError as error:
            raise DeliveryFailed(f"no Kafka broker answers at {self._address}: {error}") from error

    def send(self, topic: str, key: str, value: bytes, timestamp_ms: int | None = None) -> None:
        """Send one event. It is delivered by the next `flush()` or `close()` at the latest.

        `timestamp_ms` becomes the timestamp of the record, by which Kafka deletes old records. So leave it out, also
        for old events, unless the topic keeps everything.

        Raises DeliveryFailed for this event, or for one that was sent before.
        """
        if topic not in self._known_topics:
            self._require_topic(topic)
        if self._unconfirmed >= _MAX_UNCONFIRMED:
            self.flush()
        try:
            future = self._producer.send(topic, value=value, key=key.encode(), timestamp_ms=timestamp_ms)
        except KafkaError as error:
            raise DeliveryFailed(f"cannot send to topic {topic!r} at {self._address}: {error}") from error
        future.add_errback(self._note_failure, topic, key)
        self._unconfirmed += 1
        self._raise_first_failure()

    def flush(self) -> None:
        """Wait until Kafka has confirmed all events. Raises DeliveryFailed for the first one that it has not."""
        seconds = self._producer.config["delivery_timeout_ms"] / 1_000 + _FLUSH_GRACE_SECONDS
        try:
            # Without a timeout, kafka-python may wait for ever for a batch that was being sent when a new epoch began.
            self._producer.flush(timeout=seconds)
        except KafkaTimeoutError as error:
            self._raise_first_failure()
            raise DeliveryFailed(f"{self._address} has not confirmed all events within {seconds:.0f} s") from error
        self._unconfirmed = 0
        self._raise_first_failure()

    def close(self) -> None:
        """Flush, then disconnect. It may be called twice."""
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

    def _require_topic(self, topic: str) -> None:
        # On some brokers a metadata request for one missing topic creates it, with their partition count instead of
        # ours, whatever allow_auto_create_topics says. A request for all topics never does.
        self._known_topics = _existing_topics(self._options)
        if topic not in self._known_topics:
            raise DeliveryFailed(
                f"topic {topic!r} does not exist at {self._address}: create it with `engagement topics create`"
            )

    def _note_failure(self, topic: str, key: str, error: Exception) -> None:
        # The thread of the Kafka client calls this.
        if self._failure is None:
            problem = f"an event of {key!r} did not reach topic {topic!r} at {self._address}: {error}"
            self._failure = DeliveryFailed(problem)
            self._failure.__cause__ = error

    def _raise_first_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _disconnect(self) -> None:
        try:
            self._producer.close(timeout=_CLOSE_TIMEOUT_SECONDS)
        except KafkaTimeoutError:
            log.debug("closed the Kafka producer with events that were not delivered")
            # kafka-python 3.0 gives up without closing anything, and its thread would go on for delivery_timeout_ms.
            # After a forced close the thread drops what waits, so that the second attempt has nothing to wait for.
            self._producer._sender.force_close()
            with suppress(KafkaTimeoutError):  # it may still wait for a connection, and ends by itself after that
                self._producer.close(timeout=_CLOSE_TIMEOUT_SECONDS)


def connect(kind: Any, options: Mapping[str, object]) -> Any:
    """Create a kafka-python client. If that fails, close its thread and sockets, which kafka-python forgets."""
    clients: list[Any] = []

    def make_client(**config: object) -> object:
        clients.append(EachAddressClient(**config))
        return clients[-1]

    try:
        return kind(**{"kafka_client": make_client, **options})
    except BaseException:
        for client in clients:
            client.close()
        raise


def consumer_options(options: Mapping[str, object]) -> dict[str, Any]:
    """Return the options of a producer that a KafkaConsumer has too."""
    return {name: value for name, value in options.items() if name in KafkaConsumer.DEFAULT_CONFIG}


def _existing_topics(options: Mapping[str, object]) -> frozenset[str]:
    consumer = connect(KafkaConsumer, consumer_options(options))
    try:
        return frozenset(consumer.topics())
    except KafkaError as error:
        raise DeliveryFailed(f"cannot list the topics at {_addresses(options)}: {error}") from error
    finally:
        consumer.close()


def _addresses(options: Mapping[str, object]) -> str:
    servers = options.get("bootstrap_servers", "localhost:9092")
    return servers if isinstance(servers, str) else ",".join(cast("Sequence[str]", servers))
