"""Compute the numbers of files with several processes, each of which has a share of the users.

The main process reads the lines and gives each line to the process that has its user. The sums of different users add
up, so the numbers are exactly those that one process would compute.
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
from stream.inputs.native import user_of_message
from stream.processes import die_with_parent

# How many lines each process is given at a time, and how many such rounds are given out before the first is awaited. So
# a process that is done with its lines has the next ones waiting.
_LINES_PER_CHUNK: Final = 2_000
_MAX_PENDING_ROUNDS: Final = 3

# Makes the rules and the message readers. Each process calls it for itself, because readers can't be pickled.
MakeRules = Callable[[], tuple[Rules, Mapping[str, Reader]]]


class ParallelOffline:
    """Does what `Offline` does, in several processes. `make_rules` is called in each of them, so it must be picklable.

    Used with `with`, it ends the processes. Raises BrokenProcessPool if one of them has died.
    """

    def __init__(self, make_rules: MakeRules, *, processes: int, **limits: int | None) -> None:
        """`limits` are passed to each `Offline`: `at_ms`, `clock_ms` and `max_message_bytes`."""
        self._rules, _ = make_rules()
        self.lines = 0  # how many lines were applied so far
        # One executor with one process for each share of the users.
        self._executors = [
            ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), initializer=_initialize, initargs=(make_rules, limits)
            )
            for _ in range(processes)
        ]

    def __enter__(self) -> "ParallelOffline":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for executor in self._executors:
            executor.shutdown(cancel_futures=True)

    def apply(self, lines: Iterable[bytes]) -> Iterator[UnusableLine]:
        """Apply more lines. Yields those that can't be used, in their order."""
        rest = iter(lines)
        rounds: deque[list[Future[list[UnusableLine]]]] = deque()
        while chunk := list(islice(rest, _LINES_PER_CHUNK * len(self._executors))):
            rounds.append(self._submit(chunk))
            if len(rounds) > _MAX_PENDING_ROUNDS:
                yield from _unusable(rounds.popleft())
        while rounds:
            yield from _unusable(rounds.popleft())

    def _submit(self, chunk: list[bytes]) -> list[Future[list[UnusableLine]]]:
        count = len(self._executors)
        portions: list[tuple[list[int], list[bytes]]] = [([], []) for _ in range(count)]
        for number, line in enumerate(chunk, start=self.lines + 1):
            user = user_of_message(line)
            # A line without a recognisable user is refused anyway, so any process may do it.
            numbers, lines = portions[(number if user is None else crc32(user.encode(errors="replace"))) % count]
            numbers.append(number)
            lines.append(line)
        self.lines += len(chunk)
        return [
            executor.submit(_apply, numbers, lines)
            for executor, (numbers, lines) in zip(self._executors, portions, strict=True)
            if lines
        ]

    def computed(self, *, days: int = 1) -> Computed:
        """Return the numbers of all lines so far, with the last `days` closed days."""
        newest_ms = max(future.result() for future in [executor.submit(_newest_ms) for executor in self._executors])
        snapshots = [
            future.result() for future in [executor.submit(_snapshot, newest_ms) for executor in self._executors]
        ]
        return computed_of(reduce(add, snapshots), self._rules, days=days)


def _unusable(futures: list[Future[list[UnusableLine]]]) -> list[UnusableLine]:
    return sorted(chain.from_iterable(future.result() for future in futures))


# -- the functions below run in the other processes --------------------------------------------------------------------

_offline: Offline


def _initialize(make_rules: MakeRules, limits: Mapping[str, Any]) -> None:
    global _offline
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, but only the main one shall act on it
    gc.disable()  # rows only grow here, so each collection would visit all and free none
    rules, readers = make_rules()
    _offline = Offline(rules, readers, **limits)


def _apply(numbers: Sequence[int], lines: Sequence[bytes]) -> list[UnusableLine]:
    return _offline.apply_numbered(numbers, lines)


def _newest_ms() -> int:
    return _offline.newest_ms


def _snapshot(now_ms: int) -> Snapshot:
    return _offline.snapshot(now_ms)
