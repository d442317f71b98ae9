"""Whether the state of a partition and the topics it was counted from still fit together.

A state holds the offsets it has applied. If a topic begins after them, ends before them, is another topic of the same
name, or if more was committed than the state knows of, then something was deleted or set back. Going on would count
some events never or twice, and nothing would show it: a person decides.
"""

from typing import NamedTuple

from stream.settings import Unavailable


class StateMismatch(Unavailable):
    """State and topics don't fit together, and going on would give wrong numbers. The text tells what decides it."""


class Place(NamedTuple):
    """What is known of one partition of an input topic. Offsets are of the next record."""

    topic: str
    partition: int
    position: int | None  # what the state has applied
    first: int  # what the topic begins with
    end: int  # what it will go on with
    committed: int | None
    id_in_state: str = ""  # of the topic that was counted; empty where nobody told
    id_now: str = ""


def changelog_problem(partition: int, *, held: int | None, first: int, end: int, whole: bool) -> str | None:
    """What is wrong with a changelog that begins at `first` and goes on at `end`, and the command that decides it.

    `held` is the last offset that the local store has of it; `whole` says that nothing of the state was missing.
    """
    if held is not None and held >= end:
        problem = (
            f"the local state holds its changelog up to offset {held}, but it ends at {end}: was it created again?"
        )
    elif not whole:
        problem = f"its changelog begins at offset {first}: what lay before was deleted, and no local state has it"
    else:
        return None
    return (
        f"partition {partition}: {problem}\n"
        f"  to count again all that the topics hold: engagement state reset --partition {partition}"
    )


def mismatch(place: Place) -> str | None:
    """What does not fit, and the commands that decide it; None where all is well."""
    found = _found(place)
    if found is None:
        return None
    problem, accepting = found
    return (
        f"partition {place.partition}: {problem}\n"
        f"  to {accepting}: engagement state accept --partition {place.partition}\n"
        f"  to count again all that the topics hold: engagement state reset --partition {place.partition}"
    )


def _found(place: Place) -> tuple[str, str] | None:
    """The problem, and what accepting it means."""
    topic, position, committed = repr(place.topic), place.position or 0, place.committed or 0
    if place.id_in_state and place.id_now and place.id_in_state != place.id_now:
        told = f"{topic} was deleted and created again since the state read it"
        return told, "keep the numbers and read the new topic from its beginning"
    if position > place.end:
        told = f"the state has read {topic} up to offset {position}, but it ends at {place.end}: was it created again?"
        return told, "keep the numbers and read the topic from its beginning"
    if committed > position:
        told = f"offset {committed} of {topic} was committed, but the state has only read up to {position}"
        return f"{told}: it was lost or set back", f"read again from offset {max(position, place.first)}"
    if position and position < place.first:
        told = f"the state has read {topic} up to offset {position}, but it begins at {place.first}"
        lost = place.first - position
        return f"{told}: {lost} records were deleted before they were read", "go on without them"
    return None
