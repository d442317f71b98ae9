"""`engagement health USER`: what the health score of a user is made of."""

import asyncio
from typing import TYPE_CHECKING

import click
import msgspec

from stream.core.families.registry import families
from stream.core.partition.rows import USER_PREFIX, Rows
from stream.core.time import date_of
from stream.core.user_scores import ScoreMessage, message_of
from stream.core.users import partition_key, user_of_public_id
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.terminal import Failure, OperatorMistake, failures_in_one_line

if TYPE_CHECKING:
    from stream.maintenance.partition_state import StateMaintenance

# Why a part may be unknown.
_UNKNOWN = {
    "adoption": "the table [features] of the settings names no vital feature",
    "satisfaction": "no answer within 90 days",
    "support": "no conversation begun within 90 days",
    "subscription": "nothing is known of a subscription",
}


def explain_score(settings: Settings, user: str, *, as_json: bool) -> None:
    """Print the score of a user at the end of the last closed day, or why there is none."""
    if not settings.health.enabled:
        raise OperatorMistake("nobody is scored: the setting health.enabled is false")
    found, day = _read(settings, user)
    if found is None:
        raise Failure(
            f"{user!r} has no score at the end of {day}: not active in the 90 days before, and no customer then"
        )
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    band = found.band.replace("_", " ")
    click.echo(f"{user}: {found.score:.1f} of 100 at the end of {day}, {band}; coverage {found.coverage:.0%}\n")
    click.echo(f"{'part':<12}  {'points':>7}  {'weight':>6}")
    for name, part in found.parts.items():
        points, why = ("unknown", _UNKNOWN.get(name, "")) if part.points is None else (f"{part.points:.1f}", "")
        click.echo(f"{name:<12}  {points:>7}  {part.weight:>6g}  {why}".rstrip())
    if found.coverage < 1:
        click.echo("\nWhat is unknown is left out; the other weights are what they are to one another.")


def _read(settings: Settings, name: str) -> tuple[ScoreMessage | None, str]:
    """The score of a user, and the day at whose end it holds."""
    from stream.kafka.access import required_rights
    from stream.telemetry import configure_logging
    from stream.wiring import open_maintenance

    configure_logging(settings.log, secrets=settings.secrets())
    user = user_of_public_id(name)
    partition = partition_of(partition_key(user), settings.topics.partitions)
    key = f"{USER_PREFIX}{user}".encode()

    async def read(maintenance: "StateMaintenance") -> tuple[ScoreMessage | None, str]:
        progress, row = await maintenance.row(partition, key)
        if progress.closed_through is None:
            raise Failure(f"no day has closed yet in partition {partition}, in which {name!r} would be")
        if row is None:
            raise Failure(f"nothing is known of a user {name!r}")
        stored = Rows(families(settings.rules), max_bytes=0)
        day = str(date_of(progress.closed_through))
        score = dict(stored.scores([(key, row)], progress.closed_through)).get(user)
        return None if score is None else message_of(user, day, score), day

    async def run() -> tuple[ScoreMessage | None, str]:
        with open_maintenance(settings) as opened:
            async with opened:
                return await read(opened)

    with failures_in_one_line(), required_rights(settings, "health USER"):
        return asyncio.run(run())
