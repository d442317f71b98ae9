"""Create the topics of a deployment, and check the topics that exist.

All input topics must have the same number of partitions. Otherwise a user's sessions and logins would lie in partitions
of different workers. A broker that creates topics on first use chooses the number itself, so we create our topics
before anything reads or writes them. A topic that exists is never changed here without being asked: more partitions
move users to other partitions, which only an operator may decide (`maintenance.add_partitions`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream.kafka.access_tokens import AccessTokens
from stream.kafka.connections import (
    EachAddressClient,
    NotConnected,
    connection_problems,
    open_socket,
    split_server,
)
from stream.settings import Unavailable

log = logging.getLogger(__name__)

# kafka-python tries for 30 s, which is long for somebody who mistyped a port. Its pause between two attempts grows up
# to half of that, so that behind a proxy it would miss a broker that was away for only three seconds.
_CLIENT_TIMEOUTS: Final[Mapping[str, object]] = {"bootstrap_timeout_ms": 10_000, "reconnect_backoff_max_ms": 500}
_GROW_TIMEOUT_SECONDS: Final = 30.0
# A cluster serves new topics within a second or two; a busy cluster, or one that creates many, takes longer.
_CREATE_TIMEOUT_MS: Final = 60_000

# The settings that break a deployment when they differ. A changelog that is not compacted grows for ever, and one that
# is deleted by age loses users. A checkpoint larger than max.message.bytes can't be written. Others are not checked.
_BREAKING_CONFIGS: Final = ("cleanup.policy", "max.message.bytes")
# One without which a deployment runs, but worse: workers can't know the brokers' time.
_CHECKED_CONFIGS: Final = (*_BREAKING_CONFIGS, "message.timestamp.type")


class BrokerUnreachable(Unavailable, ConnectionError):
    """No broker of the cluster can be reached. The text has the address and the reason."""


class TopicNotCreated(Unavailable):
    """The cluster refuses to create a topic. The text has its reason."""


class CreationNotAllowed(TopicNotCreated):
    """We have no right to create a topic. The text has the command with which somebody else can create it."""

    def __init__(self, spec: TopicSpec, *, address: str, replication: int) -> None:
        self.topic = spec.name
        counts = f"--partitions {spec.partitions}" + (f" --replication-factor {replication}" if replication > 0 else "")
        config = "".join(f" --config {name}={value}" for name, value in spec.config.items())
        command = f"kafka-topics --bootstrap-server {address} --create --topic {spec.name} {counts}{config}"
        super().__init__(f"topic {spec.name!r} does not exist, and we may not create it\n  create it with: {command}")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. `config` has Kafka's topic settings by their Kafka names."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """What is wrong with a topic, and the remedy, which is a command where one exists."""

    topic: str
    problem: str
    remedy: str
    is_missing: bool = False
    is_hidden: bool = False  # we have no right to be told anything of it
    can_run: bool = False  # a deployment can run with it, though not as well


def create_topics(specs: Sequence[TopicSpec], *, client_options: Mapping[str, object], replication: int) -> list[str]:
    """Create the topics that are missing, wait until the cluster serves them, and return their names.

    A topic that exists stays as it is, even if it differs; `check_topics` reports the difference. A setting that the
    broker does not know is left out with a warning. `client_options` are keyword arguments of kafka-python's clients.

    Raises BrokerUnreachable, or TopicNotCreated with the broker's reason.
    """
    with admin_client(client_options) as admin:
        present = _describe(admin, specs)
        missing = [spec for spec in specs if present[spec.name]["error_code"] == UnknownTopicOrPartitionError.errno]
        address = _address(client_options)
        created = [spec.name for spec in missing if _create(admin, spec, address=address, replication=replication)]
        try:
            admin.wait_for_topics([spec.name for spec in missing], timeout_ms=_CREATE_TIMEOUT_MS)
        except KafkaTimeoutError as error:
            raise TopicNotCreated(f"topics were created but are not ready: {error}") from error
        return created


def partition_counts(names: Sequence[str], *, client_options: Mapping[str, object]) -> dict[str, int]:
    """Return the partition count of each of these topics that exists. Raises BrokerUnreachable."""
    with admin_client(client_options) as admin:
        topics = _describe(admin, _specs_of_names(names))
    return {name: len(topic["partitions"]) for name, topic in topics.items() if topic["error_code"] == 0}


def grow_topics(names: Sequence[str], partitions: int, *, client_options: Mapping[str, object]) -> None:
    """Add partitions to the topics that have fewer than `partitions`. Raises BrokerUnreachable, TopicNotCreated."""
    counts = partition_counts(names, client_options=client_options)
    small = [name for name in names if counts[name] < partitions]
    with admin_client(client_options) as admin:
        if small:
            admin.create_partitions(dict.fromkeys(small, partitions))
        deadline = time.monotonic() + _GROW_TIMEOUT_SECONDS
        while any(len(topic["partitions"]) < partitions for topic in _describe(admin, _specs_of_names(names)).values()):
            if time.monotonic() > deadline:
                raise TopicNotCreated(f"topics were given {partitions} partitions, but not all show them yet")
            time.sleep(0.2)


def _specs_of_names(names: Sequence[str]) -> list[TopicSpec]:
    return [TopicSpec(name, 0) for name in names]


def topic_ids(names: Sequence[str], *, client_options: Mapping[str, object]) -> dict[str, str]:
    """Return Kafka's id of each topic that has one. A topic that is created again gets a new id.

    Raises BrokerUnreachable.
    """
    with admin_client(client_options) as admin:
        found = ids_of(admin, names)
    return {name: topic_id for name, topic_id in found.items() if topic_id}


def ids_of(admin: Any, names: Sequence[str]) -> dict[str, str]:
    """Return the id of each of these topics that exists, as an open admin client is told. Empty if it is told none."""
    described = cast(list[dict[str, Any]], admin.describe_topics(list(names)))
    ids = {
        topic["name"]: str(topic.get("topic_id") or "")
        for topic in described
        if topic["error_code"] != UnknownTopicOrPartitionError.errno
    }
    return {name: topic_id if topic_id and UUID(topic_id).int else "" for name, topic_id in ids.items()}


def delete_topics(names: Sequence[str], *, client_options: Mapping[str, object]) -> None:
    """Delete topics with all their records. Raises BrokerUnreachable."""
    with admin_client(client_options) as admin:
        admin.delete_topics(list(names))


def check_topics(specs: Sequence[TopicSpec], *, client_options: Mapping[str, object]) -> list[TopicProblem]:
    """Compare the topics of the cluster with what they should be, and return the differences.

    Raises BrokerUnreachable.
    """
    address = _address(client_options)
    with admin_client(client_options) as admin:
        topics = _describe(admin, specs)
        configs = _configs(admin, [spec for spec in specs if topics[spec.name]["error_code"] == 0])
    counts = {name: len(topic["partitions"]) for name, topic in topics.items() if topic["error_code"] == 0}
    problems: list[TopicProblem] = []
    for spec in specs:
        if spec.name in counts:
            problems += _partition_problems(spec, specs, counts, address=address)
            problems += _config_problems(spec, configs.get(spec.name, {}), address=address)
        else:
            problems.append(_missing_topic_problem(spec, topics[spec.name]["error_code"], address=address))
    return problems


def _missing_topic_problem(spec: TopicSpec, error_code: int, *, address: str) -> TopicProblem:
    if error_code == UnknownTopicOrPartitionError.errno:
        command = f"engagement topics create --kafka {address} --partitions {spec.partitions}"
        return TopicProblem(spec.name, f"topic {spec.name!r} does not exist", command, is_missing=True)
    reason = for_code(error_code).__name__
    command = f"kafka-topics --bootstrap-server {address} --describe --topic {spec.name}"
    is_hidden = error_code == TopicAuthorizationFailedError.errno
    return TopicProblem(spec.name, f"topic {spec.name!r} cannot be described: {reason}", command, is_hidden=is_hidden)


def _partition_problems(
    spec: TopicSpec, specs: Sequence[TopicSpec], counts: Mapping[str, int], *, address: str
) -> Iterator[TopicProblem]:
    has = counts[spec.name]
    if has == spec.partitions:
        return
    # Name a topic that has the right number, so that the reader sees where the number comes from.
    right = [other.name for other in specs if counts.get(other.name) == other.partitions == spec.partitions]
    if right:
        problem = f"topic {spec.name!r} has {has} partitions, {right[0]!r} has {spec.partitions}: they must be equal"
    else:
        problem = f"topic {spec.name!r} has {has} partitions, {spec.partitions} are configured"
    if has < spec.partitions:
        remedy = f"kafka-topics --bootstrap-server {address} --alter --topic {spec.name} --partitions {spec.partitions}"
    else:
        remedy = (
            f"ENGAGEMENT_TOPICS_PARTITIONS={has}, or topics.partitions in the settings file: "
            "a topic can gain partitions, never lose them"
        )
    yield TopicProblem(spec.name, problem, remedy)


def _config_problems(spec: TopicSpec, actual: Mapping[str, str], *, address: str) -> Iterator[TopicProblem]:
    for name in _CHECKED_CONFIGS:
        wanted, has = spec.config.get(name), actual.get(name)
        if wanted is None or has is None or _is_good_enough(name, has, wanted):
            continue
        value = f"[{wanted}]" if "," in wanted else wanted
        yield TopicProblem(
            spec.name,
            f"topic {spec.name!r} has {name}={has}, it must be {wanted}",
            f"kafka-configs --bootstrap-server {address} --alter --entity-type topics --entity-name {spec.name} "
            f"--add-config {name}={value}",
            can_run=name not in _BREAKING_CONFIGS,
        )


def _is_good_enough(name: str, has: str, wanted: str) -> bool:
    if name == "max.message.bytes":
        return int(has) >= int(wanted)
    return _policies(has) == _policies(wanted)


def _policies(listed: str) -> set[str]:
    return {policy.strip() for policy in listed.split(",")}


def _describe(admin: Any, specs: Sequence[TopicSpec]) -> dict[str, dict[str, Any]]:
    topics = cast(list[dict[str, Any]], admin.describe_topics([spec.name for spec in specs]))
    return {topic["name"]: topic for topic in topics}


def _configs(admin: Any, specs: Sequence[TopicSpec]) -> dict[str, dict[str, str]]:
    """Return the checked settings of each topic. Empty if the broker does not tell them or we may not ask."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name, list(_CHECKED_CONFIGS)) for spec in specs]
    if not resources:
        return {}
    try:
        described = admin.describe_configs(resources, config_filter="all").get("topic", {})
    except KafkaError as error:
        log.debug("the broker does not tell the settings of topics: %s", error)
        return {}
    return {
        topic: {name: entry["value"] for name, entry in entries.items() if entry["value"] is not None}
        for topic, entries in described.items()
    }


