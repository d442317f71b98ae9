"""What a worker hears of the brokers' time in the answers to what it writes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import RecordMetadata, TopicPartition

from stream.clock import Clock, TimeTold
from stream.kafka.broker_time import NO_TIMESTAMP, BrokerTime
from stream.telemetry import ClockReading, decode_report

TOPIC = "engagement-snapshots"
TOLD_MS = 1_796_000_000_000


class HeardClock(Clock):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[TimeTold] = []

    def hear(self, told: TimeTold) -> None:
        self.heard.append(told)
        super().hear(told)


class Producer:
    """Sends to brokers, of which `leaders` tells by partition who leads; `hanging` ones do not answer."""

    def __init__(self, *leaders: int | None, timestamp: int = TOLD_MS) -> None:
        self.leaders, self.timestamp = leaders, timestamp
        self.hanging: set[int] = set()
        self.sent: list[tuple[int, ClockReading]] = []
        self.refuses: Exception | None = None

    @property
    def client(self) -> Any:
        return self

    @property
    def cluster(self) -> Any:
        return self

    def leader_for_partition(self, place: TopicPartition) -> int | None:
        number: int = place.partition
        return self.leaders[number]

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(len(self.leaders)))

    async def send(
        self, topic: str, value: bytes, *, key: bytes, partition: int, timestamp_ms: int
    ) -> asyncio.Future[RecordMetadata]:
        assert (topic, key, timestamp_ms) == (TOPIC, b"clock", NO_TIMESTAMP)
        reading = decode_report(value)
        assert isinstance(reading, ClockReading)
        self.sent.append((partition, reading))
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        if self.refuses is not None:
            sent.set_exception(self.refuses)
        elif self.leaders[partition] not in self.hanging:
            sent.set_result(answer(partition, timestamp=self.timestamp))
        return sent


def answer(partition: int = 0, *, topic: str = TOPIC, timestamp: int = TOLD_MS, offset: int = 7) -> RecordMetadata:
    kind = 0 if timestamp == -1 else 1
    return RecordMetadata(topic, partition, TopicPartition(topic, partition), offset, timestamp, kind, 0)


def asked(*producers: Producer, worker: str = "ada") -> HeardClock:
    """The clock of a worker that has asked once for each of these producers."""

    async def scenario() -> HeardClock:
        clock = HeardClock()
        for producer in producers:
            as_theirs: Any = producer
            time = BrokerTime(clock, as_theirs, TOPIC, partitions=len(producer.leaders))
            await time.ask(ClockReading(worker, 0, 0, skew_seconds=None))
            await time.stop()
        return clock

    return asyncio.run(scenario())


def test_each_broker_is_asked_once_and_told_of() -> None:
    producer = Producer(1, 2, 1, 3, 2, 1)
    clock = asked(producer)

    assert sorted(producer.leaders[partition] or 0 for partition, _ in producer.sent) == [1, 2, 3]
    assert {told.source for told in clock.heard} == {"broker 1", "broker 2", "broker 3"}
    assert all(told.at_ms == TOLD_MS and told.after <= told.before for told in clock.heard)
    assert all(reading.partition == partition for partition, reading in producer.sent)


def test_different_workers_ask_in_different_partitions() -> None:
    producers = [Producer(1, 1, 1, 1) for _ in range(20)]
    for number, producer in enumerate(producers):
        asked(producer, worker=f"worker-{number}")

    assert {partition for producer in producers for partition, _ in producer.sent} == {0, 1, 2, 3}


def test_while_no_leader_is_known_the_one_to_come_is_asked() -> None:
    producer = Producer(None, -1)
    asked(producer)

    assert [partition for partition, _ in producer.sent] == [0]


def test_a_broker_that_hangs_is_waited_for_no_longer_than_a_moment_and_not_asked_again() -> None:
    async def scenario() -> tuple[list[int], list[str]]:
        clock, producer = HeardClock(), Producer(1, 2)
        producer.hanging = {2}
        as_theirs: Any = producer
        time = BrokerTime(clock, as_theirs, TOPIC, partitions=2)
        for _ in range(2):
            await time.ask(ClockReading("ada", 0, 0, skew_seconds=None))
        await time.stop()
        return [partition for partition, _ in producer.sent], [told.source for told in clock.heard]

    assert asyncio.run(scenario()) == ([0, 1, 0], ["broker 1", "broker 1"])


def test_what_keeps_an_answer_away_is_raised() -> None:
    producer = Producer(1)
    producer.refuses = TopicAuthorizationFailedError(TOPIC)

    with pytest.raises(TopicAuthorizationFailedError):
        asked(producer)


def test_a_topic_of_create_time_tells_nothing_and_that_is_said_of_the_topic_that_is_asked_alone() -> None:
    clock = asked(Producer(1, timestamp=-1))
    assert clock.heard == []
    assert clock.why_own == f"topic {TOPIC!r} has message.timestamp.type=CreateTime (see `engagement topics check`)"

    clock, producer = HeardClock(), Producer(1)
    as_theirs: Any = producer
    time = BrokerTime(clock, as_theirs, TOPIC, partitions=1)
    time.hear(answer(topic="engagement-changelog", timestamp=-1), after=0.0)
    assert clock.why_own == ""
    time.hear(answer(offset=-1, timestamp=-1), after=0.0)  # to a record that was sent twice
    assert (clock.why_own, clock.heard) == ("", [])
