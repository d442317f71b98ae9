"""A live stream in memory: partitions that read, tick, write checkpoints, forget and are restored, as in a worker."""

from collections.abc import Callable, Iterable, Mapping
from math import isclose
from typing import Any
from zlib import crc32

import msgspec

from stream.core.events import Event
from stream.core.families.registry import events, families
from stream.core.messages import Reader
from stream.core.partition.batch_reader import Misplaced, Refused
from stream.core.partition.partition import Partition
from stream.core.report import closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot
from stream.kafka.forwarded_batches import ForwardedRecord, batches, encode_misplaced, forwarded_batch_reader
from tests.core import oracle, oracle_days
from tests.core.oracle_events import EventFields, who
from tests.core.oracle_numbers import Samples
from tests.native import READERS, Message


def with_sums(snapshot: Snapshot, family: str, **changed: Any) -> Snapshot:
    """The same snapshot with other sums of a family."""
    sums = msgspec.structs.replace(snapshot.family(family), **changed)
    return msgspec.structs.replace(snapshot, families={**snapshot.families, family: sums})


def message(event: Mapping[str, Any], **record: Any) -> Message:
    """The event as a message of its topic."""
    return Message(msgspec.json.encode({name: value for name, value in event.items() if name != "topic"}), **record)


def line(event: Mapping[str, Any]) -> bytes:
    """The event as a line of a file."""
    return msgspec.json.encode(event)


class Store(dict[bytes, bytes]):
    """A store that is a dict, and remembers which keys were read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[bytes] = []

    def read(self, names: list[bytes]) -> list[bytes | None]:
        self.reads += names
        return [self.get(name) for name in names]

    def write(self, delta: Iterable[tuple[bytes, bytes | None]]) -> None:
        for name, value in delta:
            if value is None:
                self.pop(name, None)
            else:
                self[name] = value

    def pages(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.items() if key.startswith(prefix))


def forwarded(event: Event) -> ForwardedRecord[Any]:
    """An event as it arrives in the partition of its user, when it was read in another one."""
    item = encode_misplaced(Misplaced(Message(b"{}"), event.user, event, None), "logins", 0, max_bytes=1_000_000)
    ((value, headers),) = batches([item], "logins", 0, checkpointed_offset=0)
    its_headers: Any = headers
    batch = forwarded_batch_reader(events(families(Rules())))(Message(value, headers=its_headers))
    assert batch is not None
    return batch.records[0]


def event_of(record: Any) -> Event:
    """The event of a record that was forwarded."""
    event: Event = record.event
    return event


def deliver(
    partition: Partition,
    topic: str,
    messages: Iterable[Any],
    store: Store | None = None,
    *,
    not_after_ms: int,
    belongs: Callable[[str], bool] | None = None,
    reader: Reader | None = None,
    **options: Any,
) -> tuple[list[Refused], list[Misplaced]]:
    """Read records, fetch the rows that they need, and apply them, as a worker does."""
    held = Store() if store is None else store
    batch = partition.read(topic, messages, reader or READERS[topic], not_after_ms=not_after_ms, belongs=belongs)
    rows: dict[bytes, bytes | None] = {}
    while wanted := partition.keys_to_fetch(batch, rows):
        rows.update(zip(wanted, held.read(wanted), strict=True))
    return partition.apply(batch, rows, belongs=belongs, **options)


class Worker:
    """One partition and its store."""

    def __init__(self, rules: Rules, **limits: Any) -> None:
        self.store = Store()
        self.rules = rules
        self._limits = limits
        self.partition = Partition(rules, **limits)

    def apply(
        self, topic: str, messages: Iterable[Message], *, not_after_ms: int, **options: Any
    ) -> tuple[list[Refused], list[Misplaced]]:
        return deliver(self.partition, topic, messages, self.store, not_after_ms=not_after_ms, **options)

    def checkpoint(self) -> None:
        self.store.write(self.partition.collect_delta())

    def forget(self) -> None:
        self.checkpoint()
        self.partition.forget_users(keep=0)

    def restart(self) -> None:
        self.checkpoint()
        self.partition = Partition(self.rules, **self._limits)
        self.partition.restore(self.store.pages)


class Stream:
    """Several partitions that share a clock; a user's events go to one of them."""

    def __init__(self, rules: Rules, *, partitions: int = 1) -> None:
        self.rules = rules
        self.workers = [Worker(rules) for _ in range(partitions)]

    def apply(
        self, topic: str, events: list[EventFields], *, not_after_ms: int, moves_clock: bool = False
    ) -> tuple[list[Refused], list[Misplaced]]:
        refused: list[Refused] = []
        misplaced: list[Misplaced] = []
        for number, worker in enumerate(self.workers):
            messages = [message(event) for event in events if self.place_of(event) == number]
            if messages:
                not_used = worker.apply(topic, messages, not_after_ms=not_after_ms, moves_clock=moves_clock)
                refused += not_used[0]
                misplaced += not_used[1]
        return refused, misplaced

    def place_of(self, event: EventFields) -> int:
        return crc32(repr(who(event)).encode()) % len(self.workers)

    def tick(self, clock_ms: int, *, behind: Iterable[str] = ()) -> None:
        for worker in self.workers:
            worker.partition.tick(clock_ms, behind=tuple(behind))

    def snapshot(self, *, closed_days: int = 3) -> Snapshot:
        first, *others = (worker.partition.snapshot(closed_days=closed_days) for worker in self.workers)
        for other in others:
            first = first + other
        return first

    def agrees_with_recount(self, events: list[EventFields], at_ms: int, *, days_back: int = 2) -> None:
        """Assert that the live numbers and those of the last closed days are those of a recount."""
        snapshot = self.snapshot(closed_days=days_back + 1)
        assert_same(live_samples(snapshot, self.rules), oracle.live(events, at_ms, self.rules))
        last = oracle_days.last_closed(at_ms, self.rules)
        assert snapshot.last_closed_day == last
        for day in range(last - days_back, last + 2):
            expected = oracle_days.closed(events, day, self.rules) if day <= last else {}
            assert_same(closed_samples(snapshot, self.rules, day), expected)


def assert_same(samples: Iterable[Sample], expected: Samples) -> None:
    """Assert that the samples are the expected ones. Quantiles may differ by 1 %, the rest by rounding errors."""
    found: Samples = {}
    for sample in samples:
        event = sample.name, frozenset(sample.labels.items())
        assert event not in found, f"{event} is told twice"
        found[event] = sample.value
    assert not expected.keys() - found.keys(), expected.keys() - found.keys()
    assert not found.keys() - expected.keys(), found.keys() - expected.keys()
    wrong = {
        event: (found[event], value)
        for event, value in expected.items()
        if found[event] != value and not _close(event[0], found[event], value)
    }
    assert not wrong, "found, expected: " + str(wrong)


_QUANTILES = (
    "engagement_session_duration_seconds",
    "engagement_session_duration_closed_seconds",
    "engagement_time_to_onboard_seconds",
    "engagement_time_to_onboard_closed_seconds",
    "engagement_user_tenure_closed_seconds",
    *(
        f"engagement_{what}{closed}_seconds"
        for what in ("first_reply", "reply", "resolution")
        for closed in ("", "_closed")
    ),
)


def _close(name: str, one: float, other: float) -> bool:
    within = 0.01 if name in _QUANTILES else 1e-9
    # Scores of users are summed in millionths.
    return isclose(one, other, rel_tol=within, abs_tol=1e-6 if name.startswith("engagement_health_") else 1e-9)
