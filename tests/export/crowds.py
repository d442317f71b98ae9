"""A board with seven weeks of a simulated population, for the tests of what people see."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import TypeVar

import msgspec

from stream.core.partition.partition import Partition
from stream.core.snapshot import Sums
from stream.core.time import DAY_MS, HOUR_MS
from stream.export.board import Board
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.simulate.simulator import SimulatorSettings, simulate
from stream.simulate.subscriptions import STEPS
from stream.telemetry import Report, Timings
from tests.core.live import deliver
from tests.export.boards import NOW, Event, moment, settings
from tests.further_kinds import TOPICS as FURTHER_TOPICS
from tests.further_kinds import WEIGHTS, with_further_kinds
from tests.native import TOPICS

DAYS = 45

Key = TypeVar("Key")
Name = TypeVar("Name")


@lru_cache
def reports(scenario: str = "steady", users: int = 150) -> tuple[Report, ...]:
    """What the owners of two partitions report at noon of the last day."""
    now_ms = moment(NOW)
    world = SimulatorSettings(users=users, scenario=scenario, customers=True)
    partitions = [Partition(crowd_settings().rules) for _ in range(2)]
    events = simulate(world, start_ms=now_ms - DAYS * DAY_MS, end_ms=now_ms)
    told = enumerate(with_further_kinds(events))
    for hour_ms, of_the_hour in groupby(told, key=lambda one: one[1].arrives_at_ms // HOUR_MS * HOUR_MS):
        for offset, event in of_the_hour:
            key = event.key.encode()
            record = Event(event.value, offset, key)
            deliver(partitions[partition_of(key, 2)], event.topic, [record], not_after_ms=now_ms)
        for partition in partitions:
            partition.tick(min(now_ms, hour_ms + HOUR_MS), behind=())
    return tuple(_report(number, partition) for number, partition in enumerate(partitions))


def _report(number: int, partition: Partition) -> Report:
    return Report(
        partition=number,
        worker="worker-1",
        reported_ms=moment(NOW),
        snapshot=partition.snapshot(closed_days=35),
        lag=dict.fromkeys(TOPICS, 0),
        behind=(),
        event_latency=Timings(),
        checkpoints=Timings(),
        recovery_seconds=0.0,
        settings=crowd_settings().shared,
    )


def crowd_settings() -> Settings:
    """The settings under which that population is counted."""
    of_customers = {"topics.accounts": "accounts", "topics.orders": "orders", "gross_margin": "0.75"}
    of_customers["health.enabled"] = "true"
    return settings(**of_customers, **FURTHER_TOPICS, onboarding_steps=STEPS, features=WEIGHTS)


def crowd(*, now: Callable[[], str] = lambda: NOW, scenario: str = "steady", users: int = 150) -> Board:
    """The board of that population."""
    shown = Board(crowd_settings(), now_ms=lambda: moment(now()))
    for report in reports(scenario, users):
        shown.put(report)
    return shown


def of_millions(shown: Board, times: int = 5_000_000) -> Board:
    """The same board with all counts multiplied."""
    for report in shown.reports:
        told = report.snapshot
        grown = msgspec.structs.replace(
            told,
            families={name: _grown(sums, times) for name, sums in told.families.items()},
            outcomes=_times(told.outcomes, times),
        )
        shown.put(msgspec.structs.replace(report, snapshot=grown))
    return shown


def _times(counts: Mapping[Key, Mapping[Name, int]], times: int) -> dict[Key, dict[Name, int]]:
    return {key: {name: count * times for name, count in inner.items()} for key, inner in counts.items()}


def later(report: Report, milliseconds: int) -> Report:
    """The same report some time later, without any events in between."""
    snapshot = msgspec.structs.replace(report.snapshot, now_ms=report.snapshot.now_ms + milliseconds)
    return msgspec.structs.replace(report, reported_ms=report.reported_ms + milliseconds, snapshot=snapshot)


def _grown(sums: Sums, times: int) -> Sums:
    return Sums(
        live=_times(sums.live, times),
        ahead=sums.ahead,
        segments=_times(sums.segments, times),
        closed={day: _times(of_windows, times) for day, of_windows in sums.closed.items()},
    )
