"""What all commands share: common options, one-line error messages, times as options, and progress bars."""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stream.core.partition.progress import StateRefused
from stream.core.time import SECOND_MS, iso, parse_time, seconds_of
from stream.masking import without_credentials
from stream.settings import Settings, SettingsError, Unavailable, load

_LAST_MS = 253_370_764_800_000  # the year 9999
_EXIT_OPERATOR_MISTAKE = 2  # the exit status of shells and click for wrong usage
EXIT_LINES_SKIPPED = 3  # the exit status of a command that has done its work except for some lines of its files

# The errors of an output that can't be written: no space, a quota, a limit on the size of files, or a closed output.
_OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF})

# Of the lines that can't be used, only this many are named. All are counted.
_MAX_LINES_SHOWN = 10

# What is said of lines that are none of our events, and how to read those of other tools.
_NO_TOPIC = "Object missing required field `topic`"
_FORMAT_HINT = "messages of another tool need --format (auto recognises them) or --mapping"

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """A command failed for a reason outside of the program. It prints one line, without a traceback or a secret."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message, of_settings=False))

    def show(self, file: Any = None) -> None:
        click.echo(f"engagement: {self.message}", err=True)


class OperatorMistake(Failure):
    """The operator made a mistake, for example in an option or a setting. The exit status is 2."""

    exit_code = _EXIT_OPERATOR_MISTAKE


def settings_options(command: Command) -> Command:
    """Add the options --settings and --kafka to a command that needs settings."""
    options = (
        click.option(
            "--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file."
        ),
        click.option("--kafka", metavar="HOST:PORT", help="Brokers, several with commas. Setting: kafka.servers."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def load_settings(file: Path | None, kafka: str | None = None, **overrides: Any) -> Settings:
    """Load the settings of a command. In the name of an override, `__` stands for the dot. Raises OperatorMistake."""
    chosen = {place.replace("__", "."): value for place, value in overrides.items() if value is not None}
    if kafka is not None:
        chosen["kafka.servers"] = kafka
    try:
        return load(file, os.environ, chosen)
    except SettingsError as error:
        raise OperatorMistake(str(error)) from None


@contextmanager
def failures_in_one_line() -> Iterator[None]:
    """Turn errors that are not the program's fault into a one-line message and an exit status."""
    try:
        yield
    except Unavailable as error:
        raise Failure(str(error)) from None
    except (SettingsError, StateRefused) as error:
        raise OperatorMistake(str(error)) from None
    except BrokenPipeError:
        raise  # the program that reads our output has closed it; click ends the command without a message
    except OSError as error:
        if is_output_error(error):
            raise Failure(output_failure(error)) from None
        raise Failure(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}") from None


def is_output_error(error: OSError) -> bool:
    """Whether an error means that the output of a command can't be written: the disk is full, or it is closed."""
    return error.filename is None and error.errno in _OUTPUT_ERRORS


def output_failure(error: OSError) -> str:
    """Return the message for an error of the output."""
    return f"can't write the output: {'it is closed' if error.errno == errno.EBADF else error.strerror}"


def time_option(text: str | None, option: str) -> int | None:
    """Return an option's time in milliseconds: ISO 8601 with an offset, or an epoch number. Raises OperatorMistake."""
    if text is None:
        return None
    at_ms = parse_time(text)
    if at_ms is None or not 0 <= at_ms < _LAST_MS:
        raise OperatorMistake(
            f"{option}: {text!r} is no ISO 8601 time with an offset, such as {iso(1_719_712_800_000)}"
        )
    return at_ms


def since_option(text: str | None, option: str) -> int | None:
    """Return the time of an option: `2h` for two hours ago, or what `time_option` takes. Raises OperatorMistake."""
    if text is None:
        return None
    try:
        span_seconds = seconds_of(text)
    except ValueError:
        try:
            return time_option(text, option)
        except OperatorMistake as error:
            raise OperatorMistake(f"{error.message}, nor a span such as '2h' or '7d'") from None
    return max(0, time.time_ns() // 1_000_000 - span_seconds * SECOND_MS)


class UnusableLines:
    """Counts lines of files that can't be used, and prints the first of them as they are found."""

    def __init__(self, *, strict: bool) -> None:
        """With `strict`, a file that has such a line is refused."""
        self._strict = strict
        self._count = 0
        self._lines = 0  # fewer, if several events of a line can't be used
        self._last: tuple[str, int] | None = None
        self._without_topic = 0

    def add(self, file: str, line: int, why: str) -> None:
        """Count a line or an event of it, numbered from 1, and print why it can't be used."""
        self._count += 1
        self._lines += (file, line) != self._last
        self._last = (file, line)
        self._without_topic += _NO_TOPIC in why
        if self._count <= _MAX_LINES_SHOWN:
            click.echo(f"{file}:{line}: {why}", err=True)

    def raise_if_strict(self) -> None:
        """Raise OperatorMistake if `strict` was asked for and there was such a line."""
        if self._strict and self._count:
            raise OperatorMistake(f"{self._summary()}: nothing is done with --strict")

    def raise_if_none_used(self, used: int) -> None:
        """Raise Failure if there was such a line and no line could be used, so that nothing could be done."""
        if self._count and not used:
            hint = f"; {_FORMAT_HINT}" if self._without_topic == self._count else ""
            raise Failure(f"{self._summary()}, and there are no others{hint}")

    def exit(self) -> None:
        """End the command with exit status 3 if there was such a line."""
        if self._count:
            click.echo(f"engagement: {self._summary()}; the others were", err=True)
            raise SystemExit(EXIT_LINES_SKIPPED)

    def _summary(self) -> str:
        unnamed = f" (the first {_MAX_LINES_SHOWN} are named above)" if self._count > _MAX_LINES_SHOWN else ""
        lines = "1 line" if self._lines == 1 else f"{self._lines:,} lines"
        what = lines if self._count == self._lines else f"{self._count:,} events of {lines}"
        return f"{what} could not be used{unnamed}"


strict_option = click.option(
    "--strict", is_flag=True, help="Refuse a file that has a line that can't be used, instead of skipping the line."
)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, and yield the function that moves it. Without a terminal nothing is shown."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def reading_progress(paths: Sequence[str]) -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Show a progress bar of some files, and yield what begins one of them: it returns the function that moves the bar.

    Without a terminal nothing is shown. The bar has no end where the size of a file is not known, as that of a pipe.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda path: lambda done: None
        return
    are_files = all(Path(path).is_file() for path in paths)
    sizes = [Path(path).stat().st_size for path in paths] if are_files else []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("reading", total=sum(sizes) if are_files else None)
        begun = iter(range(len(paths)))

        def begin(path: str) -> Callable[[int], None]:
            number = next(begun)
            before = sum(sizes[:number])
            of_several = f" ({number + 1} of {len(paths)})" if len(paths) > 1 else ""
            bar.update(task, description=f"reading {path}{of_several}")
            return lambda done: bar.update(task, completed=before + done)

        yield begin
