"""Names with several addresses, by the hosts file: one is stale and drops what is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.world import ProxiedKafka, proxied_kafka
from tests.integration.deployment import Deployment, simulated
from tests.integration.fixtures import Deploy, start_kafka_or_skip
from tests.integration.with_hosts import may_have_hosts
from tests.kafka.addresses import silent
from tests.missing import missing

NAME = "kafka.engagement.test"
STALE, FIRST, SECOND = "127.0.0.9", "127.0.0.1", "127.0.0.2"
# More than half of the session timeout: two look-ups one after the other would end the membership of a worker.
LOOK_UP_SECONDS = 4.0


@pytest.fixture(scope="module")
def named_kafka() -> Iterator[ProxiedKafka]:
    """A Kafka that is known by a name."""
    if not may_have_hosts():
        missing("CAP_SYS_ADMIN, for a hosts file that only the test sees")
    with proxied_kafka(start_kafka_or_skip, proxies=1, named=NAME) as kafka:
        yield kafka


class Hosts:
    """A hosts file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tell(FIRST)

    def tell(self, *addresses: str) -> None:
        """Let the name have these addresses, in this order."""
        self.path.write_text("".join(f"{address} {NAME}\n" for address in addresses))


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    """The hosts file of the processes of a test."""
    return Hosts(tmp_path / "hosts")


def named(deploy: Deploy, kafka: ProxiedKafka, hosts: Hosts) -> tuple[Deployment, dict[str, str]]:
    """A deployment, and the settings by which its programs find Kafka by its name."""
    deployment = deploy(kafka.kafka.address)
    deployment.module = "tests.integration.with_hosts"
    return deployment, {
        "TEST_HOSTS": str(hosts.path),
        "ENGAGEMENT_KAFKA_SERVERS": f"{NAME}:{kafka.proxies[0].port}",
    }


@pytest.mark.chaos
@pytest.mark.kafka
def test_a_stale_address_costs_a_moment_and_a_new_one_is_found(
    named_kafka: ProxiedKafka, deploy: Deploy, hosts: Hosts
) -> None:
    deployment, by_name = named(deploy, named_kafka, hosts)
    proxy = named_kafka.proxies[0]
    hosts.tell(STALE, FIRST)
    with silent(STALE, proxy.port):
        program = deployment.start(**by_name)
        seconds = program.wait_until_ready()
        print(f"\nready {seconds:.1f} s after its start, with a stale address")  # noqa: T201  a figure, for people
        events = simulated(users=100, days=10)
        deployment.send(events[::2])
        deployment.wait_until_every_gauge_equals_the_recount(program)

        moved = named_kafka.network.proxy(proxy.target, host=SECOND, port=proxy.port, speaks_kafka=True)
        hosts.tell(STALE, SECOND)
        proxy.cut()
        deployment.send(events[1::2])
        deployment.wait_until_every_gauge_equals_the_recount(program)

    moved.close()
    proxy.heal()
    assert program.status is None
    assert "nothing ran for" not in program.log


@pytest.mark.chaos
@pytest.mark.kafka
def test_slow_name_servers_end_no_worker_and_no_membership(
    named_kafka: ProxiedKafka, deploy: Deploy, hosts: Hosts
) -> None:
    deployment, by_name = named(deploy, named_kafka, hosts)
    deployment.create_topics()
    program = deployment.start(TEST_LOOK_UP_SECONDS=f"{LOOK_UP_SECONDS}", **by_name)
    program.wait_until_ready()
    events = simulated(users=100, days=10)
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(program)

    named_kafka.proxies[0].cut()
    named_kafka.proxies[0].heal()
    deployment.send(events[1::2])
    deployment.wait_until_every_gauge_equals_the_recount(program)
    assert program.status is None
    assert "nothing ran for" not in program.log
