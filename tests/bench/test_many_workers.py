"""Many workers: eight of them, 64 partitions and two servers on one machine, and what a thousand partitions would cost.

Measured is how long it takes and how many rebalances: the start, a rolling restart of all workers one by one, and four
of the eight killed at once. After each every gauge of both servers must equal the recount.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import show
from tests.bench.processes import cpu_seconds, memory_mib
from tests.integration.deployment import Deployment, Program, simulated
from tests.integration.kafka_server import RunningKafka

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1_800)]

WORKERS, PARTITIONS, SERVERS = 8, 64, 2
_READY_SECONDS = 300.0
# For so long what reports cost is measured, while nothing else happens.
_QUIET_SECONDS = 20.0
_MANY = 1_000


@pytest.fixture
def fleet(kafka: RunningKafka, tmp_path: Path) -> Iterator[Fleet]:
    """Eight workers and two servers, not yet started."""
    suffix = uuid.uuid4().hex[:8]
    settings: dict[str, Any] = {
        "topics.partitions": PARTITIONS,
        "kafka.session_timeout": "10s",
        "server.stale_after": "10s",
    }
    deployment = Deployment(kafka.address, lambda name: f"{name}-{suffix}", tmp_path, **settings)
    deployment.create_topics()
    yield Fleet(deployment)
    deployment.end()


class Fleet:
    """The processes of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.servers: list[Program] = []
        self.workers: dict[int, Program] = {}
        self._gone: list[Program] = []

    def start_servers(self) -> None:
        self.servers = [self.deployment.start("serve", name=f"server-{number}") for number in range(SERVERS)]

    def start_workers(self, *numbers: int) -> None:
        """Start workers, each on the disk of the one of this number that has gone, if there was one."""
        for number in numbers:
            if number in self.workers:
                self._gone.append(self.workers[number])
            self.workers[number] = self.deployment.start("worker", name=f"worker-{number}")

    def wait_until_ready(self) -> None:
        self._wait_for_status(200, "ready")

    def wait_until_not_ready(self) -> None:
        self._wait_for_status(503, "not ready")

    def wait_until_shared(self) -> None:
        """Wait until each worker has partitions: those that have them keep all servers ready meanwhile."""
        for worker in self.workers.values():
            worker.wait_until(partial(has_partitions, worker), "it has partitions", seconds=_READY_SECONDS)

    def _wait_for_status(self, status: int, what: str) -> None:
        for server in self.servers:
            server.wait_until(partial(answers_with, server, status), what, seconds=_READY_SECONDS)

    def wait_until_right(self) -> None:
        self.deployment.send_to_every_partition()
        for server in self.servers:
            self.deployment.wait_until_every_gauge_equals_the_recount(server, seconds=_READY_SECONDS)

    @property
    def takeovers(self) -> int:
        """How often all workers together have taken partitions over."""
        return sum(program.takeovers for program in (*self._gone, *self.workers.values()))


def test_many_workers(fleet: Fleet) -> None:
    deployment = fleet.deployment
    fleet.start_servers()
    measured("start of all", fleet, lambda: fleet.start_workers(*range(WORKERS)))
    deployment.send(simulated(users=4_000, days=20))
    fleet.wait_until_right()
    show_costs(fleet)

    def restart_one_by_one() -> None:
        for number in range(WORKERS):
            fleet.workers[number].terminate()
            fleet.workers[number].wait_for_exit(seconds=15)
            fleet.start_workers(number)
            fleet.wait_until_ready()

    measured("rolling restart", fleet, restart_one_by_one)
    fleet.wait_until_right()

    def lose_half() -> None:
        for number in range(WORKERS // 2):
            fleet.workers[number].kill()
        fleet.wait_until_not_ready()

    measured("four killed, the others take over", fleet, lose_half)
    fleet.wait_until_right()

    def come_back() -> None:
        fleet.start_workers(*range(WORKERS // 2))
        fleet.wait_until_shared()

    measured("the four come back", fleet, come_back)
    fleet.wait_until_right()


def measured(what: str, fleet: Fleet, happens: Callable[[], object]) -> None:
    """Let something happen; show the seconds until all is ready, and how often a worker took partitions over."""
    before, began = fleet.takeovers, time.monotonic()
    happens()
    fleet.wait_until_ready()
    against = f"{WORKERS} workers, {PARTITIONS} partitions, {SERVERS} servers"
    show(f"{what}, until ready", "s", [time.monotonic() - began], against=against)
    show(f"{what}, takeovers a worker", "", [(fleet.takeovers - before) / WORKERS], against="1 for each rebalance")


def show_costs(fleet: Fleet) -> None:
    """Show what a partition costs at rest, and what a thousand would."""
    kinds = {"workers": [worker.pid for worker in fleet.workers.values()], "a server": [fleet.servers[0].pid]}
    before = {kind: sum(map(cpu_seconds, pids)) for kind, pids in kinds.items()}
    time.sleep(_QUIET_SECONDS)
    for kind, pids in kinds.items():
        share = (sum(map(cpu_seconds, pids)) - before[kind]) / _QUIET_SECONDS / PARTITIONS
        many = f"{_MANY:,} partitions: {_MANY * share:.2f} cores"
        show(f"CPU of {kind} at rest, a partition", "ms/s", [1_000 * share], against=many)
        memory = sum(memory_mib(pid)[1] for pid in pids)
        show(f"memory of {kind}", "MiB", [memory], against=f"{len(pids)} processes, {PARTITIONS} partitions")
    told = fleet.deployment.stored([fleet.deployment.settings.snapshots_topic])[-3 * PARTITIONS :]
    size = sum(len(record.value or b"") for record in told) / len(told)
    show("a report", "bytes", [size], against=f"{_MANY:,} partitions: {_MANY * size / 2**20:.1f} MiB/s")


def has_partitions(worker: Program) -> bool:
    """Whether a worker has taken partitions over."""
    return bool(worker.partitions)


def answers_with(server: Program, status: int) -> bool:
    """Whether a server answers so when it is asked whether it is ready."""
    return server.get("/readyz")[0] == status
