"""How a server reads the reports of workers: what time it hears from them, and what it does when Kafka goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.clock import Clock
from stream.export.board import Board
from stream.export.report_reader import ReportReader, cancelled
from stream.telemetry import ClockReading, encode_report
from tests.export.boards import settings

TOPIC, DAYS_TOPIC = settings().snapshots_topic, settings().days_topic
HOUR_SECONDS = 3_600

_APPEND_TIME, _CREATE_TIME = 1, 0


class Kafka:
    """What the consumers of a reader meet: each gets the next of these answers, then nothing more."""

    def __init__(self, *answers: Sequence[Any] | Exception) -> None:
        self.answers = list(answers)
        self.ends: Exception | None = None  # what asking again for the ends raises
        self.consumers = 0
        self.all_read = asyncio.Event()

    def consumer(self, **_: Any) -> Consumer:
        self.consumers += 1
        return Consumer(self)


class Consumer:
    """A consumer of the two partitions, of which ten records were there before."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._asked = 0
        self._client = self.cluster = self

    def leader_for_partition(self, place: TopicPartition) -> int:
        return 1

    async def start(self) -> None:
        """It has nothing to connect to."""

    async def stop(self) -> None:
        raise asyncio.CancelledError  # as aiokafka does if a fetch waits for Kafka

    def assign(self, places: list[TopicPartition]) -> None:
        assert places == [TopicPartition(topic, number) for topic in (TOPIC, DAYS_TOPIC) for number in (0, 1)]

    async def seek_to_beginning(self, *places: TopicPartition) -> None:
        assert places == (TopicPartition(DAYS_TOPIC, 0), TopicPartition(DAYS_TOPIC, 1))

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert offset == 0

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        self._asked += 1
        if self._asked > 1 and self._kafka.ends is not None:
            raise self._kafka.ends
        return dict.fromkeys(places, 10)

    async def getmany(self, **_: Any) -> dict[TopicPartition, Sequence[Any]]:
        await asyncio.sleep(0.01)
        if not self._kafka.answers:
            self._kafka.all_read.set()
            return {}
        answer = self._kafka.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {TopicPartition(TOPIC, 0): answer}


def record(offset: int, *, at: float, worker: str = "ada", kind: int = _APPEND_TIME) -> Any:
    """A reading of a worker's clock as it lies in Kafka, with its time in seconds."""
    value = encode_report(ClockReading(worker, 0, 1, skew_seconds=0.0))
    return ConsumerRecord(TOPIC, 0, offset, int(at * 1_000), kind, b"clock", value, None, 0, 0, ())


async def read(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, Board]:
    """Let a reader read all answers; returns what it has told."""
    monkeypatch.setattr("stream.export.report_reader.AIOKafkaConsumer", kafka.consumer)
    monkeypatch.setattr("stream.export.report_reader._RETRY_SECONDS", 0.0)
    clock = Clock()
    board = Board(settings(), now_ms=clock.now_ms)
    reading = asyncio.create_task(ReportReader(board, {}, clock=clock, request_timeout_seconds=1).run())
    waiting = asyncio.create_task(kafka.all_read.wait())
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert not reading.done(), "it reads until it is cancelled"
    await cancelled(reading)
    return clock, board


def test_a_report_that_was_appended_since_it_has_asked_for_the_end_tells_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> list[float | None]:
        now = time.time() + HOUR_SECONDS
        skews = []
        for new in (record(10, at=now), record(9, at=now), record(10, at=now, kind=_CREATE_TIME)):
            clock, _ = await read(Kafka([new]), monkeypatch)
            skews.append(clock.skew_seconds())
        return skews

    newer, older, of_its_worker = asyncio.run(scenario())
    assert newer == pytest.approx(-HOUR_SECONDS, abs=60)
    assert (older, of_its_worker) == (None, None)


def test_a_report_counts_as_told_when_kafka_has_appended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> list[str]:
        now = time.time()
        readings = [record(8, at=now - HOUR_SECONDS, worker="gone"), record(9, at=now)]
        _, board = await read(Kafka(readings), monkeypatch)
        return [reading.worker for reading in board.clocks()]

    assert asyncio.run(scenario()) == ["ada"]


def test_it_reads_on_whatever_fails_while_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.export.report_reader._ASK_END_SECONDS", 0.0)

    async def scenario() -> tuple[int, list[str]]:
        kafka = Kafka(KafkaConnectionError("gone"), [record(10, at=time.time())])
        kafka.ends = KafkaTimeoutError("gone")
        _, board = await read(kafka, monkeypatch)
        return kafka.consumers, [reading.worker for reading in board.clocks()]

    assert asyncio.run(scenario()) == (2, ["ada"])
