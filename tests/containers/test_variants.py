"""What `.env` and the command line make of docker-compose.yml: Redis, two workers, two servers, ports, other settings.

The tests are one story, in this order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.containers.deployment import SMALL, Deployment, counted_events, deployment_in, health_of, send, sent_events
from tests.containers.engine import Engine, until
from tests.deploy.tools import REPOSITORY

pytestmark = [pytest.mark.containers]

# Any setting of the program, one that the file has a default for, and the ports.
SETTINGS = """\
ENGAGEMENT_TIMEZONE=Europe/Berlin
ENGAGEMENT_LOG_FORMAT=console
ENGAGEMENT_SERVER_PORT=8700
ENGAGEMENT_WORKER_PORT=8701
KAFKA_PORT=9095
"""


def of_redis(*, and_the_demo: bool = False) -> str:
    """What .env.example says about state in Redis: alone, or with the profile of the demo too."""
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    chosen = [line.removeprefix("#") for line in lines if "redis" in line and "=" in line and " " not in line]
    profiles = "COMPOSE_PROFILES=redis"
    assert profiles in chosen
    env = "".join(f"{line}\n" for line in chosen)
    return env.replace(profiles, f"{profiles},demo") if and_the_demo else env


@pytest.fixture(scope="module")
def variant(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """State in Redis, two workers, two servers, the demo's population, and settings in `.env`."""
    env = f"{SMALL}{of_redis(and_the_demo=True)}{SETTINGS}"
    with deployment_in(tmp_path_factory.mktemp("variant"), engine, env) as deployment:
        deployment.up(["worker", "server", "simulator"], scale={"worker": 2})
        # A second one can't have the port of the first.
        deployment.compose("run", "--detach", "--no-deps", "server")
        yield deployment


def partitions_owned(deployment: Deployment, server: str) -> list[int]:
    """How many partitions each worker has."""
    owners = health_of(deployment, "engagement_partition_owner_info", server)
    return sorted(Counter(one["labels"]["worker"] for one in owners).values())


def test_two_workers_share_the_load_and_two_servers_report_the_same(variant: Deployment) -> None:
    sent, servers = sent_events(variant), variant.names("server")

    assert (len(variant.names("worker")), len(servers)) == (2, 2)
    for server in servers:
        until(lambda server=server: counted_events(variant, server) >= sent, f"all events at {server}")  # type: ignore[misc]
        until(lambda server=server: partitions_owned(variant, server) == [2, 2], f"both workers at {server}")  # type: ignore[misc]


def test_producers_of_the_host_reach_kafka_at_the_port_of_env(variant: Deployment) -> None:
    (server, _), simulated = variant.names("server"), sent_events(variant)
    sent = send(variant, 1_000, port=9095)

    until(lambda: counted_events(variant, server) >= simulated + sent > simulated, "the events of the host")


def test_the_state_is_in_redis_and_a_worker_that_takes_over_goes_on_with_it(variant: Deployment) -> None:
    assert int(variant.run_in("engagement-redis-1", "redis-cli", "dbsize")) > 0
    _, maxmemory = variant.run_in("engagement-redis-1", "redis-cli", "config", "get", "maxmemory").split()
    assert (
        0
        < int(maxmemory)
        < variant.engine.cgroup("engagement-redis-1", "memory", "memory.limit_in_bytes", "memory.max")
    )

    server, (gone, _) = variant.names("server")[0], variant.names("worker")
    counted = counted_events(variant, server)
    variant.engine.podman("stop", gone)
    until(lambda: partitions_owned(variant, server) == [4], "the other worker to have all partitions")
    assert counted_events(variant, server) >= counted


def test_settings_of_env_reach_the_program_and_its_port(variant: Deployment) -> None:
    worker, (server, _) = variant.names("worker")[0], variant.names("server")

    settings = variant.run_in(worker, "engagement", "settings")
    assert '"Europe/Berlin"' in settings
    assert "port = 8701" in settings
    assert variant.engine.get(worker, "8701/readyz")  # a status other than 200 would raise
    for name in (worker, server):
        first = variant.log_of(name).splitlines()[0]
        assert not first.startswith("{")  # console, and not the default, which is JSON
    page = variant.engine.run("wget", "-q", "-O", "-", "http://127.0.0.1:8700/api/v1/metrics")
    assert json.loads(page)["health"]
