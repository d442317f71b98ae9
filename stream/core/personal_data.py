"""What is stored of one person, in words that people can read: for a copy of it, and to find out whether anything is.

The parts of a row are structs whose fields have names and units: times end with `_ms`, minutes and days are called so.
What a family stores in a form of its own, it tells by itself (`Family.readable`).
"""

from collections.abc import Mapping
from typing import Any

from stream.core.families.family import EVER, Family
from stream.core.partition.rows import Rows
from stream.core.time import MINUTE_MS, iso


def personal_data(families: list[Family[Any]], row: bytes) -> dict[str, Any]:
    """What each family stores of the user of a row, by the family's name; families with nothing are left out."""
    rows = Rows(families, max_bytes=0)
    decoded = rows.decode(row)
    past = rows.past_of(decoded)
    told: dict[str, Any] = {}
    for index, family in enumerate(families):
        part = rows.part(decoded, index)
        if family.stored(part) is not None:
            told[family.name] = family.readable(part)
    counted = {family.name: _past(past[family.number]) for family in families if past.get(family.number)}
    return {**told, **({"counted_before": counted} if counted else {})}


def _past(past: Mapping[int, Mapping[int | str, int]]) -> list[dict[str, Any]]:
    """What is not stored one by one any more, but still counted: by time, the number of each field of the totals."""
    return [
        {"at": "ever" if minute == EVER else iso(minute * MINUTE_MS), "counts": {str(f): n for f, n in amounts.items()}}
        for minute, amounts in sorted(past.items())
    ]
