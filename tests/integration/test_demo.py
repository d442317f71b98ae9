"""The demo as a stranger runs it: from nothing to numbers, and gone again without a trace."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.simulate.embedded_broker import EmbeddedBroker
from tests.timeouts import TIMEOUT_SECONDS

_SHOWN = re.compile(r"([\d,]+) events of history are in the gauges")
_LOADING = re.compile(r"loading the history: (\d+)%, ([\d,]+) events")
_METRICS = re.compile(r"^metrics +(http://\S+)$", re.MULTILINE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo keeps what it needs."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def started(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A demo that writes to `demo.log` there, and puts its files into the folder `tmp` there."""
    temporary = folder / "tmp"
    temporary.mkdir()
    with (folder / "demo.log").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "demo", "--port", "0", *(options or ("--users", "300"))],
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(temporary)},
        )


def wait_until(holds: Callable[[], object], demo: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something holds while the demo runs."""
    began = time.monotonic()
    while not holds():
        assert demo.poll() is None, log.read_text()
        assert time.monotonic() - began < TIMEOUT_SECONDS, log.read_text()
        time.sleep(0.2)


def test_the_demo_shows_all_of_its_history_and_leaves_nothing(embedded_broker: EmbeddedBroker, folder: Path) -> None:
    log, temporary = folder / "demo.log", folder / "tmp"
    demo = started(folder)
    try:
        wait_until(lambda: _METRICS.search(log.read_text()), demo, log)
        told = log.read_text()
        shown, address = _SHOWN.search(told), _METRICS.search(told)
        assert shown is not None
        assert address is not None
        page = urllib.request.urlopen(address[1], timeout=TIMEOUT_SECONDS).read().decode()  # of this test's own demo
    finally:
        demo.send_signal(signal.SIGINT)
        status = demo.wait(timeout=TIMEOUT_SECONDS)

    total = int(shown[1].replace(",", ""))
    for share, events in _LOADING.findall(told):
        assert abs(int(share) / 100 - int(events.replace(",", "")) / total) < 0.3  # no "100 %" with most to come
    outcomes = dict(re.findall(r'engagement_events_total\{outcome="(\w+)",topic="sessions"\} (\S+)', page))
    counted = sum(float(count) for count in re.findall(r"engagement_events_total\{.*\} (\S+)", page))
    assert {outcome for outcome, count in outcomes.items() if float(count)} == {"applied"}
    assert counted >= total
    assert "\nengagement_closing_backlog 0.0\n" in page
    assert status == 0
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["demo.log", "tmp"]


def test_the_demo_of_a_table_of_your_own_shows_what_compute_counts_in_it(
    embedded_broker: EmbeddedBroker, folder: Path
) -> None:
    rows = [
        f"u{number % 40},2026-03-01T10:{number // 10:02d}:{number % 10:02d}Z,v{number % 40},{name}"
        for number, name in enumerate(["page", "login", "basket"] * 100)
    ]
    (folder / "log.csv").write_text("\n".join(["user,ts,visit,name", *rows, "u1,soon,v1,page", ""]))
    (folder / "mapping.toml").write_text(
        'user_id = "user"\nevent_time = "ts"\nsession_id = "visit"\nevent = "name"\n'
        '[events]\npage_view = "page"\nlogins = "login"\n'
    )
    of_table = ("log.csv", "--mapping", "mapping.toml")
    computed = subprocess.run(
        [sys.executable, "-m", "stream.cli", "compute", *of_table, "--as", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    log, demo = folder / "demo.log", started(folder, "--input", *of_table)
    try:
        wait_until(lambda: _METRICS.search(log.read_text()), demo, log)
        address = _METRICS.search(log.read_text())
        assert address is not None
        page = urllib.request.urlopen(address[1], timeout=TIMEOUT_SECONDS).read().decode()  # of this test's own demo
    finally:
        demo.send_signal(signal.SIGINT)
        status = demo.wait(timeout=TIMEOUT_SECONDS)

    assert "log.csv:302: 'soon' at `ts` is no ISO 8601 time" in log.read_text()
    assert status == 3
    shown = {
        (name, window): float(value)
        for name, window, value in re.findall(r'^(engagement_\w+)\{window="(\w+)"\} (\S+)$', page, re.MULTILINE)
    }
    assert shown["engagement_active_users", "1d"] == 40
    for one in json.loads(computed.stdout)["live"]:
        if [*one["labels"]] == ["window"] and one["name"] in ("engagement_active_users", "engagement_steps"):
            assert shown.pop((one["name"], one["labels"]["window"])) == one["value"]
    assert not {name for name, _ in shown} & {"engagement_active_users", "engagement_steps"}


def test_a_demo_whose_broker_is_gone_says_so_and_ends(embedded_broker: EmbeddedBroker, folder: Path) -> None:
    log = folder / "demo.log"
    demo = started(folder)
    try:
        wait_until(lambda: "watch it fill" in log.read_text(), demo, log)
        (broker,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
        os.kill(int(broker), signal.SIGKILL)
        status = demo.wait(timeout=TIMEOUT_SECONDS)
    finally:
        demo.kill()

    assert status == 1
    assert "engagement: the demo broke: the embedded broker ended with status -9" in log.read_text()
    assert list((folder / "tmp").iterdir()) == []
