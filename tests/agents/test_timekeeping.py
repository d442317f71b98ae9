"""How a worker keeps its clock right: when it asks whom, and what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.agents.timekeeping import AskStore, Timekeeping
from stream.clock import Clock, TimeTold
from stream.core.store import StoreFailed, StoreUnavailable
from stream.telemetry import ClockReading

HOUR_SECONDS = 3_600


class Brokers:
    """Those who are asked; they tell the clock of this machine, or fail."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.times_asked = clock, 0
        self.fails: Exception | None = None
        self.answer = asyncio.Event()
        self.answer.set()

    async def asked(self, reading: ClockReading) -> None:
        self.times_asked += 1
        await self.answer.wait()
        if self.fails is not None:
            raise self.fails
        now = time.monotonic()
        self.clock.hear(TimeTold("broker 1", time.time() * 1_000, now, now))


class Store:
    """A store that is asked; it is an hour ahead."""

    def __init__(self, *fails: Exception) -> None:
        self.fails = list(fails)
        self.times_asked = 0

    def times(self) -> Sequence[TimeTold]:
        self.times_asked += 1
        if self.fails:
            raise self.fails.pop(0)
        now = time.monotonic()
        return [TimeTold("redis", (time.time() + HOUR_SECONDS) * 1_000, now, now)]


def reading() -> ClockReading:
    return ClockReading("ada", 0, 0, skew_seconds=None)


def keeping(*, wall_off: list[float] | None = None, ask_store: AskStore | None = None) -> tuple[Timekeeping, Brokers]:
    """Timekeeping of a machine whose wall clock is off by as many seconds as the list says now."""
    off = [0.0] if wall_off is None else wall_off
    clock = Clock(wall=lambda: time.time() + off[0])
    brokers = Brokers(clock)
    return Timekeeping(clock, ask_brokers=brokers.asked, ask_store=ask_store), brokers


def test_it_starts_when_a_broker_has_answered() -> None:
    async def scenario() -> None:
        one, brokers = keeping(wall_off=[HOUR_SECONDS])
        brokers.answer.clear()
        starting = asyncio.ensure_future(one.start(reading))
        await asyncio.wait({starting}, timeout=0.05)
        assert not starting.done()
        brokers.answer.set()
        await starting
        assert abs(one.clock.now_ms() - time.time() * 1_000) < 60_000

    asyncio.run(scenario())


def test_it_does_not_start_when_the_brokers_refuse() -> None:
    async def scenario() -> None:
        one, brokers = keeping()
        brokers.fails = KafkaConnectionError("gone")
        with pytest.raises(KafkaConnectionError):
            await one.start(reading)

    asyncio.run(scenario())


def test_events_wait_for_the_time_only_when_the_clock_was_set() -> None:
    async def scenario() -> list[int]:
        off = [0.0]
        one, brokers = keeping(wall_off=off)
        await one.start(reading)
        asked = []
        for off[0] in (0.5, 2.0, 2.0, 0.0):
            await one.be_sure()
            asked.append(brokers.times_asked)
        assert one.clock.is_sure
        return asked

    assert asyncio.run(scenario()) == [1, 2, 2, 3]


def test_events_are_applied_by_what_is_known_when_no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.agents.timekeeping._BE_SURE_SECONDS", 0.05)

    async def scenario() -> None:
        off = [0.0]
        one, brokers = keeping(wall_off=off)
        await one.start(reading)
        off[0] = HOUR_SECONDS
        brokers.answer.clear()
        await one.be_sure()
        assert abs(one.clock.now_ms() - time.time() * 1_000) < 60_000

    asyncio.run(scenario())


def test_a_store_tells_the_time_where_kafka_does_not() -> None:
    async def scenario() -> float | None:
        clock, store = Clock(), Store()

        async def say_nothing(_: ClockReading) -> None:
            clock.note_silence("snapshots", "it has CreateTime")

        one = Timekeeping(clock, ask_brokers=say_nothing, ask_store=store.times)
        await one.start(reading)
        assert clock.why_own == ""
        return clock.skew_seconds()

    assert asyncio.run(scenario()) == pytest.approx(-HOUR_SECONDS, abs=60)


def test_a_store_that_was_away_at_the_start_is_asked_before_a_partition_is_opened() -> None:
    async def scenario() -> int:
        store = Store(StoreUnavailable("gone"), StoreUnavailable("gone"))
        one, _ = keeping(ask_store=store.times)
        await one.start(reading)
        with pytest.raises(StoreUnavailable):
            await one.hear_store()
        await one.hear_store()
        await one.hear_store()
        return store.times_asked

    assert asyncio.run(scenario()) == 3


def test_a_store_that_may_not_be_asked_is_asked_once_and_it_says_why() -> None:
    async def scenario() -> tuple[int, str]:
        store = Store(StoreFailed("this user has no permissions to run the 'time' command"))
        one = Timekeeping(Clock(), ask_brokers=keeping()[1].asked, ask_store=store.times)
        await one.start(reading)
        await one.hear_store()
        return store.times_asked, one.clock.why_own

    assert asyncio.run(scenario()) == (1, "this user has no permissions to run the 'time' command")
