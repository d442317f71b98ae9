"""Reads files of events: one JSON object on each line, compressed by gzip or not. Pipes and standard input work too.

The first bytes of a file show whether it is compressed; its name does not matter.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from stream.core.offline import OversizedLine

STDIN = "-"

_BLOCK_BYTES = 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some programs write it at the beginning of UTF-8

_GZIP = b"\x1f\x8b"
# The first bytes of other formats, which are often given by mistake.
_UNSUPPORTED_FORMATS = {
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"PK\x03\x04": "packed by zip",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PAR1": "a Parquet file",
}
_MAX_HEAD = max(map(len, _UNSUPPORTED_FORMATS))


@contextmanager
def lines_of(
    path: str, *, max_line_bytes: int, on_bytes_read: Callable[[int], None] = lambda read: None
) -> Iterator[Iterator[bytes]]:
    """Yield the lines of a file without their line ends; `-` is standard input.

    A line of more than `max_line_bytes` may be replaced by an `OversizedLine`, so that it is not kept in memory. A byte
    order mark is skipped. `on_bytes_read` is called with the number of bytes of the file that were read so far. Raises
    OSError, also for a gzip file that is cut off and for a file of another format.
    """
    with ExitStack() as stack:
        raw = _Source(sys.stdin.buffer if path == STDIN else stack.enter_context(Path(path).open("rb")))
        for first_bytes, what in _UNSUPPORTED_FORMATS.items():
            if raw.first_bytes.startswith(first_bytes):
                raise OSError(
                    f"{_display_name(path)} is {what}: only lines of UTF-8 text are read, packed by gzip or not"
                )
        source: Any = gzip.GzipFile(fileobj=raw) if raw.first_bytes.startswith(_GZIP) else raw  # type: ignore[call-overload]
        try:
            yield chain.from_iterable(_blocks_of_lines(source, max_line_bytes, lambda: on_bytes_read(raw.bytes_read)))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise OSError(f"{_display_name(path)} is no whole gzip file: {error}") from error


def _display_name(path: str) -> str:
    return "standard input" if path == STDIN else path


class _Source:
    """A file that is read once from its beginning, so that it may be a pipe. Its first bytes can be seen before."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.first_bytes = self._unread = file.read(_MAX_HEAD)
        self.bytes_read = 0

    def read(self, size: int) -> bytes:
        """Read so many bytes; fewer at the end."""
        block, self._unread = self._unread[:size], self._unread[size:]
        block += self._file.read(size - len(block))
        self.bytes_read += len(block)
        return block


def _blocks_of_lines(
    source: _Source | gzip.GzipFile, max_line_bytes: int, on_bytes_read: Callable[[], None]
) -> Iterator[list[bytes]]:
    """Yield the lines of a block at a time, because to read them one by one takes as long as to decode them."""
    line = _Line(max_line_bytes)  # the line that continues in the next block
    is_first = True
    while block := source.read(_BLOCK_BYTES):
        end, *lines = block.split(b"\n")
        line.add(end)
        on_bytes_read()
        if lines:
            yield [line.whole(is_first=is_first), *lines[:-1]]
            line, is_first = _Line(max_line_bytes), False
            line.add(lines[-1])
    yield [line.whole(is_first=is_first)]  # it is empty if the file ends with a line end


class _Line:
    """A line that is read in parts. If it is too large, its parts are dropped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            self._parts.clear()
        else:
            self._parts.append(part)

    def whole(self, *, is_first: bool) -> bytes:
        if self._size > self._max_bytes:
            return OversizedLine.of(self._size)
        line = b"".join(self._parts)
        return line.removeprefix(_BYTE_ORDER_MARK) if is_first else line
