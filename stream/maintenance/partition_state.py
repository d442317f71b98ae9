"""What an operator does to state while no worker runs: look at it, give it up, or accept that topics have changed.

State with a changelog is read from there into a scratch store, since the changelog is the truth; workers' own disks
follow it when they start. State in a shared store is taken over where it is.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.agents.state import LoggedState, State, StoredState, in_thread
from stream.core.changelog import SEAL, Replay, Seal, decode_seal
from stream.core.partition.partition import SWEPT
from stream.core.partition.progress import PROGRESS, FormatChanged, Progress, decode_progress
from stream.core.store import Store
from stream.kafka.consumer_group import ConsumerGroup
from stream.kafka.options import client_options
from stream.kafka.outbox import Outbox, PartitionChangelog
from stream.kafka.range_reader import OffsetRange
from stream.kafka.state_mismatch import PartitionOffsets, find_mismatch
from stream.kafka.topics import topic_ids
from stream.settings import Settings, Unavailable

# Items read from a store at a time.
_AT_ONCE = 5_000


class WorkersRunning(Unavailable):
    """State is changed only while no worker is at it."""


class Held(NamedTuple):
    """The state of one partition, as it was found."""

    partition: int
    store: Store
    progress: Progress
    seal: Seal | None  # of the last run in its changelog
    changelog: OffsetRange | None
    rows: dict[str, int]  # by family
    places: list[PartitionOffsets]

    @property
    def problems(self) -> list[str]:
        """What does not fit, with the commands that decide it."""
        return [problem for problem in map(find_mismatch, self.places) if problem is not None]


class Upkeep:
    """The state of a deployment. `open_store` opens a scratch store for a partition, or the `shared` one itself."""

    def __init__(self, settings: Settings, *, open_store: Callable[[int], Store], shared: bool) -> None:
        self.settings = settings
        self._open_store = open_store
        self._shared = shared
        self.options = client_options(settings)
        self._outbox = Outbox(settings)
        self._inputs = [*settings.input_topics.values(), settings.rekey_topic]
        self.group = ConsumerGroup(settings.app_id, self.options)

    async def __aenter__(self) -> "Upkeep":
        await self._outbox.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._outbox.stop()

    async def refuse_workers(self) -> None:
        """Raises WorkersRunning while the group has members."""
        members = await in_thread(self.group.members)
        if members:
            told = f"{len(members)} workers of {self.settings.app_id!r} are running ({', '.join(sorted(members))})"
            raise WorkersRunning(f"{told}: stop them first; one that was killed counts until its session times out")

    # -- looking ---------------------------------------------------------------------------------------------------

    async def held(
        self,
        partition: int,
        tell: Callable[[int, int], None] = lambda rows, left: None,
        *,
        of_any_version: bool = False,
    ) -> Held:
        """Read the state of a partition; `tell` is told records read and left of its changelog.

        Raises FormatChanged for state of another version, unless it is to be given up: `of_any_version`.
        """
        store = await in_thread(lambda: self._open_store(partition))
        changelog = None if self._shared else await self._read_changelog(partition, store, tell)
        (progress, seal) = await in_thread(lambda: store.read([PROGRESS, SEAL]))
        decoded = Progress()
        if progress is not None:
            try:
                decoded = decode_progress(progress, {})
            except FormatChanged:
                if not of_any_version:
                    raise
        return Held(
            partition,
            store,
            decoded,
            None if seal is None else decode_seal(seal),
            changelog,
            await in_thread(lambda: {prefix.decode().rstrip("/"): count(store, prefix) for prefix in SWEPT}),
            await in_thread(lambda: self._places(partition, decoded)),
        )

    async def _read_changelog(self, partition: int, store: Store, tell: Callable[[int, int], None]) -> OffsetRange:
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
                    if counted.begins_anew:
                        store.clear()
                    store.write(counted.items, offset=counted.offset)
                position = await consumer.position(place)
                tell(position - whole.first, whole.end - position)
        finally:
            await consumer.stop()
        return whole

    def _places(self, partition: int, progress: Progress) -> list[PartitionOffsets]:
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

    # -- deciding --------------------------------------------------------------------------------------------------

    async def taken_over(self, held: Held) -> State:
        """The state, to be written by us."""
        state: State = StoredState(held.store)
        if not self._shared:
            topic = self.settings.changelog_topic
            ids = await in_thread(lambda: topic_ids([topic], client_options=self.options))
            changelog = PartitionChangelog(self._outbox, held.partition)
            state = LoggedState(held.store, changelog, topic_id=ids.get(topic, ""))
        await state.take_over()
        return state

    async def reset(self, partition: int, tell: Callable[[int, int], None]) -> None:
        """Give the state of a partition up: workers count again all that the topics hold."""
        await self.refuse_workers()
        held = await self.held(partition, tell, of_any_version=True)
        state = await self.taken_over(held)
        await state.begin_anew()
        await state.save([(PROGRESS, msgspec.msgpack.encode(Progress(counted_since_ms=time.time_ns() // 1_000_000)))])
        await in_thread(lambda: self.group.commit({(place.topic, partition): 0 for place in held.places}))

    async def accept(self, partition: int, tell: Callable[[int, int], None]) -> list[str]:
        """Keep the state of a partition and go on with the topics as they are; returns what was accepted."""
        await self.refuse_workers()
        held = await self.held(partition, tell)
        progress = held.progress
        for place in held.places:
            progress.offsets[place.topic] = _accepted_position(place)
            progress.topic_ids[place.topic] = place.topic_id_now
        await (await self.taken_over(held)).save([(PROGRESS, msgspec.msgpack.encode(progress))])
        positions = {(topic, partition): offset for topic, offset in progress.offsets.items()}
        await in_thread(lambda: self.group.commit(positions))
        return held.problems


def _accepted_position(place: PartitionOffsets) -> int:
    position = place.position or 0
    made_anew = place.topic_id_in_state and place.topic_id_now and place.topic_id_in_state != place.topic_id_now
    return place.first if made_anew or position > place.end else max(place.first, position)


def count(store: Store, prefix: bytes) -> int:
    """How many keys begin with a prefix."""
    return len({key for key, _ in items(store, prefix)})


def items(store: Store, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every item whose key begins with a prefix, some perhaps twice."""
    found, after = store.part(prefix, after=b"", count=_AT_ONCE)
    yield from found
    while after:
        found, after = store.part(prefix, after=after, count=_AT_ONCE)
        yield from found


def as_document(held: Held) -> dict[str, Any]:
    """What is known of a partition's state, for programs."""
    progress, seal = held.progress, held.seal
    return {
        "partition": held.partition,
        "rows": held.rows,
        "clock_ms": progress.now_ms if progress.now_ms >= 0 else None,
        "watermark_ms": progress.watermark_ms if progress.watermark_ms >= 0 else None,
        "partitions": progress.partitions or None,
        "changelog": None if held.changelog is None else held.changelog._asdict(),
        "takeovers": None if seal is None else seal.epoch,
        "written_ms": None if seal is None else seal.written_ms,
        "topics": [place._asdict() for place in held.places],
        "problems": held.problems,
    }
