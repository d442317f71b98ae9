"""Asked to stop, a worker is gone within ten seconds, whatever it is doing and whoever is away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.world import ProxiedKafka, proxied_kafka
from tests.integration.deployment import simulated
from tests.integration.fixtures import Deploy, start_kafka_or_skip
from tests.integration.kafka_server import RunningKafka

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}

# Long enough for connections to be missed, short enough for the session to last.
AWAY_SECONDS = 3


@pytest.mark.chaos
def test_in_the_middle_of_a_recovery(ways: ProxiedKafka, deploy: Deploy) -> None:
    deployment = deploy(ways.kafka.address)
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    deployment.send(simulated(users=400, days=28, **FAULTS))
    deployment.wait_until_every_gauge_equals_the_recount(server)
    worker.terminate()
    assert worker.wait_for_exit() == 0
    shutil.rmtree(deployment.disk("worker"))

    worker = deployment.start("worker", **reading_slowly(ways))
    worker.wait_until(lambda: " records to go" in server.get("/readyz")[1], "it reads its state")
    assert any(name.startswith("engagement_recovery_rows_remaining") for name in server.metrics())
    worker.wait_until(lambda: "recovering the state: " in worker.log, "it says so itself")
    worker.terminate()
    assert worker.wait_for_exit() == 0
    server.wait_until(lambda: "has stopped" in server.get("/readyz")[1], "the server knows that nobody reads it now")
    assert worker.takeovers == 0

    ways.proxies[0].heal()
    deployment.start("worker")
    deployment.wait_until_every_gauge_equals_the_recount(server)


@pytest.mark.chaos
def test_while_kafka_is_away_which_by_itself_ends_no_worker(own_kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(own_kafka.address)
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    events = simulated(users=200, days=10, **FAULTS)
    parts = [events[part::2] for part in range(2)]
    deployment.send(parts[0])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    deployment.send(parts[1])
    own_kafka.kill()
    time.sleep(9)  # longer than the session timeout
    assert worker.status is None
    assert server.get("/readyz")[0] == 503
    own_kafka.restart()
    server.wait_until(lambda: server.get("/readyz")[0] == 200, "the server is ready again")
    deployment.wait_until_every_gauge_equals_the_recount(server)
    assert worker.status is None


def reading_slowly(proxied: ProxiedKafka) -> dict[str, str]:
    """Settings of a worker that reads its state through a slow network: until something was seen, or for a minute."""
    proxied.proxies[0].slow(bytes_per_second=20_000, latency_seconds=0.0)
    return {"ENGAGEMENT_KAFKA_SERVERS": proxied.proxies[0].address, "ENGAGEMENT_KAFKA_FETCH_BYTES": "5000"}


def killed(proxied: ProxiedKafka) -> None:
    proxied.kafka.kill()


def stalled(proxied: ProxiedKafka) -> None:
    proxied.proxies[0].stall()


def cut(proxied: ProxiedKafka) -> None:
    proxied.proxies[0].cut()


@pytest.fixture
def proxied(take_away: Callable[[ProxiedKafka], None], request: pytest.FixtureRequest) -> Iterator[ProxiedKafka]:
    """A Kafka that a worker reaches through a proxy: one of the test's own where it is killed."""
    if take_away is not killed:
        yield request.getfixturevalue("ways")
        return
    with proxied_kafka(start_kafka_or_skip, proxies=1) as own:
        yield own


WAYS = [killed, stalled, cut]


@pytest.mark.chaos
@pytest.mark.parametrize("take_away", WAYS)
def test_while_kafka_is_away_and_what_was_not_saved_is_read_again(
    proxied: ProxiedKafka, deploy: Deploy, take_away: Callable[[ProxiedKafka], None]
) -> None:
    deployment = deploy(proxied.kafka.address)
    behind_the_proxy = {"ENGAGEMENT_KAFKA_SERVERS": proxied.proxies[0].address}
    worker, server = deployment.start("worker", **behind_the_proxy), deployment.start("serve")
    server.wait_until_ready()
    events = simulated(users=200, days=10, **FAULTS)
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    deployment.send(events[1::2])
    take_away(proxied)
    time.sleep(AWAY_SECONDS)
    worker.terminate()
    assert worker.wait_for_exit() == 0
    assert "did not stop in order; what was not saved will be read again" in worker.log.splitlines()[-1]

    if take_away is killed:
        proxied.kafka.restart()
    deployment.start("worker")
    deployment.wait_until_every_gauge_equals_the_recount(server)


@pytest.mark.chaos
@pytest.mark.parametrize("take_away", WAYS)
def test_in_the_middle_of_a_recovery_while_kafka_is_away(
    proxied: ProxiedKafka, deploy: Deploy, take_away: Callable[[ProxiedKafka], None]
) -> None:
    deployment = deploy(proxied.kafka.address, **{"state.url": "memory://"})
    worker = deployment.start("worker")
    worker.wait_until(lambda: worker.takeovers, "it has partitions")
    deployment.send(simulated(users=200, days=10, **FAULTS))
    worker.wait_until(lambda: sum(deployment.committed().values()) > 1_000, "much is saved")
    worker.terminate()
    assert worker.wait_for_exit() == 0

    worker = deployment.start("worker", **reading_slowly(proxied))
    worker.wait_until(lambda: "recovering the state: " in worker.log, "it reads its state")
    take_away(proxied)
    time.sleep(AWAY_SECONDS)
    worker.terminate()

    assert worker.wait_for_exit() == 0
    assert worker.takeovers == 0
    assert "Traceback" not in worker.log
