"""How long to wait for Kafka: little for a connection, and for Kafka as long as it takes.

A connection may die without a word: a firewall forgets it, a machine is gone. Requests on it are never answered, and a
new one is made only when it is given up. aiokafka and Faust have one time for this and for their own patience with
Kafka: 40 s and 90 s. So long a worker would be out of its group, and numbers would stand still. Here only the
connection has less time.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from stream.core.time import seconds_of
from stream.settings import Settings, Unavailable

# A broker that was just started does not know its topics yet.
_LEARNS_TOPICS_SECONDS = 30.0

# So long a batch waits for its partition to have a leader, which a broker that was just started may not know either.
_FINDS_LEADER_SECONDS = 600.0

# What is fetched at a time must get through a slow network before a connection is given up: 1 MiB/s is enough.
FETCHED_AT_ONCE_BYTES = 16 * 1024 * 1024


def answer_seconds(settings: Settings) -> float:
    """How long a request may take: 15 s by default.

    After one session timeout without heartbeats the partitions are another's, and this worker should join again. Less
    is too little for the request to join: it is answered when all members have joined, and one that has died is waited
    for until its session is over. Brokers answer all others within a second.
    """
    return seconds_of(settings.kafka.session_timeout) + 5.0


def give_up_connections(client: Any, seconds: float) -> None:
    """Let a client of aiokafka give a connection up when a request is not answered for so long. Before it connects."""
    client._request_timeout_ms = int(seconds * 1_000)  # it has no setting of its own


class PatientProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """A producer that waits while Kafka is away, and gives up when a topic is not there."""

    def __init__(self, *, answer_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        give_up_connections(self.client, answer_seconds)
        self._message_accumulator._batch_ttl = _FINDS_LEADER_SECONDS

    async def send(self, topic: str, *values: Any, **named: Any) -> Any:
        """Send a message; returns what is done when it is delivered. Raises Unavailable for a topic that is missing."""
        await self._wait_for(topic)
        return await super().send(topic, *values, **named)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Send a batch; returns what is done when it is delivered. Raises Unavailable for a topic that is missing."""
        await self._wait_for(topic)
        return await super().send_batch(batch, topic, partition=partition)

    async def _wait_for(self, topic: str) -> None:
        if not self.client.cluster.partitions_for_topic(topic):
            await until_known(topic, ask=self.partitions_for, refresh=self.client.force_metadata_update)


async def until_known(
    topic: str, *, ask: Callable[[str], Awaitable[object]], refresh: Callable[[], Awaitable[bool]]
) -> None:
    """Wait until Kafka knows a topic, or has said for half a minute that it does not: raises Unavailable then.

    `ask` raises aiokafka's error when it has asked for a while; `refresh` tells whether a broker answers at all.
    """
    missing_since: float | None = None
    while True:
        try:
            await ask(topic)
            return
        except UnknownTopicOrPartitionError:  # noqa: PERF203  it waits between two rounds
            if not await refresh():
                missing_since = None
                continue
            now = time.monotonic()
            missing_since = now if missing_since is None else missing_since
            if now - missing_since >= _LEARNS_TOPICS_SECONDS:
                told = f"topic {topic!r} is not in Kafka any more"
                raise Unavailable(f"{told}: create it with `engagement topics create`") from None
