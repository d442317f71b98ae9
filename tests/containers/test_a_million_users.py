"""A million users within the memory limits of docker-compose.yml: `make test-containers ARGS="-m bench"`.

The figures are those in DEPLOYMENT.md. They are printed, and no test asserts them; what a test asserts is that every
event is counted, also after the worker has lost its volume, and that no container was ended for lack of memory.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.figures import show
from tests.bench.load import MANY_USERS
from tests.containers.deployment import Deployment, counted_events, deployment_in, send
from tests.containers.engine import Engine, until
from tests.containers.test_variants import of_redis

pytestmark = [pytest.mark.containers, pytest.mark.bench, pytest.mark.timeout(4 * 1_200)]

MIB = 1024**2
# Prometheus scrapes what a million users give, and the alerts are evaluated.
SERVICES = ("worker", "server", "prometheus", "alertmanager")
WORKER, REDIS = "engagement-worker-1", "engagement-redis-1"
_TIMEOUT_SECONDS = 1_200.0


@pytest.mark.parametrize("store", ["rocksdb", "redis"])
def test_a_million_users_fit_into_the_limits_of_the_file(engine: Engine, tmp_path: Path, store: str) -> None:
    of_store = {"rocksdb": [], "redis": ["redis"]}[store]
    with deployment_in(tmp_path, engine, {"rocksdb": "", "redis": of_redis()}[store]) as deployment:
        deployment.up([*SERVICES, *of_store])
        sent = send(deployment, MANY_USERS, timeout_seconds=_TIMEOUT_SECONDS)
        until(lambda: counted_events(deployment) >= sent, "all events to be counted", timeout_seconds=_TIMEOUT_SECONDS)
        for service in (*SERVICES, "kafka", *of_store):
            shown(deployment, f"engagement-{service}-1", f"{store}, {service}", f"{sent:,} events")
        if store == "redis":
            rewrites_its_file(deployment)
        else:
            print(f"\n{store}: {deployment.run_in(WORKER, 'du', '-sm', '.').split()[0]} MiB on the volume")  # noqa: T201
            comes_back_without_its_volume(deployment, sent)


def comes_back_without_its_volume(deployment: Deployment, events: int) -> None:
    """The worker reads the rows of all users from the changelog."""
    deployment.compose("rm", "--stop", "--force", "worker")
    deployment.engine.podman("volume", "rm", "engagement_state")
    deployment.up(["worker"], wait=False)
    until(lambda: is_healthy(deployment, WORKER), "the worker to come back", timeout_seconds=_TIMEOUT_SECONDS)

    until(lambda: counted_events(deployment) == events, "the events that were counted before")
    shown(deployment, WORKER, "rocksdb, worker without its volume", "recovers from the changelog")


def rewrites_its_file(deployment: Deployment) -> None:
    """Redis forks to write its file anew; what is written meanwhile it has twice."""
    deployment.run_in(REDIS, "redis-cli", "bgrewriteaof")
    until(lambda: persistence(deployment)["aof_rewrite_in_progress"] == "0", "Redis to write its file anew")

    assert persistence(deployment)["aof_last_bgrewrite_status"] == "ok"
    shown(deployment, REDIS, "redis, redis that writes its file anew", "")


def persistence(deployment: Deployment) -> dict[str, str]:
    """What Redis says of its files."""
    lines = deployment.run_in(REDIS, "redis-cli", "info", "persistence").splitlines()
    return dict(line.strip().split(":", 1) for line in lines if ":" in line)


def is_healthy(deployment: Deployment, container: str) -> bool:
    """Whether the container passes its health check."""
    return bool(deployment.engine.state(container)["State"]["Health"]["Status"] == "healthy")


def shown(deployment: Deployment, container: str, name: str, load: str) -> None:
    """Print what a container took of its limit. It was neither ended nor started again."""
    state = deployment.engine.state(container)
    assert not state["State"]["OOMKilled"], container
    assert state["RestartCount"] == 0, container
    limit = state["HostConfig"]["Memory"] / MIB
    show(f"{name}: peak memory", "MiB", [peak_mib(deployment, container)], against=f"limit {limit:,.0f} MiB; {load}")


def peak_mib(deployment: Deployment, container: str) -> float:
    """The most memory that the first process of a container took, without what the kernel caches of its files."""
    pid = deployment.engine.state(container)["State"]["Pid"]
    status = deployment.engine.run("cat", f"/proc/{pid}/status")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
