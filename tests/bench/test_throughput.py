"""How many events a second one worker takes, and how many the same job in plain Faust does.

Both read the same million events, which lie in Kafka before they start, from four partitions; both tell once a second
how far they have got. They take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stream.telemetry import CHECKPOINT_BOUNDS
from tests.bench.conftest import SetUp
from tests.bench.figures import percentile_of_histogram, show, steady_rate
from tests.bench.load import Loaded
from tests.bench.processes import ENGAGEMENT, CpuClock, memory_mib, running
from tests.bench.progress import Watcher
from tests.integration.kafka_server import RunningKafka

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

ROUNDS = 3
# The peer takes a thousand events a second or so: this part of the load is enough for a steady rate.
PEER_EVENTS = 15_000
_TIMEOUT_SECONDS = 300.0


def test_one_worker_and_its_peer_on_a_mixed_load(
    mixed_load: Loaded, set_up: SetUp, kafka: RunningKafka, tmp_path: Path
) -> None:
    ours, ours_cpu, peers, peers_cpu, memory, checkpoints = [], [], [], [], [], []
    for number in range(ROUNDS):
        rate, cpu, peak, slow = _worker(set_up, mixed_load.events, tmp_path / "worker.log")
        ours.append(rate)
        ours_cpu.append(cpu)
        memory.append(peak)
        checkpoints.append(slow)
        rate, cpu = _peer(kafka.address, f"peer-{number}", tmp_path / "peer.log")
        peers.append(rate)
        peers_cpu.append(cpu)

    load = f"{mixed_load.events:,} events of {len(mixed_load.users):,} users"
    show("worker, mixed load, RocksDB, checkpoints", "events/s", ours, against=f"target 50,000 events/s; {load}")
    show("  CPU of the worker", "us/event", ours_cpu, against="target 20 us/event: 50,000 events/s on one core")
    show("  its peak memory", "MiB", memory, against="target 1,024 MiB")
    show("  its checkpoints, p99", "s", checkpoints, against="interval 1 s")
    show("peer: plain Faust, fewer metrics, in memory", "events/s", peers, against=f"the first {PEER_EVENTS:,} events")
    show("  CPU of the peer", "us/event", peers_cpu, against="the line above")
    ratios = [one / other for one, other in zip(ours, peers, strict=True)]
    show("worker / peer, events a second", "times", ratios, against="the peer of the same round")
    ratios = [other / one for one, other in zip(ours_cpu, peers_cpu, strict=True)]
    show("peer / worker, CPU an event", "times", ratios, against="the peer of the same round")


def _worker(set_up: SetUp, events: int, log: Path) -> tuple[float, float, float, float]:
    """Of a worker on an empty state: events a second, CPU microseconds an event, peak MiB, p99 of its checkpoints."""
    setup = set_up("mixed")
    command = [*ENGAGEMENT, "worker"]
    with (
        running(command, log, environment=setup.environment) as worker,
        Watcher(setup.settings, worker) as watcher,
        CpuClock(worker.pid) as cpu,
    ):
        watcher.wait_for(events, timeout_seconds=_TIMEOUT_SECONDS)
        peak, _ = memory_mib(worker.pid)

    assert watcher.outcomes() == {"applied": events}
    slow = percentile_of_histogram(watcher.checkpoints().counts, CHECKPOINT_BOUNDS, 0.99)
    return *steady_rate(watcher.applied, events, cpu.samples), peak, slow


def _peer(address: str, app_id: str, log: Path) -> tuple[float, float]:
    """Events a second and CPU microseconds an event of the peer, in the first part of the load."""
    command = [sys.executable, "-m", "tests.bench.plain_faust", address, app_id, "mixed-", str(log.with_name(app_id))]
    course: list[tuple[float, float]] = []
    with running(command, log, stdout=subprocess.PIPE) as peer, CpuClock(peer.pid) as cpu:
        assert peer.stdout is not None
        too_long = threading.Timer(_TIMEOUT_SECONDS, peer.kill)
        too_long.start()
        for text in peer.stdout:
            if text.startswith(b"counted "):
                _, moment, counted = text.split()
                course.append((float(moment), int(counted)))
                if course[-1][1] >= PEER_EVENTS:
                    break
        too_long.cancel()
        time.sleep(0.1)  # a sample of its CPU after the last line

    assert course[-1][1] >= PEER_EVENTS
    return steady_rate(course, PEER_EVENTS, cpu.samples)
