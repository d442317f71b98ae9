"""Topics made and checked on both kinds of brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from stream.kafka.topics import TopicNotCreated, TopicSpec, check_topics, create_topics
from tests.integration.kafka_server import RunningKafka

Unique = Callable[[str], str]


def options(address: str) -> dict[str, object]:
    return {"bootstrap_servers": address}


def test_missing_topics_are_created_once(any_broker: str, unique: Unique) -> None:
    specs = [TopicSpec(unique("sessions"), 4), TopicSpec(unique("logins"), 4)]

    first = create_topics(specs, client_options=options(any_broker), replication=1)
    second = create_topics(specs, client_options=options(any_broker), replication=1)

    assert first == [spec.name for spec in specs]
    assert second == []
    assert check_topics(specs, client_options=options(any_broker)) == []


def test_two_that_create_the_same_topic_at_once_both_succeed(any_broker: str, unique: Unique) -> None:
    specs = [TopicSpec(unique(f"race-{number}"), 2) for number in range(5)]
    created: list[str] = []

    def create() -> None:
        created.extend(create_topics(specs, client_options=options(any_broker), replication=1))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created) == [spec.name for spec in specs]


def test_a_missing_topic_is_a_problem_and_looking_does_not_create_it(any_broker: str, unique: Unique) -> None:
    spec = TopicSpec(unique("surveys"), 4)

    for _ in range(2):
        (problem,) = check_topics([spec], client_options=options(any_broker))
        assert problem.topic == spec.name
        assert problem.problem == f"topic '{spec.name}' does not exist"
        assert problem.remedy.startswith("engagement topics create --kafka ")


def test_a_topic_with_too_few_partitions_gets_the_command_that_adds_them(any_broker: str, unique: Unique) -> None:
    sessions, logins = unique("sessions"), unique("logins")
    create_topics([TopicSpec(sessions, 6)], client_options=options(any_broker), replication=1)
    create_topics([TopicSpec(logins, 4)], client_options=options(any_broker), replication=1)

    (problem,) = check_topics([TopicSpec(sessions, 6), TopicSpec(logins, 6)], client_options=options(any_broker))

    assert problem.problem == f"topic '{logins}' has 4 partitions, '{sessions}' has 6: they must be equal"
    assert problem.remedy == f"kafka-topics --bootstrap-server {any_broker} --alter --topic {logins} --partitions 6"


def test_a_topic_with_too_many_partitions_can_only_be_followed(any_broker: str, unique: Unique) -> None:
    spec = TopicSpec(unique("logins"), 6)
    create_topics([spec], client_options=options(any_broker), replication=1)

    (problem,) = check_topics([TopicSpec(spec.name, 4)], client_options=options(any_broker))

    assert problem.problem == f"topic '{spec.name}' has 6 partitions, 4 are configured"
    assert problem.remedy.startswith("ENGAGEMENT_TOPICS_PARTITIONS=6")


def test_settings_that_break_a_changelog_are_found(kafka: RunningKafka, unique: Unique) -> None:
    name = unique("changelog")
    create_topics([TopicSpec(name, 2)], client_options=options(kafka.address), replication=1)
    wanted = TopicSpec(name, 2, {"cleanup.policy": "compact,delete", "max.message.bytes": "134217728"})

    policy, size = check_topics([wanted], client_options=options(kafka.address))

    assert policy.problem == f"topic '{name}' has cleanup.policy=delete, it must be compact,delete"
    assert policy.remedy.endswith(f"--entity-name {name} --add-config cleanup.policy=[compact,delete]")
    assert size.problem == f"topic '{name}' has max.message.bytes=67108864, it must be 134217728"
    assert size.remedy.endswith("--add-config max.message.bytes=134217728")


def test_settings_are_made_as_asked_and_larger_messages_are_fine(kafka: RunningKafka, unique: Unique) -> None:
    name = unique("changelog")
    made = TopicSpec(name, 2, {"cleanup.policy": "compact,delete", "max.message.bytes": "33554432"})
    create_topics([made], client_options=options(kafka.address), replication=1)

    smaller = TopicSpec(name, 2, {"cleanup.policy": "delete, compact", "max.message.bytes": "1048588"})
    assert check_topics([smaller], client_options=options(kafka.address)) == []


def test_a_setting_the_broker_does_not_know_is_left_out(kafka: RunningKafka, unique: Unique) -> None:
    spec = TopicSpec(unique("odd"), 2, {"cleanup.policy": "compact", "no.such.setting": "1"})

    assert create_topics([spec], client_options=options(kafka.address), replication=1) == [spec.name]
    assert check_topics([spec], client_options=options(kafka.address)) == []


def test_a_refusal_is_told_in_the_words_of_the_broker(kafka: RunningKafka, unique: Unique) -> None:
    name = unique("sessions")
    with pytest.raises(TopicNotCreated, match=f"cannot create topic '{name}': .*replication factor of 3"):
        create_topics([TopicSpec(name, 2)], client_options=options(kafka.address), replication=3)

    bad = TopicSpec(name, 2, {"max.message.bytes": "-5"})
    with pytest.raises(TopicNotCreated, match="Invalid value -5 for configuration"):
        create_topics([bad], client_options=options(kafka.address), replication=1)
