"""Topics that are created again, or lose records, while a worker runs: noticed at once, and the other topics go on."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaAdminClient, TopicPartition

from stream.simulate.recording import ReplayEvent
from tests.chaos.world import ProxiedKafka
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program, login, simulated
from tests.integration.fixtures import Deploy

DAY_MS = 86_400_000


def logins(deployment: Deployment, number: int, *, day: int) -> list[ReplayEvent]:
    """Logins of a user of each partition, some days after the simulated ones."""
    at_ms = LOAD_STARTS_MS + day * DAY_MS
    return [login(user, at_ms + n) for user in deployment.user_of_each_partition for n in range(number)]


def counted(deployment: Deployment, **settings: str) -> Program:
    """A worker and server that have counted some events."""
    program = deployment.start(**settings)
    program.wait_until_ready()
    deployment.send(simulated(users=100, days=5))
    deployment.wait_until_every_gauge_equals_the_recount(program)
    return program


def decided(deployment: Deployment, program: Program, command: str) -> Program:
    """Stop the worker, decide by this command, and start it again."""
    program.terminate()
    assert program.wait_for_exit() == 0
    options = ["--yes"] if command == "reset" else []
    done = deployment.command("state", command, *options, *deployment.each_partition)
    assert done.returncode == 0, done.stderr
    return deployment.start()


@pytest.mark.chaos
def test_an_input_is_told_with_its_commands_and_the_other_topics_go_on(deployment: Deployment) -> None:
    program = counted(deployment)
    topic = deployment.settings.topics.logins

    deployment.recreate_topic(topic)
    commands = [f"engagement state accept --partition {number}" for number in deployment.all_partitions]

    def are_told() -> bool:
        told = program.get("/readyz")[1]
        return all(command in told for command in commands)

    program.wait_until(are_told, "the topic and the command of each partition are told")
    status, told = program.get("/readyz")
    assert status == 503
    assert f"'{topic}'" in told
    assert "still reading" not in told
    assert program.log.count("a topic is not read any more") == len(deployment.all_partitions)

    deployment.send(logins(deployment, 600, day=10))  # so many that every offset lies past what was read
    applied = program.outcomes()["applied"]
    deployment.send([event for event in simulated(users=150, days=6) if event.topic == "surveys"])
    program.wait_until(lambda: program.outcomes()["applied"] > applied, "another topic is read")
    assert program.status is None

    program = decided(deployment, program, "accept")
    deployment.wait_until_every_gauge_equals_the_recount(program)


@pytest.mark.chaos
def test_records_that_are_deleted_before_a_running_worker_has_read_them_are_told(
    ways: ProxiedKafka, deploy: Deploy
) -> None:
    deployment, way = deploy(ways.kafka.address), ways.proxies[0]
    program = counted(deployment, ENGAGEMENT_KAFKA_SERVERS=way.address)
    topic = deployment.settings.topics.logins

    way.stall()
    time.sleep(1)  # what was asked for before is answered by now
    deployment.send_unexpected(logins(deployment, 3, day=10))
    admin = KafkaAdminClient(**deployment.client)
    ends = admin.list_partition_offsets({TopicPartition(topic, n): -1 for n in deployment.all_partitions})
    admin.delete_records({place: end.offset for place, end in ends.items()})
    admin.close()
    way.heal()

    told = "3 records were deleted before they were read"
    each = len(deployment.all_partitions)
    program.wait_until(lambda: program.get("/readyz")[1].count(told) == each, "what was lost is told of each partition")
    assert program.get("/readyz")[1].count("engagement state accept --partition") == each
    assert program.status is None


@pytest.mark.chaos
def test_the_changelog_ends_the_worker_with_the_commands_and_a_part_of_it_is_never_taken_for_the_whole(
    deployment: Deployment,
) -> None:
    program = counted(deployment)
    deployment.recreate_topic(deployment.settings.changelog_topic)
    deployment.send(logins(deployment, 3, day=10))

    assert program.wait_for_exit() == 1
    assert "created again" in program.log
    assert "engagement state reset --partition" in program.log

    program = deployment.start()
    assert program.wait_for_exit() == 1
    assert "engagement state reset --partition" in program.log.splitlines()[-1]

    reset = deployment.command("state", "reset", "--yes", *deployment.each_partition)
    assert reset.returncode == 0, reset.stderr
    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


@pytest.mark.chaos
def test_the_topic_of_reports_is_read_anew(deployment: Deployment) -> None:
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    events = simulated(users=100, days=5)
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    deployment.recreate_topic(deployment.settings.snapshots_topic)
    deployment.send(events[1::2])
    deployment.wait_until_every_gauge_equals_the_recount(server)
    told = "a topic of the workers' reports was created again"
    server.wait_until(lambda: told in server.log, "it says why it has read the reports anew")
    assert worker.status is None
