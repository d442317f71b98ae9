"""Add partitions to a deployment: the topics get more of them, and each user's state moves to the user's new partition.

The partition of a user follows from the number of partitions, so when that changes, rows must move. Totals stay: what a
row has contributed stays booked in the old partition, and later changes are booked in the new one, so the sums over all
partitions are the same. Events that still lie in the old partition, or that producers send there until they notice, are
forwarded like any event in the wrong partition.

Each step can be repeated, so an interrupted run is simply started again. Until it is complete, workers refuse the
state.
"""

from collections import defaultdict
from collections.abc import Callable

import msgspec

from stream.agents.task_state import State, in_thread
from stream.core.partition.progress import PROGRESS, Progress
from stream.core.partition.rows import USER_PREFIX, Delta
from stream.core.partition.user_index import INDEX_PREFIX
from stream.core.privacy import RECORDS_PREFIX, encode_record, time_of_record
from stream.core.users import partition_key
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import grow_topics, partition_counts
from stream.maintenance.partition_state import PartitionState, StateMaintenance, count_keys, iterate_items
from stream.partitioning import partition_of
from stream.settings import Unavailable

# How many rows are moved in one record batch, which then has a few megabytes.
_ROWS_PER_BATCH = 2_000

OnStep = Callable[[str], None]


class CannotAddPartitions(Unavailable):
    """Partitions can't be added now. The text has the reason, and what to do."""


async def add_partitions(maintenance: StateMaintenance, partitions: int, on_step: OnStep = lambda step: None) -> int:
    """Give the topics this many partitions; returns how many users were moved. Raises CannotAddPartitions."""
    await maintenance.require_no_workers()
    counts = await in_thread(lambda: _partition_counts(maintenance))
    if partitions < max(counts.values()):
        raise CannotAddPartitions(
            f"the topics have {max(counts.values())} partitions: they can become more, not {partitions}"
        )
    on_step(f"reading the state of {min(counts.values())} partitions")
    partition_states = [await maintenance.read_state(number) for number in range(min(counts.values()))]
    _require_all_forwarded_read(maintenance, partition_states)
    on_step(f"giving each topic {partitions} partitions")
    await in_thread(lambda: grow_topics(list(counts), partitions, client_options=maintenance.options))
    partition_states += [await maintenance.read_state(number) for number in range(len(partition_states), partitions)]
    sources = [
        partition_state
        for partition_state in partition_states
        if partition_state.progress.partitions not in (0, partitions)
    ]
    return await _move_users(maintenance, partition_states, sources, partitions, on_step) if sources else 0


async def _move_users(
    maintenance: StateMaintenance,
    partition_states: list[PartitionState],
    sources: list[PartitionState],
    partitions: int,
    on_step: OnStep,
) -> int:
    states = [await maintenance.take_over(partition_state) for partition_state in partition_states]
    for partition_state, state in zip(partition_states, states, strict=True):
        if not partition_state.progress.partitions:  # a new partition, which workers refuse until all is done
            _copy_progress(partition_state.progress, sources[partition_state.partition % len(sources)].progress)
            await _save_progress(state, partition_state.progress)
    moved = 0
    await _tell_all_who_was_erased(partition_states, states)
    for source in sources:
        on_step(f"moving users of partition {source.partition}")
        moved += await _copy_moved_rows(source, states, partitions)
    for source in sources:
        await _remove_moved_rows(source, states[source.partition], partitions)
    for partition_state, state in zip(partition_states, states, strict=True):
        users = await in_thread(lambda store=partition_state.store: count_keys(store, USER_PREFIX.encode()))  # type: ignore[misc]
        partition_state.progress.users = users
        partition_state.progress.partitions = partitions
        await _save_progress(state, partition_state.progress)
    return moved


def _partition_counts(maintenance: StateMaintenance) -> dict[str, int]:
    partitions = maintenance.settings.topics.partitions
    names = [spec.name for spec in topic_specs(maintenance.settings) if spec.partitions == partitions]
    counts = partition_counts(names, client_options=maintenance.options)
    missing = [name for name in names if name not in counts]
    if missing:
        raise CannotAddPartitions(f"topic {missing[0]!r} does not exist: there is nothing to grow")
    return counts


