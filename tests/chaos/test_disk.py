"""A disk of the chaos tests can be full, for any program, and is not any more when it is freed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.disk import Disk, ForbiddenDisk, MountedDisk, new_disk

# Writes a file anew for each line that it is sent, and says whether it could.
_WRITER = """
import os, pathlib, sys
for number, _ in enumerate(sys.stdin):
    try:
        pathlib.Path(sys.argv[1], f"file-{os.getpid()}-{number}").write_bytes(b"x" * 100_000)
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


class Writer:
    """A program that uses a disk, as far as a disk knows programs."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def write(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(params=["the best there is", "a limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    if request.param == "a limit":
        folder.mkdir()
        made: Disk = ForbiddenDisk(folder)
    else:
        made = new_disk(folder)
    yield made
    made.close()
    assert not folder.exists()


@pytest.fixture
def start_writer(disk: Disk) -> Iterator[Callable[[], Writer]]:
    started: list[Writer] = []

    def start() -> Writer:
        writer: Any = Writer(disk.folder)
        disk.watch(writer)
        started.append(writer)
        return started[-1]

    yield start
    for writer in started:
        writer.end()


def test_nothing_more_can_be_written_until_it_is_freed(disk: Disk, start_writer: Callable[[], Writer]) -> None:
    full = "No space left on device" if isinstance(disk, MountedDisk) else "File too large"
    writer = start_writer()
    assert writer.write() == "written"

    disk.fill()
    assert writer.write() == full
    disk.free()
    assert writer.write() == "written"

    disk.fill()
    writer.end()
    next_one = start_writer()
    assert next_one.write() == full
    disk.free()
    assert next_one.write() == "written"


def test_a_wiped_disk_is_empty_and_as_full_as_before(disk: Disk, start_writer: Callable[[], Writer]) -> None:
    writer = start_writer()
    (disk.folder / "state").mkdir()
    assert writer.write() == "written"
    disk.fill()

    disk.wipe()
    assert [path.name for path in disk.folder.iterdir() if path.name != "ballast"] == []
    disk.free()
    assert writer.write() == "written"


def test_a_disk_can_be_removed_while_a_program_still_has_its_files_open(tmp_path: Path) -> None:
    disk = new_disk(tmp_path / "disk")
    with subprocess.Popen([sys.executable, "-c", _SLEEPER, str(disk.folder / "file")]) as sleeper:
        while not (disk.folder / "file").exists():
            time.sleep(0.01)
        disk.close()
        sleeper.kill()
    assert not disk.folder.exists()


_SLEEPER = "import sys, time; file = open(sys.argv[1], 'w'); time.sleep(60)"
