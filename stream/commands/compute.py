"""`engagement compute`: numbers of files, without a broker."""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from stream.computing import SharedOffline
from stream.core.messages import Reader
from stream.core.offline import Offline
from stream.core.partition.progress import APPLIED, BOT, DUPLICATE
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import iso
from stream.export.documents import as_document
from stream.export.table import print_computed
from stream.inputs.files import STDIN, lines_of
from stream.processes import cores
from stream.settings import Settings
from stream.terminal import BadUse, Failure, UnusableLines, load_settings, moment, strict_option, told

_PLAIN_WIDTH = 120

# A file for which it pays to start more processes: a second's work for one.
_LARGE_BYTES = 4_000_000
_MOST_PROCESSES = 64


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--at",
    metavar="TIME",
    help="The moment the numbers are for; later events are ignored. [default: newest event that is not in the future]",
)
@click.option("--days", type=click.IntRange(0), default=1, show_default=True, help="How many closed days to print.")
@click.option("--timezone", metavar="ZONE", help="IANA time zone that cuts days; the setting timezone.")
@click.option("--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file.")
@click.option(
    "--processes",
    metavar="N|auto",
    default="auto",
    show_default=True,
    help=f"Cores to use; the numbers are the same. auto: all, for files of {_LARGE_BYTES // 1_000_000} MB and more.",
)
@strict_option
@click.option("--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def compute(
    files: tuple[str, ...],
    at: str | None,
    days: int,
    timezone: str | None,
    file: Path | None,
    processes: str,
    as_format: str,
    strict: bool,
) -> None:
    """Compute the numbers of files of events, without a broker.

    FILE holds JSON lines, each an event with its `topic`, packed by gzip or not; - is standard input. Nothing is too
    late, and the files need not be in order of time. Lines that can't be used are left out and told; the exit status is
    3 then, and 1 where no line can be used.

    \b
    Example: engagement compute events.jsonl.gz --at 2024-06-30T02:00:00Z --days 7
    """
    settings = load_settings(file, timezone=timezone)
    unusable, at_ms = UnusableLines(strict=strict), moment(at, "--at")
    with told(), _collected_once(), _calculator(settings, _count(processes, files), at_ms) as calculator:
        for path in files:
            with (
                _reading_progress(path) as tell,
                lines_of(path, max_line_bytes=settings.max_message_bytes, tell=tell) as lines,
            ):
                _apply(calculator, path, lines, unusable, asked_at_ms=at_ms)
        unusable.refuse()
        computed = calculator.computed(days=days)
    used = sum(computed.events[outcome] for outcome in (APPLIED, DUPLICATE, BOT))
    unusable.require(used)
    if at_ms is not None and computed.events[Reason.FUTURE.value] and not used:
        raise Failure(f"no event up to {iso(at_ms)}: all are later")
    console = Console()
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(as_document(computed)) + b"\n")
    else:
        # Wide enough for every window where nothing says how wide it may be.
        print_computed(computed, console if console.is_terminal else Console(width=_PLAIN_WIDTH))
    unusable.exit()


def _count(asked: str, files: Sequence[str]) -> int:
    """How many processes are to compute."""
    if asked == "auto":
        size = sum(Path(path).stat().st_size for path in files if Path(path).is_file())
        return cores() if size >= _LARGE_BYTES else 1
    if not (asked.isascii() and asked.isdigit() and 0 < int(asked) <= _MOST_PROCESSES):
        raise BadUse(f"--processes: {asked!r} is neither auto nor a number from 1 to {_MOST_PROCESSES}")
    return int(asked)


@contextmanager
def _calculator(settings: Settings, processes: int, at_ms: int | None) -> Iterator[Offline | SharedOffline]:
    """What computes: this process, or several others."""
    clock_ms, most = time.time_ns() // 1_000_000, settings.max_message_bytes
    if processes == 1:
        offline = Offline(settings.rules, settings.readers, at_ms=at_ms, clock_ms=clock_ms, max_message_bytes=most)
        click.get_current_context().find_root().obj = offline  # kept until the process leaves
        yield offline
        return
    try:
        needs, limits = partial(_needs, settings), {"at_ms": at_ms, "clock_ms": clock_ms, "max_message_bytes": most}
        with SharedOffline(needs, processes=processes, **limits) as shared:
            yield shared
    except BrokenProcessPool:
        raise Failure("a process was killed before it was done: --processes 1 needs the least memory") from None


def _needs(settings: Settings) -> tuple[Rules, Mapping[str, Reader]]:
    return settings.rules, settings.readers


def _apply(
    calculator: Offline | SharedOffline,
    path: str,
    lines: Iterator[bytes],
    unusable: UnusableLines,
    *,
    asked_at_ms: int | None,
) -> None:
    first = calculator.lines
    for line in calculator.apply(lines):
        if line.reason is not Reason.FUTURE or asked_at_ms is None:
            unusable.note(path, line.number - first, f"{line.reason.value}: {line.detail}")


@contextmanager
def _collected_once() -> Iterator[None]:
    """Rows only grow here: a garbage collection would walk over all of them and find nothing, again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _reading_progress(path: str) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    if path == STDIN or not console.is_terminal:
        yield lambda done: None
        return
    size = Path(path).stat().st_size if Path(path).is_file() else None  # of a pipe nobody knows it
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {path}", total=size)
        yield lambda done: progress.update(task, completed=done)
