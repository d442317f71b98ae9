"""All kinds of faults by name, and how one befalls a world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.chaos.compound import COMPOUND
from tests.chaos.faults import SINGLE
from tests.chaos.kinds import Kinds, Steps
from tests.chaos.schedule import Fault, Kind
from tests.chaos.world import World

_KINDS: Final[Kinds] = {**SINGLE, **COMPOUND}


def kinds_for(store: str, only: Sequence[str] = ("",)) -> Mapping[str, Kind]:
    """What may befall a deployment that keeps its state there; `only` what has one of these words in its name."""
    kinds = {name: found.kind for name, found in _KINDS.items() if found.only in ("", store)}
    return {name: kind for name, kind in kinds.items() if any(word in name for word in only)}


def befall(world: World, fault: Fault) -> Steps:
    """The steps of a fault, of which the first is taken when it is asked for."""
    return _KINDS[fault.kind].befalls(world, fault)
