"""Inspect the state of a partition, delete it, or accept that its topics have changed, while no worker runs.

Where a changelog is used, the state is read from it into a temporary store, because the changelog is the authority. The
disks of the workers follow it when they start. State in Redis is taken over and changed where it is.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.agents.task_state import ChangelogState, SharedState, State, in_thread
from stream.core.changelog import SEAL, Replay, Seal, decode_seal
from stream.core.partition.partition import SWEPT_PREFIXES
from stream.core.partition.progress import PROGRESS, FormatChanged, Progress, decode_progress
from stream.core.store import Store
from stream.kafka.consumer_group import ConsumerGroup
from stream.kafka.options import client_options
from stream.kafka.outbox import Outbox, PartitionChangelog
from stream.kafka.range_reader import OffsetRange
from stream.kafka.state_mismatch import PartitionOffsets, find_mismatch
from stream.kafka.topics import topic_ids
from stream.settings import Settings, Unavailable

# How many items are read from a store at a time.
_ITEMS_PER_READ = 5_000


class WorkersStillRunning(Unavailable):
    """Workers are running. State may be changed only while none is."""


class PartitionState(NamedTuple):
    """The state of one partition, as it was read."""

    partition: int
    store: Store
    progress: Progress
    seal: Seal | None  # of the newest run in its changelog
    changelog: OffsetRange | None  # the offsets of its changelog; None for state in Redis
    rows: dict[str, int]  # how many rows it has, by the prefix of their keys
    offsets: list[PartitionOffsets]

    @property
    def problems(self) -> list[str]:
        """What does not fit the topics, with the commands to decide it."""
        return [problem for problem in map(find_mismatch, self.offsets) if problem is not None]


class SharedRows(Protocol):
    """Reads the state of one partition where workers share it, while a worker holds it."""

    def read(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose keys begin with a prefix."""
        ...


