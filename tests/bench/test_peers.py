"""One worker of ours beside other stream processors: the same topics, the same events, turn by turn.

Each peer does the small job that `peers/job.py` describes, as its documentation would have it, while our worker does
all that it does. Rounds go in turns, so that what else the machine does falls on all. The numbers that a peer tells
must be those of a recount of the same events; the bare loops keep no state, so of them only the counts of events by
topic are compared. Of our worker the events by topic and the active users are compared, for its other numbers are of
another kind; all of them are compared elsewhere.

The table and the plot are kept in `.cache/bench/`. ENGAGEMENT_TEST_BENCH_EVENTS=20000 takes fewer events.
"""

from __future__ import annotations

import importlib.metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest

from tests.bench.conftest import SetUp
from tests.bench.load import Loaded, mixed, preload
from tests.bench.peers.contestants import FEW_EVENTS, PEERS, Contestant, NotHere
from tests.bench.peers.job import Task
from tests.bench.peers.measure import Measured, PeerFailed, measured
from tests.bench.peers.recount import active_users, differences, recount
from tests.bench.peers.results import publish
from tests.bench.peers.table import Row, plot_data, table
from tests.bench.worker import worker_round
from tests.integration.kafka_server import RunningKafka

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3_600)]

ROUNDS: Final = 3
_TIMEOUT_SECONDS = 300.0
_DOES = (
    "all of METRICS.md: windows, sessions by gaps too, surveys by their scales, late and repeated events; exactly once"
)


def test_one_worker_and_its_peers_on_the_same_events(
    mixed_load: Loaded, set_up: SetUp, kafka: RunningKafka, tmp_path: Path
) -> None:
    few = preload(set_up("few").settings, islice(mixed(end_ms=mixed_load.end_ms), FEW_EVENTS))
    recounted = {"mixed-": recount(mixed(end_ms=mixed_load.end_ms))}
    recounted["few-"] = recount(islice(mixed(end_ms=mixed_load.end_ms), FEW_EVENTS))
    active = active_users(mixed(end_ms=mixed_load.end_ms))
    ours = Row("engagement worker, RocksDB", importlib.metadata.version("engagement-stream"), _DOES, "")
    rows = {peer: Row(peer.name, peer.version(), peer.does, peer.lacks) for peer in PEERS}
    wrong: list[str] = []

    for number in range(ROUNDS):
        result = worker_round(set_up("mixed"), mixed_load.events, tmp_path / "worker.log")
        ours.took(
            events_a_second=result.events_a_second,
            cpu_us_an_event=result.cpu_us_an_event,
            peak_mib=result.peak_mib,
        )
        assert result.applied == recounted["mixed-"]["events"]
        assert result.active_users == active
        for place, (peer, row) in enumerate(rows.items()):
            prefix, events = ("few-", few.events) if peer.few else ("mixed-", mixed_load.events)
            task = Task(kafka.address, f"peer-{place}-{number}", prefix, str(tmp_path), events)
            try:
                told = _round(peer, row, task)
            except PeerFailed as error:
                row.not_here = f"it failed: {str(error).splitlines()[-1]}"
                wrong.append(f"{peer.name} failed: {error}")
            else:
                wrong += [f"{peer.name}: {difference}" for difference in differences(told, recounted[prefix])]

    load = f"{mixed_load.events:,} events of {len(mixed_load.users):,} users, {ROUNDS} rounds in turns"
    publish("peers", f"{load}\n\n{table(ours, list(rows.values()))}", plot_data(ours, list(rows.values())))
    assert wrong == []


def _round(peer: Contestant, row: Row, task: Task) -> dict[str, Any]:
    """Let a peer have its turn; the numbers that it tells, which are none when it is not here. Raises PeerFailed."""
    if row.not_here:
        return {}
    try:
        result = _tried(peer, task)
    except NotHere as error:
        row.not_here = str(error)
        return {}
    row.took(events_a_second=result.events_a_second, cpu_us_an_event=result.cpu_us_an_event, peak_mib=result.peak_mib)
    return dict(result.numbers)


def _tried(peer: Contestant, task: Task) -> Measured:
    """Run a peer, and once more, as another group, when it fails.

    Faust and Quix do now and then, when a busy broker does not yet know of the changelog topic that was just created.
    """
    folder = Path(task.directory)
    for group in (task.group, f"{task.group}-again"):
        own = task._replace(group=group, directory=str(folder / group))
        try:
            return measured(peer.started_by(own), own.events, folder / f"{group}.log", timeout_seconds=_TIMEOUT_SECONDS)
        except PeerFailed as error:
            failure = error
    raise failure
