"""Exactly once, whatever happens: after a storm of faults every gauge equals the recount, on each store."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.chaos.faults import kinds_for
from tests.chaos.report import Report
from tests.chaos.run import run_chaos
from tests.chaos.schedule import schedule, setup
from tests.chaos.world import ProxiedKafka, world_of
from tests.integration.conftest import Deploy
from tests.integration.deployment import simulated

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}

DAYS = 28
EVENTS_OF_A_USER = 140  # in so many days; a load of a few less than needed ends before the faults do


@pytest.mark.chaos
@pytest.mark.kafka
def test_every_gauge_equals_the_recount_after_a_storm_of_faults(
    store: str,
    seed: int,
    minutes: float,
    only: list[str],
    workers: int,
    rate: float,
    chaos_kafka: ProxiedKafka,
    deploy: Deploy,
    reports: list[Report],
    tmp_path: Path,
) -> None:
    seconds = 60 * minutes
    faults = schedule(seed, kinds_for(store, only), seconds=seconds, workers=workers)
    users = math.ceil(1.5 * rate * seconds / EVENTS_OF_A_USER)
    chosen = setup(seed, can_follow=store != "redis")
    options = f"--workers {workers} --rate {rate:g}" + (f" --only '{','.join(only)}'" if any(only) else "")
    report = Report(store=store, seed=seed, minutes=minutes, setup=str(chosen), options=options)
    tell(f"\n{report.command}\n{chosen}")

    deployment = deploy(chaos_kafka.kafka.address, **{"state.standbys": chosen.standbys})
    with world_of(chaos_kafka, deployment, tmp_path, store=store, workers=workers, named=chosen.named) as world:
        reports.append(report)
        run_chaos(world, faults, simulated(users=users, days=DAYS, **FAULTS), rate=rate, report=report, tell=tell)

    assert report.differences == []


def tell(line: str) -> None:
    """Show what happens: with -s at once, else when the test fails."""
    print(line, flush=True)  # noqa: T201
