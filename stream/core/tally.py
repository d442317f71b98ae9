"""Tallies: counts by field, which can be added and subtracted.

A field is a small number, whose meaning its family defines, or a text if values are counted by name
(`stream.core.segments`). A field that is zero is not in the tally, so an empty tally means that nothing was counted.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Field = int | str
Tally = dict[int, int]
_Field = TypeVar("_Field", int, Field)


def add(tally: dict[_Field, int], amounts: Mapping[Any, int], times: int = 1) -> None:
    """Add `amounts` to a tally in place, so many times; `times=-1` subtracts them."""
    get = tally.get  # looked up only once, because this function is called several times for each event
    for field, amount in amounts.items():
        total = get(field, 0) + amount * times
        if total:
            tally[field] = total
        else:
            tally.pop(field, None)


def total(tallies: Iterable[Mapping[_Field, int]]) -> dict[_Field, int]:
    """The sum of several tallies, as a new tally."""
    result: dict[_Field, int] = {}
    for tally in tallies:
        add(result, tally)
    return result
