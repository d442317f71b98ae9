"""What each command needs in Kafka, as rights and as lines of kafka-acls."""

from __future__ import annotations

import json

import pytest
from aiokafka import errors as aiokafka_errors
from click.testing import CliRunner
from kafka import errors as kafka_errors

from stream.cli import main
from stream.commands import rights as rights_command
from stream.kafka.access import missing_rights, refused_rights
from stream.kafka.rights import IDEMPOTENT_WRITE, ROLES, Right, acl_lines, includes, principal_of, rights_of
from stream.settings import Input, Kafka, Settings, State


def test_a_deployment_needs_rights_to_its_own_topics_and_group_alone() -> None:
    settings = Settings(app_id="shop", inputs=(Input(topic="web.clicks", format="auto"),))

    assert rights_of("worker", settings) == [
        Right("Read", "topic", "web.clicks"),
        Right("Read", "group", "shop"),
        Right("Read", "topic", "shop-rekey"),
        Right("Write", "topic", "shop-rekey"),
        Right("Read", "topic", "shop-state-changelog"),
        Right("Write", "topic", "shop-state-changelog"),
        Right("Write", "topic", "shop-snapshots"),
        Right("Write", "topic", "shop-days"),
        Right("Write", "topic", "web.clicks.dlq"),
    ]
    assert rights_of("serve", settings) == [
        Right("Read", "topic", "shop-snapshots"),
        Right("Read", "topic", "shop-days"),
    ]


def test_a_state_in_redis_needs_no_right_to_a_changelog() -> None:
    settings = Settings(state=State(url="redis://localhost/0"))

    for commands in ROLES.values():
        for command in commands:
            assert settings.changelog_topic not in {right.name for right in rights_of(command, settings)}


def test_a_command_that_uses_some_inputs_needs_no_right_to_the_others() -> None:
    rights = rights_of("dlq replay", Settings(), inputs=["logins"])

    assert {right.name for right in rights if right.kind == "topic"} == {"logins", "logins.dlq", "engagement-replayed"}


def test_brokers_without_transactions_need_no_right_to_one() -> None:
    settings = Settings(kafka=Kafka(idempotent=False))

    assert {right.kind for right in rights_of("dlq replay", settings, old_brokers=True)} == {"topic"}
    assert IDEMPOTENT_WRITE in rights_of("dlq replay", Settings(), old_brokers=True)
    assert IDEMPOTENT_WRITE not in rights_of("serve", Settings(), old_brokers=True)


def test_the_command_offers_every_role() -> None:
    assert tuple(ROLES) == rights_command._ROLES


def test_no_right_includes_another_one_of_its_command() -> None:
    for command in [command for commands in ROLES.values() for command in commands]:
        rights = rights_of(command, Settings(), old_brokers=True)
        assert not [(one, other) for one in rights for other in rights if one != other and includes(one, other)]


def test_topics_with_the_same_operations_share_a_line_and_names_are_quoted() -> None:
    rights = [
        Right("Read", "topic", "a"),
        Right("Write", "topic", "a"),
        Right("Read", "topic", "b"),
        Right("Write", "topic", "b"),
        Right("Read", "group", "an app"),
        Right("Write", "topic", "app-", "prefixed"),
        IDEMPOTENT_WRITE,
    ]

    start = "kafka-acls --bootstrap-server k:1 --command-config a.properties --add --allow-principal 'User:CN=x y'"
    assert acl_lines(rights, principal="User:CN=x y", servers="k:1", command_config="a.properties") == [
        f"{start} --operation Read --operation Write --topic a --topic b",
        f"{start} --operation Read --group 'an app'",
        f"{start} --operation Write --topic app- --resource-pattern-type prefixed",
        f"{start} --operation IdempotentWrite --cluster",
    ]


@pytest.mark.parametrize(
    ("kafka", "principal"),
    [
        (Kafka(), "User:ANONYMOUS"),
        (Kafka(security_protocol="SSL"), "User:ANONYMOUS"),
        (Kafka(security_protocol="SSL", ssl_certfile="a.pem"), "User:SUBJECT OF THE CLIENT CERTIFICATE"),
        (Kafka(security_protocol="SASL_SSL", sasl_username="ada"), "User:ada"),
        (Kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_client_id="app"), "User:app"),
    ],
)
def test_the_principal_is_whom_the_brokers_know(kafka: Kafka, principal: str) -> None:
    assert principal_of(Settings(kafka=kafka)) == principal


# -- what Kafka tells --------------------------------------------------------------------------------------------------


class Admin:
    """Describes topics as told."""

    def __init__(self, **topics: dict[str, object]) -> None:
        self.topics = topics

    def describe_topics(self, names: list[str]) -> list[dict[str, object]]:
        return [{"name": name, **self.topics[name]} for name in names]


