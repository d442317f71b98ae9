"""Between a command and who typed it: the options that all share, failures in one line, times, and how far it is."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.core.partition.progress import StateRefused
from stream.core.time import SECOND_MS, iso, parse_time, seconds_of
from stream.masking import without_credentials
from stream.settings import Settings, SettingsError, Unavailable, load

_LAST_MS = 253_370_764_800_000  # the year 9999
_BAD_USE = 2  # what shells and click use for it too
LINES_LEFT_OUT = 3  # the status of a command that was done, but for some lines of its files

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF})

# More lines than these help nobody; the count is told.
_LINES_NAMED = 10

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """Something outside went wrong: one line says what, without a traceback, and without a secret."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message, of_settings=False))

    def show(self, file: Any = None) -> None:
        click.echo(f"engagement: {self.message}", err=True)


class BadUse(Failure):
    """The operator's mistake."""

    exit_code = _BAD_USE


def settings_options(command: Command) -> Command:
    """--settings and --kafka, for every command that needs settings."""
    options = (
        click.option(
            "--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file."
        ),
        click.option("--kafka", metavar="HOST:PORT", help="Brokers, several with commas; the setting kafka.servers."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def load_settings(file: Path | None, kafka: str | None = None, **overrides: Any) -> Settings:
    """The settings a command was called with; an override names its place with `__` for the dot. Raises BadUse."""
    chosen = {place.replace("__", "."): value for place, value in overrides.items() if value is not None}
    if kafka is not None:
        chosen["kafka.servers"] = kafka
    try:
        return load(file, os.environ, chosen)
    except SettingsError as error:
        raise BadUse(str(error)) from None


@contextmanager
def told() -> Iterator[None]:
    """Turn what may go wrong outside into one line."""
    try:
        yield
    except Unavailable as error:
        raise Failure(str(error)) from None
    except (SettingsError, StateRefused) as error:
        raise BadUse(str(error)) from None
    except BrokenPipeError:
        raise  # whoever reads our output has enough of it: click ends without a word
    except OSError as error:
        if is_of_output(error):
            raise Failure(unwritable(error)) from None
        raise Failure(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}") from None


def is_of_output(error: OSError) -> bool:
    """Whether an error says that what a command prints can't be written: the disk is full, or the output is closed."""
    return error.filename is None and error.errno in _UNWRITABLE


def unwritable(error: OSError) -> str:
    """What to say of an error that is of the output."""
    return f"can't write the output: {'it is closed' if error.errno == errno.EBADF else error.strerror}"


def moment(text: str | None, option: str) -> int | None:
    """Milliseconds of a time as an option takes it: ISO 8601 with an offset, or an epoch number. Raises BadUse."""
    if text is None:
        return None
    at_ms = parse_time(text)
    if at_ms is None or not 0 <= at_ms < _LAST_MS:
        raise BadUse(f"{option}: {text!r} is no ISO 8601 time with an offset, such as {iso(1_719_712_800_000)}")
    return at_ms


def since_when(text: str | None, option: str) -> int | None:
    """Milliseconds of a time as `moment` takes it, or of now less a span such as `2h`. Raises BadUse."""
    if text is None:
        return None
    try:
        span_seconds = seconds_of(text)
    except ValueError:
        try:
            return moment(text, option)
        except BadUse as error:
            raise BadUse(f"{error.message}, nor a span such as '2h' or '7d'") from None
    return max(0, time.time_ns() // 1_000_000 - span_seconds * SECOND_MS)


class UnusableLines:
    """Lines of files that can't be used: the first are named as they are found, all are counted."""

    def __init__(self, *, strict: bool) -> None:
        """`strict` refuses files that hold such a line."""
        self._strict = strict
        self._count = 0

    def note(self, file: str, line: int, why: str) -> None:
        """A line of a file, counted from 1, can't be used."""
        self._count += 1
        if self._count <= _LINES_NAMED:
            click.echo(f"{file}:{line}: {why}", err=True)

    def refuse(self) -> None:
        """Where it is asked to be strict: raise BadUse for files that hold lines that can't be used."""
        if self._strict and self._count:
            raise BadUse(f"{self._told()}: nothing is done with --strict")

    def require(self, used: int) -> None:
        """Raise Failure where there is such a line and nothing else: what was asked for can't be done."""
        if self._count and not used:
            raise Failure(f"{self._told()}, and there are no others")

    def exit(self) -> None:
        """End the command, if there were any, with a status that says so."""
        if self._count:
            click.echo(f"engagement: {self._told()}; the others were", err=True)
            raise SystemExit(LINES_LEFT_OUT)

    def _told(self) -> str:
        unnamed = f" (the first {_LINES_NAMED} are named above)" if self._count > _LINES_NAMED else ""
        return f"{'1 line' if self._count == 1 else f'{self._count:,} lines'} could not be used{unnamed}"


strict_option = click.option(
    "--strict", is_flag=True, help="Refuse files with a line that can't be used, instead of going on without it."
)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that is told how many are done; nothing without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
