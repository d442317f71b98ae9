"""What each partition is told when a deployment gets more of them. The rest needs Kafka: `test_maintenance`."""

from __future__ import annotations

import asyncio
from typing import Any

from stream.core.partition.progress import Progress
from stream.core.partition.rows import Delta
from stream.core.privacy import RECORDS_PREFIX, Erased
from stream.maintenance.add_partitions import _tell_all_who_was_erased
from stream.maintenance.partition_state import PartitionState
from stream.state.memory import MemoryStore


class Held:
    """The state of a partition that was taken over."""

    def __init__(self, **until_ms: int) -> None:
        self.store = MemoryStore()
        self.erased = Erased(salt=b"", allowed_lateness_ms=0)
        for user, at_ms in until_ms.items():
            self.erased.put([user], at_ms)
        self.store.write(self.erased.collect(), offset=0)
        self.saves = 0

    async def save(self, delta: Delta) -> None:
        self.saves += 1
        self.store.write(delta, offset=self.saves)

    def until_ms(self, user: str) -> int:
        self.erased.restore(self.store.scan(RECORDS_PREFIX.encode()))
        return self.erased.until_ms(user)


def test_every_partition_knows_all_who_were_erased_and_of_each_the_latest_request() -> None:
    held = [Held(ada=5, ben=7), Held(ada=9), Held(ada=1, cid=3), Held()]
    states: Any = held
    read = [PartitionState(number, one.store, Progress(), None, None, {}, []) for number, one in enumerate(held)]
    asyncio.run(_tell_all_who_was_erased(read, states))

    assert [[one.until_ms(user) for user in ("ada", "ben", "cid", "dan")] for one in held] == [[9, 7, 3, -1]] * 4
    for one in held:
        one.saves = 0
    asyncio.run(_tell_all_who_was_erased(read, states))  # as after an interruption
    assert [one.saves for one in held] == [0, 0, 0, 0]
