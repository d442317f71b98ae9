"""Files of events in practice: compressed or not, from a pipe, damaged by a power cut, without a last line end."""

import gzip
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.offline import Offline, OversizedLine
from stream.core.rules import Rules
from stream.inputs import files
from stream.inputs.files import messages_of
from tests.native import READERS
from tests.timeouts import TIMEOUT_SECONDS

LOGIN = b'{"topic":"logins","user_id":"ann","event_time":"2024-01-01T12:00:00Z"}'
FUTURE = LOGIN.replace(b"2024", b"2066")


def lines(path: Path, *, max_line_bytes: int = 1_000) -> list[bytes]:
    with messages_of(str(path), max_line_bytes=max_line_bytes) as found:
        return [line for line in found if line or isinstance(line, OversizedLine)]


def engagement(
    *arguments: str, stdin: bytes = b"", stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stream.cli", *arguments]
    return subprocess.run(
        command, input=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT_SECONDS
    )


# -- packed or not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.gz", "a.GZ", "a.gzipped", "a.jsonl.txt"])
@pytest.mark.parametrize("packed", [True, False])
def test_whether_a_file_is_packed_is_seen_by_its_first_bytes(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    content = b"\xef\xbb\xbf" + LOGIN + b"\n" + LOGIN
    path.write_bytes(gzip.compress(content[:40]) + gzip.compress(content[40:]) if packed else content)

    assert lines(path) == [LOGIN, LOGIN]


@pytest.mark.parametrize("packed", [True, False])
def test_a_named_pipe_is_read_once_from_its_beginning(tmp_path: Path, packed: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = (LOGIN + b"\n") * 50_000
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(content) if packed else content,))
    writer.start()

    assert len(lines(pipe)) == 50_000
    writer.join(TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04\x00", "packed by zip"),
        ("ä".encode("utf-16"), "UTF-16 text"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "events").write_bytes(content)

    with pytest.raises(OSError, match=f"events is {what}: only JSON, CSV, TSV, Parquet and Avro are read"):
        lines(tmp_path / "events")


def test_standard_input_is_unpacked_too() -> None:
    done = engagement("compute", "-", stdin=gzip.compress(LOGIN))

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 applied" in done.stdout


# -- lines that are too large ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12), max_size=6), st.integers(0, 8), st.integers(1, 9))
def test_lines_are_those_of_the_whole_file_and_larger_ones_are_told_by_their_size(
    some: list[bytes], most: int, block: int
) -> None:
    content = b"\n".join(some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", block)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{\n" + content)))
        with messages_of("-", max_line_bytes=most) as found:
            first, *told = [line.size if isinstance(line, OversizedLine) else line for line in found]

    assert first in (b"{", 1)
    expected = content.split(b"\n")
    assert [line if isinstance(line, int) else len(line) for line in told] == [len(line) for line in expected]
    assert all(line == whole for line, whole in zip(told, expected, strict=True) if not isinstance(line, int))
    assert all(len(whole) > most for line, whole in zip(told, expected, strict=True) if isinstance(line, int))


def test_a_file_without_an_end_of_a_line_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(300_000_000)
    tracemalloc.start()
    try:
        offline = Offline(Rules(), READERS)
        with messages_of(str(path), max_line_bytes=1_000_000) as found:
            (refused,) = offline.apply(found)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (refused.number, refused.reason.value) == (1, "too_large")
    assert refused.detail == "300000000 bytes, 1000000 are allowed"
    assert most < 20_000_000


def test_a_line_of_nul_bytes_is_a_line_that_can_not_be_used(tmp_path: Path) -> None:
    path = tmp_path / "after-a-power-cut.jsonl"
    path.write_bytes(LOGIN + b"\n" + bytes(4_096) + b"\n" + LOGIN + b"\n")
    for count in ("1", "2"):
        done = engagement("compute", str(path), "--processes", count)

        assert done.returncode == 3
        assert done.stderr.startswith(b"%s:2: not_json: " % bytes(path))
    assert b"line 2" not in done.stderr


# -- what is no success ------------------------------------------------------------------------------------------------


def test_a_date_in_the_future_moves_no_window(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(LOGIN + b"\n" + FUTURE + b"\n")
    for count in ("1", "2"):
        done = engagement("compute", str(path), "--processes", count)

        assert b"live at 2024-01-01T12:00:00Z" in done.stdout
        assert done.stderr.startswith(b"%s:2: future: 2066-01-01T12:00:00Z is after 20" % bytes(path))
        assert done.returncode == 3
    asked = engagement("compute", str(path), "--at", "2066-01-02T00:00:00Z")
    assert (asked.returncode, asked.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("content", "arguments", "told"),
    [
        (b"x\n{}\n", (), "2 lines could not be used, and there are no others"),
        (FUTURE, (), "1 line could not be used, and there are no others"),
        (FUTURE, ("--at", "2026-01-01T00:00:00Z"), "no event up to 2026-01-01T00:00:00Z: all are later"),
    ],
)
def test_nothing_usable_is_no_success(tmp_path: Path, content: bytes, arguments: tuple[str, ...], told: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    done = engagement("compute", str(path), *arguments)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().endswith(f"engagement: {told}\n")


def test_a_replay_of_nothing_usable_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x\n" + b"y" * 1_000_001)
    done = engagement("replay", str(path), "--kafka", "localhost:1")

    assert done.returncode == 1
    assert f"{path}:2: 1000001 bytes, 1000000 are allowed\n" in done.stderr.decode()
    assert done.stderr.decode().endswith("engagement: 2 lines could not be used, and there are no others\n")


# -- output that can't be written --------------------------------------------------------------------------------------

PRINTING = [
    ("settings",),
    ("compute", "-"),
    ("compute", "-", "--as", "json"),
    ("simulate", "--users", "10", "--days", "2"),
    ("compute", "--help"),
    ("--version",),
]


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_line(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = engagement(*command, stdin=LOGIN, stdout=full.fileno())

    assert done.stderr == b"engagement: can't write the output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_an_output_that_is_closed_is_one_line(command: tuple[str, ...]) -> None:
    program = [sys.executable, "-m", "stream.cli", *command]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *program],
        *(), input=LOGIN, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip

    assert done.stderr == b"engagement: can't write the output: it is closed\n"
    assert done.returncode == 1