READ, WRITE, CREATE = Right("Read", "topic", "a"), Right("Write", "topic", "a"), Right("Create", "topic", "a")


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"error_code": 0, "authorized_operations": ["DESCRIBE", "READ"]}, [WRITE]),
        ({"error_code": 0, "authorized_operations": ["DESCRIBE", "READ", "WRITE"]}, []),
        ({"error_code": 29, "authorized_operations": None}, [READ, WRITE, CREATE]),
        ({"error_code": 0, "authorized_operations": []}, []),  # a broker that does not know the question
        ({"error_code": 0, "authorized_operations": None}, []),
        ({"error_code": 3, "authorized_operations": None}, []),  # a topic that does not exist
    ],
)
def test_a_right_is_missing_only_if_kafka_says_so(told: dict[str, object], missing: list[Right]) -> None:
    assert missing_rights(Admin(a=told), [READ, WRITE, CREATE]) == missing


def test_an_error_that_refuses_something_names_the_rights_that_it_may_be() -> None:
    group, other, transaction = (
        Right("Read", "group", "g"),
        READ._replace(name="b"),
        Right("Write", "transactional-id", "t"),
    )
    rights = [READ, WRITE, other, group, transaction]

    def told(error: BaseException) -> list[Right]:
        return list(refused_rights(error, rights))

    assert told(aiokafka_errors.TopicAuthorizationFailedError("a")) == [READ, WRITE]
    assert told(aiokafka_errors.TopicAuthorizationFailedError({"b"})) == [other]
    assert told(kafka_errors.TopicAuthorizationFailedError()) == [READ, WRITE, other]
    assert told(aiokafka_errors.GroupAuthorizationFailedError("g")) == [group]
    assert told(aiokafka_errors.TransactionalIdAuthorizationFailed("t")) == [transaction]
    assert told(aiokafka_errors.ClusterAuthorizationFailedError()) == [IDEMPOTENT_WRITE]
    assert told(kafka_errors.KafkaTimeoutError()) == []


# -- the command -------------------------------------------------------------------------------------------------------


def printed(*options: str) -> str:
    result = CliRunner().invoke(main, ["topics", "rights", *options], env={"ENGAGEMENT_APP_ID": "shop"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_script_has_each_principal_with_all_that_its_roles_need() -> None:
    lines = printed("--principal", "worker=w", "--principal", "User:ops", "--bootstrap-server", "k:9").splitlines()

    assert lines[0] == "#!/bin/sh"
    assert [line for line in lines if line.startswith("# User:")] == [
        "# User:w: worker",
        "# User:ops: server, dlq, state, privacy, topics, replay, inputs",
    ]
    assert "kafka-acls --bootstrap-server k:9 --add --allow-principal User:w --operation Read --group shop" in lines
    assert not any("Create" in line or "IdempotentWrite" in line for line in lines)


def test_the_script_has_what_it_is_asked_for() -> None:
    rare, prefixed, reading = printed("--all"), printed("--prefixed", "--old-brokers"), printed("--read-only")

    assert "--operation Create" in rare
    assert "--operation Alter" in rare
    assert "--topic shop- --resource-pattern-type prefixed" in prefixed
    assert "shop-rekey" not in prefixed
    assert "--operation IdempotentWrite --cluster" in prefixed
    assert "--transactional-id" not in printed("--read-only", "--role", "dlq")
    assert "--operation Write" not in printed("--read-only", "--role", "dlq", "--role", "state")
    assert "--operation Write" in reading  # workers write


def test_json_and_table_name_the_commands_that_need_a_right() -> None:
    found = json.loads(printed("--role", "dlq", "--format", "json", "--principal", "ops"))
    table = printed("--role", "dlq", "--format", "table")

    assert {
        "role": "dlq",
        "principal": "User:ops",
        "operation": "Write",
        "resource": "transactional-id",
        "name": "shop-dlq-replay",
        "pattern": "literal",
        "commands": ["dlq replay"],
    } in found
    assert len(table.splitlines()) == 1 + len(found)


@pytest.mark.parametrize("principal", ["somebody=User:w", "worker=", " "])
def test_a_principal_of_no_role_or_without_a_name_is_refused(principal: str) -> None:
    result = CliRunner().invoke(main, ["topics", "rights", "--principal", principal])

    assert result.exit_code == 2
    assert result.output.startswith("engagement: --principal: ")


def test_the_subject_of_a_certificate_is_a_principal() -> None:
    assert "--allow-principal 'User:CN=worker,O=My Shop'" in printed("--principal", "User:CN=worker,O=My Shop")
    assert "--allow-principal User:CN=worker" in printed("--principal", "worker=User:CN=worker", "--role", "worker")
