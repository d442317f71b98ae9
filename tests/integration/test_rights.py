"""Everything runs with the rights that `engagement topics rights` prints, and no others; what is missing is named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from stream.kafka.access import describe_missing, missing_rights
from stream.kafka.options import client_options
from stream.kafka.rights import (
    RARE,
    ROLES,
    Kind,
    Operation,
    Right,
    acl_lines,
    includes,
    rights_of_role,
    with_prefix,
)
from stream.kafka.topics import admin_client
from stream.settings import Settings, load
from tests.integration.authorizing_kafka import AuthorizingKafka, acl
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program, line_of, login, simulated
from tests.integration.fixtures import Deploy, a_kafka_of
from tests.integration.kafka_server import KafkaUnavailable
from tests.integration.letters import Message, produce
from tests.missing import missing
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

PASSWORD = "Cassio-9"


@pytest.fixture(scope="module")
def guarded_kafka() -> Iterator[AuthorizingKafka]:
    """A Kafka whose users are called like the roles of a deployment."""
    with a_kafka_of(AuthorizingKafka, users=dict.fromkeys(ROLES, PASSWORD)) as server:
        yield server


@pytest.fixture
def deployment(guarded_kafka: AuthorizingKafka, deploy: Deploy) -> Deployment:
    """A deployment whose topics were made by somebody else, and whose users may do nothing yet."""
    made = deploy(
        guarded_kafka.address,
        **{
            "kafka.servers": guarded_kafka.guarded_address,
            "kafka.security_protocol": "SASL_PLAINTEXT",
            "kafka.sasl_password": PASSWORD,
            "topics.partitions": "2",
            "max_message_bytes": "4000",
        },
    )
    made.create_topics()
    return made


def as_user(role: str) -> dict[str, str]:
    """The variables of a process that runs as the user of a role."""
    return {"ENGAGEMENT_KAFKA_SASL_USERNAME": role}


def settings_of(deployment: Deployment, role: str) -> Settings:
    return load(None, {**deployment.variables, **as_user(role)})


def script(deployment: Deployment, *options: str) -> str:
    """What `engagement topics rights` prints for users that are called like their roles."""
    principals = [word for role in ROLES for word in ("--principal", f"{role}=User:{role}")]
    program = deployment.start("topics", "rights", *principals, *options)
    assert program.wait_for_exit() == 0, program.log
    return program.log


def _is_told(what: str, program: Program) -> bool:
    return what in program.get("/readyz")[1]


def run(deployment: Deployment, role: str, *command: str, status: int = 0) -> str:
    """Run a command as the user of a role to its end; returns what it printed."""
    program = deployment.start(*command, **as_user(role))
    assert program.wait_for_exit() == status, program.log
    return program.log


def test_everything_runs_with_just_the_rights_of_the_script_and_each_is_used(
    guarded_kafka: AuthorizingKafka, deployment: Deployment, tmp_path: Path
) -> None:
    guarded_kafka.run_script(script(deployment))
    server = deployment.start("serve", **as_user("server"))
    first = deployment.start("worker", name="first", **as_user("worker"))
    first.wait_until(lambda: first.partitions == {0, 1}, "partitions taken over")
    run(deployment, "topics", "topics", "check")
    recorded = [*{event.topic: event for event in simulated(users=40, days=3)}.values()]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(line_of(event.topic, event.value) for event in recorded))
    run(deployment, "replay", "replay", str(tmp_path / "events.jsonl"))
    deployment.expect((event.topic, event.value) for event in recorded)
    deployment.send(simulated(users=40, days=3, misrouted=0.2))
    broken = [
        Message(event.topic, value, b"somebody") for event in recorded for value in (b"no json", b"too large" * 1_000)
    ]
    deployment.expect((message.topic, message.value or b"") for message in broken)
    produce(deployment, broken)
    deployment.send_to_every_partition()
    first.kill()
    second = deployment.start("worker", name="second", **as_user("worker"))
    second.wait_until(lambda: second.partitions == {0, 1}, "partitions taken over")
    deployment.wait_until_every_gauge_equals_the_recount(server)
    shown = run(deployment, "dlq", "dlq", "list")
    run(deployment, "dlq", "dlq", "replay", "--dry-run")
    deployment.variables["ENGAGEMENT_MAX_MESSAGE_BYTES"] = "1000000"
    run(deployment, "dlq", "dlq", "replay")
    run(deployment, "dlq", "dlq", "list")
    for topic in deployment.settings.input_topics.values():  # the status says that some of the messages can't be used
        run(deployment, "inputs", "inputs", "check", "--topic", topic, status=3)
    second.terminate()
    assert second.wait_for_exit() == 0
    run(deployment, "state", "state", "inspect")
    assert "nobody has paid anything" in run(deployment, "state", "rfm", status=1)
    run(deployment, "privacy", "privacy", "find", "somebody")
    run(deployment, "state", "state", "accept", *deployment.each_partition)
    run(deployment, "state", "state", "reset", "--yes", *deployment.each_partition)
    third = deployment.start("worker", name="third", **as_user("worker"))
    server.wait_until_ready()
    third.terminate()
    assert third.wait_for_exit() == 0
    guarded_kafka.run_script(script(deployment, "--all", "--role", "topics"))
    run(deployment, "topics", "topics", "grow", "--partitions", "3")

    assert len(recorded) == shown.count("not_json") == shown.count("too_large") == 3
    for role in ROLES:
        granted = rights_of_role(role, deployment.settings, but=RARE - {"topics grow"})
        used = guarded_kafka.used_by(role)
        assert [right for right in granted if not any(includes(one, right) for one in used)] == []


@pytest.mark.parametrize("options", [(), ("--prefixed", "--all", "--old-brokers")])
def test_kafkas_own_program_grants_what_the_script_says_as_it_is_printed(
    guarded_kafka: AuthorizingKafka, deployment: Deployment, tmp_path: Path, options: tuple[str, ...]
) -> None:
    try:
        guarded_kafka.write_acls_program(tmp_path / "kafka-acls")
    except KafkaUnavailable as error:
        missing(str(error))
    (tmp_path / "admin.properties").write_text("security.protocol=PLAINTEXT\n")
    user = f"Ops Team/{deployment.settings.app_id}"  # a name that a shell would take apart
    of_administrator = ("--bootstrap-server", guarded_kafka.address, "--command-config", "admin.properties")
    program = deployment.start("topics", "rights", "--principal", f"User:{user}", *of_administrator, *options)
    assert program.wait_for_exit() == 0, program.log
    (tmp_path / "rights.sh").write_text(program.log)

    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "rights.sh"], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    granted = guarded_kafka.granted_to(user)
    all_, old = "--all" in options, "--old-brokers" in options
    but = frozenset[str]() if all_ else RARE
    needed: dict[Right, list[str]] = {}
    for role in ROLES:
        needed |= rights_of_role(role, deployment.settings, but=but, old_brokers=old)
    if "--prefixed" in options:
        needed = with_prefix(needed, deployment.settings)
    assert {right for right in needed if not any(includes(one, right) for one in granted)} == set()
    assert granted <= needed.keys()


def test_each_right_that_is_missing_is_named_with_the_line_that_grants_it(
    guarded_kafka: AuthorizingKafka, deployment: Deployment
) -> None:
    guarded_kafka.run_script(script(deployment))
    for role in ROLES:
        settings = settings_of(deployment, role)
        rights = [right for right in rights_of_role(role, settings, but=RARE) if right.kind != "transactional-id"]
        with admin_client(client_options(settings)) as admin:
            assert missing_rights(admin, rights, coordinator_seconds=TIMEOUT_SECONDS) == []
            for right in rights:
                guarded_kafka.revoke([acl(right, role)])
                # Of a topic that may not be described Kafka tells nothing, so nothing is known to be granted there.
                hidden = [one for one in rights if one.name == right.name and right.operation == "Describe"]
                # A client that knows where a group lies does not ask again, and to ask is all that Describe is for.
                with admin_client(client_options(settings)) if right.kind == "group" else nullcontext(admin) as asking:
                    assert missing_rights(asking, rights) == (hidden or [right])
                (told,) = describe_missing([right], settings)
                assert told.startswith(f"{right} is not granted to User:{role}: kafka-acls ")
                guarded_kafka.run_script(told[told.index("kafka-acls ") :])
            assert missing_rights(admin, rights) == []


@pytest.mark.parametrize(
    ("role", "right", "command"),
    [
        ("worker", ("Write", "topic", "{app_id}-days"), ["worker"]),
        ("worker", ("Read", "group", "{app_id}"), ["worker"]),
        ("dlq", ("Read", "topic", "{logins}.dlq"), ["dlq", "list"]),
        ("dlq", ("Write", "transactional-id", "{app_id}-dlq-replay"), ["dlq", "replay"]),
        ("state", ("Read", "topic", "{app_id}-rekey"), ["state", "reset", "--yes", "--partition", "0"]),
        ("topics", ("DescribeConfigs", "topic", "{app_id}-state-changelog"), ["topics", "check"]),
        ("replay", ("Write", "topic", "{logins}"), ["replay", "{file}"]),
        ("inputs", ("Read", "topic", "{logins}"), ["inputs", "check", "--topic", "{logins}"]),
    ],
)
def test_a_command_without_a_right_ends_at_once_and_names_it(
    guarded_kafka: AuthorizingKafka,
    deployment: Deployment,
    tmp_path: Path,
    role: str,
    right: tuple[Operation, Kind, str],
    command: list[str],
) -> None:
    (tmp_path / "logins.jsonl").write_bytes(line_of("logins", login("ada", LOAD_STARTS_MS).value))
    names = {
        "app_id": deployment.settings.app_id,
        **deployment.settings.input_topics,
        "file": tmp_path / "logins.jsonl",
    }
    operation, kind, name = right
    missing = Right(operation, kind, name.format(**names))
    guarded_kafka.run_script(script(deployment, "--role", role))
    guarded_kafka.revoke([acl(missing, role)])

    told = run(deployment, role, *(word.format(**names) for word in command), status=1)

    (line,) = acl_lines([missing], principal=f"User:{role}", servers=guarded_kafka.guarded_address)
    assert f"engagement: {missing} is not granted to User:{role}: {line}" in told.splitlines()
    assert "Traceback" not in told


def test_a_topic_that_is_missing_and_may_not_be_created_is_told_with_what_creates_it(
    guarded_kafka: AuthorizingKafka, deployment: Deployment
) -> None:
    guarded_kafka.run_script(script(deployment))
    rekey = deployment.settings.rekey_topic
    deployment.delete_topic(rekey)

    told = run(deployment, "worker", "worker", status=1)

    create = f"kafka-topics --bootstrap-server {guarded_kafka.guarded_address} --create --topic {rekey} --partitions 2"
    assert f"engagement: topic {rekey!r} does not exist, and we may not create it" in told
    assert create in told
    assert f"Create on topic {rekey!r} is not granted to User:worker: kafka-acls " in told
    assert "Traceback" not in told
    guarded_kafka.run_script(script(deployment, "--all", "--role", "topics"))
    assert f"created  {rekey}" in run(deployment, "topics", "topics", "create").splitlines()


def test_rights_that_are_taken_away_are_told_while_it_runs_and_nothing_is_lost(
    guarded_kafka: AuthorizingKafka, deployment: Deployment
) -> None:
    guarded_kafka.run_script(script(deployment, "--role", "worker", "--role", "server"))
    server = deployment.start("serve", **as_user("server"))
    port = str(free_port())
    worker = deployment.start("worker", **as_user("worker"), ENGAGEMENT_WORKER_PORT=port)
    worker.port = int(port)
    deployment.send(simulated(users=20, days=2))
    deployment.send_to_every_partition()
    worker.wait_until_ready()
    server.wait_until_ready()
    settings = deployment.settings
    for right in (
        Right("Read", "topic", settings.input_topics["sessions"]),
        Right("Read", "group", settings.app_id),
        Right("Write", "topic", settings.dead_letter_topic(settings.input_topics["sessions"])),
    ):
        told = describe_missing([right], settings_of(deployment, "worker"))[0]
        guarded_kafka.revoke([acl(right, "worker")])
        worker.wait_until(partial(_is_told, told, worker), f"{told} on /readyz")
        assert worker.get("/readyz")[0] == 503
        deployment.send(simulated(users=20, days=2))  # they come a second time
        guarded_kafka.grant([acl(right, "worker")])
        worker.wait_until_ready()
    right = Right("Read", "topic", settings.snapshots_topic)
    told = describe_missing([right], settings_of(deployment, "server"))[0]
    guarded_kafka.revoke([acl(right, "server")])
    server.wait_until(partial(_is_told, told, server), f"{told} on /readyz")
    guarded_kafka.grant([acl(right, "server")])
    server.wait_until_ready()
    deployment.wait_until_every_gauge_equals_the_recount(server)
    right = Right("Write", "topic", settings.changelog_topic)
    told = describe_missing([right], settings_of(deployment, "worker"))[0]
    guarded_kafka.revoke([acl(right, "worker")])
    deployment.send(simulated(users=25, days=2))

    assert worker.wait_for_exit() == 1
    assert f"engagement: {told}" in worker.log.splitlines()
    assert "Traceback" not in worker.log
