"""Who is attacked, and when what goes wrong: the same seed, the same faults.

Faults are drawn like cards: each kind comes once before one comes again, in an order and at moments that the seed
decides. They overlap as they like, on the same worker too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# On average. Much shorter, and the group does nothing but share out its partitions.
SECONDS_BETWEEN_FAULTS: Final = 4.5


@dataclass(frozen=True, slots=True)
class Kind:
    """How long a fault of a kind lasts, in seconds. `few` says that a longer one is the exception."""

    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong so long after the start, for so long.

    `target` is the number of a worker where it befalls one; `chance` in [0, 1) is for whatever else is to be decided.
    """

    at_seconds: float
    kind: str
    target: int
    seconds: float
    chance: float

    def __str__(self) -> str:
        length = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at_seconds:6.1f} s  {self.kind}, worker {self.target}{length}"


@dataclass(frozen=True, slots=True)
class Setup:
    """How workers are set up, apart from their store."""

    named: bool  # kafka.instance_id: a worker that comes back in time gets its partitions without a rebalance
    standbys: int  # state.standbys: workers that follow each partition

    def __str__(self) -> str:
        told = ["workers with names" if self.named else "workers without names"]
        return ", ".join([*told, f"standbys {self.standbys}"] if self.standbys else told)


def setup(seed: int, *, can_follow: bool) -> Setup:
    """One of those that people choose. Only a store with a changelog can be followed."""
    rng = random.Random(f"setup {seed}")
    return Setup(named=rng.random() < 0.5, standbys=int(rng.random() < 0.5) if can_follow else 0)


def schedule(seed: int, kinds: Mapping[str, Kind], *, seconds: float, workers: int) -> list[Fault]:
    """The faults of so many seconds, in order: at least one of each kind. Without kinds there are none."""
    rng = random.Random(seed)
    count = max(len(kinds), round(seconds / SECONDS_BETWEEN_FAULTS)) if kinds else 0
    faults = []
    deck: list[str] = []
    for number in range(count):
        deck = deck or rng.sample(sorted(kinds), len(kinds))
        name = deck.pop()
        kind = kinds[name]
        at_seconds = (number + rng.random()) * seconds / count
        faults.append(Fault(at_seconds, name, rng.randrange(workers), rng.uniform(kind.least, kind.most), rng.random()))
    return faults
