"""Files of each kind hold the same messages: JSON lines and arrays, tables with a header, Parquet; packed or not."""

import gzip
import json
import random
import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.offline import Offline, OversizedLine, UnreadableLine
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.inputs import json_arrays
from stream.inputs.files import files_of, messages_of
from stream.inputs.mapping.targets import literal_fields
from tests.native import READERS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS: list[dict[str, Any]] = [
    {"topic": "sessions", "user_id": "007", "event_time": "2024-01-01T12:00:00Z", "type": "event", "engaged_ms": 1_500},
    {"topic": "logins", "user_id": 'zoë, the "1st"\nof many', "event_time": 1_704_110_400_000, "success": False},
    {"topic": "surveys", "user_id": "bob", "event_time": 1_704_110_400, "response_id": 5, "kind": "nps", "score": 9},
]
NAMES = list(dict.fromkeys(name for row in ROWS for name in row))


def table(delimiter: str, *, end: str = "\n") -> bytes:
    def cell(value: Any) -> str:
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',;|\t"\n') else text

    rows = [delimiter.join(cell(row.get(name)) for name in NAMES) for row in ROWS]
    return end.join([delimiter.join(NAMES), *rows, ""]).encode()


LINES = "\n".join(map(json.dumps, ROWS)).encode()
KINDS: dict[str, bytes] = {
    "a.jsonl": LINES,
    "array.json": json.dumps(ROWS, indent=2).encode(),
    "marked.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "several.json": b"\n".join(json.dumps([row]).encode() for row in ROWS),
    "comma.csv": table(","),
    "semicolon.csv": table(";"),
    "windows.csv": b"\xef\xbb\xbf" + table(";", end="\r\n"),
    "tabs.tsv": table("\t"),
    "TABS.TSV": table("\t"),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}


def messages(path: Path, *, max_line_bytes: int = 10_000) -> list[bytes]:
    with messages_of(str(path), max_line_bytes=max_line_bytes, literals=literal_fields()) as found:
        return [one for one in found if one or isinstance(one, (OversizedLine, UnreadableLine))]


def outcomes(lines: list[bytes]) -> dict[str, int]:
    offline = Offline(Rules(), READERS)
    assert list(offline.apply(lines)) == []
    return offline.computed().events


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_holds_the_same_messages(tmp_path: Path, name: str, packed: str) -> None:
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(PACKED[packed](KINDS[name]))

    read = messages(path)
    assert [json.loads(one)["user_id"] for one in read] == [row["user_id"] for row in ROWS]
    assert [json.loads(one).get("engaged_ms") for one in read] == [1_500, None, None]
    assert outcomes(read) == outcomes(LINES.split(b"\n"))


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "events"
    parquet.write_table(pyarrow.Table.from_pylist([{"user_id": 42, "t": None}, {"user_id": None, "t": 1.5}]), path)
    assert [json.loads(one) for one in messages(path)] == [{"user_id": 42, "t": None}, {"user_id": None, "t": 1.5}]

    moment = pyarrow.array([1_704_110_400_123_456_789], pyarrow.timestamp("ns", tz="UTC"))
    local = pyarrow.array([1_704_110_400_123], pyarrow.timestamp("ms"))
    parquet.write_table(pyarrow.table({"at": moment, "local": local, "name": ["x"]}), path)
    [row] = [json.loads(one) for one in messages(path)]
    assert row == {"at": "2024-01-01T12:00:00.123456Z", "local": "2024-01-01T12:00:00.123000", "name": "x"}

    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OSError, match="events can't be read as Parquet"):
        messages(path)


