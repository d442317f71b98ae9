"""Recorded events in the order of their times, however many there are.

What does not fit into memory is sorted in runs, which lie in a temporary file until they are merged.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from operator import attrgetter
from types import TracebackType
from typing import IO, Final, NamedTuple

import msgspec

_BYTES_IN_MEMORY: Final = 64_000_000
_BYTES_OF_AN_EVENT: Final = 300  # beside its contents
_EVENTS_PER_CHUNK: Final = 500

_at_ms = attrgetter("at_ms")


class ReplayEvent(NamedTuple):
    """One message of a recording: its time, its topic, its key, and the message itself."""

    at_ms: int
    topic: str
    key: str
    value: bytes


class _Chunk(NamedTuple):
    """Where some events of a run lie in the file."""

    offset: int
    size: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[ReplayEvent]).decode


class Recording:
    """Events are added in any order, and come out by their times; those of one time in the order of adding.

    Used with `with`, it removes its file.
    """

    def __init__(self, *, bytes_in_memory: int = _BYTES_IN_MEMORY) -> None:
        self._bytes_in_memory = bytes_in_memory
        self._held: list[ReplayEvent] = []
        self._held_bytes = 0
        self._runs: list[list[_Chunk]] = []
        self._file: IO[bytes] | None = None
        self._count = 0
        self.topics: set[str] = set()  # the topics of its events
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, event: ReplayEvent) -> None:
        """Add an event. Raises OSError if the disk is full."""
        at_ms = event.at_ms
        self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)
        self.last_ms = at_ms if self.last_ms is None else max(self.last_ms, at_ms)
        self._count += 1
        self.topics.add(event.topic)
        self._held.append(event)
        self._held_bytes += len(event.value) + _BYTES_OF_AN_EVENT
        if self._held_bytes >= self._bytes_in_memory:
            self._write_run()

    def _write_run(self) -> None:
        try:
            self._write_held()
        except OSError as error:
            problem = f"can't keep what is sorted by time, {error.strerror}: TMPDIR names another folder for it"
            raise OSError(error.errno, problem, tempfile.gettempdir()) from None

    def _write_held(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="engagement-")  # noqa: SIM115  # closed by __exit__
        self._held.sort(key=_at_ms)
        chunks: list[_Chunk] = []
        for first in range(0, len(self._held), _EVENTS_PER_CHUNK):
            chunk = _encode(self._held[first : first + _EVENTS_PER_CHUNK])
            chunks.append(_Chunk(self._file.tell(), len(chunk)))
            self._file.write(chunk)
        self._file.flush()
        self._runs.append(chunks)
        self._held, self._held_bytes = [], 0

    def __iter__(self) -> Iterator[ReplayEvent]:
        self._held.sort(key=_at_ms)
        return heapq.merge(*map(self._events_of, self._runs), self._held, key=_at_ms)

    def _events_of(self, run: list[_Chunk]) -> Iterator[ReplayEvent]:
        assert self._file is not None, "runs lie in it"
        for chunk in run:
            yield from _decode(os.pread(self._file.fileno(), chunk.size, chunk.offset))
