"""A worker waits for Kafka, but not for a topic that Kafka does not have."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from stream.kafka.timeouts import WaitingProducer, request_timeout_seconds, wait_for_topic
from stream.settings import Unavailable, load

# How long aiokafka asks for a topic before it raises.
ASKS_SECONDS = 15.0


class Kafka:
    """Says each time it is asked whether it is there and has the topic: `knows`, `lacks` or `away`."""

    def __init__(self, answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: Iterator[str] = iter(answers)
        self._now, self._answer = 0.0, ""
        monkeypatch.setattr("time.monotonic", lambda: self._now)

    async def ask(self, topic: str) -> set[int]:
        self._answer = next(self._answers)
        if self._answer == "knows":
            return {0}
        self._now += ASKS_SECONDS
        raise UnknownTopicOrPartitionError()

    async def refresh(self) -> bool:
        return self._answer != "away"


def wait(*answers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka(list(answers), monkeypatch)
    asyncio.run(wait_for_topic("rekey", ask=kafka.ask, refresh=kafka.refresh))


def test_a_broker_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wait(*["away"] * 100, "lacks", "lacks", "knows", monkeypatch=monkeypatch)


def test_only_what_a_broker_says_counts_against_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    wait("lacks", "lacks", "away", "lacks", "lacks", "knows", monkeypatch=monkeypatch)


def test_a_topic_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match=r"^topic 'rekey' is not in Kafka any more: create it with `engagement"):
        wait(*["lacks"] * 3, monkeypatch=monkeypatch)


def test_a_connection_has_less_time_than_kafka() -> None:
    async def times() -> tuple[float, float, float]:
        producer = WaitingProducer(request_timeout_seconds=15.0)
        producer._closed = True  # it has never been connected
        batches = producer._message_accumulator
        return producer.client._request_timeout_ms / 1_000, producer._request_timeout_ms / 1_000, batches._batch_ttl

    connection, room, leader = asyncio.run(times())
    assert connection == 15.0 < room < leader


def test_a_member_that_died_is_waited_for_when_others_join() -> None:
    assert request_timeout_seconds(load(None, {})) == 15.0
    assert request_timeout_seconds(load(None, {"ENGAGEMENT_KAFKA_SESSION_TIMEOUT": "1m"})) == 65.0
