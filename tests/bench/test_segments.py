"""What counting by segment costs the core: CPU of reading, applying, settling and checkpoints, beside nothing by it.

Not the rate of a worker, which is in `test_throughput`: that depends on what else runs on the machine, and half of what
a worker does is the same for both. So this is the stricter figure.
"""

from __future__ import annotations

import time
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

import pytest

from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.time import HOUR_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.bench.figures import show
from tests.native import READERS, Message

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

ROUNDS: Final = 7
EVENTS: Final = 60_000
# As a worker that reads a backlog, half of whose users are new in these days.
USERS: Final = 12_000
_EVENTS_OF_A_BATCH, _BATCHES_OF_A_CHECKPOINT = 2_000, 10
_ROWS_KEPT = 5_000
_START_MS = 1_704_067_200_000

_topic = attrgetter("topic")


def events() -> list[list[tuple[str, list[Message], int]]]:
    """Checkpoint by checkpoint: the topic, the records and the time of each batch."""
    told = islice(simulate(SimulatorSettings(users=USERS), start_ms=_START_MS, end_ms=_START_MS + 96 * HOUR_MS), EVENTS)
    checkpoints = []
    while some := list(islice(told, _EVENTS_OF_A_BATCH * _BATCHES_OF_A_CHECKPOINT)):
        batches = []
        for start in range(0, len(some), _EVENTS_OF_A_BATCH):
            batch = some[start : start + _EVENTS_OF_A_BATCH]
            for topic, of_topic in groupby(sorted(batch, key=_topic), key=_topic):
                batches.append((topic, [_message(event) for event in of_topic], batch[-1].arrives_at_ms))
        checkpoints.append(batches)
    return checkpoints


def _message(event: SimulatedEvent) -> Message:
    return Message(event.value, key=event.key.encode())


def cpu_us_an_event(rules: Rules, checkpoints: list[list[tuple[str, list[Message], int]]]) -> float:
    """Apply the load to a partition with a store that is a dict."""
    partition, store = Partition(rules), dict[bytes, bytes | None]()
    count, started = 0, time.thread_time()
    for batches in checkpoints:
        for topic, records, clock_ms in batches:
            partition.tick(clock_ms, behind=())
            batch = partition.read(topic, records, READERS[topic], not_after_ms=clock_ms + HOUR_MS)
            rows: dict[bytes, bytes | None] = {}
            while wanted := partition.keys_to_fetch(batch, rows):
                rows.update((key, store.get(key)) for key in wanted)
            partition.apply(batch, rows)
            count += len(records)
        partition.live_snapshot()
        partition.close_days()
        store.update(partition.collect_delta())
        partition.forget_users(keep=_ROWS_KEPT)
    return (time.thread_time() - started) / count * 1e6


def test_all_numbers_by_all_segments_beside_none() -> None:
    load = events()
    cpu_us_an_event(Rules(), load)
    all_four, none = [], []
    for _ in range(ROUNDS):
        none.append(cpu_us_an_event(Rules(segments=()), load))
        all_four.append(cpu_us_an_event(Rules(), load))

    show("core, nothing by segment", "us/event", none, against="in turn with the next")
    show("core, all by all four segments", "us/event", all_four, against="their values are in the events of both")
    ratios = [without / with_all for without, with_all in zip(none, all_four, strict=True)]
    show("  rate of all to that of nothing", "times", ratios, against="target 0.8")
