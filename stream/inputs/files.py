"""Reads files of messages, compressed or not. Pipes and standard input work too.

A file holds JSON objects, one on each line, or a JSON array of them, or a table with a header (`.csv`, `.tsv`), or it
is a Parquet file or one of Avro. Each row of a table becomes a JSON object with the names of its columns. No file is
read as a whole: only a block and a message of it are in memory. The first bytes of a file show whether it is
compressed, by gzip or zstd; its name does not matter. A file may consist of several compressed ones, as `cat` and log
shippers make it.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from errno import ENOENT
from glob import glob
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from stream.core.offline import OversizedLine
from stream.inputs import json_arrays, tables
from stream.inputs.encodings import avro
from stream.inputs.snowplow import is_line

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

STDIN = "-"

_BLOCK_BYTES = 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some programs write it at the beginning of UTF-8

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_AVRO = b"Obj\x01"
_PACKED_SUFFIXES = (".gz", ".zst")
# What separates the cells of a table: of a `.csv` whichever of these its header has most of.
_DELIMITERS = {".csv": ",;|\t", ".tsv": "\t"}
# The files of a folder that are taken; what else lies there, such as _SUCCESS, is none of ours.
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".avro")
# The first bytes of other formats, which are often given by mistake.
_UNSUPPORTED_FORMATS = {
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"PK\x03\x04": "packed by zip",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_MAX_HEAD = max(map(len, _UNSUPPORTED_FORMATS))

Tell = Callable[[int], None]


def files_of(paths: Iterable[str]) -> list[str]:
    """The files that some paths mean: of a folder those in it, of a pattern such as `logs/*.csv` those that fit it.

    In the order of their names. Raises OSError where there are none.
    """
    found: list[str] = []
    for path in paths:
        if path == STDIN or (Path(path).exists() and not Path(path).is_dir()):
            found.append(path)
            continue
        if Path(path).is_dir():
            inside = sorted(str(one) for one in Path(path).rglob("*") if one.is_file() and _is_ours(one))
        else:
            inside = sorted(one for one in glob(path, recursive=True) if Path(one).is_file())  # noqa: PTH207  # `**` as shells have it
        if not inside:
            in_folder = f"no file in it ends in {', '.join(_SUFFIXES)}"
            raise FileNotFoundError(ENOENT, in_folder if Path(path).is_dir() else "No such file or directory", path)
        found += inside
    return found


def _is_ours(path: Path) -> bool:
    return suffix_of(str(path)) in _SUFFIXES and not path.name.startswith((".", "_"))


def suffix_of(path: str) -> str:
    """What a file's name ends in, but for what it is packed by: `.csv` of `a.csv.gz`."""
    inner = Path(path.lower())
    return Path(inner.stem).suffix if inner.suffix in _PACKED_SUFFIXES else inner.suffix


@contextmanager
def messages_of(
    path: str,
    *,
    max_line_bytes: int,
    literals: frozenset[str] = frozenset(),
    on_bytes_read: Tell = lambda read: None,
) -> Iterator[Iterator[bytes]]:
    """Yield the messages of a file as JSON: its lines, elements or rows; `-` is standard input.

    The header of a table counts as a message, which is empty, so that the number of a message is that of its row. In a
    table all cells are text, except those in the columns `literals` that hold a number, true or false. A message of
    more than `max_line_bytes` may be replaced by an `OversizedLine`, so that it is not kept in memory, and a row that
    can't be read by an `UnreadableLine`. A byte order mark is skipped. `on_bytes_read` is called with the number of
    bytes of the file that were read so far. Raises OSError, also for a file that is cut off and for a file of another
    format.
    """
    with _opened(path) as (raw, source):
        if raw.first_bytes.startswith(_PARQUET):
            from stream.inputs.parquet import rows_of  # takes a tenth of a second to import, and is an extra

            yield rows_of(path, on_bytes_read)
            return
        with _broken_as_os_error(path):
            begin = source.read(_BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK)
            rest = _Begun(begin, source)
            told = lambda: on_bytes_read(raw.bytes_read)  # noqa: E731
            if begin.startswith(_AVRO):
                yield avro.rows_of(_display_name(path), rest, told)
                return
            if begin.lstrip()[:1] == b"[":
                yield json_arrays.elements_of(rest.read, max_bytes=max_line_bytes, on_bytes_read=told)
                return
            lines = chain.from_iterable(_blocks_of_lines(rest, max_line_bytes, told))
            delimiters = _DELIMITERS.get(suffix_of(path), "")
            if delimiters and not is_line(begin.partition(b"\n")[0]):  # Snowplow's are tables without a header
                yield tables.rows_of(lines, delimiters=delimiters, max_bytes=max_line_bytes, literals=literals)
            else:
                yield lines


@contextmanager
def _opened(path: str) -> "Iterator[tuple[_Source, Any]]":
    """A file, and what it holds when it is unpacked. Raises OSError for one of a kind that is not read."""
    with ExitStack() as stack:
        raw = _Source(sys.stdin.buffer if path == STDIN else stack.enter_context(Path(path).open("rb")))
        for first_bytes, what in _UNSUPPORTED_FORMATS.items():
            if raw.first_bytes.startswith(first_bytes):
                read = "only JSON, CSV, TSV, Parquet and Avro are read, also as .gz and .zst"
                raise OSError(f"{_display_name(path)} is {what}: {read}")
        source: Any = raw
        if raw.first_bytes.startswith(_GZIP):
            source = gzip.GzipFile(fileobj=raw)  # type: ignore[call-overload]
        elif raw.first_bytes.startswith(_ZSTD):
            source = ZstdFile(raw)  # type: ignore[call-overload]
        yield raw, source


@contextmanager
def _broken_as_os_error(path: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, ZstdError) as error:
        raise OSError(f"{_display_name(path)} is no whole packed file: {error}") from error
    except (json_arrays.BrokenArray, tables.BrokenTable) as error:
        raise OSError(f"{_display_name(path)}: {error}") from None


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


class _Begun:
    """A file of which a block was read already."""

    def __init__(self, begin: bytes, source: Any) -> None:
        self._begin = begin
        self._at = 0
        self._source = source

    def read(self, size: int) -> bytes:
        """Read so many bytes; fewer at the end."""
        block = self._begin[self._at : self._at + size]
        self._at += len(block)
        if self._begin and self._at == len(self._begin):
            self._begin, self._at = b"", 0
        return block if len(block) == size else block + self._source.read(size - len(block))


def _blocks_of_lines(source: _Begun, max_line_bytes: int, on_bytes_read: Callable[[], None]) -> Iterator[list[bytes]]:
    """Yield the lines of a block at a time, because to read them one by one takes as long as to decode them."""
    line = _Line(max_line_bytes)  # the line that continues in the next block
    while block := source.read(_BLOCK_BYTES):
        end, *lines = block.split(b"\n")
        line.add(end)
        on_bytes_read()
        if lines:
            yield [line.whole(), *lines[:-1]]
            line = _Line(max_line_bytes)
            line.add(lines[-1])
    yield [line.whole()]  # it is empty if the file ends with a line end


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

    def whole(self) -> bytes:
        if self._size > self._max_bytes:
            return OversizedLine.of(self._size)
        return b"".join(self._parts)
