"""What `.env` and the command line make of docker-compose.yml: Redis, several workers and servers, other settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.containers.deployment import SMALL, Deployment, counted_events, deployment_in, health_of, sent_events
from tests.containers.engine import Engine, until
from tests.deploy.tools import REPOSITORY

pytestmark = [pytest.mark.containers]

# Any setting of the program, and one of each kind that the file has a default for.
SETTINGS = "ENGAGEMENT_TIMEZONE=Europe/Berlin\nENGAGEMENT_LOG_FORMAT=console\nENGAGEMENT_SERVER_PORT=8700\n"


def of_redis() -> str:
    """What .env.example says about state in Redis."""
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    chosen = [line.removeprefix("#") for line in lines if "redis" in line and "=" in line and " " not in line]
    return "".join(f"{line}\n" for line in chosen)


@pytest.fixture(scope="module")
def variant(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """State in Redis, two workers, two servers, the demo's population, and settings in `.env`."""
    env = f"{SMALL}{of_redis()}{SETTINGS}"
    with deployment_in(tmp_path_factory.mktemp("variant"), engine, env) as deployment:
        deployment.up(["worker", "server", "simulator"], profiles=["redis", "demo"], scale={"worker": 2})
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


def test_the_state_is_in_redis_and_a_worker_that_takes_over_goes_on_with_it(variant: Deployment) -> None:
    assert int(variant.run_in("engagement-redis-1", "redis-cli", "dbsize")) > 0

    server, (gone, _) = variant.names("server")[0], variant.names("worker")
    counted = counted_events(variant, server)
    variant.engine.podman("stop", gone)
    until(lambda: partitions_owned(variant, server) == [4], "the other worker to have all partitions")
    assert counted_events(variant, server) >= counted


def test_settings_of_env_reach_the_program_and_its_port(variant: Deployment) -> None:
    worker, (server, _) = variant.names("worker")[0], variant.names("server")

    assert '"Europe/Berlin"' in variant.run_in(worker, "engagement", "settings")
    for name in (worker, server):
        first = variant.log_of(name).splitlines()[0]
        assert not first.startswith("{")  # console, and not the default, which is JSON
    page = variant.engine.run("wget", "-q", "-O", "-", "http://127.0.0.1:8700/api/v1/metrics")
    assert json.loads(page)["health"]
