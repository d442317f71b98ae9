"""A million users: how much memory and disk they take, and how long a worker takes to find them again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka import KafkaConsumer, TopicPartition

from stream.kafka.options import client_options
from stream.settings import Settings
from tests.bench.conftest import SetUp, Setup
from tests.bench.figures import show, steady_rate
from tests.bench.load import MANY_USERS, many_users, now_ms, preload
from tests.bench.processes import ENGAGEMENT, Samples, directory_mib, memory_mib, running
from tests.bench.progress import Watcher

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_200)]

_TIMEOUT_SECONDS = 400.0
_ROUNDS = 3
_WORKER = (*ENGAGEMENT, "worker")


def test_a_million_users_and_their_recovery(set_up: SetUp, tmp_path: Path) -> None:
    state, log = tmp_path / "state", tmp_path / "worker.log"
    setup = set_up("many", app_id="bench-many", state=state)
    loaded = preload(setup.settings, many_users(end_ms=now_ms()))
    with (
        running(_WORKER, log, environment=setup.environment) as worker,
        Watcher(setup.settings, worker) as watcher,
        Samples(worker.pid) as samples,
    ):
        watcher.wait_for(loaded.events, timeout_seconds=_TIMEOUT_SECONDS)
        time.sleep(5.0)  # the last checkpoint
        peak, final = memory_mib(worker.pid)
    disk = directory_mib(state)  # a worker that stops writes what it held in memtables

    assert watcher.outcomes() == {"applied": loaded.events}
    assert watcher.rows()["user"] == MANY_USERS
    rate, cpu_us = steady_rate(watcher.applied, loaded.events, samples.cpu)
    show(
        "a million users, a login or two events each",
        "events/s",
        [rate],
        against=f"{loaded.events:,} events; mixed load",
    )
    show("  CPU of the worker", "us/event", [cpu_us], against="mixed load")
    show("  its peak memory", "MiB", [peak], against="target 1,024 MiB")
    show("  its memory at the end", "MiB", [final], against="target 1,024 MiB")
    show("  its state on disk", "MiB", [disk], against=f"{disk * 1024**2 / MANY_USERS:,.0f} bytes a user")

    again = set_up("many", app_id="bench-many", state=state)
    restarts = [_ready(again, log, loaded.events) for _ in range(_ROUNDS)]
    show("restart on the same disk, start to ready", "s", [one.seconds for one in restarts], against="target < 15 s")

    rows = _length_of(setup.settings, setup.settings.changelog_topic)
    rebuilt = []
    for _ in range(_ROUNDS):
        shutil.rmtree(state)
        rebuilt.append(_ready(again, log, loaded.events))
    told = f"{rows:,} rows in the changelog"
    show("restart on an empty disk, start to ready", "s", [one.seconds for one in rebuilt], against=told)
    show(
        "  recovery from the changelog",
        "rows/s",
        [rows / one.recovery_seconds for one in rebuilt],
        against="target 150,000 rows/s",
    )
    show("  peak memory", "MiB", [one.peak_mib for one in rebuilt], against="target 1,024 MiB")


class _Restart(NamedTuple):
    """A worker that found all events counted."""

    seconds: float  # start to ready
    recovery_seconds: float  # of them
    peak_mib: float


def _ready(setup: Setup, log: Path, events: int) -> _Restart:
    started = time.monotonic()
    with (
        running(_WORKER, log, environment=setup.environment) as worker,
        Watcher(setup.settings, worker) as watcher,
    ):
        watcher.wait_until_ready(timeout_seconds=_TIMEOUT_SECONDS)
        seconds = time.monotonic() - started
        peak, _ = memory_mib(worker.pid)

    assert watcher.outcomes() == {"applied": events}
    assert watcher.rows()["user"] == MANY_USERS
    return _Restart(seconds, watcher.recovery_seconds(), peak)


def _length_of(settings: Settings, topic: str) -> int:
    """How many records lie in a topic, as far as offsets tell."""
    partitions = [TopicPartition(topic, number) for number in range(settings.topics.partitions)]
    consumer = KafkaConsumer(**client_options(settings))
    first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    consumer.close()
    return sum(end[place] - first[place] for place in partitions)
