"""The cost of an event in each stage: calls of our functions, calls of built-in functions, and memory that stays used.

Calls are counted instead of times measured, because the counts are the same on every machine, however busy it is.
`python -m tests.core.costs` prints them with the functions that are called most.

`sys.setprofile` counts the calls of functions of `stream`, and the calls of built-in functions from there. The counts
are the same in each version of Python that we support, except for comprehensions: since Python 3.12 they are no calls,
so they are left out. Calls inside of libraries are not counted.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import stream
from stream.core.offline import Offline
from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.time import HOUR_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.native import READERS, Message

# How many events there are for each snapshot and checkpoint. With so few, both are visible in the cost of an event.
_EVENTS_OF_A_CHECKPOINT: Final = 500
_ROWS_KEPT: Final = 500  # in memory, so that some are read again
_START_MS: Final = 1_704_067_200_000  # 2024-01-01, a Monday

READ, APPLY, SNAPSHOT, DELTA, OFFLINE = "read", "fetch and apply", "snapshot", "collect_delta", "offline"

_topic: Final = attrgetter("topic")

_OURS: Final = str(Path(stream.__file__).parent)
_INLINED_SINCE_3_12: Final = frozenset(("<listcomp>", "<dictcomp>", "<setcomp>"))

Stage = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Cost:
    """The mean cost of an event in one stage."""

    ours: float  # calls of functions of ours
    builtin: float  # calls of built-in functions by ours
    left: float = 0.0  # blocks of memory that are not free again after the stage


@dataclass(slots=True)
class Calls:
    """How often each function was called in one stage."""

    ours: Counter[CodeType] = field(default_factory=Counter)
    builtin: Counter[str] = field(default_factory=Counter)


@cache
def events() -> list[SimulatedEvent]:
    """4,236 events of 2,000 users in nine hours: steps above all, logins and survey answers, as in `make bench`."""
    return list(simulate(SimulatorSettings(), start_ms=_START_MS + 8 * HOUR_MS, end_ms=_START_MS + 17 * HOUR_MS))


def _as_a_worker_does(stage: Stage) -> None:
    """Apply the load to a partition with a store that is a dict."""
    partition, store, rest = Partition(Rules()), dict[bytes, bytes | None](), iter(events())
    while some := list(islice(rest, _EVENTS_OF_A_CHECKPOINT)):
        partition.tick(some[-1].arrives_at_ms, behind=())
        for topic, of_topic in groupby(sorted(some, key=_topic), key=_topic):
            _apply(stage, partition, store, topic, list(of_topic))
        with stage(SNAPSHOT):
            snapshot = partition.snapshot()
        with stage(DELTA):
            delta = partition.collect_delta()
        store.update(delta)
        assert snapshot.rows["user"] == partition.progress.users
        partition.forget_users(keep=_ROWS_KEPT)


def _apply(
    stage: Stage, partition: Partition, store: dict[bytes, bytes | None], topic: str, some: list[SimulatedEvent]
) -> None:
    records = [Message(event.value, key=event.key.encode()) for event in some]
    with stage(READ):
        batch = partition.read(topic, records, READERS[topic], not_after_ms=some[-1].arrives_at_ms + HOUR_MS)
    with stage(APPLY):
        rows: dict[bytes, bytes | None] = {}
        while wanted := partition.keys_to_fetch(batch, rows):
            rows.update((key, store.get(key)) for key in wanted)
        partition.apply(batch, rows)


def _as_compute_does(stage: Stage) -> None:
    """Compute the same events as lines of a file."""
    lines = [b'{"topic":"%s",%s' % (event.topic.encode(), event.value[1:]) for event in events()]
    offline = Offline(Rules(), READERS)
    with stage(OFFLINE):
        unusable = list(offline.apply(lines))
        computed = offline.computed()
    assert not unusable
    assert computed.events["applied"] > 0


def costs() -> tuple[dict[str, Cost], dict[str, Calls]]:
    """The cost of an event by stage, and the calls of each stage."""
    _run(_unmeasured)  # fills caches that other tests may have filled too
    calls, left = dict[str, Calls](), Counter[str]()
    _run(lambda name: _counting_calls(calls.setdefault(name, Calls())))
    gc.freeze()  # so that collections do not look at the objects of other tests
    _run(lambda name: _counting_blocks(left, name))
    gc.unfreeze()
    count = len(events())
    of_stage = {
        name: Cost(of.ours.total() / count, of.builtin.total() / count, left[name] / count)
        for name, of in calls.items()
    }
    return of_stage, calls


def _run(stage: Stage) -> None:
    _as_a_worker_does(stage)
    _as_compute_does(stage)


@contextmanager
def _unmeasured(name: str) -> Iterator[None]:
    yield


@contextmanager
def _counting_calls(calls: Calls) -> Iterator[None]:
    ours, builtin = calls.ours, calls.builtin

    def count(frame: FrameType, what: str, which: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(_OURS):
            if what == "call" and code.co_name not in _INLINED_SINCE_3_12:
                ours[code] += 1
            elif what == "c_call":
                builtin[which.__qualname__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def _counting_blocks(left: Counter[str], name: str) -> Iterator[None]:
    gc.collect()  # also empties the lists of free tuples and dicts, which are allocated but not in use
    before = sys.getallocatedblocks()
    yield
    gc.collect()
    left[name] += sys.getallocatedblocks() - before


def _print(most: int = 12) -> None:
    of_stage, calls = costs()
    count = len(events())
    for name, cost in of_stage.items():
        _say(f"{name}: {cost.ours:.2f} calls of ours, {cost.builtin:.2f} of built-in functions, {cost.left:.2f} blocks")
        for code, times in calls[name].ours.most_common(most):
            _say(f"  {times / count:8.2f}  {code.co_filename}:{code.co_firstlineno} {code.co_name}")
        for function, times in calls[name].builtin.most_common(most):
            _say(f"  {times / count:8.2f}  {function}")
    _say(f"each for one of {count} events")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    _print()