def _require_all_forwarded_read(maintenance: StateMaintenance, partition_states: list[PartitionState]) -> None:
    """Raise CannotAddPartitions if forwarded events are unread: they would not be forwarded a second time."""
    rekey = maintenance.settings.rekey_topic
    for partition_state in partition_states:
        for place in partition_state.offsets:
            unread = place.end - max(place.position or 0, place.first)
            if place.topic == rekey and unread > 0:
                problem = (
                    f"partition {partition_state.partition} of {rekey!r} has {unread} records that were not read yet"
                )
                raise CannotAddPartitions(
                    f"{problem}: run the workers until they have caught up, stop them, and try again"
                )


def _copy_progress(progress: Progress, source: Progress) -> None:
    """Let a new partition begin with the times and rules of the partition that its users come from."""
    progress.now_ms, progress.watermark_ms = source.now_ms, source.watermark_ms
    progress.first_ms = source.first_ms
    progress.rules, progress.days_since = source.rules, source.days_since
    if source.closed_through is not None:  # days that closed before have the moved users in the old partition
        progress.closed_through, progress.closed_since = source.closed_through, source.closed_through + 1
    progress.partitions, progress.format = source.partitions, source.format


def _partition_of_row(key: bytes, partitions: int) -> int:
    """Return the partition that a row belongs to."""
    name = key.decode()
    if name.startswith(USER_PREFIX):
        return partition_of(partition_key(name.removeprefix(USER_PREFIX)), partitions)
    return partition_of(name.removeprefix(INDEX_PREFIX).encode(), partitions)


async def _copy_moved_rows(source: PartitionState, states: list[State], partitions: int) -> int:
    """Write the rows that belong elsewhere to their new partitions. Returns how many users moved."""
    moved = 0
    waiting: dict[int, Delta] = defaultdict(list)
    for prefix in (USER_PREFIX.encode(), INDEX_PREFIX.encode()):
        for key, value in iterate_items(source.store, prefix):
            place = _partition_of_row(key, partitions)
            if place == source.partition:
                continue
            moved += prefix == USER_PREFIX.encode()
            waiting[place].append((key, value))
            if len(waiting[place]) >= _ROWS_PER_BATCH:
                await states[place].save(waiting.pop(place))
    for place, delta in waiting.items():
        await states[place].save(delta)
    return moved


async def _tell_all_who_was_erased(partition_states: list[PartitionState], states: list[State]) -> None:
    """Let each partition know all who were erased, because hashes don't tell to which of them a person belongs.

    Of somebody who asked more than once the partitions may know different times. The latest holds.
    """
    known = [
        {key: time_of_record(value) for key, value in iterate_items(partition_state.store, RECORDS_PREFIX.encode())}
        for partition_state in partition_states
    ]
    latest: dict[bytes, int] = {}
    for of_partition in known:
        for key, at_ms in of_partition.items():
            latest[key] = max(at_ms, latest.get(key, -1))
    for of_partition, state in zip(known, states, strict=True):
        missing: Delta = [
            (key, encode_record(at_ms)) for key, at_ms in latest.items() if of_partition.get(key) != at_ms
        ]
        for first in range(0, len(missing), _ROWS_PER_BATCH):
            await state.save(missing[first : first + _ROWS_PER_BATCH])


async def _remove_moved_rows(source: PartitionState, state: State, partitions: int) -> None:
    moved_keys = [
        key
        for prefix in (USER_PREFIX.encode(), INDEX_PREFIX.encode())
        for key, _ in iterate_items(source.store, prefix)
        if _partition_of_row(key, partitions) != source.partition
    ]
    for first in range(0, len(moved_keys), _ROWS_PER_BATCH):
        await state.save([(key, None) for key in moved_keys[first : first + _ROWS_PER_BATCH]])


async def _save_progress(state: State, progress: Progress) -> None:
    await state.save([(PROGRESS, msgspec.msgpack.encode(progress))])
