"""A process that was asked to end does, whatever still runs in it."""

import subprocess
import sys

from tests.timeouts import TIMEOUT_SECONDS

A_THREAD_THAT_NEVER_ENDS = """
import threading, time
from stream.shutdown import exit_after, silence_logging
from stream.settings import Log
from stream.telemetry import configure_logging

configure_logging(Log(format="json"))
threading.Thread(target=time.sleep, args=(600,), name="who-never-ends").start()
"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", A_THREAD_THAT_NEVER_ENDS + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


def test_what_never_ends_is_not_waited_for_and_named() -> None:
    done = run("exit_after(0.2, 3); print('the last words', end='')")

    assert done.returncode == 3
    assert done.stdout == "the last words"
    assert "who-never-ends" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_swallows_everything_is_not_waited_for() -> None:
    done = run("""
exit_after(0.2, 0)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
""")

    assert done.returncode == 0


def test_who_is_left_behind_says_nothing_more() -> None:
    done = run("""
import logging, os
from tests.timeouts import TIMEOUT_SECONDS
silence_logging()
logging.getLogger("aiokafka").error("Unable to update metadata")
os._exit(0)
""")

    assert (done.returncode, done.stderr) == (0, "")
