"""Batches of several partitions at once, each partition's in order."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.agents.concurrent_batches import ConcurrentBatches
from stream.agents.transport import Records
from tests.timeouts import TIMEOUT_SECONDS


class Record(NamedTuple):
    partition: int
    offset: int


def batch(partition: int, offset: int) -> Records:
    records: Any = [Record(partition, offset)]
    return Records(records)


class Slow:
    """Applies each batch when it is let, and notes what is under way."""

    def __init__(self) -> None:
        self.under_way: list[Record] = []
        self.applied: list[Record] = []
        self.max_concurrent = 0
        self._lets_go: dict[Record, asyncio.Event] = {}

    async def apply(self, topic: str, records: Records) -> int:
        record: Any = records[0]
        self.under_way.append(record)
        self.max_concurrent = max(self.max_concurrent, len(self.under_way))
        await self._lets_go.setdefault(record, asyncio.Event()).wait()
        self.under_way.remove(record)
        self.applied.append(record)
        return 1

    async def let_go(self, record: Record) -> None:
        self._lets_go.setdefault(record, asyncio.Event()).set()
        for _ in range(10):
            await asyncio.sleep(0)


@given(
    partitions=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    max_concurrent=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_each_partition_is_applied_in_order_and_no_more_at_once_than_allowed(
    partitions: list[int], max_concurrent: int, order: Any
) -> None:
    async def scenario() -> Slow:
        slow = Slow()
        abreast = ConcurrentBatches(slow.apply, max_concurrent=max_concurrent)
        given_ = [Record(partition, offset) for offset, partition in enumerate(partitions)]

        async def give() -> None:
            for record in given_:
                await abreast.start("logins", batch(*record))

        giving = asyncio.create_task(give())
        waiting = list(given_)
        order.shuffle(waiting)
        for record in waiting:
            await slow.let_go(record)
        await giving
        await slow.let_go(Record(9, 9))
        assert len(slow.applied) == len(given_)
        return slow

    slow = asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_SECONDS))
    assert slow.max_concurrent <= max_concurrent
    for partition in set(partitions):
        applied = [record.offset for record in slow.applied if record.partition == partition]
        assert applied == [offset for offset, its in enumerate(partitions) if its == partition]


@pytest.mark.parametrize(("max_concurrent", "begun"), [(1, 1), (3, 3)])
def test_while_one_waits_for_its_store_others_begin(max_concurrent: int, begun: int) -> None:
    async def scenario() -> tuple[int, int]:
        slow = Slow()
        abreast = ConcurrentBatches(slow.apply, max_concurrent=max_concurrent)

        async def give() -> None:
            for partition in range(4):
                await abreast.start("logins", batch(partition, 0))

        giving = asyncio.create_task(give())
        await slow.let_go(Record(9, 9))
        waiting = len(slow.under_way)
        for partition in range(4):
            await slow.let_go(Record(partition, 0))
        await giving
        await slow.let_go(Record(9, 9))
        return waiting, len(slow.applied)

    assert asyncio.run(scenario()) == (begun, 4)
