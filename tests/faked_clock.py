"""A machine whose clock is wrong: a program whose wall clock libfaketime sets, at its start and while it runs.

Only the wall clock is set, not the monotonic one: nobody sets that of a machine either. Here the module is also the
program that such a process runs, because libfaketime 0.9.10 then refuses what Python's `time.sleep` calls.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import Final, SupportsIndex

from tests.missing import missing

_LIBRARIES: Final = Path("/usr/lib")
_LIBRARY: Final = "*/faketime/libfaketimeMT.so.1"

RIGHT: Final = "+0"


class FakedClock:
    """The clock of a machine; it is right until it is set."""

    def __init__(self, folder: Path, name: str) -> None:
        """Whoever is to have this clock finds it in a file in the folder. Raises FakedClockMissing."""
        found = sorted(_LIBRARIES.glob(_LIBRARY))
        if not found:
            raise FakedClockMissing("libfaketime, of Debian's package faketime, sets the clock of a program")
        self._library, self._file = str(found[0]), folder / f"{name}.clock"
        self.set(RIGHT)

    def set(self, offset: str, *, speed: float = 1.0) -> None:
        """Set it so far ahead (`+50m`, `+40d`) or behind (`-2d`); with a speed, as if it had run so since the start."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset} x{speed}")
        new.replace(self._file)

    @property
    def variables(self) -> dict[str, str]:
        """What a process that has this clock finds in its environment. It looks at the file once a second."""
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class FakedClockMissing(RuntimeError):
    """This machine lacks libfaketime."""


def faked_clock(folder: Path, name: str) -> FakedClock:
    """A clock that can be set; where there is no libfaketime, the test is skipped, or fails if all must be there."""
    try:
        return FakedClock(folder, name)
    except FakedClockMissing as error:
        missing(str(error))


def _sleep(seconds: SupportsIndex | float, /) -> None:
    select.select([], [], [], float(seconds))


if __name__ == "__main__":
    time.sleep = _sleep
    sys.argv[0] = "engagement"

    from stream.cli import program

    program()