class _StoredRows:
    """Reads the state of one partition that was read into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, key: bytes) -> bytes | None:
        (value,) = self._store.read([key])
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(prefix)


class StateMaintenance:
    """The state of a deployment."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_store: Callable[[int], Store],
        peek: Callable[[int], SharedRows] | None = None,
    ) -> None:
        """`open_store` opens a temporary store for a partition, or if workers share a store, takes over the real one.

        `peek` reads the store that they share, without taking it over; None if they share none.
        """
        shared = peek is not None
        self.settings = settings
        self._peek = peek
        self._open_store = open_store
        self._shared = shared
        self.options = client_options(settings)
        self._outbox, self._outbox_started = Outbox(settings), False
        self._inputs = [*settings.input_topics.values(), settings.rekey_topic]
        self.group = ConsumerGroup(settings.app_id, self.options)

    async def __aenter__(self) -> "StateMaintenance":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._outbox_started:
            await self._outbox.stop()

    async def require_no_workers(self) -> None:
        """Raise WorkersStillRunning if the consumer group has members."""
        members = await in_thread(self.group.members)
        if members:
            problem = f"{len(members)} workers of {self.settings.app_id!r} are running ({', '.join(sorted(members))})"
            raise WorkersStillRunning(
                f"{problem}: stop them first; one that was killed counts until its session times out"
            )

    # -- reading ---------------------------------------------------------------------------------------------------

    async def read_state(
        self,
        partition: int,
        on_progress: Callable[[int, int], None] = lambda rows, left: None,
        *,
        of_any_version: bool = False,
    ) -> PartitionState:
        """Read the state of a partition. `on_progress` is called with the changelog records read, and those left.

        Raises FormatChanged if another version has written the state in another format. With `of_any_version`, such a
        state counts as empty; that is for a state that is to be deleted.
        """
        store = await in_thread(lambda: self._open_store(partition))
        changelog = None if self._shared else await self._read_changelog(partition, store, on_progress)
        (progress, seal) = await in_thread(lambda: store.read([PROGRESS, SEAL]))
        decoded = Progress()
        if progress is not None:
            try:
                decoded = decode_progress(progress, {})
            except FormatChanged:
                if not of_any_version:
                    raise
        return PartitionState(
            partition,
            store,
            decoded,
            None if seal is None else decode_seal(seal),
            changelog,
            await in_thread(
                lambda: {prefix.decode().rstrip("/"): count_keys(store, prefix) for prefix in SWEPT_PREFIXES}
            ),
            await in_thread(lambda: self._topic_offsets(partition, decoded)),
        )

    async def rows(
        self, partition: int, prefix: bytes, on_progress: Callable[[int, int], None] = lambda rows, left: None
    ) -> tuple[Progress, Iterator[tuple[bytes, bytes]]]:
        """Read rows of a partition while workers run, as of about now, and how far it has come.

        Raises FormatChanged if another version has written the state in another format.
        """
        if self._peek is None:
            state = await self.read_state(partition, on_progress)
            return state.progress, state.store.scan(prefix)
        progress, shared = await self._shared_rows(self._peek, partition)
        return progress, await in_thread(lambda: shared.scan(prefix))

    async def row(self, partition: int, key: bytes) -> tuple[Progress, bytes | None]:
        """Read one row of a partition while workers run, as of about now, and how far the partition has come.

        Raises FormatChanged if another version has written the state in another format.
        """
        if self._peek is None:
            state = await self.read_state(partition)
            (value,) = await in_thread(lambda: state.store.read([key]))
            return state.progress, value
        progress, shared = await self._shared_rows(self._peek, partition)
        return progress, await in_thread(lambda: shared.read(key))

    async def rows_of(self, partition: int) -> tuple[Progress, SharedRows]:
        """What reads any row of a partition while workers run, as of about now, and how far the partition has come.

        Raises FormatChanged if another version has written the state in another format.
        """
        if self._peek is None:
            state = await self.read_state(partition)
            return state.progress, _StoredRows(state.store)
        return await self._shared_rows(self._peek, partition)

    async def _shared_rows(self, peek: Callable[[int], SharedRows], partition: int) -> tuple[Progress, SharedRows]:
        """What reads a partition in a store that workers share, and how far the partition has come."""
        shared = await in_thread(lambda: peek(partition))
        written = await in_thread(lambda: shared.read(PROGRESS))
        return Progress() if written is None else decode_progress(written, {}), shared

    async def _read_changelog(
        self, partition: int, store: Store, on_progress: Callable[[int, int], None]
    ) -> OffsetRange:
        topic = self.settings.changelog_topic
        whole = (await in_thread(lambda: self.group.ranges([(topic, partition)])))[topic, partition]
        if whole.first == whole.end:
            return whole
        place = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(**self.options, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, whole.first)
            replay = Replay()
            position = whole.first
            while position < whole.end:
                records = (await consumer.getmany(timeout_ms=1_000, max_records=10_000)).get(place, [])
                counted = replay.read(records)
                if counted is not None:
                    if counted.replaces_all:
                        store.clear()
                    store.write(counted.items, offset=counted.offset)
                position = await consumer.position(place)
                on_progress(position - whole.first, whole.end - position)
        finally:
            await consumer.stop()
        return whole

    def _topic_offsets(self, partition: int, progress: Progress) -> list[PartitionOffsets]:
        ranges = self.group.ranges([(topic, partition) for topic in self._inputs])
        committed = self.group.committed()
        ids = topic_ids(self._inputs, client_options=self.options)
        return [
            PartitionOffsets(
                topic,
                partition,
                progress.offsets.get(topic),
                ranges[topic, partition].first,
                ranges[topic, partition].end,
                committed.get((topic, partition)),
                progress.topic_ids.get(topic, ""),
                ids.get(topic, ""),
            )
            for topic in self._inputs
        ]

    # -- changing --------------------------------------------------------------------------------------------------

    async def take_over(self, read_state: PartitionState) -> State:
        """Take the state of a partition over, so that we may write it."""
        state: State = SharedState(read_state.store)
        if not self._shared:
            topic = self.settings.changelog_topic
            ids = await in_thread(lambda: topic_ids([topic], client_options=self.options))
            if not self._outbox_started:  # who only looks at states needs no right to write
                self._outbox_started = True
                await self._outbox.start()
            changelog = PartitionChangelog(self._outbox, read_state.partition)
            state = ChangelogState(read_state.store, changelog, topic_id=ids.get(topic, ""))
        await state.take_over()
        return state

    async def reset(self, partition: int, on_progress: Callable[[int, int], None]) -> None:
        """Delete the state of a partition. Workers then count again all that its topics hold."""
        await self.require_no_workers()
        read_state = await self.read_state(partition, on_progress, of_any_version=True)
        state = await self.take_over(read_state)
        await state.clear()
        await state.save([(PROGRESS, msgspec.msgpack.encode(Progress(counted_since_ms=time.time_ns() // 1_000_000)))])
        await in_thread(lambda: self.group.commit({(place.topic, partition): 0 for place in read_state.offsets}))

    async def accept(self, partition: int, on_progress: Callable[[int, int], None]) -> list[str]:
        """Keep the state of a partition, and let it go on with the topics as they are. Returns what was accepted."""
        await self.require_no_workers()
        read_state = await self.read_state(partition, on_progress)
        progress = read_state.progress
        for place in read_state.offsets:
            progress.offsets[place.topic] = _accepted_position(place)
            progress.topic_ids[place.topic] = place.id_now
        await (await self.take_over(read_state)).save([(PROGRESS, msgspec.msgpack.encode(progress))])
        positions = {(topic, partition): offset for topic, offset in progress.offsets.items()}
        await in_thread(lambda: self.group.commit(positions))
        return read_state.problems


def _accepted_position(place: PartitionOffsets) -> int:
    position = place.position or 0
    made_anew = place.id_in_state and place.id_now and place.id_in_state != place.id_now
    return place.first if made_anew or position > place.end else max(place.first, position)


def count_keys(store: Store, prefix: bytes) -> int:
    """Count the keys of a store that begin with a prefix."""
    return len({key for key, _ in iterate_items(store, prefix)})


def iterate_items(store: Store, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every item of a store whose key begins with a prefix. Some may come twice."""
    found, after = store.scan_some(prefix, after=b"", count=_ITEMS_PER_READ)
    yield from found
    while after:
        found, after = store.scan_some(prefix, after=after, count=_ITEMS_PER_READ)
        yield from found


def as_document(read_state: PartitionState) -> dict[str, Any]:
    """Return what is known of a partition's state, for JSON output."""
    progress, seal = read_state.progress, read_state.seal
    return {
        "partition": read_state.partition,
        "rows": read_state.rows,
        "clock_ms": progress.now_ms if progress.now_ms >= 0 else None,
        "watermark_ms": progress.watermark_ms if progress.watermark_ms >= 0 else None,
        "partitions": progress.partitions or None,
        "changelog": None if read_state.changelog is None else read_state.changelog._asdict(),
        "takeovers": None if seal is None else seal.epoch,
        "written_ms": None if seal is None else seal.written_ms,
        "topics": [place._asdict() for place in read_state.offsets],
        "problems": read_state.problems,
    }
