"""Connections to Kafka that have died without a word are given up, long before anybody's patience is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.world import ProxiedKafka, proxied_kafka
from tests.integration.conftest import Deploy, start_kafka_or_skip
from tests.integration.deployment import simulated

# aiokafka's own time for a request is 40 s, Faust's 90 s. Ours is 11 s here, and a worker that joins again needs some.
SOON_SECONDS = 35.0


@pytest.fixture
def proxied() -> Iterator[ProxiedKafka]:
    """A Kafka of this test alone, which a worker reaches through a proxy."""
    with proxied_kafka(start_kafka_or_skip, proxies=1) as proxied:
        yield proxied


@pytest.mark.chaos
def test_a_worker_whose_connections_have_died_makes_new_ones_and_misses_nothing(
    proxied: ProxiedKafka, deploy: Deploy
) -> None:
    deployment = deploy(proxied.kafka.address)
    program = deployment.start(ENGAGEMENT_KAFKA_SERVERS=proxied.proxies[0].address)
    program.wait_until_ready()
    events = simulated(users=100, days=10)
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(program)

    proxied.proxies[0].forget()
    deployment.send(events[1::2])
    deployment.wait_until_every_gauge_equals_the_recount(program, seconds=SOON_SECONDS)
    assert program.status is None
