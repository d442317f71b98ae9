"""The processes that are measured: started as an operator starts them, watched from outside through /proc (Linux).

CPU seconds come from /proc/PID/stat: on a machine shared with others they say more than the clock on the wall.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

# The command of the Python that runs the bench, wherever its environment lies.
ENGAGEMENT: Final = (sys.executable, "-m", "stream.cli")

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_SAMPLED_EVERY_SECONDS = 0.1
# A file for each thread, of which Java has many: seldom enough to cost nothing that shows.
_LOOKED_FOR_CHILDREN_EVERY_SECONDS = 1.0
_STOP_TIMEOUT_SECONDS = 20.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_A_SECOND


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of a process: the most it ever had, and now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = {name: text for name, _, text in (line.partition(":") for line in lines)}
    peak, now = (int(told[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
    return peak, now


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for each in pids:
        for task in Path(f"/proc/{each}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return pids


def directory_mib(directory: Path) -> float:
    """Size of all files under a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1024**2


class Samples:
    """The CPU seconds and the peak memory of a process and its children, taken while it runs.

    `taken` has the time, the CPU seconds so far and the MiB that they had at most so far.
    """

    def __init__(self, pid: int) -> None:
        self.taken: list[tuple[float, float, float]] = []
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def cpu(self) -> list[tuple[float, float]]:
        """The time and the CPU seconds so far."""
        return [(at, seconds) for at, seconds, _ in self.taken]

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        pids, looked_at = [self._pid], 0.0
        while True:
            with suppress(OSError, KeyError):  # one of them has just ended
                if time.time() >= looked_at + _LOOKED_FOR_CHILDREN_EVERY_SECONDS:
                    pids, looked_at = family(self._pid), time.time()
                cpu, peak = sum(map(cpu_seconds, pids)), sum(memory_mib(pid)[0] for pid in pids)
                self.taken.append((time.time(), cpu, peak))
            if self._over.wait(_SAMPLED_EVERY_SECONDS):
                return


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stdout: IO[bytes] | int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended by SIGTERM at the end; what it says on standard error goes to `log`."""
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=stdout, stderr=sink, env={**os.environ, **(environment or {})})
    try:
        yield process
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended with {process.returncode}: {log.read_text()[-2_000:]}")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def answers(url: str) -> bytes | None:
    """What a page says, or None while nobody answers there with success."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as page:
            content: bytes = page.read()
            return content
    except OSError:
        return None


def wait_until_answered(url: str, process: subprocess.Popen[bytes], *, timeout_seconds: float) -> None:
    """Wait until a page of a process answers with success."""
    deadline = time.monotonic() + timeout_seconds
    while answers(url) is None:
        assert process.poll() is None, f"the process ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{url} does not answer after {timeout_seconds:.0f} s"
        time.sleep(0.02)
