"""Several processes that are one command: started together, ended together, and one that dies is started again.

Python uses one core at a time, so the cores of a machine are used by several workers, each in a process of its own. All
write into the log of the command. A process that ends by itself is started again after a pause, which grows as long as
it does not stay; one that says that it can't be started like this (exit status 2) ends the command with that status.
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

# What click exits with for settings that can't be, and we for state that must not be gone on with.
BAD_USE: Final = 2

_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
# Who has run for so long is well: the next pause is a short one again.
_SETTLED_SECONDS: Final = 60.0
_LOOKS_EVERY_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Program:
    """One of the processes: its name in the log, its command line, and what it finds in its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Processes:
    """Runs programs until they are asked to stop. `stop_within_seconds` is how long they have for it."""

    def __init__(self, programs: Sequence[Program], *, stop_within_seconds: float) -> None:
        self._slots = [_Slot(program) for program in programs]
        self._stop_within_seconds = stop_within_seconds
        self._asked = False

    def run(self) -> int:
        """Run until SIGINT or SIGTERM (0), or until one can't be started at all (its status)."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for slot in self._slots:
                slot.start()
            while not self._asked:
                for slot in self._slots:
                    if slot.tend() == BAD_USE:
                        return BAD_USE
                time.sleep(_LOOKS_EVERY_SECONDS)
            return 0
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _stop(self) -> None:
        """End all: those that were asked and have not ended in time are killed."""
        until = time.monotonic() + self._stop_within_seconds
        for slot in self._slots:
            slot.ask()
        for slot in self._slots:
            slot.end(until - time.monotonic())


class _Slot:
    """The place of one process, which may be started many times."""

    def __init__(self, program: Program, *, now: Callable[[], float] = time.monotonic) -> None:
        self._program = program
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._starts_at = 0.0
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS

    def start(self) -> None:
        environment = {**os.environ, **self._program.environment}
        command = dying_with_parent(self._program.command)
        self._process = subprocess.Popen(command, env=environment)  # noqa: S603  # our own program
        self._started = self._now()

    def tend(self) -> int | None:
        """Start it again when it has ended and paused; returns the status that it has ended with, when it has."""
        if self._process is None:
            if self._now() >= self._starts_at:
                self.start()
            return None
        status = self._process.poll()
        if status is None or status == BAD_USE:
            return status
        if self._now() - self._started >= _SETTLED_SECONDS:
            self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        log.warning(
            "a process has ended and is started again",
            process=self._program.name,
            status=status,
            pause_seconds=self._pause_seconds,
        )
        self._process, self._starts_at = None, self._now() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        return status

    def ask(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for its end, and bring it about after so long."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            log.warning("a process did not end in time and is killed", process=self._program.name)
            self._process.kill()
            self._process.wait()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_PR_SET_PDEATHSIG: Final = 1

# The same, set by a short-lived Python that then becomes the program. Popen's preexec_fn would save that step,
# but it may deadlock in a process with threads, and Kafka clients have threads.
_DIE_WITH_PARENT: Final = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)  # the parent died before the line above
os.execvp(sys.argv[2], sys.argv[2:])
"""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; without effect where no Linux is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The same command, killed by the kernel when the thread that starts it ends; as it is where that is no Linux."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
