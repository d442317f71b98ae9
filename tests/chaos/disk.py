"""A disk of one worker that can be filled to the last byte, and emptied again.

Where file systems may be mounted (as root, if the container allows it) it is a small one of its own, and a full one
says `No space left on device`. Elsewhere the kernel is told that the worker may write no file at all (RLIMIT_FSIZE):
it then says `File too large`, which programs meet in the same places.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from tests.integration.deployment import Program

# An empty RocksDB reserves 4 MiB for its manifest; a worker has one for each partition, and room to write.
SIZE_MIB = 64

_CHUNK = b"\0" * (1024 * 1024)
_BALLAST = "ballast"


class Disk(Protocol):
    """Where one worker keeps its state, whichever process that is."""

    folder: Path
    needs_pipe: bool  # whether the log of the worker has to be written by somebody else

    def fill(self) -> None:
        """From now on not a byte more can be written."""

    def free(self) -> None:
        """There is room again."""

    def watch(self, program: Program) -> None:
        """A process has been started that uses it."""

    def wipe(self) -> None:
        """Remove all that the worker has written."""

    def close(self) -> None:
        """Remove it altogether."""


def new_disk(folder: Path) -> Disk:
    """An empty disk at this path, as real as this machine allows."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "engagement-chaos", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    return MountedDisk(folder) if mounted else ForbiddenDisk(folder)


class MountedDisk:
    """A file system in memory."""

    needs_pipe = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """From now on not a byte more can be written."""
        with (self.folder / _BALLAST).open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(_CHUNK)
            except OSError:
                pass

    def free(self) -> None:
        """There is room again."""
        (self.folder / _BALLAST).unlink(missing_ok=True)

    def watch(self, program: Program) -> None:
        """A process has been started that uses it."""

    def wipe(self) -> None:
        """Remove all that the worker has written."""
        _empty(self.folder)

    def close(self) -> None:
        """Remove it altogether."""
        # Lazily: the worker was killed a moment ago and its files may still be open.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        shutil.rmtree(self.folder)


class ForbiddenDisk:
    """A folder, and a limit on the files of the worker that writes there."""

    needs_pipe = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_full = False
        self._program: Program | None = None

    def fill(self) -> None:
        """From now on not a byte more can be written."""
        self._is_full = True
        self._limit()

    def free(self) -> None:
        """There is room again."""
        self._is_full = False
        self._limit()

    def watch(self, program: Program) -> None:
        """A process has been started that uses it."""
        self._program = program
        self._limit()

    def _limit(self) -> None:
        # One that has ended needs no limit; the next one gets it when it starts.
        if self._program is not None and self._program.status is None:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.prlimit(self._program.pid, resource.RLIMIT_FSIZE, (0 if self._is_full else most, most))

    def wipe(self) -> None:
        """Remove all that the worker has written."""
        _empty(self.folder)

    def close(self) -> None:
        """Remove it altogether."""
        shutil.rmtree(self.folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _BALLAST:
            path.unlink()
