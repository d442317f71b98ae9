"""`engagement dlq`: show the messages that could not be used, and send them back when the cause is mended."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.core.rejections import Reason
from stream.settings import Settings
from stream.terminal import failures_in_one_line, load_settings, progress, settings_options, since_option

if TYPE_CHECKING:
    from stream.dead_letters.reader import Count, DeadLetter, LetterFilter
    from stream.dead_letters.redelivery import Run

# Kafka's clients take most of a second to import, so each command imports what it needs.

_PLAIN_WIDTH = 120


@click.group()
def dlq() -> None:
    """Count, show and replay dead letters.

    A worker sends each message that it can't use to the topic <topic>.dlq, with the reason. If a crash made a worker
    write the same letter twice, it counts once.

    \b
    Example: engagement dlq list --kafka localhost:9092 --since 7d
    """


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select dead letters. The command gets them as settings and LetterFilter."""
    options = (
        click.option(
            "--topic",
            "topics",
            metavar="INPUT",
            multiple=True,
            help="Letters of this input. Repeat the option for more inputs.",
        ),
        click.option(
            "--reason",
            "reasons",
            type=click.Choice([reason.value for reason in Reason]),
            metavar="REASON",
            multiple=True,
            help=f"Letters with this reason: {', '.join(reason.value for reason in Reason)}. Repeat it for more.",
        ),
        click.option(
            "--since",
            metavar="TIME",
            help="Letters written since then: 2h or 7d ago, ISO 8601, or an epoch number. Older ones are not read.",
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
        from stream.dead_letters.reader import LetterFilter
        from stream.telemetry import configure_logging

        settings = load_settings(file, kafka)
        configure_logging(settings.log)
        since_ms = since_option(since, "--since")
        inputs = tuple(settings.input_topics)
        unknown = [topic for topic in topics if topic not in inputs]
        if unknown:
            raise click.BadParameter(
                f"{unknown[0]!r} is not one of {', '.join(map(repr, inputs))}.", param_hint="--topic"
            )
        command(settings, LetterFilter(tuple(dict.fromkeys(topics)) or inputs, frozenset(reasons), since_ms), **rest)

    for option in reversed(options):
        filtered = option(filtered)
    return settings_options(filtered)


_format_option = click.option(
    "--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@dlq.command(name="list")
@_filter_options
@click.option("--limit", type=click.IntRange(1), help="Count only the newest letters, this many.")
@_format_option
def list_command(settings: Settings, selection: "LetterFilter", limit: int | None, as_format: str) -> None:
    """Count the dead letters by topic and reason.

    The column `replayed` counts the letters that were sent back since, `refused again` those whose record had been
    replayed before, and `by reference` those that lack a part that was too large and stays in the original record.

    \b
    Example: engagement dlq list --kafka localhost:9092 --topic logins --since 7d
    """
    from stream.commands.dead_letter_pages import counts_document, counts_table

    with failures_in_one_line(), _rights(settings, selection, "dlq list"):
        counts = asyncio.run(_count(settings, selection, limit))
    if as_format == "json":
        _print_json(counts_document(counts))
    elif counts:
        _print_table(counts_table(counts))
    else:
        click.echo("no dead letters")


def _rights(settings: Settings, selection: "LetterFilter", command: str) -> AbstractContextManager[None]:
    from stream.kafka.access import required_rights

    return required_rights(settings, command, inputs=[settings.input_topics[name] for name in selection.topics])


async def _count(settings: Settings, selection: "LetterFilter", limit: int | None) -> "list[Count]":
    from stream.dead_letters.reader import count_letters, newest_letters, open_dead_letters
    from stream.dead_letters.replay_log import read_replay_log

    replayed = await read_replay_log(settings)
    async with open_dead_letters(settings, selection) as letters:
        with progress("reading dead letters", letters.records) as on_progress:
            found = letters.read(selection, on_progress=on_progress)
            return await count_letters(found if limit is None else newest_letters(found, limit), replayed)


@dlq.command()
@_filter_options
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Show only the newest letters, this many."
)
@_format_option
def show(settings: Settings, selection: "LetterFilter", limit: int, as_format: str) -> None:
    """Show dead letters, the newest last: what was refused, why, and where it was produced to.

    Characters that cannot be printed are escaped, bytes that are not UTF-8 are shown as base64, and long values are
    shortened. With --format json, keys, values and headers are complete and in base64.

    \b
    Example: engagement dlq show --kafka localhost:9092 --reason bad_time --limit 3
    """
    from stream.commands.dead_letter_pages import letter_document, letter_lines

    with failures_in_one_line():
        letters, replayed = asyncio.run(_newest(settings, selection, limit))
    if as_format == "json":
        documents = [letter_document(letter, was_replayed=letter.identity in replayed) for letter in letters]
        _print_json({"letters": documents})
        return
    for letter in letters:
        click.echo("\n".join((*letter_lines(letter, was_replayed=letter.identity in replayed), "")))
    if not letters:
        click.echo("no dead letters")


async def _newest(
    settings: Settings, selection: "LetterFilter", limit: int
) -> "tuple[list[DeadLetter], Container[str | None]]":
    from stream.dead_letters.reader import newest_letters, open_dead_letters
    from stream.dead_letters.replay_log import read_replay_log

    replayed = await read_replay_log(settings)
    async with open_dead_letters(settings, selection) as letters:
        with progress("reading dead letters", letters.records) as on_progress:
            return [
                letter async for letter in newest_letters(letters.read(selection, on_progress=on_progress), limit)
            ], replayed.keys()


@dlq.command()
@_filter_options
@click.option("--limit", type=click.IntRange(1), help="Send at most this many records. [default: all]")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), metavar="RECORDS", help="Send at most this many a second."
)
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Leave a record alone that has been replayed this often.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
def replay(
    settings: Settings,
    selection: "LetterFilter",
    limit: int | None,
    rate: float | None,
    max_attempts: int,
    dry_run: bool,
) -> None:
    """Send dead letters back to their topics, after the cause was mended.

    Keys, values and headers are sent byte for byte. A letter that lacks a part because it was too large is sent with
    the original record, if that still exists and fits into max_message_bytes now.

    Each letter is replayed once, even by several runs on several machines: the topic <app_id>-replayed records which
    were replayed. A run that is killed may leave up to its last second unrecorded, and the next run sends those
    letters again; the numbers count each event once anyway. A run that begins while another is at work takes over.

    A record that is refused again becomes a new letter, with one attempt more and the first origin. Letters that were
    late will be late again unless allowed_lateness has grown.

    \b
    Example: engagement dlq replay --kafka localhost:9092 --reason too_large --dry-run
    """
    from stream.commands.dead_letter_pages import outcomes_table, summary
    from stream.dead_letters.redelivery import Run

    run = Run(
        settings=settings,
        selection=selection,
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
        with failures_in_one_line(), _rights(settings, selection, "dlq replay --dry-run" if dry_run else "dlq replay"):
            asyncio.run(_replay_until_stopped(run, stopped_by))
    finally:
        if run.outcomes.by_outcome or sys.exc_info()[0] is None:
            if dry_run:
                _print_table(outcomes_table(run.outcomes))
            click.echo(summary(run, time.monotonic() - started), err=True)
    if stopped_by:
        raise SystemExit(128 + stopped_by[0])  # the status that shells give to a program that a signal ended


async def _replay_until_stopped(run: "Run", stopped_by: list[int]) -> None:
    """Replay letters. The first Ctrl-C stops when all sent records have arrived, a second one stops at once."""
    from stream.dead_letters.redelivery import replay as send_back

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
    warning = f"some letters were late: they are late again unless allowed_lateness ({limit} here) has grown since\n"
    sys.stderr.write(warning)  # click.echo would write to the line of the progress bar


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")


def _print_table(table: Table) -> None:
    console = Console()
    # Without a terminal there is no width to follow: choose one in which all columns fit.
    (console if console.is_terminal else Console(width=_PLAIN_WIDTH)).print(table)
