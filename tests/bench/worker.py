"""A round of our worker on a load that lies in Kafka: how fast it is, and what it says the events come to."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from stream.core.report import live_samples
from stream.telemetry import CHECKPOINT_BOUNDS
from tests.bench.conftest import Setup
from tests.bench.figures import percentile_of_histogram, steady_rate
from tests.bench.processes import ENGAGEMENT, Samples, running
from tests.bench.progress import Watcher

# So long a worker may deal with nothing, while it starts too. Where others use the machine, it is slow but goes on.
_STILL_SECONDS = 300.0


class Round(NamedTuple):
    """What was measured of a worker that began with an empty state."""

    events_a_second: float
    cpu_us_an_event: float
    peak_mib: float
    slow_checkpoint_seconds: float  # p99; not a number where a short load was gone before the first
    applied: dict[str, int]  # events by topic
    active_users: int  # of the longest window


def worker_round(setup: Setup, events: int, log: Path, *options: str, misplaced: int = 0) -> Round:
    """Run `engagement worker` until it has dealt with so many events, of which so many lie in a wrong partition.

    CPU and memory are those of all its processes.
    """
    with (
        running([*ENGAGEMENT, "worker", *options], log, environment=setup.environment) as worker,
        Watcher(setup.settings, worker) as watcher,
        Samples(worker.pid) as samples,
    ):
        watcher.wait_as_long_as_it_goes_on(events, misplaced=misplaced, still_seconds=_STILL_SECONDS)

    outcomes = watcher.outcomes()
    assert outcomes == {"applied": events} | ({"rekeyed": misplaced} if misplaced else {}), outcomes
    snapshot = watcher.snapshot()
    (active_users,) = [
        round(sample.value)
        for sample in live_samples(snapshot, setup.settings.rules)
        if sample.name == "engagement_active_users" and sample.labels["window"] == "30d"
    ]
    applied = Counter({topic: outcomes["applied"] for topic, outcomes in snapshot.outcomes.items()})
    counts = watcher.checkpoints().counts
    slow = percentile_of_histogram(counts, CHECKPOINT_BOUNDS, 0.99) if any(counts) else math.nan
    rate, cpu_us = steady_rate(watcher.applied, events, samples.cpu)
    peak = max(peak for _, _, peak in samples.taken)
    return Round(rate, cpu_us, peak, slow, dict(applied), active_users)
