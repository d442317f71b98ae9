"""All tests, `make test-all`: those of containers in one process, and beside it all others, which give way to it.

Containers have health checks with times that people chose, so they must get the CPU that they ask for. But for much of
the time they wait for one another. So all other tests have the lowest priority, and take what is left over. Printed
are first the tests of containers, then the others, whose summary is the last line.

python -m tests.run_all PROCESSES [OPTIONS]   processes that share the others, and options of pytest for all
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from stream.processes import command_that_dies_with_parent

_PYTEST: Final = (sys.executable, "-m", "pytest")
_GIVES_WAY: Final = ("nice", "-n", "19")
_CONTAINERS: Final = ("-n0", "-m", "containers and not bench", "tests/containers")
_LOOK_SECONDS: Final = 0.5


def run(processes: str, options: list[str]) -> int:
    """Run all tests; returns 1 if a part of them has failed."""
    colours = ["--color=yes"] if sys.stdout.isatty() else []
    others = [*_GIVES_WAY, *_PYTEST, "-n", processes, *colours, *options]
    with tempfile.NamedTemporaryFile() as output:
        running = subprocess.Popen(
            command_that_dies_with_parent(others), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            containers = command_that_dies_with_parent([*_PYTEST, *_CONTAINERS, *options])
            status = subprocess.run(containers, check=False).returncode
            show(Path(output.name), running)
        except KeyboardInterrupt:
            status = 1  # the others were interrupted too: they end by themselves, and say so
            show(Path(output.name), running)
    return int(status != 0 or running.returncode != 0)


def show(output: Path, running: subprocess.Popen[bytes]) -> None:
    """Print what a process has written and goes on to write, until it has ended."""
    with output.open("rb") as written:
        has_ended = False
        while not has_ended:
            has_ended = running.poll() is not None
            shutil.copyfileobj(written, sys.stdout.buffer)
            sys.stdout.flush()
            time.sleep(0.0 if has_ended else _LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
