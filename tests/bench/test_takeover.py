"""How long numbers are missing when a worker goes: from its end until a server is ready and every event is counted.

Two workers share the partitions of one state. One of them is killed, or asked to stop; some more events come; then the
other one has all partitions. A killed worker is missed after `kafka.session_timeout`, one that was asked to stop leaves
the group. What comes on top is what it takes to have the state: to read the changelog, or what is missing of it, or
nothing. Then another worker joins, and the one that had all goes, and so on. A worker with a name is started again
instead, and nobody takes its partitions over.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream.processes import command_that_dies_with_parent
from stream.settings import Settings
from stream.simulate.embedded_broker import end_process_group
from tests.bench.conftest import SetUp, Setup
from tests.bench.figures import show
from tests.bench.load import Loaded, many_users, now_ms, preload
from tests.bench.processes import ENGAGEMENT, answers
from tests.ports import free_port
from tests.state.redis_server import RedisServer, RedisUnavailable

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_200)]

USERS = 200_000
MORE_USERS = 500  # after each end
ROUNDS = 3
_POLLED_EVERY_SECONDS = 0.1
_TIMEOUT_SECONDS = 300.0
# The last checkpoint is written then.
_SETTLED_SECONDS = 4.0

Worker = subprocess.Popen[bytes]
End = Callable[[Worker], None]
KILL: End = subprocess.Popen.kill
ASK: End = subprocess.Popen.terminate


@pytest.fixture(scope="module")
def load(set_up: SetUp) -> Loaded:
    """A state that matters, in topics that all deployments read."""
    return preload(set_up("takeover").settings, many_users(end_ms=now_ms(), users=USERS))


class Fleet:
    """The processes of one deployment: a server, and workers."""

    def __init__(self, setup: Setup, load: Loaded, folder: Path) -> None:
        self.settings: Settings = setup.settings
        self._environment, self._load, self._folder = setup.environment, load, folder
        self._port, self._numbers = free_port(), itertools.count()
        self._processes: list[Worker] = []
        self._begin("serve", {"ENGAGEMENT_SERVER_PORT": str(self._port)})

    def worker(self, disk: str = "", *, name: str = "") -> Worker:
        """Start a worker, on a disk of this name if it needs one; `name` is its `kafka.instance_id`."""
        chosen = {"ENGAGEMENT_KAFKA_INSTANCE_ID": name} if name else {}
        if disk:
            chosen["ENGAGEMENT_STATE_URL"] = f"rocksdb://{self._folder / disk}"
        return self._begin("worker", chosen)

    def _begin(self, command: str, chosen: dict[str, str]) -> Worker:
        with (self._folder / f"{next(self._numbers)}-{command}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command_that_dies_with_parent([*ENGAGEMENT, command]),
                    env={**os.environ, **self._environment, **chosen},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return self._processes[-1]

    def end(self) -> None:
        for process in self._processes:
            end_process_group(process, timeout_seconds=0.1)

    def wait_until_right(self, *owners: Worker) -> None:
        """Wait until these workers own all partitions, each some, and every event is counted."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not self._is_right(owners):
            assert time.monotonic() < deadline, self._told().get("unready")
            time.sleep(_POLLED_EVERY_SECONDS)

    def wait_until_followed(self) -> None:
        """Wait until a standby holds all that is saved of each partition."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not self._is_followed():
            assert time.monotonic() < deadline, "no standby has caught up"
            time.sleep(_POLLED_EVERY_SECONDS)

    def _is_followed(self) -> bool:
        standings = self._told().get("partitions", [])
        return bool(standings) and all(0 in standing["standbys"].values() for standing in standings)

    def _is_right(self, owners: tuple[Worker, ...]) -> bool:
        told = self._told()
        if not told or not told["ready"]:
            return False
        pids = {standing["worker"].rpartition("-")[2] for standing in told["partitions"]}
        return pids == {str(owner.pid) for owner in owners} and _counted(told) == self._load.events

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(answers(f"http://127.0.0.1:{self._port}/api/v1/metrics") or b"{}")
        return told

    def seconds_without(self, gone: Worker, end: End, heir: Worker) -> float:
        """End a worker; returns the seconds until another one has all partitions, and all that came meanwhile."""
        time.sleep(_SETTLED_SECONDS)
        began = time.monotonic()
        end(gone)
        self._send_more()
        self.wait_until_right(heir)
        return time.monotonic() - began

    def seconds_of_restart(self, gone: Worker, end: End, other: Worker, **again: str) -> tuple[float, Worker]:
        """End a worker and start it again; returns the seconds until both have their partitions, and the new one."""
        time.sleep(_SETTLED_SECONDS)
        began = time.monotonic()
        end(gone)
        gone.wait()
        back = self.worker(**again)
        self._send_more()
        self.wait_until_right(other, back)
        return time.monotonic() - began, back

    def _send_more(self) -> None:
        more = preload(self.settings, many_users(end_ms=now_ms(), users=MORE_USERS))
        self._load.by_topic.update(more.by_topic)


def _counted(told: dict[str, Any]) -> int:
    """How many events were dealt with."""
    outcomes = (sample["value"] for sample in told["health"] if sample["name"] == "engagement_events_total")
    return int(sum(outcomes))


Deploy = Callable[..., Fleet]


@pytest.fixture
def deploy(set_up: SetUp, load: Loaded, tmp_path: Path) -> Iterator[Deploy]:
    """Makes the fleet of a test: `deploy(STATE_STANDBYS="1")`."""
    fleets: list[Fleet] = []

    def made(**settings: str) -> Fleet:
        setup = set_up("takeover")
        environment = {**setup.environment, **{f"ENGAGEMENT_{name}": value for name, value in settings.items()}}
        fleets.append(Fleet(Setup(setup.settings, environment), load, tmp_path))
        return fleets[-1]

    yield made
    for fleet in fleets:
        fleet.end()


class Store(NamedTuple):
    """Where state is, and what the worker has of it that takes over."""

    name: str
    url: str = ""  # empty: on a disk of the worker's own
    standbys: int = 0
    disks: tuple[str, ...] = ()  # that workers use in turn; without any, each begins with an empty one

    @property
    def rounds_before(self) -> int:
        """Rounds that only make each worker have owned everything once."""
        return len(self.disks)


STORES = [
    Store("RocksDB, empty disk"),
    Store("RocksDB, kept disk", disks=("one", "another")),
    Store("RocksDB, standby", standbys=1),
    Store("memory", url="memory://"),
    Store("memory, standby", url="memory://", standbys=1),
    Store("Redis", url="redis://"),
]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    try:
        server = RedisServer(options={"appendonly": "yes"})
    except RedisUnavailable as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.discard()


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name.replace(", ", "-").replace(" ", "-"))
def test_takeover(request: pytest.FixtureRequest, deploy: Deploy, store: Store) -> None:
    chosen = {"STATE_STANDBYS": str(store.standbys)}
    if store.url:
        chosen["STATE_URL"] = request.getfixturevalue("redis").url if store.url == "redis://" else store.url
    fleet = deploy(**chosen)
    numbers = itertools.count()
    disks = itertools.cycle(store.disks) if store.disks else (f"disk-{number}" for number in numbers)
    seconds: dict[End, list[float]] = {KILL: [], ASK: []}

    owner = fleet.worker("" if store.url else next(disks))
    fleet.wait_until_right(owner)
    ends = [ASK] * store.rounds_before + [KILL, ASK] * ROUNDS
    for number, end in enumerate(ends):
        heir = fleet.worker("" if store.url else next(disks))
        fleet.wait_until_right(owner, heir)
        if store.standbys:
            fleet.wait_until_followed()
        took = fleet.seconds_without(owner, end, heir)
        if number >= store.rounds_before:
            seconds[end].append(took)
        owner = heir

    timeout = fleet.settings.kafka.session_timeout
    show(f"{store.name}: killed", "s", seconds[KILL], against=f"{timeout} of it is kafka.session_timeout")
    show(f"{store.name}: asked to stop", "s", seconds[ASK], against="it saves, and leaves the group")


@pytest.mark.parametrize("name", ["", "ada"], ids=["without-a-name", "with-a-name"])
def test_a_restart_on_the_same_disk(deploy: Deploy, name: str) -> None:
    fleet = deploy(KAFKA_SESSION_TIMEOUT="30s") if name else deploy()
    ada, grace = fleet.worker("ada", name=name), fleet.worker("grace", name="grace" if name else "")
    fleet.wait_until_right(ada, grace)
    seconds: dict[End, list[float]] = {ASK: [], KILL: []}
    for end in ([ASK, KILL] if name else [ASK]) * ROUNDS:
        took, ada = fleet.seconds_of_restart(ada, end, grace, disk="ada", name=name)
        seconds[end].append(took)

    against = "nobody takes over" if name else "the other takes over, then gives back"
    called = "with kafka.instance_id" if name else "without a name"
    for end, told in ((ASK, "asked to stop"), (KILL, "killed")):
        if seconds[end]:
            show(f"restart {called}: {told}", "s", seconds[end], against=against)
