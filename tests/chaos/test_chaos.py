"""Exactly once, whatever happens: after a storm of faults every gauge equals the recount, on each store."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.chaos.befall import kinds_for
from tests.chaos.report import Report
from tests.chaos.run import run_chaos
from tests.chaos.schedule import schedule
from tests.chaos.setups import Pins, setup
from tests.chaos.transactions import TransactionalLoad
from tests.chaos.world import ProxiedKafka, world_of
from tests.integration.deployment import Load, arriving
from tests.integration.fixtures import Deploy
from tests.integration.versions import other_version

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}

# A run covers about so many days of events, so that windows fill and days close; a slow one covers more.
DAYS = 20
MOST_DAYS = 10 * DAYS
EVENTS_OF_A_USER_AND_DAY = 5


@pytest.mark.chaos
@pytest.mark.kafka
def test_every_gauge_equals_the_recount_after_a_storm_of_faults(
    store: str,
    seed: int,
    minutes: float,
    only: list[str],
    pins: Pins,
    rate: float,
    well_within: float,
    commit: str,
    chaos_kafka: ProxiedKafka,
    deploy: Deploy,
    reports: list[Report],
    tmp_path: Path,
) -> None:
    seconds = 60 * minutes
    chosen = setup(seed, store, pins)
    storms = schedule(seed, kinds_for(store, only), seconds=seconds, setup=chosen)
    users = math.ceil(rate * seconds / (DAYS * EVENTS_OF_A_USER_AND_DAY))
    other = other_version(tmp_path / "other", commit=commit)
    options = f"{chosen.options} --rate {rate:g} --well-within {well_within:g}"
    options += f" --other-version {other.commit}" if other.commit else ""
    options += f" --only '{','.join(only)}'" if any(only) else ""
    report = Report(store=store, seed=seed, minutes=minutes, setup=str(chosen), options=options)
    tell(f"\n{report.command}\n{chosen}")

    parts = {"state.standbys": chosen.standbys, "topics.partitions": chosen.partitions}
    with world_of(
        chaos_kafka, deploy(chaos_kafka.kafka.address, **parts), tmp_path, store=store, setup=chosen
    ) as world:
        world.other = other
        reports.append(report)
        run_chaos(
            world,
            storms,
            arriving(users=users, days=MOST_DAYS, **FAULTS),
            rate=rate,
            kind=TransactionalLoad if chosen.transactional else Load,
            well_within_seconds=well_within,
            report=report,
            tell=tell,
        )

    for difference in report.differences:
        tell(f"DIFFERENT: {difference}")
    assert report.differences == []


def tell(line: str) -> None:
    """Show what happens: with -s at once, else when the test fails."""
    print(line, flush=True)  # noqa: T201
