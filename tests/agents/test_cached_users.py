"""The rows that a worker keeps in memory, of all its partitions together."""

import asyncio
from typing import Any

import msgspec

from stream.agents.task_manager import TaskManager
from stream.agents.task_state import SharedState, State
from stream.agents.transport import Records
from stream.kafka.outbox import Outbox
from stream.partitioning import partition_of
from stream.settings import load
from stream.state.memory import MemoryStore
from tests.export.boards import Event, moment

NOW_MS = moment("2026-03-10T12:00:00Z")
SETTINGS = load(None, {}, {"topics.partitions": 2, "clock": "event", "state.cached_users": 10})


class Login(Event):
    """A login as Kafka delivers it, with its partition."""

    @property
    def partition(self) -> int:
        assert self.key is not None
        return partition_of(self.key, 2)


def logins(partition: int, *, first: int, count: int) -> Records:
    """Logins of so many users of a partition, the same ones each time."""
    names = [name for number in range(1_000) if partition_of(name := b"user-%d" % number, 2) == partition][:count]
    told = [msgspec.json.encode({"user_id": name.decode(), "event_time": NOW_MS + first}) for name in names]
    records: Any = [
        Login(value, first + place, key=name, timestamp=NOW_MS)
        for place, (name, value) in enumerate(zip(names, told, strict=True))
    ]
    batch = Records(records)
    batch.previous_end = first
    return batch


async def open_state(partition: int, outbox: Outbox) -> State:
    return SharedState(MemoryStore())


def cached(tasks: TaskManager) -> int:
    return sum(len(task._core._rows.users) for task in tasks._tasks.values())


def test_a_worker_keeps_so_many_rows_in_memory_for_all_its_partitions_and_finds_the_others_again() -> None:
    async def scenario() -> None:
        tasks = TaskManager(SETTINGS, open_state=open_state)
        tasks._remaining = lambda topic, partition: 0
        await tasks.open([0, 1], recovery_seconds=0.0)
        for first in (0, 100):
            for partition in (0, 1):
                assert await tasks.apply("logins", logins(partition, first=first, count=100)) == 100
            for task in tasks._tasks.values():
                await tasks._save(task)

            assert tasks.failure is None
            assert cached(tasks) == 10

        for task in tasks._tasks.values():
            task.tick(NOW_MS)
        reports = [task.report("w", {}, now_ms=NOW_MS) for task in tasks._tasks.values()]
        assert [report.snapshot.rows["user"] for report in reports] == [100, 100]
        assert [report.snapshot.families["activity"].live[1_440][1] for report in reports] == [100, 100]

    asyncio.run(scenario())
