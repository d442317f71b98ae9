"""The command line, as somebody types it."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from stream.cli import main
from stream.settings import read_toml
from stream.wiring import VERSION
from tests.timeouts import TIMEOUT_SECONDS

LINES = """\
{"topic":"sessions","user_id":"ann","event_time":"2026-03-01T10:00:00Z","type":"page_view"}
{"topic":"logins","user_id":"bob","event_time":"2026-03-01T23:30:00Z"}
{"topic":"logins","user_id":"bob","event_time":"2026-03-01T23:30:00Z"}
{"topic":"sessions","user_id":"ann","event_time":"2026-03-02T10:00:00Z","type":"page_view"}
{"topic":"surveys","user_id":"ann","event_time":"2026-03-02T10:01:00Z","kind":"csat","response_id":"r","score":9}
not json
{"topic":"sessions","user_id":"crawler","event_time":"2026-03-02T10:00:00Z","type":"page_view","is_bot":true}
"""


def engagement(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*prefix, name))
        if isinstance(command, click.Group):
            found += commands(command, (*prefix, name))
    return found


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_each_help_page_has_an_example(command: tuple[str, ...]) -> None:
    result = engagement(*command, "--help")

    assert result.exit_code == 0
    assert "Example: " in result.output
    assert f"engagement {' '.join(command)}" in result.output.split("Example: ")[1] or command == ("topics",)


def test_the_version_is_that_of_the_package() -> None:
    assert engagement("--version").output == f"engagement, version {VERSION}\n"


def test_compute_gives_the_json_that_other_programs_read(events: Path) -> None:
    result = engagement("compute", str(events), "--at", "2026-03-02T12:00:00Z", "--days", "2", "--as", "json")
    document = msgspec.json.decode(result.stdout.encode())

    assert result.exit_code == 3  # some lines could not be used
    assert list(document) == ["at", "live", "closed", "events", "left_out"]
    assert document["at"] == "2026-03-02T12:00:00Z"
    assert {"name": "engagement_active_users", "labels": {"window": "1d"}, "value": 2} in document["live"]
    assert [day["day"] for day in document["closed"]] == ["2026-03-01"]
    assert {"name": "engagement_active_users_closed", "labels": {"window": "1d"}, "value": 2} in document["closed"][0][
        "samples"
    ]
    assert document["events"] == {
        "applied": 3,
        "duplicate": 1,
        "late": 0,
        "future": 0,
        "invalid": 2,
        "bot": 1,
        "erased": 0,
    }


def test_compute_names_each_line_that_can_not_be_used(events: Path) -> None:
    result = engagement("compute", str(events))

    assert f"{events}:5: out_of_range: score 9 at `$.score` is outside its scale 1-5" in result.stderr
    assert f"{events}:6: not_json: " in result.stderr
    assert result.stderr.endswith("engagement: 2 lines could not be used; the others were\n")
    assert result.exit_code == 3


def test_of_many_lines_that_can_not_be_used_the_first_ten_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text("x\n" * 12 + LINES)
    told = engagement("compute", str(path)).stderr.splitlines()

    assert [one.partition(": ")[0] for one in told[:-1]] == [f"{path}:{number}" for number in range(1, 11)]
    assert told[-1] == "engagement: 14 lines could not be used (the first 10 are named above); the others were"


def test_asked_to_be_strict_compute_refuses_files_with_such_lines(events: Path) -> None:
    result = engagement("compute", str(events), "--strict")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert f"{events}:6: not_json: " in result.stderr
    assert result.stderr.endswith("engagement: 2 lines could not be used: nothing is done with --strict\n")


def test_a_byte_order_mark_at_the_start_of_a_file_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINES.encode())

    plain = engagement("compute", "-", "--as", "json", stdin=LINES).stdout
    assert engagement("compute", str(path), "--as", "json").stdout == plain


def test_compute_ignores_and_counts_what_comes_after_the_moment_asked_for(events: Path) -> None:
    result = engagement("compute", str(events), "--at", "2026-03-02T00:00:00Z", "--as", "json")
    document = msgspec.json.decode(result.stdout.encode())

    assert document["events"]["future"] == 2
    assert document["events"]["applied"] == 2
    assert {"name": "engagement_active_users", "labels": {"window": "1h"}, "value": 1} in document["live"]


def test_compute_cuts_days_in_the_zone_asked_for(events: Path) -> None:
    result = engagement(
        *("compute", str(events), "--timezone", "Europe/Berlin", "--as", "json"),
        *("--at", "2026-03-03T12:00:00Z", "--days", "2"),
    )
    closed = msgspec.json.decode(result.stdout.encode())["closed"]

    daily = {
        day["day"]: sample["value"]
        for day in closed
        for sample in day["samples"]
        if sample["name"] == "engagement_active_users_closed" and sample["labels"] == {"window": "1d"}
    }
    assert daily == {"2026-03-01": 1, "2026-03-02": 2}  # 23:30 in London is the next day in Berlin


def test_compute_reads_packed_files_and_standard_input_alike(events: Path, tmp_path: Path) -> None:
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))

    plain = engagement("compute", str(events), "--as", "json").stdout

    assert engagement("compute", str(packed), "--as", "json").stdout == plain
    assert engagement("compute", "-", "--as", "json", stdin=LINES).stdout == plain


def test_compute_prints_a_table_for_people(events: Path) -> None:
    result = engagement("compute", str(events))

    assert "live at 2026-03-02T10:00:00Z" in result.stdout
    assert "closed day 2026-03-01" in result.stdout
    assert "3 applied, 1 duplicate" in result.stdout


def test_compute_of_nothing_is_no_number(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()

    document = msgspec.json.decode(engagement("compute", str(empty), "--as", "json").stdout.encode())

    assert document == {
        "at": None,
        "live": [],
        "closed": [],
        "events": dict.fromkeys(("applied", "duplicate", "late", "future", "invalid", "bot", "erased"), 0),
        "left_out": {},
    }


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("compute", "nowhere.jsonl"), 1, "No such file or directory: nowhere.jsonl"),
        (("compute", "-", "--at", "yesterday"), 2, "--at: 'yesterday' is no ISO 8601 time"),
        (("compute", "-", "--timezone", "Mars"), 2, "timezone: 'Mars' is no IANA time zone"),
        (("compute", "-", "--settings", "none.toml"), 2, "can't read the settings file 'none.toml'"),
        (("simulate", "--late", "1.5"), 2, "option 'late' must be a share in [0, 1), not 1.5"),
        (("simulate", "--days", "1e9"), 2, "1970-01-05 or later"),
        (("compute", "-", "--at", "9999-12-31T23:59:59-14:00"), 2, "is no ISO 8601 time"),
        (("simulate", "--users", "0"), 2, "option 'users' must be 1 or more, not 0"),
        (("replay", "-", "--kafka", "127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("topics", "check", "--kafka", "127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("run", "--kafka", "127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("run", "--port", "99999"), 2, "server.port: 99999 is more than 65535"),
        (("worker", "--port", "99999"), 2, "worker.port: 99999 is more than 65535"),
        (("run", "--workers", "0"), 2, "worker.processes: '0' is neither auto nor a number from 1 to 1024"),
        (("worker", "--workers", "many"), 2, "worker.processes: 'many' is neither auto nor a number from 1 to 1024"),
        (("health", "--worker"), 2, "worker.port: -1 is no port that can be asked"),
        (("simulate", "--live"), 2, "--live: needs --kafka, and no --until"),
        (("simulate", "--live", "--kafka", "127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("replay", "nowhere.jsonl"), 1, "No such file or directory: nowhere.jsonl"),
        (("demo", "--input", "nowhere.jsonl"), 1, "No such file or directory: nowhere.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_goes_wrong_is_told_in_a_line_without_a_traceback(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "stream.cli", *arguments],
        input=b'{"topic":"logins","user_id":"a","event_time":"2026-03-01T00:00:00Z"}\n',
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    told = ran.stderr.decode()

    assert message in told
    assert ran.returncode == status
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1


def test_the_first_process_of_a_container_ends_when_it_is_asked_to_although_it_has_no_handler_of_its_own() -> None:
    """There Linux ignores a signal without one. This command reads until its input ends, and that does not come."""
    of_its_own = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*of_its_own, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not begin a space of process ids")
    outer = subprocess.Popen(
        [*of_its_own, sys.executable, "-m", "stream", "compute", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        inner = until_it_handles_signals(outer.pid)
        os.kill(inner, signal.SIGTERM)
        assert outer.wait(TIMEOUT_SECONDS) == 128 + signal.SIGTERM
    finally:
        outer.kill()
        told, _ = outer.communicate()
    assert told == ""


def until_it_handles_signals(outer: int) -> int:
    """Wait until the one child of a process has a handler for SIGTERM; returns its process id."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        for inner in Path(f"/proc/{outer}/task/{outer}/children").read_text().split():
            status = Path(f"/proc/{inner}/status").read_text()
            handled = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
            if handled >> (signal.SIGTERM - 1) & 1:
                return int(inner)
        time.sleep(0.02)
    raise AssertionError("it has no handler")


