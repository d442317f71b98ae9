"""Programs that tests have forked end with the tests, however these end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.timeouts import TIMEOUT_SECONDS

# Stands for a process of pytest. What it has forked waits for a file that nobody writes.
_TESTS = """\
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background ignores it
from tests.integration.processes import Forked
forked = [Forked(["compute", sys.argv[1]], dict(os.environ), Path(sys.argv[2])) for _ in range(2)]
print(*(process.pid for process in forked), flush=True)
signal.pause()
"""


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has asked for its status yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open."""
    with suppress(FileNotFoundError):  # it has just closed one
        return any(opened.readlink() == file for opened in Path(f"/proc/{pid}/fd").iterdir())
    return False


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS:g} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_what_was_forked_ends_with_the_tests_also_while_it_stands_still(number: signal.Signals, tmp_path: Path) -> None:
    unwritten = tmp_path / "events.jsonl"
    os.mkfifo(unwritten)
    written_to = os.open(unwritten, os.O_RDWR)  # so that it can be opened for reading
    command = [sys.executable, "-c", _TESTS, str(unwritten), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tests:
        assert tests.stdout is not None
        pids = [int(word) for word in tests.stdout.readline().split()]
        assert len(pids) == 2
        wait_until(lambda: all(has_open(pid, unwritten) for pid in pids), "what was forked reads")
        assert not any(map(is_gone, pids))
        if number == signal.SIGKILL:
            os.kill(pids[0], signal.SIGSTOP)
        tests.send_signal(number)

    wait_until(lambda: all(map(is_gone, pids)), "what was forked has ended")
    os.close(written_to)
