"""Several processes as one command: begun again when they die, ended in time, given up where that is of no use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.processes import EXIT_OPERATOR_MISTAKE, ProcessSupervisor, Program, available_cores

# Notes each start, and then does what it is told.
_SCRIPT = """\
import os, signal, sys, time
with open(sys.argv[1], "a") as starts:
    print(os.getpid(), file=starts)
{then}
"""
_STAYS = "time.sleep(3600)"
_DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(3600)"


def program(folder: Path, name: str, then: str) -> Program:
    return Program(name, (sys.executable, "-c", _SCRIPT.format(then=then), str(folder / name)))


def starts(folder: Path, name: str) -> list[int]:
    path = folder / name
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def when(condition: Callable[[], object], do: Callable[[], object]) -> None:
    """Do something as soon as something is so, while the test goes on."""

    def wait() -> None:
        while not condition():
            time.sleep(0.01)
        do()

    threading.Thread(target=wait, daemon=True).start()


def ask_this_process_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    when(lambda: len(starts(tmp_path, "mortal")) == 1, lambda: os.kill(starts(tmp_path, "mortal")[0], signal.SIGKILL))
    when(lambda: len(starts(tmp_path, "mortal")) == 2, ask_this_process_to_end)

    status = ProcessSupervisor(
        [program(tmp_path, "mortal", _STAYS), program(tmp_path, "other", _STAYS)], stop_within_seconds=30
    ).run()

    assert status == 0
    assert (len(starts(tmp_path, "mortal")), len(starts(tmp_path, "other"))) == (2, 1)
    assert not any(map(is_alive, [*starts(tmp_path, "mortal"), *starts(tmp_path, "other")]))


def test_one_that_can_not_be_started_like_this_ends_all(tmp_path: Path) -> None:
    refused = program(tmp_path, "refused", f"sys.exit({EXIT_OPERATOR_MISTAKE})")

    assert (
        ProcessSupervisor([program(tmp_path, "other", _STAYS), refused], stop_within_seconds=30).run()
        == EXIT_OPERATOR_MISTAKE
    )
    assert len(starts(tmp_path, "refused")) == 1
    assert not any(map(is_alive, starts(tmp_path, "other")))


def test_one_that_does_not_end_when_it_is_asked_is_killed(tmp_path: Path) -> None:
    when(lambda: starts(tmp_path, "deaf"), ask_this_process_to_end)

    assert ProcessSupervisor([program(tmp_path, "deaf", _DEAF)], stop_within_seconds=0.5).run() == 0
    assert not is_alive(starts(tmp_path, "deaf")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_none_outlives_the_command(tmp_path: Path) -> None:
    child = (sys.executable, "-c", _SCRIPT.format(then=_STAYS), str(tmp_path / "child"))
    run = f"ProcessSupervisor([Program('child', {child!r})], stop_within_seconds=30).run()"
    code = f"from stream.processes import ProcessSupervisor, Program\n{run}"
    command = subprocess.Popen([sys.executable, "-c", code])
    while not starts(tmp_path, "child"):
        time.sleep(0.01)
    command.kill()
    command.wait()

    (pid,) = starts(tmp_path, "child")
    while is_alive(pid):
        time.sleep(0.01)


def test_the_cores_of_this_process_are_known() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
