"""`engagement dlq`: see the messages that could not be used, and send them back when the cause is mended."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Container
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.core.rejections import Reason
from stream.settings import Settings
from stream.terminal import load_settings, progress, settings_options, since_when, told

if TYPE_CHECKING:
    from stream.letters.dead_letters import Count, Letter, Wanted
    from stream.letters.redelivery import Run

# Kafka's clients take most of a second to import: commands import what needs them.

_PLAIN_WIDTH = 120


@click.group()
def dlq() -> None:
    """Dead letters: count them, look at them, replay them.

    A worker sends each message that it can't use to the topic <topic>.dlq, with the reason. A letter that a crash
    wrote twice counts once.

    \b
    Example: engagement dlq list --kafka localhost:9092 --since 7d
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which letters; the command gets them as settings and Wanted."""
    options = (
        click.option(
            "--topic",
            "topics",
            metavar="INPUT",
            multiple=True,
            help="Letters of this input; give it again for more.",
        ),
        click.option(
            "--reason",
            "reasons",
            type=click.Choice([reason.value for reason in Reason]),
            metavar="REASON",
            multiple=True,
            help=f"Letters with this reason: {', '.join(reason.value for reason in Reason)}. Give it again for more.",
        ),
        click.option(
            "--since",
            metavar="TIME",
            help="Letters written since then: 2h or 7d ago, or ISO 8601, or an epoch number. Saves reading the rest.",
        ),
    )

    @wraps(command)
    def filtered(
        file: Path | None,
        kafka: str | None,
        topics: tuple[str, ...],
        reasons: tuple[str, ...],
        since: str | None,
        **rest: Any,
    ) -> None:
        from stream.letters.dead_letters import Wanted
        from stream.telemetry import configure_logging

        settings = load_settings(file, kafka)
        configure_logging(settings.log)
        since_ms = since_when(since, "--since")
        inputs = tuple(settings.input_topics)
        unknown = [topic for topic in topics if topic not in inputs]
        if unknown:
            raise click.BadParameter(
                f"{unknown[0]!r} is not one of {', '.join(map(repr, inputs))}.", param_hint="--topic"
            )
        command(settings, Wanted(tuple(dict.fromkeys(topics)) or inputs, frozenset(reasons), since_ms), **rest)

    for option in reversed(options):
        filtered = option(filtered)
    return settings_options(filtered)


_format_option = click.option(
    "--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@dlq.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(1), help="Count only so many, the newest.")
@_format_option
def list_command(settings: Settings, wanted: "Wanted", limit: int | None, as_format: str) -> None:
    """Count the dead letters by topic and reason.

    Of them, `replayed` were sent back since, `refused again` are of records that had been replayed before, and
    `by reference` are kept without what was too large, which lies where it was produced to.

    \b
    Example: engagement dlq list --kafka localhost:9092 --topic logins --since 7d
    """
    from stream.commands.letter_pages import counts_document, counts_table

    with told():
        counts = asyncio.run(_counted(settings, wanted, limit))
    if as_format == "json":
        _print_json(counts_document(counts))
    elif counts:
        _print_table(counts_table(counts))
    else:
        click.echo("no dead letters")


async def _counted(settings: Settings, wanted: "Wanted", limit: int | None) -> "list[Count]":
    from stream.letters.dead_letters import counted, dead_letters, newest
    from stream.letters.replayed import read_notes

    replayed = await read_notes(settings)
    async with dead_letters(settings, wanted) as letters:
        with progress("reading dead letters", letters.records) as tell:
            found = letters.read(wanted, on_progress=tell)
            return await counted(found if limit is None else newest(found, limit), replayed)


@dlq.command()
@_filters
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Show so many, the newest.")
@_format_option
def show(settings: Settings, wanted: "Wanted", limit: int, as_format: str) -> None:
    """Show dead letters, the newest last: what was refused, why, and where it was produced to.

    Text is shown as far as it prints, the rest escaped; what is no UTF-8 as base64, and of long values the beginning.
    With --format json keys, values and headers are base64 and whole.

    \b
    Example: engagement dlq show --kafka localhost:9092 --reason bad_time --limit 3
    """
    from stream.commands.letter_pages import letter_document, letter_lines

    with told():
        letters, replayed = asyncio.run(_newest(settings, wanted, limit))
    if as_format == "json":
        documents = [letter_document(letter, was_replayed=letter.identity in replayed) for letter in letters]
        _print_json({"letters": documents})
        return
    for letter in letters:
        click.echo("\n".join((*letter_lines(letter, was_replayed=letter.identity in replayed), "")))
    if not letters:
        click.echo("no dead letters")


async def _newest(settings: Settings, wanted: "Wanted", limit: int) -> "tuple[list[Letter], Container[str | None]]":
    from stream.letters.dead_letters import dead_letters, newest
    from stream.letters.replayed import read_notes

    replayed = await read_notes(settings)
    async with dead_letters(settings, wanted) as letters:
        with progress("reading dead letters", letters.records) as tell:
            return [letter async for letter in newest(letters.read(wanted, on_progress=tell), limit)], replayed.keys()


@dlq.command()
@_filters
@click.option("--limit", type=click.IntRange(1), help="Send at most so many records. [default: all]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="RECORDS", help="A second, at most.")
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Leave alone what has been replayed so often and was refused each time.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be sent, and send nothing.")
def replay(
    settings: Settings,
    wanted: "Wanted",
    limit: int | None,
    rate: float | None,
    max_attempts: int,
    dry_run: bool,
) -> None:
    """Send dead letters back to their topics, when what was wrong is mended.

    Keys, values and headers go back byte for byte. What a letter holds by reference is fetched from where it was
    produced to, if it is still there and fits into max_message_bytes now.

    A letter is replayed once, whatever runs, filters and machines: what was replayed is noted in the topic
    <app_id>-replayed. A run that is killed may leave its last second without a note, which the next run sends again;
    numbers count each event once anyway. A run that begins while another is at work takes over from it.

    What is refused again becomes a new letter, with one attempt more and the first origin. Letters that were late
    will be late again unless allowed_lateness has grown.

    \b
    Example: engagement dlq replay --kafka localhost:9092 --reason too_large --dry-run
    """
    from stream.commands.letter_pages import outcome_table, summary
    from stream.letters.redelivery import Run

    run = Run(
        settings=settings,
        wanted=wanted,
        attempts=max_attempts,
        records=limit,
        rate=rate,
        sends=not dry_run,
        progress=progress,
        on_late=lambda: _warn_of_late_letters(settings),
    )
    stopped_by: list[int] = []
    started = time.monotonic()
    try:
        with told():
            asyncio.run(_until_stopped(run, stopped_by))
    finally:
        if run.outcome.fates or sys.exc_info()[0] is None:
            if dry_run:
                _print_table(outcome_table(run.outcome))
            click.echo(summary(run, time.monotonic() - started), err=True)
    if stopped_by:
        raise SystemExit(128 + stopped_by[0])  # as shells tell a signal


async def _until_stopped(run: "Run", stopped_by: list[int]) -> None:
    """Replay; Ctrl-C ends it when all that was sent has arrived, a second one at once."""
    from stream.letters.redelivery import replay as send_back

    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        stopped_by.append(number)
        run.stopping.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await send_back(run)


def _warn_of_late_letters(settings: Settings) -> None:
    limit = settings.allowed_lateness
    told = f"some letters were late: they are late again unless allowed_lateness ({limit} here) has grown since\n"
    sys.stderr.write(told)  # click.echo would write past the progress bar, into its line


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")


def _print_table(table: Table) -> None:
    console = Console()
    # Wide enough for all columns where nothing says how wide it may be.
    (console if console.is_terminal else Console(width=_PLAIN_WIDTH)).print(table)
