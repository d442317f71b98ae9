"""Timeouts of Kafka clients: a connection is given up within seconds, but Kafka itself is waited for without limit.

A connection can die without notice, for example when a firewall forgets it or when the machine at the other end goes
down. Requests on such a connection are never answered, and the client opens a new one only after it has given the old
one up. aiokafka and Faust have one timeout for this and for the whole time that they wait for Kafka (40 s and 90 s). A
worker would be out of its consumer group for that long, and its numbers would stand still. This module therefore
shortens the timeout of a single request and keeps waiting for Kafka.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from stream.core.time import seconds_of
from stream.settings import Settings, Unavailable

# A broker that has just started does not know its topics yet. After this time a missing topic is an error.
_MISSING_TOPIC_SECONDS = 30.0

# How long a batch waits for a leader of its partition. A broker that has just started may not know the leader yet.
_LEADER_TIMEOUT_SECONDS = 600.0

# The largest fetch. At 1 MiB/s it arrives within 16 s, so that a slow network does not break the connection.
MAX_FETCH_BYTES = 16 * 1024 * 1024


def request_timeout_seconds(settings: Settings) -> float:
    """Return how long a Kafka client waits for the answer to one request: 15 s by default.

    After one session timeout without heartbeats, Kafka gives the partitions to other workers, so a worker with a dead
    connection must reconnect and join the group again at about that time. It cannot be much less, because Kafka
    answers a join request only when all members have joined, and waits one session timeout for a member that has died.
    Brokers answer all other requests within a second.
    """
    return seconds_of(settings.kafka.session_timeout) + 5.0


def set_request_timeout(client: Any, seconds: float) -> None:
    """Make an aiokafka client close a connection on which a request has had no answer for `seconds`.

    Call this before the client connects.
    """
    client._request_timeout_ms = int(seconds * 1_000)  # aiokafka has no public option for it


class WaitingProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """A producer that keeps waiting while Kafka cannot be reached, and fails when a topic does not exist."""

    def __init__(self, *, request_timeout_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        set_request_timeout(self.client, request_timeout_seconds)
        self._message_accumulator._batch_ttl = _LEADER_TIMEOUT_SECONDS

    async def send(self, topic: str, *values: Any, **named: Any) -> Any:
        """Send a message and return a future of its delivery. Raises Unavailable if the topic does not exist."""
        await self._wait_for(topic)
        return await super().send(topic, *values, **named)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Send a batch and return a future of its delivery. Raises Unavailable if the topic does not exist."""
        await self._wait_for(topic)
        return await super().send_batch(batch, topic, partition=partition)

    async def _wait_for(self, topic: str) -> None:
        if not self.client.cluster.partitions_for_topic(topic):
            await wait_for_topic(topic, ask=self.partitions_for, refresh=self.client.force_metadata_update)


async def wait_for_topic(
    topic: str, *, ask: Callable[[str], Awaitable[object]], refresh: Callable[[], Awaitable[bool]]
) -> None:
    """Wait until Kafka knows a topic. Raises Unavailable when Kafka has denied it for half a minute.

    `ask` requests the topic's partitions; it raises UnknownTopicOrPartitionError after it has tried for a while.
    `refresh` requests metadata and returns whether any broker has answered.
    """
    missing_since: float | None = None
    while True:
        try:
            await ask(topic)
            return
        except UnknownTopicOrPartitionError:  # noqa: PERF203  each round waits for Kafka, so the cost does not matter
            if not await refresh():
                missing_since = None
                continue
            now = time.monotonic()
            missing_since = now if missing_since is None else missing_since
            if now - missing_since >= _MISSING_TOPIC_SECONDS:
                raise Unavailable(missing_topic(topic)) from None


def missing_topic(topic: str) -> str:
    """Describe that a topic does not exist any more, and the command that mends it."""
    return f"topic {topic!r} is not in Kafka any more: create it with `engagement topics create`"
