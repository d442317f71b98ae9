"""How a kind of fault is written down: a generator that takes one step after the other, and how long it lasts.

A step is done at once; what is yielded is the seconds until the next one. So several faults can be under way at a time,
and whatever one of them began is ended by its last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.schedule import Fault, Kind
from tests.chaos.world import World

Steps = Iterator[float]
Befalls = Callable[[World, Fault], Steps]


@dataclass(frozen=True, slots=True)
class Befalling:
    """A kind of fault: how long it lasts, what it does, and the store that it is for, if only for one."""

    kind: Kind
    befalls: Befalls
    only: str = ""


Kinds = dict[str, Befalling]


def kind(
    kinds: Kinds, name: str, least: float = 0.0, most: float = 0.0, *, whom: str = Kind().whom, only: str = ""
) -> Callable[[Befalls], Befalls]:
    """Write a function down among `kinds`, as one that lasts so many seconds; `only` names the store that it is for."""

    def register(befalls: Befalls) -> Befalls:
        kinds[name] = Befalling(Kind(least, most, whom), befalls, only)
        return befalls

    return register
