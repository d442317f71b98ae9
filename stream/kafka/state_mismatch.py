"""Check that the state of a partition still fits the topics that it was counted from.

A state holds the offsets up to which it has applied each topic. Records were deleted or offsets set back if a topic
begins after its offset, if it ends before its offset, if it was created again under the same name, or if a higher
offset was committed than the state has. Going on would count some events never or twice, and nobody would notice. The
worker stops instead, and an operator decides. If that happens to a topic while a worker runs, it stops to read this
topic alone, and reports it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from stream.settings import Unavailable


class StateMismatch(Unavailable):
    """State and topics do not fit, and going on would give wrong numbers. The text has the commands to decide it."""


class PartitionOffsets(NamedTuple):
    """What is known of one partition of an input topic. Each offset is that of the next record."""

    topic: str
    partition: int
    position: int | None  # up to here the state has applied the topic
    first: int  # the first offset that the topic still has
    end: int  # the offset that the topic's next record will have
    committed: int | None
    id_in_state: str = ""  # Kafka's id of the topic that was counted; empty if unknown
    id_now: str = ""


def find_changelog_mismatch(partition: int, *, held: int | None, first: int, end: int, whole: bool) -> str | None:
    """Describe what is wrong with a changelog, and the command to decide it. Returns None if nothing is wrong.

    `held` is the last changelog offset in the local store, `first` the first offset that the changelog still has, and
    `end` the offset of its next record. `whole` says that no record of the state is missing.
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


def describe_new_changelog(partitions: Iterable[int]) -> str:
    """Describe that a changelog is not the one that a worker has written to, and the commands to decide it."""
    numbers = sorted(partitions)
    problem = "the changelog was deleted and created again while a worker used it, and does not hold the whole state"
    return f"partition {', '.join(map(str, numbers))}: {problem}{commands_for_new_changelog(numbers)}"


def commands_for_new_changelog(partitions: Iterable[int]) -> str:
    """Return the commands to decide what becomes of a changelog that was created again, each in a line of its own."""
    options = " ".join(f"--partition {number}" for number in partitions)
    return (
        f"\n  to keep what it holds, for example of a copied topic: engagement state accept {options}"
        f"\n  to count again all that the topics hold: engagement state reset {options}"
    )


def in_one_line(problem: str) -> str:
    """Return the description of a problem in one line, without its partition."""
    return "; ".join(line.strip() for line in problem.partition(": ")[2].splitlines())


def find_mismatch(offsets: PartitionOffsets) -> str | None:
    """Describe what does not fit, and the commands to decide it. Returns None if everything fits."""
    found = _problem_and_accepting(offsets)
    if found is None:
        return None
    problem, accepting = found
    return (
        f"partition {offsets.partition}: {problem}\n"
        f"  to {accepting}: engagement state accept --partition {offsets.partition}\n"
        f"  to count again all that the topics hold: engagement state reset --partition {offsets.partition}"
    )


def _problem_and_accepting(offsets: PartitionOffsets) -> tuple[str, str] | None:
    """Return the problem, and what accepting it would mean."""
    topic, position, committed = repr(offsets.topic), offsets.position or 0, offsets.committed or 0
    if offsets.id_in_state and offsets.id_now and offsets.id_in_state != offsets.id_now:
        problem = f"{topic} was deleted and created again since the state read it"
        return problem, "keep the numbers and read the new topic from its beginning"
    if position > offsets.end:
        problem = (
            f"the state has read {topic} up to offset {position}, but it ends at {offsets.end}: was it created again?"
        )
        return problem, "keep the numbers and read the topic from its beginning"
    if committed > position:
        problem = f"offset {committed} of {topic} was committed, but the state has only read up to {position}"
        return f"{problem}: it was lost or set back", f"read again from offset {max(position, offsets.first)}"
    if position and position < offsets.first:
        problem = f"the state has read {topic} up to offset {position}, but it begins at {offsets.first}"
        lost = offsets.first - position
        return f"{problem}: {lost} records were deleted before they were read", "go on without them"
    return None
