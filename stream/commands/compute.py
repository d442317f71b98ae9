"""`engagement compute`: numbers of files, without a broker."""

import gc
import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from stream.core.offline import Offline
from stream.export.documents import as_document
from stream.export.table import print_computed
from stream.terminal import Failure, load_settings, moment, told

_PLAIN_WIDTH = 120
_BLOCK_BYTES = 1024 * 1024


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--at", metavar="TIME", help="The moment the numbers are for; later events are ignored. [default: newest event]"
)
@click.option("--days", type=click.IntRange(0), default=1, show_default=True, help="How many closed days to print.")
@click.option("--timezone", metavar="ZONE", help="IANA time zone that cuts days; the setting timezone.")
@click.option("--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file.")
@click.option("--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def compute(
    files: tuple[str, ...], at: str | None, days: int, timezone: str | None, file: Path | None, as_format: str
) -> None:
    """Compute the numbers of files of events, without a broker.

    FILE holds JSON lines, each an event with its `topic`; .gz too, - is standard input. Nothing is too late, and the
    files need not be in order of time.

    \b
    Example: engagement compute events.jsonl.gz --at 2024-06-30T02:00:00Z --days 7
    """
    settings = load_settings(file, timezone=timezone)
    offline = Offline(settings.rules, settings.readers, at_ms=moment(at, "--at"))
    click.get_current_context().find_root().obj = offline  # kept until the process leaves
    with told(), _collected_once():
        for path in files:
            with _reading(path) as lines:
                _apply(offline, path, lines)
        computed = offline.computed(days=days)
    console = Console()
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(as_document(computed)) + b"\n")
    else:
        # Wide enough for every window where nothing says how wide it may be.
        print_computed(computed, console if console.is_terminal else Console(width=_PLAIN_WIDTH))


# Lines shown that can't be used; all are counted.
_REFUSALS_SHOWN = 5


def _apply(offline: Offline, path: str, lines: Iterator[bytes]) -> None:
    refused = 0
    first = offline.lines
    for refusal in offline.apply(lines):
        if refusal.reason.value == "future":
            continue
        refused += 1
        if refused <= _REFUSALS_SHOWN:
            where = f"{path}:{refusal.record.offset - first}"
            click.echo(f"{where}: {refusal.reason.value}: {refusal.detail}", err=True)
    if refused > _REFUSALS_SHOWN:
        click.echo(f"{path}: {refused - _REFUSALS_SHOWN:,} more lines can't be used", err=True)


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
def _reading(path: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file, packed or not, or of standard input."""
    if path == "-":
        yield iter(sys.stdin.buffer)
        return
    with Path(path).open("rb") as raw, _reading_progress(path, Path(path).stat().st_size) as tell:
        source: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        try:
            yield chain.from_iterable(_blocks_of_lines(source, lambda: tell(raw.tell())))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Failure(f"{path}: {error}") from None


def _blocks_of_lines(source: BinaryIO, tell: Callable[[], None]) -> Iterator[list[bytes]]:
    """Some thousand lines at a time: reading them singly takes as long as decoding them."""
    begun = b""
    while block := source.read(_BLOCK_BYTES):
        *lines, begun = (begun + block).split(b"\n")
        tell()
        yield lines
    if begun:
        yield [begun]


@contextmanager
def _reading_progress(path: str, size: int) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {path}", total=size)
        yield lambda done: progress.update(task, completed=done)
