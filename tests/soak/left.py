"""What a worker would recover after a soak: how much it is, and whether anything is left that nothing needs."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from stream import wiring
from stream.agents.partition_task import SWEPT_ROWS
from stream.core.families.registry import families
from stream.core.partition.partition import row_retention_ms
from stream.core.partition.rows import USER_PREFIX, Rows
from stream.core.partition.user_index import INDEX_PREFIX, IndexEntry
from stream.core.rules import Rules
from stream.core.time import DAY_MS
from stream.maintenance.partition_state import PartitionState, iterate_items
from stream.settings import Settings


class Left(NamedTuple):
    """What the state holds, and how much of it nothing needs any more."""

    users: int
    named: int  # responses whose messages are keyed by their own id
    counted: int  # users, as the partitions count them
    overdue: int

    @property
    def told(self) -> str:
        """It in words."""
        return f"left in the state: {self.users:,} users and {self.named:,} responses that are known by their own id"

    @property
    def problems(self) -> list[str]:
        """What should not be so, in words."""
        found = []
        if self.overdue:
            found.append(f"{self.overdue:,} rows are stored that nothing needs")
        if self.counted != self.users:
            found.append(f"the state has {self.users:,} users, but counted {self.counted:,}")
        return found


def kept_days(rules: Rules) -> int:
    """How long after the last activity a row is still needed."""
    return row_retention_ms(rules) // DAY_MS


def checkpoints_of_a_round(users: int, partitions: int) -> int:
    """How many checkpoints a partition needs, of about so many users in all, until it has looked at every row.

    All rows are looked at in turn, some with each checkpoint. Users are not spread evenly: it is twice the mean.
    """
    return 2 * (users // partitions // SWEPT_ROWS + 1)


def left_in(settings: Settings) -> Left:
    """Look into the state while no worker runs. That of a local store is read from its changelog: this is the truth."""
    return asyncio.run(_left_in(settings))


async def _left_in(settings: Settings) -> Left:
    users = named = counted = overdue = 0
    with wiring.open_maintenance(settings) as opened:
        async with opened as maintenance:
            for partition in range(settings.topics.partitions):
                held = await maintenance.read_state(partition)
                users += held.rows["user"]
                named += held.rows["named"]
                counted += held.progress.users
                overdue += _overdue(held, settings.rules)
    return Left(users, named, counted, overdue)


def _overdue(held: PartitionState, rules: Rules) -> int:
    needed_since_ms = held.progress.watermark_ms - DAY_MS - row_retention_ms(rules)
    rows = Rows(families(rules), max_bytes=1)
    users = iterate_items(held.store, USER_PREFIX.encode())
    moments = [max(rows.last_ms_by_part(rows.decode(value))) for _, value in users]
    moments += [
        msgspec.msgpack.decode(value, type=IndexEntry).at_ms
        for _, value in iterate_items(held.store, INDEX_PREFIX.encode())
    ]
    return sum(at_ms < needed_since_ms for at_ms in moments)
