"""Tallies: counts by field that add and subtract.

A field is a small number that its family gives a meaning, or a text where the values themselves
are counted (`stream.core.segments`). A field that is zero is not in the tally, so an empty tally means that nothing was
counted.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Field = int | str
Tally = dict[int, int]
_Field = TypeVar("_Field", int, Field)


def add(tally: dict[_Field, int], amounts: Mapping[Any, int], times: int = 1) -> None:
    """Add `amounts`, `times` over, to a tally in place; -1 takes them out again."""
    get = tally.get  # this runs some times for each event
    for field, amount in amounts.items():
        total = get(field, 0) + amount * times
        if total:
            tally[field] = total
        else:
            tally.pop(field, None)


def total(tallies: Iterable[Mapping[_Field, int]]) -> dict[_Field, int]:
    """The sum of several tallies, as a new one."""
    result: dict[_Field, int] = {}
    for tally in tallies:
        add(result, tally)
    return result
