"""Batches that wait for schemas: in order, paused meanwhile, nothing of them after their partitions are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from stream.agents.held_batches import HeldBatches
from stream.agents.transport import Records
from stream.inputs.encodings.schemas import Schema, Schemas
from stream.kafka.schema_registry import RegistryAway
from tests.inputs.encoded import framed
from tests.timeouts import TIMEOUT_SECONDS


class Record:
    """A record that names a schema."""

    headers: tuple[tuple[str, bytes], ...] = ()

    def __init__(self, schema_id: int, partition: int) -> None:
        self.value, self.partition = framed(schema_id, b"{}"), partition


def batch(partition: int, *schema_ids: int) -> Records:
    return Records([Record(number, partition) for number in schema_ids])


class World:
    """A registry that is away until it is let back, and a worker that has its partitions."""

    def __init__(self) -> None:
        self.schemas = Schemas()
        self.unknown = self.schemas.unknown
        self.away = True
        self.fetched: list[object] = []
        self.asked = asyncio.Event()
        self.applied: list[tuple[str, Records]] = []
        self.paused: set[tuple[str, int]] = set()
        self.failures: list[BaseException] = []
        self.broken: Exception | None = None
        self.held = HeldBatches(self, apply=self._apply, fail=self.failures.append)  # type: ignore[arg-type]
        self._loop = asyncio.get_running_loop()

    def fetch(self, schema_id: object) -> None:
        self._loop.call_soon_threadsafe(self.asked.set)
        if self.broken is not None:
            raise self.broken
        if self.away:
            raise RegistryAway("the schema registry at X can't be reached")
        self.fetched.append(schema_id)
        self.schemas.add(schema_id, Schema("JSON", "{}"))  # type: ignore[arg-type]

    async def _apply(self, topic: str, records: Records) -> None:
        self.applied.append((topic, records))

    def pause(self, topic: str, partition: int) -> Callable[[], None]:
        self.paused.add((topic, partition))
        return lambda: self.paused.discard((topic, partition))

    def hold(self, topic: str, records: Records) -> bool:
        return self.held.hold(topic, records, self.pause)


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def tell() -> None:
        await asyncio.wait_for(story(World()), TIMEOUT_SECONDS)

    asyncio.run(tell())


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110  what holds is nobody's event
        await asyncio.sleep(0.01)


def test_what_waits_is_applied_in_order_when_the_registry_is_back_and_the_others_go_on() -> None:
    async def story(world: World) -> None:
        first, second, other = batch(0, 7), batch(0, 8), batch(1, 9)
        assert world.hold("clicks", first)
        assert world.hold("clicks", second)
        assert world.hold("clicks", other)
        await until(world.held.waiting)
        assert world.paused == {("clicks", 0), ("clicks", 1)}
        why = "the schema registry at X can't be reached; its messages wait in Kafka"
        assert world.held.waiting() == {("clicks", 0): why, ("clicks", 1): why}
        assert world.applied == []

        world.away = False
        await until(lambda: len(world.applied) == 3)
        await until(lambda: not world.paused)

        assert [records for _, records in world.applied if records is not other] == [first, second]
        assert world.held.waiting() == {}
        assert sorted(map(str, world.fetched)) == ["7", "8", "9"]
        assert not world.hold("clicks", batch(0, 8, 9)), "what is known waits for nothing"

    run(story)


def test_a_batch_whose_schema_is_known_waits_behind_one_of_its_partition() -> None:
    async def story(world: World) -> None:
        world.schemas.add(1, Schema("JSON", "{}"))
        first, second = batch(0, 7), batch(0, 1)

        assert not world.hold("clicks", batch(0, 1))
        assert world.hold("clicks", first)
        assert world.hold("clicks", second)
        assert not world.hold("clicks", batch(1, 1))
        world.away = False
        await until(lambda: len(world.applied) == 2)

        assert [records for _, records in world.applied] == [first, second]

    run(story)


def test_nothing_is_applied_of_partitions_that_were_given_up_and_those_that_follow_begin_anew() -> None:
    async def story(world: World) -> None:
        world.hold("clicks", batch(0, 7))
        await until(world.held.waiting)
        world.held.drop()
        assert world.paused == set()
        assert world.held.waiting() == {}
        again = batch(0, 7)
        assert world.hold("clicks", again)
        world.away = False
        await until(lambda: world.applied)

        assert world.applied == [("clicks", again)]
        assert world.fetched == [7]

    run(story)


def test_an_error_that_nobody_expects_stops_the_worker() -> None:
    async def story(world: World) -> None:
        world.broken = ZeroDivisionError("a bug")
        world.hold("clicks", batch(0, 7))
        await until(lambda: world.failures)

        assert isinstance(world.failures[0], ZeroDivisionError)

    run(story)
