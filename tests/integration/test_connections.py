"""What a worker waits for: a topic that a broker does not know yet, but no connection that has died without a word."""

from __future__ import annotations

import time

import pytest

from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import create_topics
from tests.chaos.world import ProxiedKafka
from tests.integration.deployment import Deployment, simulated
from tests.integration.fixtures import Deploy


@pytest.mark.chaos
def test_a_worker_whose_connections_have_died_makes_new_ones_and_misses_nothing(
    ways: ProxiedKafka, deploy: Deploy
) -> None:
    deployment = deploy(ways.kafka.address)
    program = deployment.start(ENGAGEMENT_KAFKA_SERVERS=ways.proxies[0].address)
    program.wait_until_ready()
    events = simulated(users=100, days=10)
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(program)

    ways.proxies[0].forget()
    deployment.send(events[1::2])
    deployment.wait_until_every_gauge_equals_the_recount(program)
    assert program.status is None


@pytest.mark.chaos
def test_a_topic_that_a_broker_does_not_know_is_waited_for_and_then_named(deployment: Deployment) -> None:
    letters = deployment.settings.dead_letter_topic(deployment.settings.input_topics["sessions"])
    program = deployment.start()
    program.wait_until_ready()
    deployment.delete_topic(letters)

    deployment.send(simulated(users=100, days=10, broken=0.05))
    time.sleep(5)
    create_topics(topic_specs(deployment.settings), client_options=deployment.client, replication=1)
    deployment.wait_until_every_gauge_equals_the_recount(program)

    program.terminate()
    assert program.wait_for_exit() == 0
    program = deployment.start()
    program.wait_until_ready()
    deployment.delete_topic(letters)
    deployment.send(simulated(users=100, days=10, broken=0.05))
    assert program.wait_for_exit() == 1
    told = f"engagement: topic {letters!r} is not in Kafka any more: create it with `engagement topics create`"
    assert program.log.splitlines()[-1] == told
