"""Processes of `engagement` for tests: started as users do, or forked from one that has imported everything already.

The imports take a second of CPU, and a run of all tests starts some hundred processes. So most are forked, by Python's
own fork server: from the first line of `engagement` on they do what the others do. Tests of how it starts, marked
`executed`, start a new Python each time.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, Protocol

from stream.processes import command_that_dies_with_parent
from stream.simulate.embedded_broker import end_process_group

PROGRAM: Final = "stream.cli"

_IMPORTED: Final = [
    PROGRAM,
    "stream.wiring",
    "stream.agents.app",
    "stream.export.http",
    "tests.integration.processes",
]
_PR_SET_PDEATHSIG: Final = 1
_APPENDED: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class Process(Protocol):
    """A process that has been started."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def status(self) -> int | None:
        """Its exit status, or less than 0 the signal that ended it; None while it runs."""

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it has ended; returns its status, None when that took longer."""

    def end(self) -> None:
        """Make sure that it and its children are gone."""


class Executed:
    """A new Python that runs a command of `engagement`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        piped: bool = False,
        code: Path | None = None,
        module: str = PROGRAM,
    ) -> None:
        """`piped` lets another process write the log, for one that may not write files; `code` is where `stream` lies,
        if not here; `module` is the program.
        """
        self._writer = _writer_of(log) if piped else None
        with log.open("ab") if self._writer is None or self._writer.stdin is None else self._writer.stdin as sink:
            self._process = subprocess.Popen(
                command_that_dies_with_parent([sys.executable, "-m", module, *command]),
                env=environment,
                cwd=code,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, or less than 0 the signal that ended it; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it has ended; returns its status, None when that took longer."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.status

    def end(self) -> None:
        """Make sure that it and its children are gone."""
        end_process_group(self._process, timeout_seconds=0.1)
        if self._writer is not None:
            self._writer.wait()


def _writer_of(log: Path) -> subprocess.Popen[bytes]:
    """A process that writes what is piped into it, until nobody has the pipe open any more."""
    with log.open("ab") as sink:
        return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=sink, start_new_session=True)


class Forked:
    """A copy of a Python that has imported `engagement`, which runs a command of it."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, *, errors: Path | None = None
    ) -> None:
        """What it writes to standard error goes into `errors`, if not into the log too."""
        log.touch()  # it may be read at once
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED)
        arguments = (list(command), dict(environment), str(log), str(errors or log))
        self._process: ForkServerProcess = context.Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, or less than 0 the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait until it has ended; returns its status, None when that took longer."""
        self._process.join(seconds)
        return self.status

    def end(self) -> None:
        """Make sure that it and its children are gone."""
        if self.status is None:
            self._process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()


def _die_with_the_tests() -> None:
    """Let this process be killed when the tests are gone, however they have ended, even while it stands still.

    It is killed when its parent, the fork server, ends. The fork server ends when nobody holds its pipe open any more.
    Each forked process is given an end of that pipe, to have processes forked in its turn, so it must close this end.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    server = forkserver._forkserver
    os.close(server._forkserver_alive_fd)  # type: ignore[attr-defined]  # there is no public name for it
    server._forkserver_alive_fd = server._forkserver_address = None  # type: ignore[attr-defined]


def _run(command: list[str], environment: dict[str, str], log: str, errors: str) -> None:
    """What a forked process does: become what a started one is, then the same."""
    os.setsid()
    _die_with_the_tests()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for stream, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, _APPENDED), (2, errors, _APPENDED)):
        file = os.open(path, flags, 0o644)
        os.dup2(file, stream)
        os.close(file)
    sys.argv = ["engagement", *command]

    from stream.cli import program

    program()
