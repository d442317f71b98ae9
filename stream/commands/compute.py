"""`engagement compute`: compute the numbers of files of events, without Kafka."""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from stream.commands.comparison import comparison_options, recorder_of
from stream.commands.formats import chosen_input, format_options, literal_columns
from stream.core.messages import Reader
from stream.core.offline import Offline
from stream.core.partition.progress import APPLIED, BOT, DUPLICATE
from stream.core.reconciliation.actions import Recorder
from stream.core.reconciliation.comparison import compare
from stream.core.reconciliation.tools import TOOLS
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import iso
from stream.export.documents import as_document
from stream.export.reconciliation import comparison_document, print_comparison
from stream.export.table import print_computed
from stream.inputs.files import files_of, messages_of
from stream.parallel_compute import ParallelOffline
from stream.processes import available_cores
from stream.settings import Input, Settings, reader_of_input
from stream.terminal import (
    Failure,
    OperatorMistake,
    UnusableLines,
    failures_in_one_line,
    load_settings,
    reading_progress,
    strict_option,
    time_option,
)

_PLAIN_WIDTH = 120

# From this size on it pays to start more processes. One process takes a second for it.
_LARGE_BYTES = 4_000_000
_MAX_PROCESSES = 64


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--at",
    metavar="TIME",
    help="The time that the numbers are for. Later events are ignored. [default: newest event that is not in the "
    "future]",
)
@click.option("--days", type=click.IntRange(0), default=1, show_default=True, help="How many closed days to print.")
@click.option("--timezone", metavar="ZONE", help="IANA time zone in which days begin. Setting: timezone.")
@click.option("--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file.")
@click.option(
    "--processes",
    metavar="N|auto",
    default="auto",
    show_default=True,
    help=f"Cores to use. The numbers do not depend on it. auto: all, for {_LARGE_BYTES // 1_000_000} MB and more.",
)
@strict_option
@format_options
@comparison_options
@click.option(
    "--as", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
def compute(
    files: tuple[str, ...],
    format_: str | None,
    mapping: Path | None,
    at: str | None,
    days: int,
    timezone: str | None,
    file: Path | None,
    processes: str,
    other_rules: str | None,
    arrival_order: bool,
    as_format: str,
    strict: bool,
) -> None:
    """Compute the numbers of files of events, without Kafka.

    FILE holds JSON lines or a JSON array, or it is a table with a header (.csv, .tsv) or a Parquet file. Each line,
    element or row is an event with its `topic`, or with --format or --mapping a message of another format. FILE may be
    packed (.gz, .zst), a folder, or a pattern such as 'logs/*.csv'; - is standard input. The events may come in any
    order, and none is too late. Lines that can't be used are printed and skipped; the exit status is 3 then, or 1 if no
    line can be used.

    With --rules the rules of another tool are applied to the same events. Of each closed day its numbers are printed
    beside ours, with what each of its rules contributes to a difference.

    \b
    Example: engagement compute events.jsonl.gz --at 2024-06-30T02:00:00Z --days 7
      engagement compute events.jsonl.gz --rules plausible
      engagement compute segment.jsonl --format segment
      engagement compute logs/ --mapping mapping.toml
    """
    settings = load_settings(file, timezone=timezone).of_files
    only = chosen_input(settings, format_, mapping)
    unusable, at_ms = UnusableLines(strict=strict), time_option(at, "--at")
    clock_ms = time.time_ns() // 1_000_000
    recorder = recorder_of(other_rules, arrival_order, days=days, not_after_ms=clock_ms if at_ms is None else at_ms)
    with failures_in_one_line():
        paths = files_of(files)
    with (
        failures_in_one_line(),
        _without_garbage_collection(),
        _calculator(
            settings, _process_count(processes, paths, only, recorder), at_ms, clock_ms, only, recorder
        ) as calculator,
        reading_progress(paths) as progress_of,
    ):
        literals = literal_columns(only)
        for path in paths:
            with messages_of(
                path, max_line_bytes=settings.max_message_bytes, literals=literals, on_bytes_read=progress_of(path)
            ) as lines:
                _apply(calculator, path, lines, unusable, asked_at_ms=at_ms)
        unusable.raise_if_strict()
        computed = calculator.computed(days=days)
    used = sum(computed.events[outcome] for outcome in (APPLIED, DUPLICATE, BOT))
    unusable.raise_if_none_used(used + sum(computed.left_out.values()))
    if at_ms is not None and computed.events[Reason.FUTURE.value] and not used:
        raise Failure(f"no event up to {iso(at_ms)}: all are later")
    if recorder is None or other_rules is None:
        _print(as_format, as_document(computed), partial(print_computed, computed))
    else:
        tool = TOOLS[other_rules]
        compared = compare(recorder.people, tool, settings.rules, [day for day, _ in computed.closed])
        document = comparison_document(compared, tool, computed, zone=settings.timezone)
        _print(as_format, document, partial(print_comparison, compared, tool, zone=settings.timezone))
    unusable.exit()


def _print(as_format: str, document: dict[str, Any], print_tables: Callable[[Console], None]) -> None:
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    else:
        console = Console()
        # Without a terminal there is no width to follow: choose one in which all windows fit.
        print_tables(console if console.is_terminal else Console(width=_PLAIN_WIDTH))


def _process_count(asked: str, files: Sequence[str], only: Input | None, recorder: Recorder | None) -> int:
    """Return the number of processes that the option --processes asks for. Raises OperatorMistake."""
    if recorder is not None:
        if asked not in ("auto", "1"):
            raise OperatorMistake(f"--processes: {asked} can't be used with --rules, which takes one")
        return 1
    if only is not None:
        if asked not in ("auto", "1"):
            raise OperatorMistake(f"--processes: {asked} can't share lines of --format: one may tell of several users")
        return 1
    if asked == "auto":
        size = sum(Path(path).stat().st_size for path in files if Path(path).is_file())
        return available_cores() if size >= _LARGE_BYTES else 1
    if not (asked.isascii() and asked.isdigit() and 0 < int(asked) <= _MAX_PROCESSES):
        raise OperatorMistake(f"--processes: {asked!r} is neither auto nor a number from 1 to {_MAX_PROCESSES}")
    return int(asked)


@contextmanager
def _calculator(
    settings: Settings,
    processes: int,
    at_ms: int | None,
    clock_ms: int,
    only: Input | None,
    recorder: Recorder | None,
) -> Iterator[Offline | ParallelOffline]:
    """Open the calculator: in this process, or spread over several."""
    max_bytes = settings.max_message_bytes
    if processes == 1:
        readers = settings.readers
        if only is not None:
            readers = {only.name: reader_of_input(only, lambda name: click.echo(f"recognised {name}", err=True))}
        if recorder is not None:
            readers = {name: recorder.recording(reader) for name, reader in readers.items()}
        offline = Offline(
            settings.rules,
            readers,
            at_ms=at_ms,
            clock_ms=clock_ms,
            max_message_bytes=max_bytes,
            only=None if only is None else only.name,
        )
        click.get_current_context().find_root().obj = offline  # keeps it alive: freeing its rows would take time
        yield offline
        return
    try:
        make_rules = partial(_rules_and_readers, settings)
        limits = {"at_ms": at_ms, "clock_ms": clock_ms, "max_message_bytes": max_bytes}
        with ParallelOffline(make_rules, processes=processes, **limits) as parallel:
            yield parallel
    except BrokenProcessPool:
        raise Failure("a process was killed before it was done: --processes 1 needs the least memory") from None


def _rules_and_readers(settings: Settings) -> tuple[Rules, Mapping[str, Reader]]:
    return settings.rules, settings.readers


def _apply(
    calculator: Offline | ParallelOffline,
    path: str,
    lines: Iterator[bytes],
    unusable: UnusableLines,
    *,
    asked_at_ms: int | None,
) -> None:
    first = calculator.lines
    for line in calculator.apply(lines):
        # With --at the operator has asked to ignore events that are later.
        if line.reason is not Reason.FUTURE or asked_at_ms is None:
            unusable.add(path, line.number - first, f"{line.reason.value}: {line.detail}")


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off. Rows only grow here, so each collection would visit all and free none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
