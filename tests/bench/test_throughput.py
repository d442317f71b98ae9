"""How many events a second a worker takes: alone, with its state in Redis, and two of one command.

Other stream processors beside it: test_peers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.bench.conftest import SetUp
from tests.bench.figures import show
from tests.bench.load import Loaded, misplaced, mixed, preload
from tests.bench.worker import Round, worker_round
from tests.state.redis_server import RedisServer, RedisUnavailable, skip_without_redis

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

ROUNDS = 3
MISPLACED_ROUNDS = 5


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis as it should be: with an append-only file."""
    try:
        server = RedisServer(options={"appendonly": "yes"})
    except RedisUnavailable as error:
        skip_without_redis(error)
        raise
    server.start()
    yield server
    server.discard()


def test_one_worker_on_a_mixed_load(mixed_load: Loaded, set_up: SetUp, tmp_path: Path) -> None:
    rounds = [worker_round(set_up("mixed"), mixed_load.events, tmp_path / "worker.log") for _ in range(ROUNDS)]

    load = f"{mixed_load.events:,} events of {len(mixed_load.users):,} users"
    show_rounds("worker, mixed load, RocksDB, checkpoints", rounds, against=f"target 50,000 events/s; {load}")
    show("  its checkpoints, p99", "s", [one.slow_checkpoint_seconds for one in rounds], against="interval 1 s")


def test_one_worker_with_its_state_in_redis(
    mixed_load: Loaded, set_up: SetUp, tmp_path: Path, redis_server: RedisServer
) -> None:
    local, remote = [], []
    for _ in range(ROUNDS):
        local.append(worker_round(set_up("mixed"), mixed_load.events, tmp_path / "local.log"))
        remote.append(worker_round(set_up("mixed", url=redis_server.url), mixed_load.events, tmp_path / "remote.log"))

    show_rounds("worker, mixed load, RocksDB", local, against="in turn with the next")
    show_rounds("worker, mixed load, Redis", remote, against="Redis, Kafka and the worker share the machine")
    show("  Redis to RocksDB", "times", ratios(remote, local), against="target 0.6")


def test_two_workers_of_one_command(mixed_load: Loaded, set_up: SetUp, tmp_path: Path) -> None:
    one, two = [], []
    for _ in range(ROUNDS):
        one.append(worker_round(set_up("mixed"), mixed_load.events, tmp_path / "one.log"))
        two.append(worker_round(set_up("mixed"), mixed_load.events, tmp_path / "two.log", "--workers", "2"))

    show_rounds("one worker", one, against="in turn with the next")
    show_rounds("--workers 2", two, against="Kafka and the workers share the machine")
    show("  two workers to one", "times", ratios(two, one), against="2 where the broker has a core of its own")


def test_all_numbers_by_all_segments_beside_none(mixed_load: Loaded, set_up: SetUp, tmp_path: Path) -> None:
    all_four, none = [], []
    for _ in range(ROUNDS):
        without = set_up("mixed", more={"ENGAGEMENT_SEGMENTS_BY": ""})
        none.append(worker_round(without, mixed_load.events, tmp_path / "none.log"))
        all_four.append(worker_round(set_up("mixed"), mixed_load.events, tmp_path / "all.log"))

    show_rounds("worker, nothing by segment", none, against="in turn with the next")
    show_rounds("worker, all by all four segments", all_four, against="their values are in the events of both")
    show("  all to nothing", "times", ratios(all_four, none), against="target 0.8")
    cpu = [without.cpu_us_an_event / with_all.cpu_us_an_event for with_all, without in zip(all_four, none, strict=True)]
    show("  the same of the CPU", "times", cpu, against="target 0.8")


@pytest.mark.timeout(7_200)  # ten rounds, which take a minute each on a machine that does nothing else
def test_all_events_in_a_wrong_partition_beside_none(mixed_load: Loaded, set_up: SetUp, tmp_path: Path) -> None:
    setup = set_up("misplaced")
    users_events = mixed(end_ms=mixed_load.end_ms)
    preload(setup.settings, misplaced(users_events, partitions=setup.settings.topics.partitions))
    events = mixed_load.events
    by_user, otherwise = [], []
    for _ in range(MISPLACED_ROUNDS):
        by_user.append(worker_round(set_up("mixed"), events, tmp_path / "by-user.log"))
        otherwise.append(worker_round(set_up("misplaced"), events, tmp_path / "otherwise.log", misplaced=events))

    show_rounds("worker, keyed by the user", by_user, against="in turn with the next")
    show_rounds("worker, every event in a wrong partition", otherwise, against="the same events, each forwarded")
    show("  all misplaced to none", "times", ratios(otherwise, by_user), against="target 0.6")
    cpu = [mine.cpu_us_an_event / other.cpu_us_an_event for mine, other in zip(by_user, otherwise, strict=True)]
    show("  the same of the CPU", "times", cpu, against="without the broker's")
    # The detour costs at most 40 %. Rates on a machine that others use too say less of it than the CPU.
    assert median(cpu) >= 0.6


def show_rounds(name: str, rounds: list[Round], *, against: str) -> None:
    """Show the rate, CPU and memory of some rounds."""
    show(name, "events/s", [one.events_a_second for one in rounds], against=against)
    show("  its CPU", "us/event", [one.cpu_us_an_event for one in rounds], against="target 20 us/event")
    show("  its peak memory", "MiB", [one.peak_mib for one in rounds], against="target 1,024 MiB a worker")


def ratios(these: list[Round], those: list[Round]) -> list[float]:
    """By round, how many times as fast these were."""
    return [one.events_a_second / other.events_a_second for one, other in zip(these, those, strict=True)]
