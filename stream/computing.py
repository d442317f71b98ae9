"""Numbers of files, computed by several processes, each of which knows a share of the users.

This process reads the lines and gives each to the process that has its user. Sums of different users add up, so the
numbers are those of one process to the digit.
"""

import gc
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import reduce
from itertools import chain, islice
from multiprocessing import get_context
from operator import add
from types import TracebackType
from typing import Any, Final
from zlib import crc32

from stream.core.messages import Reader
from stream.core.offline import Computed, Offline, UnusableLine, computed_of
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.inputs.native import user_named_by
from stream.processes import die_with_parent

# Lines given to each process at a time, and how often before the first is waited for: a process that is done with its
# lines finds the next ones there.
_LINES: Final = 2_000
_ROUNDS_AHEAD: Final = 3

# What each process needs to know; made there, for the functions that read messages can't be sent.
Needs = Callable[[], tuple[Rules, Mapping[str, Reader]]]


class SharedOffline:
    """Does what `Offline` does, by so many processes. `needs` is called in each of them: it must be picklable.

    Leaving it as a context manager ends the processes. Raises BrokenProcessPool where one of them has died.
    """

    def __init__(self, needs: Needs, *, processes: int, **limits: int | None) -> None:
        """`limits` are those of an `Offline`: `at_ms`, `clock_ms` and `max_message_bytes`."""
        self._rules, _ = needs()
        self.lines = 0  # given so far
        # One executor for each process, as each has users of its own.
        self._shares = [
            ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin, initargs=(needs, limits))
            for _ in range(processes)
        ]

    def __enter__(self) -> "SharedOffline":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for share in self._shares:
            share.shutdown(cancel_futures=True)

    def apply(self, lines: Iterable[bytes]) -> Iterator[UnusableLine]:
        """Apply lines that follow those given before; yields those that can't be used, in their order."""
        rest = iter(lines)
        rounds: deque[list[Future[list[UnusableLine]]]] = deque()
        while chunk := list(islice(rest, _LINES * len(self._shares))):
            rounds.append(self._share_out(chunk))
            if len(rounds) > _ROUNDS_AHEAD:
                yield from _unusable(rounds.popleft())
        while rounds:
            yield from _unusable(rounds.popleft())

    def _share_out(self, chunk: list[bytes]) -> list[Future[list[UnusableLine]]]:
        count = len(self._shares)
        portions: list[tuple[list[int], list[bytes]]] = [([], []) for _ in range(count)]
        for number, line in enumerate(chunk, start=self.lines + 1):
            user = user_named_by(line)
            # A line of which nobody can be seen to be the user is refused, and any process can say why.
            numbers, lines = portions[(number if user is None else crc32(user.encode(errors="replace"))) % count]
            numbers.append(number)
            lines.append(line)
        self.lines += len(chunk)
        return [
            share.submit(_apply, numbers, lines)
            for share, (numbers, lines) in zip(self._shares, portions, strict=True)
            if lines
        ]

    def computed(self, *, days: int = 1) -> Computed:
        """The numbers now that all lines are applied, with the last `days` closed days."""
        newest_ms = max(future.result() for future in [share.submit(_newest_ms) for share in self._shares])
        snapshots = [future.result() for future in [share.submit(_snapshot, newest_ms) for share in self._shares]]
        return computed_of(reduce(add, snapshots), self._rules, days=days)


def _unusable(shared_out: list[Future[list[UnusableLine]]]) -> list[UnusableLine]:
    return sorted(chain.from_iterable(future.result() for future in shared_out))


# -- in each of the processes ------------------------------------------------------------------------------------------

_offline: Offline


def _begin(needs: Needs, limits: Mapping[str, Any]) -> None:
    global _offline
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is at the keyboard means the command
    gc.disable()  # rows only grow here: a collection would walk over all of them and find nothing
    rules, readers = needs()
    _offline = Offline(rules, readers, **limits)


def _apply(numbers: Sequence[int], lines: Sequence[bytes]) -> list[UnusableLine]:
    return _offline.apply_numbered(numbers, lines)


def _newest_ms() -> int:
    return _offline.newest_ms


def _snapshot(now_ms: int) -> Snapshot:
    return _offline.snapshot(now_ms)
