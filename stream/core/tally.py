"""Tallies: counts by field that add and subtract.

A field is a small number that one module gives a meaning (`stream.core.fields`). A field that is zero is not in
the tally, so an empty tally means that nothing was counted.
"""

from collections.abc import Iterable, Mapping

Tally = dict[int, int]


def add(tally: Tally, amounts: Mapping[int, int], times: int = 1) -> None:
    """Add `amounts`, `times` over, to a tally in place; -1 takes them out again."""
    get = tally.get  # this runs some times for each event
    for field, amount in amounts.items():
        total = get(field, 0) + amount * times
        if total:
            tally[field] = total
        else:
            tally.pop(field, None)


def total(tallies: Iterable[Mapping[int, int]]) -> Tally:
    """The sum of several tallies, as a new one."""
    result: Tally = {}
    for tally in tallies:
        add(result, tally)
    return result
