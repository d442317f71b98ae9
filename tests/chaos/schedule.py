"""Who is attacked, and when what goes wrong: the same seed, the same faults.

Faults come in storms. Within a storm the next one comes while the last is still being mended, and may befall the same
worker. After each storm there is a pause, in which all must become well again (`progress.py`).

Faults are drawn like cards: each kind comes once before one comes again, in an order and at moments that the seed
decides.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.chaos.setups import Setup

FAULTS_OF_A_STORM: Final = (1, 2, 3, 4, 5)
# A killed worker is back after some seconds and its session ends after six: most faults meet a rebalance.
SECONDS_BETWEEN_FAULTS: Final = (0.5, 6.0)

# By which a run is planned; a healthy deployment needs so long for its way back and some seconds of calm.
SECONDS_OF_A_PAUSE: Final = 15.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How long a fault of a kind lasts, in seconds, and whom it befalls."""

    least: float = 0.0
    most: float = 0.0
    whom: str = "worker {worker}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong so long after its storm has begun, for so long.

    `worker` and `server` are the numbers of those whom it befalls, `other` that of a second worker (the same one where
    there is no second); `chance` in [0, 1) is for whatever else is to be decided.
    """

    at_seconds: float
    kind: str
    worker: int
    other: int
    server: int
    seconds: float
    chance: float
    whom: str  # the same in words; empty where it befalls all or nobody

    def __str__(self) -> str:
        length = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.kind}{length}" + (f" ({self.whom})" if self.whom else "")


Storm = list[Fault]


def schedule(seed: int, kinds: Mapping[str, Kind], *, seconds: float, setup: Setup) -> list[Storm]:
    """The storms of about so many seconds, their pauses included: at least one. Without kinds there are none."""
    rng = random.Random(seed)
    faults = _faults(rng, kinds, setup)
    storms: list[Storm] = []
    planned = 0.0
    while kinds and (planned < seconds or not storms):
        storms.append(_storm(rng, faults))
        planned += max(fault.at_seconds + fault.seconds for fault in storms[-1]) + SECONDS_OF_A_PAUSE
    return storms


def _storm(rng: random.Random, faults: Iterator[Fault]) -> Storm:
    """The next few faults, each some seconds after the one before it has begun."""
    storm: Storm = []
    at_seconds = 0.0
    for _ in range(rng.choice(FAULTS_OF_A_STORM)):
        storm.append(replace(next(faults), at_seconds=at_seconds))
        at_seconds += rng.uniform(*SECONDS_BETWEEN_FAULTS)
    return storm


def _faults(rng: random.Random, kinds: Mapping[str, Kind], setup: Setup) -> Iterator[Fault]:
    """Faults without end, in rounds of which each has every kind once."""
    while True:
        for name in rng.sample(sorted(kinds), len(kinds)):
            kind = kinds[name]
            worker = rng.randrange(setup.workers)
            other = (worker + rng.randrange(1, max(2, setup.workers))) % setup.workers
            server = rng.randrange(setup.servers)
            yield Fault(
                at_seconds=0.0,
                kind=name,
                worker=worker,
                other=other,
                server=server,
                seconds=rng.uniform(kind.least, kind.most),
                chance=rng.random(),
                whom=kind.whom.format(worker=worker, other=other, server=server),
            )
