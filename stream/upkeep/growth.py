"""More partitions for a deployment: topics grow, and users move to the partition that is theirs now.

A user's partition follows from the number of partitions, so rows must move when it changes. Totals stay where they
are: what a row contributed was booked in its old partition, and what changes later is booked in the new one; sums over
partitions are the same. Events that still lie in the old partition, or that producers send there until they notice,
are forwarded as any misplaced record is.

Each step can be done again, so a run that was interrupted is simply started anew; workers refuse the state until it is
through.
"""

from collections import defaultdict
from collections.abc import Callable

import msgspec

from stream.agents.state import State, in_thread
from stream.core.partition.names import NAMED
from stream.core.partition.progress import PROGRESS, Progress
from stream.core.partition.rows import USER, Delta
from stream.core.users import partition_key
from stream.kafka.inventory import topic_specs
from stream.kafka.topics import grow_topics, partition_counts
from stream.partitioning import partition_of
from stream.settings import Unavailable
from stream.upkeep.state import Held, Upkeep, count, items

# Rows moved with one record batch: a few megabytes.
_AT_ONCE = 2_000

Tell = Callable[[str], None]


class CantGrow(Unavailable):
    """The partitions can't be made more now. The text tells why, and what to do."""


async def grow(upkeep: Upkeep, partitions: int, tell: Tell = lambda step: None) -> int:
    """Make the topics have so many partitions and move users there; returns how many moved. Raises CantGrow."""
    await upkeep.refuse_workers()
    counts = await in_thread(lambda: _counts(upkeep))
    if partitions < max(counts.values()):
        raise CantGrow(f"the topics have {max(counts.values())} partitions: they can become more, not {partitions}")
    tell(f"reading the state of {min(counts.values())} partitions")
    held = [await upkeep.held(number) for number in range(min(counts.values()))]
    _refuse_unread(upkeep, held)
    tell(f"giving each topic {partitions} partitions")
    await in_thread(lambda: grow_topics(list(counts), partitions, client_options=upkeep.options))
    held += [await upkeep.held(number) for number in range(len(held), partitions)]
    sources = [one for one in held if one.progress.partitions not in (0, partitions)]
    return await _move(upkeep, held, sources, partitions, tell) if sources else 0


async def _move(upkeep: Upkeep, held: list[Held], sources: list[Held], partitions: int, tell: Tell) -> int:
    states = [await upkeep.taken_over(one) for one in held]
    for one, state in zip(held, states, strict=True):
        if not one.progress.partitions:  # a new one: until all is done, workers refuse it as they do the others
            _begin_as(one.progress, sources[one.partition % len(sources)].progress)
            await _save_progress(state, one.progress)
    moved = 0
    for source in sources:
        tell(f"moving users of partition {source.partition}")
        moved += await _copy(source, states, partitions)
    for source in sources:
        await _remove_moved(source, states[source.partition], partitions)
    for one, state in zip(held, states, strict=True):
        one.progress.users = await in_thread(lambda store=one.store: count(store, USER.encode()))  # type: ignore[misc]
        one.progress.partitions = partitions
        await _save_progress(state, one.progress)
    return moved


def _counts(upkeep: Upkeep) -> dict[str, int]:
    partitions = upkeep.settings.topics.partitions
    names = [spec.name for spec in topic_specs(upkeep.settings) if spec.partitions == partitions]
    counts = partition_counts(names, client_options=upkeep.options)
    missing = [name for name in names if name not in counts]
    if missing:
        raise CantGrow(f"topic {missing[0]!r} does not exist: there is nothing to grow")
    return counts


def _refuse_unread(upkeep: Upkeep, held: list[Held]) -> None:
    """Forwarded records are forwarded no second time: they must have been read where they lie."""
    rekey = upkeep.settings.rekey_topic
    for one in held:
        for place in one.places:
            unread = place.end - max(place.position or 0, place.first)
            if place.topic == rekey and unread > 0:
                told = f"partition {one.partition} of {rekey!r} has {unread} records that were not read yet"
                raise CantGrow(f"{told}: run the workers until they have caught up, stop them, and try again")


def _begin_as(progress: Progress, source: Progress) -> None:
    """A new partition is as far as the one that its users come from."""
    progress.now_ms, progress.watermark_ms = source.now_ms, source.watermark_ms
    progress.first_ms = source.first_ms
    progress.rules, progress.days_since = source.rules, source.days_since
    if source.closed_through is not None:  # what those days say of its users stays where they were
        progress.closed_through, progress.closed_since = source.closed_through, source.closed_through + 1
    progress.partitions, progress.format = source.partitions, source.format


def _place_of(key: bytes, partitions: int) -> int:
    """The partition that a row belongs to."""
    name = key.decode()
    if name.startswith(USER):
        return partition_of(partition_key(name.removeprefix(USER)), partitions)
    return partition_of(name.removeprefix(NAMED).encode(), partitions)


async def _copy(source: Held, states: list[State], partitions: int) -> int:
    """Write the rows that belong elsewhere to their new partitions; returns how many users these are."""
    moved = 0
    waiting: dict[int, Delta] = defaultdict(list)
    for prefix in (USER.encode(), NAMED.encode()):
        for key, value in items(source.store, prefix):
            place = _place_of(key, partitions)
            if place == source.partition:
                continue
            moved += prefix == USER.encode()
            waiting[place].append((key, value))
            if len(waiting[place]) >= _AT_ONCE:
                await states[place].save(waiting.pop(place))
    for place, delta in waiting.items():
        await states[place].save(delta)
    return moved


async def _remove_moved(source: Held, state: State, partitions: int) -> None:
    gone = [
        key
        for prefix in (USER.encode(), NAMED.encode())
        for key, _ in items(source.store, prefix)
        if _place_of(key, partitions) != source.partition
    ]
    for first in range(0, len(gone), _AT_ONCE):
        await state.save([(key, None) for key in gone[first : first + _AT_ONCE]])


async def _save_progress(state: State, progress: Progress) -> None:
    await state.save([(PROGRESS, msgspec.msgpack.encode(progress))])
