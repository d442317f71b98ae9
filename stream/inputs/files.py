"""Files of events: JSON objects, one a line, packed by gzip or not, or from standard input."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

STDIN = "-"

_BLOCK_BYTES = 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which some programs write at the beginning of UTF-8


@contextmanager
def lines_of(path: str, *, tell: Callable[[int], None] = lambda read: None) -> Iterator[Iterator[bytes]]:
    """The lines of a file, without their ends; `-` is standard input, what ends with `.gz` is unpacked.

    A byte order mark is skipped. `tell` is told how many bytes of the file are read so far. Raises OSError, also for a
    file that is no whole gzip file.
    """
    if path == STDIN:
        yield chain.from_iterable(_blocks_of_lines(sys.stdin.buffer, lambda: None))
        return
    with Path(path).open("rb") as raw:
        source: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        try:
            yield chain.from_iterable(_blocks_of_lines(source, lambda: tell(raw.tell())))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise OSError(f"{path} is no whole gzip file: {error}") from error


def _blocks_of_lines(source: BinaryIO, tell: Callable[[], None]) -> Iterator[list[bytes]]:
    """Some thousand lines at a time: reading them singly takes as long as decoding them."""
    begun, is_first = b"", True
    while block := source.read(_BLOCK_BYTES):
        *lines, begun = (begun + block).split(b"\n")
        if is_first and lines:
            lines[0], is_first = lines[0].removeprefix(_BYTE_ORDER_MARK), False
        tell()
        yield lines
    if begun:
        yield [begun.removeprefix(_BYTE_ORDER_MARK) if is_first else begun]