def _create(admin: Any, spec: TopicSpec, *, address: str, replication: int) -> bool:
    """Create one topic; returns False when another process has created it first."""
    config = dict(spec.config)
    while True:
        wanted = {"num_partitions": spec.partitions, "replication_factor": replication, "configs": config}
        answer = admin.create_topics({spec.name: wanted}, raise_errors=False)["topics"][0]
        error, reason = for_code(answer["error_code"]), answer.get("error_message") or "no reason given"
        if answer["error_code"] == 0:
            return True
        if error is TopicAlreadyExistsError:
            return False
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            raise CreationNotAllowed(spec, address=address, replication=replication)
        # "Unknown topic config name: ..." comes from a broker that lacks the setting, which is left out then.
        # "Invalid value ..." is a mistake of the operator.
        is_unknown = error is InvalidConfigurationError and not reason.startswith("Invalid value")
        refused = [name for name in config if name in reason] if is_unknown else []
        if not refused:
            raise TopicNotCreated(f"cannot create topic {spec.name!r}: {error.__name__}: {reason}")
        for name in refused:
            log.warning("topic %r is created without %s=%s: %s", spec.name, name, config.pop(name), reason)


@contextmanager
def admin_client(client_options: Mapping[str, object]) -> Iterator[Any]:
    """Open an admin client. Every failure to reach the cluster, here or inside the block, raises BrokerUnreachable."""
    address = _address(client_options)
    tokens = client_options.get("sasl_oauth_token_provider")
    if isinstance(tokens, AccessTokens):  # kafka-python would not say why there is none
        tokens.get()
    started = time.monotonic()
    # kafka-python retries a refused connection until its timeout, and then does not say what was wrong. So we connect
    # first, to have the reason. Behind a proxy we cannot: there the client has to try by itself.
    if not client_options.get("proxy_url") and not client_options.get("socks5_proxy"):
        _require_open_port(address)
    # Name servers may take longer than Kafka, and the client looks the name up again.
    look_up_ms = int((time.monotonic() - started) * 1_000)
    _hide_passwords_from_the_log()
    connections: list[Any] = []

    def connect(**config: object) -> object:
        connections.append(EachAddressClient(**config))
        return connections[-1]

    options: dict[str, Any] = {**_CLIENT_TIMEOUTS, "kafka_client": connect, **client_options}
    options["bootstrap_timeout_ms"] += look_up_ms
    try:
        admin = KafkaAdminClient(**options)
    except KafkaTimeoutError as error:
        for connection in connections:  # else kafka-python leaves its thread and sockets open
            connection.close()
        protocol = client_options.get("security_protocol", "PLAINTEXT")
        problem = f"it accepts connections but no Kafka request with security_protocol {protocol} and these credentials"
        problem = connection_problems(address) or problem
        raise BrokerUnreachable(f"cannot reach a Kafka broker at {address}: {problem}") from error
    try:
        yield admin
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError) as error:
        problem = _problem_of_named_brokers(admin) or str(error)
        raise BrokerUnreachable(f"lost the Kafka broker at {address}: {problem}") from error
    finally:
        admin.close()


