"""How many events a second one worker takes. Other stream processors beside it: test_peers.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.conftest import SetUp
from tests.bench.figures import show
from tests.bench.load import Loaded
from tests.bench.worker import worker_round

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

ROUNDS = 3


def test_one_worker_on_a_mixed_load(mixed_load: Loaded, set_up: SetUp, tmp_path: Path) -> None:
    rounds = [worker_round(set_up("mixed"), mixed_load.events, tmp_path / "worker.log") for _ in range(ROUNDS)]

    load = f"{mixed_load.events:,} events of {len(mixed_load.users):,} users"
    rates, cpu, memory, checkpoints, _, _ = zip(*rounds, strict=True)
    show("worker, mixed load, RocksDB, checkpoints", "events/s", rates, against=f"target 50,000 events/s; {load}")
    show("  CPU of the worker", "us/event", cpu, against="target 20 us/event: 50,000 events/s on one core")
    show("  its peak memory", "MiB", memory, against="target 1,024 MiB")
    show("  its checkpoints, p99", "s", checkpoints, against="interval 1 s")