def test_settings_are_printed_with_the_variable_that_sets_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("ENGAGEMENT_TIMEZONE", "Europe/Berlin")
    lines = engagement("settings", "--kafka", "broker:9092").output

    assert 'timezone = "Europe/Berlin"' in lines
    assert 'kafka.servers = "broker:9092"' in lines
    assert "# ENGAGEMENT_KAFKA_SERVERS" in lines
    assert "hunter2" not in lines


def test_inputs_are_printed_as_the_settings_file_has_them(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("""
        [registry]
        url = "https://registry:8081"

        [[inputs]]
        topic = "clicks"
        format = "mapped"
        encoding = "registry"
        [inputs.mapping]
        user_id = "who"
        event_time = {path = "at", zone = "UTC"}
        event = "what"
        [inputs.mapping.events]
        page_view = ["page", "a \\"strange\\" name"]

        [[inputs]]
        topic = "answers"
        format = "typeform"
        user = "customer"
        [[inputs.questions]]
        question = "q.1"
        kind = "csat"
        scores = {"very good" = 5}
    """)
    shown = engagement("settings", "--settings", str(file)).output
    lines, _, tables = shown.partition("[[inputs]]")

    assert 'registry.url = "https://registry:8081"' in lines
    (tmp_path / "shown.toml").write_text(f"[[inputs]]{tables}")
    assert read_toml(tmp_path / "shown.toml")["inputs"] == read_toml(file)["inputs"]


def test_a_setting_that_is_unknown_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_TIMEZOME", "UTC")
    result = engagement("settings")

    assert result.exit_code == 2
    assert "unknown setting: the variable ENGAGEMENT_TIMEZOME names none" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_those_of_the_shell(shell: str) -> None:
    assert "_ENGAGEMENT_COMPLETE" in engagement("completion", shell).output


def test_who_reads_the_first_line_only_is_told_nothing_more() -> None:
    simulating = [sys.executable, "-m", "stream.cli", "simulate", "--users", "50", "--days", "30"]
    with subprocess.Popen(simulating, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith('{"topic"')
        process.stdout.close()
        assert process.stderr.read() == ""


def test_simulated_events_are_the_same_for_the_same_seed_and_can_be_computed(tmp_path: Path) -> None:
    first, second = tmp_path / "one.jsonl.gz", tmp_path / "two.jsonl"
    span = ("--users", "50", "--days", "3", "--until", "2026-03-10T00:00:00Z", "--seed", "7")
    for path in (first, second):
        assert engagement("simulate", *span, "--output", str(path)).exit_code == 0

    assert gzip.decompress(first.read_bytes()) == second.read_bytes()
    events = msgspec.json.decode(engagement("compute", str(first), "--as", "json").stdout.encode())["events"]
    assert events["applied"] == len(second.read_bytes().splitlines())


def test_broken_events_stay_one_line_each_and_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    span = ("--users", "50", "--days", "3", "--until", "2026-03-10T00:00:00Z")
    told = engagement("simulate", *span, "--broken", "0.2", "--output", str(path))
    sent = int(told.stderr.split()[0].replace(",", ""))
    events = msgspec.json.decode(engagement("compute", str(path), "--as", "json").stdout.encode())["events"]

    assert sum(events.values()) == sent
    assert events["invalid"] > 0.1 * sent


def test_nothing_is_left_in_the_folder_one_computes_in(events: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    computing = [sys.executable, "-m", "stream.cli", "compute", str(events)]
    done = subprocess.run(computing, cwd=tmp_path, check=False, capture_output=True)

    assert done.returncode == 3  # some lines could not be used
    assert sorted(tmp_path.iterdir()) == before
