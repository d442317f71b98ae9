"""Tables with a header: the rows of CSV and TSV files, each as a JSON object with the names of its columns.

A cell that is empty tells nothing and is left out. All others are text; in columns of which that is said, a cell that
is a number, true or false is one. Rows are read as the `csv` module of Python reads them: a cell in quotes may hold
delimiters and ends of lines. A quote that is never closed makes the rest of the file a row that can't be read.
"""

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from stream.core.offline import OversizedLine, UnreadableLine

_LITERAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false", re.ASCII)
_END_OF_ROW = "\n"

_encode = msgspec.json.Encoder().encode


class BrokenTable(ValueError):
    """What should be a table with a header is none."""


class _TooLarge(Exception):
    """A line of a row is too large to be kept."""


class _Lines:
    """The lines of a file as text, for the `csv` module, which asks for more while a cell goes on."""

    def __init__(self, lines: Iterator[bytes], max_bytes: int) -> None:
        self._lines = lines
        self._max_bytes = max_bytes
        self.row_bytes = 0  # of the lines of this row

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.row_bytes += line.size if isinstance(line, OversizedLine) else len(line)
        if self.row_bytes > self._max_bytes:
            raise _TooLarge
        # Bytes that are no UTF-8 stay what they are, for the one who reads the row.
        return line.decode(errors="surrogateescape").rstrip("\r\n") + _END_OF_ROW


def rows_of(
    lines: Iterator[bytes], *, delimiters: str, max_bytes: int, literals: frozenset[str] = frozenset()
) -> Iterator[bytes]:
    """The rows of a table, after an empty one for its header.

    What separates the cells is the one of `delimiters` that the header has most of. A row of more than `max_bytes`
    comes as an `OversizedLine`, one with more cells than names as an `UnreadableLine`. Raises BrokenTable for a header
    that is none.
    """
    csv.field_size_limit(max(max_bytes, 1_000))
    texts = _Lines(lines, max_bytes)
    try:
        header = next(texts, "")
    except _TooLarge:
        raise BrokenTable(f"a header of more than {max_bytes} bytes") from None
    delimiter = max(delimiters, key=header.count)
    try:
        names = next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise BrokenTable(f"the first row must name the columns: {error}") from None
    _check(names)
    yield b""
    converted = [name in literals for name in names]
    while True:
        rows = csv.reader(texts, delimiter=delimiter, strict=True)
        try:
            for row in rows:
                texts.row_bytes = 0
                yield _object(names, row, converted)
            return
        except _TooLarge:
            yield OversizedLine.of(texts.row_bytes)
        except csv.Error as error:
            yield UnreadableLine.of(f"no row of a table: {error}")
        texts.row_bytes = 0  # the next line begins a row, as far as can be known


def _check(names: list[str]) -> None:
    blank = [number for number, name in enumerate(names, start=1) if not name.strip()]
    if not names or blank:
        told = f"column {blank[0]} has no name" if names else "it is empty"
        raise BrokenTable(f"the first row must name the columns: {told}")
    for name in names:
        if names.count(name) > 1:
            raise BrokenTable(f"the first row must name the columns: two are named {name!r}")


def _object(names: list[str], row: list[str], converted: list[bool]) -> bytes:
    if len(row) > len(names):
        return UnreadableLine.of(f"a row of {len(row)} cells, the header has {len(names)}")
    fields: dict[str, Any] = {}
    for name, cell, is_converted in zip(names, row, converted):  # noqa: B905  # a row may be shorter
        if cell:
            fields[name] = msgspec.Raw(cell.encode()) if is_converted and _LITERAL.fullmatch(cell) else cell
    try:
        return _encode(fields) if fields else b""
    except UnicodeEncodeError:
        plain = {name: json.loads(bytes(cell)) if type(cell) is msgspec.Raw else cell for name, cell in fields.items()}
        return json.dumps(plain, ensure_ascii=False).encode(errors="surrogateescape")
