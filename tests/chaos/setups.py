"""What a run of chaos sets up, drawn from its seed: how many workers and servers, with names or without, and so on.

A fault may need a certain set-up to be seen: workers that rebalance for ever were two without names. So each run draws
one of all that people choose; options pin what shall not be drawn, and change nothing else of what is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from typing import Final

STORES: Final = ("rocksdb", "memory", "redis")

WORKERS: Final = (1, 2, 3, 4)
SERVERS: Final = (1, 2)
PARTITIONS: Final = (4, 6, 8, 10, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A deployment, apart from its store."""

    workers: int
    servers: int
    partitions: int  # of each topic
    named: bool  # kafka.instance_id: a worker that comes back in time gets its partitions without a rebalance
    standbys: int  # state.standbys: workers that follow each partition
    transactional: bool  # the producer sends in transactions, and aborts some

    def __str__(self) -> str:
        told = [
            _count(self.workers, "worker") + (" with names" if self.named else " without names"),
            _count(self.servers, "server"),
            _count(self.partitions, "partition"),
        ]
        more = [f"standbys {self.standbys}"] if self.standbys else []
        return ", ".join([*told, *more, *(["transactions"] if self.transactional else [])])

    @property
    def options(self) -> str:
        """The options that pin all of it."""
        counts = f"--workers {self.workers} --servers {self.servers} --partitions {self.partitions}"
        named = "--named" if self.named else "--unnamed"
        transactions = "--transactions" if self.transactional else "--no-transactions"
        return f"{counts} {named} --standbys {self.standbys} {transactions}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What is not drawn: a value for each part of a set-up, None where the seed decides."""

    workers: int | None = None
    servers: int | None = None
    partitions: int | None = None
    named: bool | None = None
    standbys: int | None = None
    transactional: bool | None = None


def setup(seed: int, store: str, pins: Pins = Pins()) -> Setup:
    """The set-up of a seed on a store. Raises ValueError for standbys of a store that has no changelog to follow."""
    if store == "redis" and pins.standbys:
        raise ValueError("--standbys: Redis has no changelog that a standby could follow")
    rng = random.Random(f"setup {seed} {store}")
    drawn = Setup(
        workers=rng.choice(WORKERS),
        servers=rng.choice(SERVERS),
        partitions=rng.choice(PARTITIONS),
        named=rng.random() < 0.5,
        standbys=int(rng.random() < 0.5) if store != "redis" else 0,
        transactional=rng.random() < 0.3,
    )
    asked = {field.name: getattr(pins, field.name) for field in fields(pins)}
    return replace(drawn, **{name: value for name, value in asked.items() if value is not None})


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
