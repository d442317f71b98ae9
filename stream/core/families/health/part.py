"""What is booked of one user's health: the score and its coverage, by the day from which on they hold.

It holds for days to come too: a user of whom nothing more is heard becomes less active each day.
"""

from typing import NamedTuple

import msgspec

# Scores and shares are summed in whole millionths, so that one can be taken out again without a rounding error.
UNITS = 1_000_000


class Change(NamedTuple):
    """What holds from the end of a day on. Both are None while the user has no score."""

    day: int
    score: int | None  # 0 to 100, in UNITS
    coverage: int | None  # 0 to 1, in UNITS


class UserHealth(msgspec.Struct, array_like=True, gc=False):
    """What is booked of one user."""

    changes: tuple[Change, ...] = ()  # in order of their days
    # The active days that it follows from; never stored.
    activity: tuple[object, ...] | None = None


def since(changes: tuple[Change, ...], day: int) -> tuple[Change, ...]:
    """What holds at the end of a day, and all that changes after it."""
    old = sum(change.day <= day for change in changes)
    kept = changes[max(0, old - 1) :]
    return kept[1:] if kept and kept[0].day <= day and kept[0].score is None else kept


def replaced(changes: tuple[Change, ...], day: int, after: tuple[Change, ...]) -> tuple[Change, ...]:
    """The changes up to a day, and others from that day on."""
    kept = tuple(change for change in changes if change.day < day)
    known = kept[-1][1:] if kept else (None, None)
    return (*kept, *(after[1:] if after and after[0][1:] == known else after))