def _require_open_port(address: str) -> None:
    reasons = []
    for server in address.split(","):
        try:
            open_socket(*split_server(server)).result().close()
            return
        except (ValueError, NotConnected) as error:  # noqa: PERF203  each server is tried, and each takes its time
            reasons.append(str(error))
    raise BrokerUnreachable(f"cannot reach a Kafka broker at {address}: {', '.join(dict.fromkeys(reasons))}")


def _problem_of_named_brokers(admin: Any) -> str:
    """Return why a broker can't be reached by the name that the cluster gives it; empty if each can be reached."""
    names = [f"{broker.host}:{broker.port}" for broker in admin._manager.cluster.brokers()]
    problems = ((name, connection_problems(name)) for name in names)
    return "; ".join(f"the cluster names the broker {name}: {problem}" for name, problem in problems if problem)


def _address(client_options: Mapping[str, object]) -> str:
    servers = client_options.get("bootstrap_servers", "localhost:9092")
    return servers if isinstance(servers, str) else ",".join(cast(Sequence[str], servers))


def _hide_passwords_from_the_log() -> None:
    # The first debug line of kafka-python's admin client prints all options, with sasl_plain_password.
    logging.getLogger("kafka.admin.client").addFilter(_has_no_configuration)


def _has_no_configuration(record: logging.LogRecord) -> bool:
    return "with configuration" not in str(record.msg)