def test_times_of_parquet_are_read_wherever_they_lie_and_one_that_can_not_be_costs_only_its_row(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path, kind = tmp_path / "events.parquet", pyarrow.timestamp("ns", tz="UTC")
    at = 1_704_110_400_123_456_789
    inner = pyarrow.array([{"at": at, "all": [at]}], pyarrow.struct({"at": kind, "all": pyarrow.list_(kind)}))
    parquet.write_table(pyarrow.table({"event": inner}), path)
    [row] = [json.loads(one) for one in messages(path)]
    moment = "2024-01-01T12:00:00.123456Z"
    assert row == {"event": {"at": moment, "all": [moment]}}

    seconds = pyarrow.array([1_704_110_400, 10**12, 1_704_110_400], pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table({"at": [1, 2, 3], "day": seconds}), path)
    first, broken, last = messages(path)
    assert [json.loads(one)["at"] for one in (first, last)] == [1, 3]
    assert isinstance(broken, UnreadableLine)
    assert broken.why.startswith("a row that can't be read: ")


def test_a_row_that_can_not_be_read_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,2\n1,2,3\n"x' + b"y" * 2_000 + b'",1\n5\n\n7,8\n')

    first, many, large, short, last = messages(path, max_line_bytes=1_000)
    assert [json.loads(one) for one in (first, short, last)] == [{"a": "1", "b": "2"}, {"a": "5"}, {"a": "7", "b": "8"}]
    assert isinstance(many, UnreadableLine)
    assert many.why == "a row of 3 cells, the header has 2"
    assert isinstance(large, OversizedLine)

    [unusable] = Offline(Rules(), READERS).apply([many])
    assert (unusable.reason, unusable.detail) == (Reason.NOT_JSON, many.why)


def test_a_quote_that_is_never_closed_swallows_no_rows_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,2\n"x,3\n4,5\n')
    first, broken = messages(path)
    path.write_bytes(b'a,b\n"x"y,3\n4,5\n')
    garbled, last = messages(path)

    assert [json.loads(one) for one in (first, last)] == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert isinstance(broken, UnreadableLine)
    assert broken.why == "no row of a table: unexpected end of data"
    assert isinstance(garbled, UnreadableLine)


def test_a_table_that_is_no_utf_8_keeps_its_bytes_so_that_no_two_ids_become_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("topic,user_id,event_time,engaged_ms\nlogins,mül,1719712800,5\n".encode("latin-1"))
    [row] = messages(path)

    assert row == b'{"topic": "logins", "user_id": "m\xfcl", "event_time": "1719712800", "engaged_ms": 5}'
    [unusable] = Offline(Rules(), READERS).apply([row])
    assert unusable.reason is Reason.BAD_USER


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "a.csv: the first row must name the columns: it is empty"),
        ("a.csv", b"a,,c\n1,2,3\n", "a.csv: the first row must name the columns: column 2 has no name"),
        ("a.tsv", b"a\ta\n", "a.tsv: the first row must name the columns: two are named 'a'"),
        ("a.csv", b"a" * 20_000, "a.csv: a header of more than 10000 bytes"),
        ("a.json", b'[{"a":1},', "a.json: no whole JSON array: element 2 can't be read"),
        (
            "a.json",
            b'[{"a":1} {"a":2}]',
            "a.json: no whole JSON array: after 1 elements '{' stands there instead of ']'",
        ),
        ("a.json", b'[{"a":1}]\nx', "a.json: no whole JSON array: after 1 elements 'x' stands there instead of '['"),
        ("a.json.zst", zstd.compress(LINES * 50)[:-9], "a.json.zst is no whole packed file"),
        ("a.jsonl", b"\x28\xb5\x2f\xfdnonsense", "a.jsonl is no whole packed file"),
    ],
)
def test_a_file_that_is_not_whole_is_told_with_its_name(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(OSError, match=re.escape(told)):
        messages(path)


@given(
    st.lists(st.recursive(st.integers() | st.text() | st.booleans(), st.lists, max_leaves=5), max_size=8),
    st.integers(1, 30),
)
def test_the_elements_of_an_array_are_found_wherever_blocks_end(elements: list[object], block: int) -> None:
    content = json.dumps(elements, ensure_ascii=False).encode("utf-8", "surrogatepass")
    at = 0

    def read(_: int) -> bytes:
        nonlocal at
        at += block
        return content[at - block : at]

    found = list(json_arrays.elements_of(read, max_bytes=1_000_000))
    assert [json.loads(one.decode("utf-8", "surrogatepass")) for one in found] == elements


def test_a_folder_and_a_pattern_are_their_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl.gz", "sub/c.parquet", "_SUCCESS", "readme.txt", ".hidden.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*paths: str) -> list[str]:
        return [
            Path(one).relative_to(tmp_path).as_posix() for one in files_of([f"{tmp_path}/{path}" for path in paths])
        ]

    assert found("") == ["a.jsonl.gz", "b.csv", "sub/c.parquet"]
    assert found("*.csv", "readme.txt") == ["b.csv", "readme.txt"]
    assert found("**/*.parquet") == ["sub/c.parquet"]
    assert files_of(["-"]) == ["-"]
    for nothing in ("none.csv", "*.none"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            found(nothing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no file in it ends in \.jsonl"):
        found("empty")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_file_is_not_kept_in_memory(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / f"large.{kind}", random.Random(1)
    rows = [{"user": f"u{rng.randrange(1_000)}", "text": "x" * 200} for _ in range(40_000)]
    if kind == "csv":
        path.write_text("user,text\n" + "".join(f"{row['user']},{row['text']}\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    del rows

    tracemalloc.start()
    with messages_of(str(path), max_line_bytes=10_000) as found:
        count = sum(1 for one in found if one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 40_000
    assert peak < 0.8 * path.stat().st_size


def _padded(number: int) -> dict[str, Any]:
    """One of some hundred events that come again and again, each a kilobyte long."""
    at_ms = 1_704_110_400_000 + number % 300 * 1_000
    return {**ROWS[1], "user_id": f"u{number % 50}", "event_time": at_ms, "comment": "x" * 900}


def _written(path: Path, count: int) -> Path:
    rows = map(_padded, range(count))
    kind, _, packing = path.name.removeprefix("events.").partition(".")
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        with parquet.ParquetWriter(path, pyarrow.Table.from_pylist([_padded(0)]).schema) as file:
            for _ in range(count // 1_000):
                file.write_table(pyarrow.Table.from_pylist([next(rows) for _ in range(1_000)]))
        return path
    if kind in ("csv", "tsv"):
        delimiter = "," if kind == "csv" else "\t"
        names = list(_padded(0))
        lines = [delimiter.join(names), *(delimiter.join(_cell(row[name]) for name in names) for row in rows)]
        text = "\n".join(lines)
    else:
        lines = [json.dumps(row) for row in rows]
        text = "[" + ",\n".join(lines) + "]" if kind == "json" else "\n".join(lines)
    path.write_bytes(PACKED[f".{packing}" if packing else ""](text.encode()))
    return path


def _cell(value: Any) -> str:
    return "false" if value is False else str(value)


def _peak_of_counting(path: Path) -> tuple[int, int]:
    """The most memory that counting the events of a file takes, and how many lines it has."""
    offline = Offline(Rules(), READERS)
    tracemalloc.start()
    with messages_of(str(path), max_line_bytes=10_000, literals=literal_fields()) as lines:
        unusable = list(offline.apply(line for line in lines if line))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert unusable == []
    return peak, offline.lines


@pytest.mark.parametrize("name", ["jsonl", "json.gz", "csv.zst", "parquet"])
def test_ten_times_as_many_rows_take_no_more_memory_to_count(tmp_path: Path, name: str) -> None:
    few = _written(tmp_path / f"events.{name}", 2_000)
    (tmp_path / "more").mkdir()
    many = _written(tmp_path / "more" / f"events.{name}", 20_000)

    peak_of_few, lines_of_few = _peak_of_counting(few)
    peak_of_many, lines_of_many = _peak_of_counting(many)

    assert (lines_of_few, lines_of_many) == (2_000, 20_000)
    # What is read or parsed at a time, and the events of fifty people, are the same; all rows are 20 MB.
    assert peak_of_many < 1.3 * peak_of_few + 500_000
    assert peak_of_many < 15_000_000
