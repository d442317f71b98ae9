"""ClickHouse instead of a stream: rows loaded a second, and how long the headline numbers take by length of history.

The same events go into tables of chDB, which is ClickHouse in a wheel, and into Kafka, where `engagement run` reads
them. At four lengths of history the headline numbers are asked of the tables and scraped from `/metrics`, turn by turn.
A query walks over the history, so that it takes longer the more there is; a scrape must not. What the tables tell must
be the recount's numbers, and the active users of both must be the same.

The queries are those of a first version: a team could keep sums in materialized views, and would then have written a
part of a stream processor. Loading is shown at its best: from files on the disk, in one statement a table.
ENGAGEMENT_TEST_BENCH_EVENTS=20000 takes a shorter history.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import pytest

from stream.core.time import DAY_MS
from stream.processes import command_that_dies_with_parent
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.bench.conftest import SetUp
from tests.bench.load import MIXED_EVENTS, now_ms, preload
from tests.bench.peers.contestants import NotHere, pinned, python_of
from tests.bench.peers.headline import headline
from tests.bench.peers.job import TOPICS
from tests.bench.peers.recount import differences
from tests.bench.peers.results import publish
from tests.bench.processes import ENGAGEMENT, answers, running, wait_until_answered
from tests.bench.progress import Watcher
from tests.ports import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3_600)]

# A population of 20,000 sends two million events in some 22 days: all of them lie in the window of 30 days.
_USERS: Final = 20_000
_SPAN_MS: Final = 28 * DAY_MS
_EVENTS: Final = MIXED_EVENTS or 2_000_000
LENGTHS: Final = tuple(int(_EVENTS * share) for share in (0.125, 0.25, 0.5, 1.0))
TURNS: Final = 5
# A server computes its numbers once for each report, of which there is one a second: each scrape is of a new one.
_BETWEEN_TURNS_SECONDS = 1.1
_TIMEOUT_SECONDS = 300.0


@dataclass(slots=True)
class History:
    """What was measured at one length of history."""

    events: int
    rows_a_second: float
    refresh_seconds: list[float] = field(default_factory=list)
    scrape_seconds: list[float] = field(default_factory=list)


def test_headline_numbers_by_length_of_history(set_up: SetUp, tmp_path: Path) -> None:
    try:
        python = python_of("chdb")
    except NotHere as error:
        pytest.skip(f"chDB is not here: {error}")
    end_ms, port = now_ms(), free_port()
    setup = set_up("history")
    environment = {**setup.environment, "ENGAGEMENT_SERVER_PORT": str(port), "ENGAGEMENT_CLOCK": "event"}
    page = f"http://127.0.0.1:{port}/metrics"
    events, lengths = population(end_ms), []
    with (
        running([*ENGAGEMENT, "run"], tmp_path / "run.log", environment=environment) as process,
        Watcher(setup.settings, process) as watcher,
        chdb(python, tmp_path) as tables,
    ):
        wait_until_answered(page, process, timeout_seconds=60.0)
        for before, length in zip((0, *LENGTHS), LENGTHS, strict=False):
            folder = tmp_path / f"to-{length}"
            newest = Newest(islice(events, length - before))
            preload(setup.settings, written(newest, folder))
            loaded = tables.asked(f"load {folder}")
            assert loaded["rows"] == length - before
            watcher.wait_for(length, timeout_seconds=_TIMEOUT_SECONDS)
            history = History(length, loaded["rows"] / loaded["seconds"])
            lengths.append(history)
            told = take_turns(history, tables, page, newest.at_ms)

            recounted = headline(islice(population(end_ms), length), now_ms=newest.at_ms)
            assert differences(told, recounted) == []
            assert active_users_of(page) == recounted["active_30d"]

    publish("history", f"{_USERS:,} users, {TURNS} turns at each length\n\n{table(lengths)}", plot_data(lengths))


def take_turns(history: History, tables: Tables, page: str, at_ms: int) -> dict[str, Any]:
    """Ask the tables and scrape the page, one after the other; the numbers that the tables told last."""
    told: dict[str, Any] = {}
    for _ in range(TURNS):
        time.sleep(_BETWEEN_TURNS_SECONDS)
        refreshed = tables.asked(f"refresh {at_ms}")
        history.refresh_seconds.append(refreshed["seconds"])
        told = refreshed["numbers"]
        began = time.perf_counter()
        assert answers(page) is not None
        history.scrape_seconds.append(time.perf_counter() - began)
    return told


def active_users_of(page: str) -> int:
    """The active users of 30 days as a scrape has them."""
    (value,) = [
        line.rpartition(" ")[2]
        for line in (answers(page) or b"").decode().splitlines()
        if line.startswith('engagement_active_users{window="30d"}')
    ]
    return round(float(value))


def population(end_ms: int) -> Iterator[SimulatedEvent]:
    """The events of a history, in order; the same `end_ms` gives the same again."""
    return simulate(SimulatorSettings(users=_USERS), start_ms=end_ms - _SPAN_MS, end_ms=end_ms)


class Newest:
    """Passes events on and remembers the newest time among them."""

    def __init__(self, events: Iterable[SimulatedEvent]) -> None:
        self._events = events
        self.at_ms = 0

    def __iter__(self) -> Iterator[SimulatedEvent]:
        for event in self._events:
            self.at_ms = max(self.at_ms, event.at_ms)
            yield event


def written(events: Iterable[SimulatedEvent], folder: Path) -> Iterator[SimulatedEvent]:
    """The events, each written to the file of its topic as it passes."""
    folder.mkdir()
    with ExitStack() as stack:
        files = {topic: stack.enter_context((folder / f"{topic}.jsonl").open("wb")) for topic in TOPICS}
        for event in events:
            files[event.topic].write(event.value + b"\n")
            yield event


class Tables:
    """The process that has the tables."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asks: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def asked(self, what: str) -> dict[str, Any]:
        """What it answers."""
        self._asks.write(f"{what}\n")
        self._asks.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


@contextmanager
def chdb(python: Path, folder: Path) -> Iterator[Tables]:
    """A process with empty tables, which ends when it is asked for nothing more."""
    command = command_that_dies_with_parent(
        [str(python), "-m", "tests.bench.peers.chdb_tables", str(folder / "tables")]
    )
    with (
        (folder / "chdb.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        yield Tables(process)


def table(lengths: list[History]) -> str:
    """The lengths of history in Markdown."""
    name = f"chDB {pinned('chdb', 'chdb')}"
    lines = [
        f"| events of history | {name}: rows loaded a second | its headline numbers, s | one scrape of ours, s |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.events:,} | {each.rows_a_second:,.0f} | {_spread(each.refresh_seconds)}"
        f" | {_spread(each.scrape_seconds)} |"
        for each in lengths
    ]
    return "\n".join(lines)


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def plot_data(lengths: list[History]) -> dict[str, Any]:
    """What is drawn of them."""
    return {
        "other": f"chDB {pinned('chdb', 'chdb')}: three queries",
        "events": [each.events for each in lengths],
        "refresh": [median(each.refresh_seconds) for each in lengths],
        "scrape": [median(each.scrape_seconds) for each in lengths],
    }
