"""A million users within the memory limits of docker-compose.yml: `make test-containers ARGS="-m bench"`.

The figures are those in README.md. They are printed, and no test asserts them; what a test asserts is that every event
is counted and that no container was ended for lack of memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.figures import show
from tests.bench.load import MANY_USERS
from tests.containers.deployment import Deployment, counted_events, deployment_in
from tests.containers.engine import Engine, until
from tests.containers.test_variants import of_redis
from tests.deploy.tools import REPOSITORY

pytestmark = [pytest.mark.containers, pytest.mark.bench, pytest.mark.timeout(3 * 1_200)]

MIB = 1024**2
# Prometheus scrapes what a million users give, and the alerts are evaluated.
SERVICES = ("worker", "server", "prometheus", "alertmanager")


@pytest.mark.parametrize("store", ["rocksdb", "redis"])
def test_a_million_users_fit_into_the_limits_of_the_file(engine: Engine, tmp_path: Path, store: str) -> None:
    profiles = {"rocksdb": [], "redis": ["redis"]}[store]
    env = {"rocksdb": "", "redis": of_redis()}[store]
    with deployment_in(tmp_path, engine, env) as deployment:
        deployment.up(SERVICES, profiles=profiles)
        send = [sys.executable, "-m", "tests.containers.send", "localhost:9094", str(MANY_USERS)]
        sent = int(engine.run("env", f"--chdir={REPOSITORY}", *send).split()[-1])
        until(lambda: counted_events(deployment) >= sent, "all events to be counted")
        shown(deployment, store, sent, [*SERVICES, "kafka", *profiles])


def shown(deployment: Deployment, store: str, events: int, services: list[str]) -> None:
    """Print what each service took of its limit."""
    for service in services:
        container = f"engagement-{service}-1"
        state = deployment.engine.state(container)
        assert not state["State"]["OOMKilled"], service
        assert state["RestartCount"] == 0, service
        limit = state["HostConfig"]["Memory"] / MIB
        peak = peak_mib(deployment, container)
        show(f"{store}, {service}: peak memory", "MiB", [peak], against=f"limit {limit:,.0f} MiB; {events:,} events")


def peak_mib(deployment: Deployment, container: str) -> float:
    """The most memory that the first process of a container took, without what the kernel caches of its files."""
    pid = deployment.engine.state(container)["State"]["Pid"]
    status = deployment.engine.run("cat", f"/proc/{pid}/status")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
