"""Run several processes as one command: start them together, restart those that die, and stop them together.

Python uses one core at a time. To use all cores of a machine, each worker runs in a process of its own. All write into
the log of the command. A process that ends is started again after a pause, which grows while it keeps ending. A process
that ends with exit status 2 can never start with these settings, so the whole command ends with that status.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import structlog

log = structlog.get_logger(__name__)

# The exit status for settings that are wrong, and for a state that must not be used.
EXIT_OPERATOR_MISTAKE: Final = 2

_MIN_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 30.0
# A process that has run for this long counts as stable, and its next pause is short again.
_STABLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Program:
    """One of the processes: its name in the log, its command line, and the environment variables added for it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class ProcessSupervisor:
    """Runs programs until it is asked to stop. After `stop_within_seconds` those that have not ended are killed."""

    def __init__(self, programs: Sequence[Program], *, stop_within_seconds: float) -> None:
        self._processes = [_SupervisedProcess(program) for program in programs]
        self._stop_within_seconds = stop_within_seconds
        self._stop_requested = False

    def run(self) -> int:
        """Run until SIGINT or SIGTERM (returns 0), or until a program can't be started at all (returns its status)."""
        before = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for process in self._processes:
                process.start()
            while not self._stop_requested:
                for process in self._processes:
                    if process.restart_if_ended() == EXIT_OPERATOR_MISTAKE:
                        return EXIT_OPERATOR_MISTAKE
                time.sleep(_POLL_SECONDS)
            return 0
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested = True

    def _stop(self) -> None:
        """Ask all processes to end, and kill those that have not ended in time."""
        until = time.monotonic() + self._stop_within_seconds
        for process in self._processes:
            process.request_stop()
        for process in self._processes:
            process.stop(until - time.monotonic())


class _SupervisedProcess:
    """One program, whose process may be started many times."""

    def __init__(self, program: Program, *, now: Callable[[], float] = time.monotonic) -> None:
        self._program = program
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._restart_at = 0.0
        self._pause_seconds = _MIN_PAUSE_SECONDS

    def start(self) -> None:
        environment = {**os.environ, **self._program.environment}
        command = command_that_dies_with_parent(self._program.command)
        self._process = subprocess.Popen(command, env=environment)  # noqa: S603  # our own program
        self._started = self._now()

    def restart_if_ended(self) -> int | None:
        """Restart the process if it has ended and its pause is over. Returns its exit status if it has just ended."""
        if self._process is None:
            if self._now() >= self._restart_at:
                self.start()
            return None
        status = self._process.poll()
        if status is None or status == EXIT_OPERATOR_MISTAKE:
            return status
        if self._now() - self._started >= _STABLE_SECONDS:
            self._pause_seconds = _MIN_PAUSE_SECONDS
        log.warning(
            "a process has ended and is started again",
            process=self._program.name,
            status=status,
            pause_seconds=self._pause_seconds,
        )
        self._process, self._restart_at = None, self._now() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        return status

    def request_stop(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Wait for the process to end, and kill it after so many seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            log.warning("a process did not end in time and is killed", process=self._program.name)
            self._process.kill()
            self._process.wait()


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_PR_SET_PDEATHSIG: Final = 1

# Does the same in a short-lived Python that then becomes the program. Popen's preexec_fn would save this step, but it
# may deadlock in a process that has threads, and Kafka clients have threads.
_DIE_WITH_PARENT: Final = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)  # the parent died before the line above
os.execvp(sys.argv[2], sys.argv[2:])
"""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends. Has an effect on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def command_that_dies_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command that runs the given one, and that the kernel kills when its parent ends (on Linux only)."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
