"""`make soak`: fill a deployment, let its population move on, and see whether anything grows or is wrong.

make soak                                             20 minutes on RocksDB
make soak ARGS="--store redis --minutes 5 --seed 7"

Prints how it goes, then a table of slopes, and each number that differs from a recount. Ends with 1 when something grew
or was wrong, with 2 where Kafka or Redis can't be had.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.integration.kafka_server import KafkaUnavailable
from tests.soak.growth import table
from tests.soak.run import Outcome, Soak, soak
from tests.state.redis_server import RedisUnavailable

_SHOWN = 30


@click.command(context_settings={"show_default": True})
@click.option("--store", type=click.Choice(["rocksdb", "redis"]), default="rocksdb", help="where the state lies")
@click.option("--minutes", type=click.FloatRange(1), default=20.0, help="how long; a sixth of it fills the state")
@click.option("--users", type=click.IntRange(1_000), default=20_000, help="known to the state once it is full")
@click.option("--seed", type=int, default=1, help="the same seed, the same messages")
def main(store: str, minutes: float, users: int, seed: int) -> None:
    """Does everything that a worker keeps stay as large as the population that its windows know?"""
    sampled_every = min(2.0, minutes)  # a short one needs enough samples too
    wanted = Soak(seconds=60 * minutes, users=users, store=store, seed=seed, sampled_every=sampled_every)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            outcome = soak(wanted, Path(folder), click.echo)
    except (KafkaUnavailable, RedisUnavailable) as missing:
        click.echo(missing, err=True)
        sys.exit(2)
    tell(outcome)
    click.echo(f'again: make soak ARGS="--store {store} --minutes {minutes:g} --users {users} --seed {seed}"')
    sys.exit(1 if outcome.problems else 0)


def tell(outcome: Outcome) -> None:
    """The table, and what is wrong."""
    click.echo()
    click.echo(table(outcome.trends))
    click.echo()
    for line in outcome.told:
        click.echo(line)
    problems = outcome.problems
    for line in problems[:_SHOWN]:
        click.echo(line)
    if len(problems) > _SHOWN:
        click.echo(f"and {len(problems) - _SHOWN:,} more")
    click.echo("something grew or is wrong" if problems else "nothing grew, and every number is right")


if __name__ == "__main__":
    main()
