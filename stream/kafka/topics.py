"""The topics a deployment needs: make them, and say what is wrong with those that are there.

All inputs must have the same number of partitions, or a user's sessions and logins would lie in partitions of
different workers. Brokers that create topics on first use give them a number of their own, so we create ours before
anything reads or writes. A topic that exists is never changed unasked: adding partitions moves users to other ones,
which is for an operator to decide (`growth`).
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    InvalidConfigurationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream.settings import Unavailable

log = logging.getLogger(__name__)

# kafka-python's own 30 s are long for somebody who mistyped a port. And between two tries it would come to wait for
# half of that: behind a proxy, a broker that was away for three seconds would never be found.
_PATIENCE: Final[Mapping[str, object]] = {"bootstrap_timeout_ms": 10_000, "reconnect_backoff_max_ms": 500}
_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_GROWN_SECONDS: Final = 30.0
# A cluster serves new topics within a second or two; a busy one, or one that gets many, takes longer.
_SERVED_MS: Final = 60_000

# What breaks a deployment when it differs: a changelog that is not compacted grows for ever, or, deleted by age,
# forgets users; a delta larger than max.message.bytes can't be written. The rest is the operator's taste.
_CHECKED_CONFIGS: Final = ("cleanup.policy", "max.message.bytes")


class BrokerUnreachable(Unavailable, ConnectionError):
    """No broker of the cluster can be talked to; the message has its address and the reason."""


class TopicNotCreated(Unavailable):
    """The cluster refuses to create a topic; the message has its reason."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. `config` holds Kafka's topic settings by their names there."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """What is wrong with a topic, and what to do about it, as a command where there is one."""

    topic: str
    problem: str
    remedy: str
    is_missing: bool = False


def create_topics(specs: Sequence[TopicSpec], *, client_options: Mapping[str, object], replication: int) -> list[str]:
    """Create the topics that are missing and wait until the cluster serves them; return their names.

    Topics that exist are left as they are, also when they differ: `check_topics` tells. A setting that the broker does
    not know is left out, with a warning. `client_options` are keyword arguments of kafka-python's clients.

    Raises BrokerUnreachable, or TopicNotCreated with the broker's reason.
    """
    with admin_client(client_options) as admin:
        present = _describe(admin, specs)
        missing = [spec for spec in specs if present[spec.name]["error_code"] == UnknownTopicOrPartitionError.errno]
        created = [spec.name for spec in missing if _create(admin, spec, replication=replication)]
        try:
            admin.wait_for_topics([spec.name for spec in missing], timeout_ms=_SERVED_MS)
        except KafkaTimeoutError as error:
            raise TopicNotCreated(f"topics were created but are not ready: {error}") from error
        return created


def partition_counts(names: Sequence[str], *, client_options: Mapping[str, object]) -> dict[str, int]:
    """How many partitions each of these topics has; those that do not exist are left out. Raises BrokerUnreachable."""
    with admin_client(client_options) as admin:
        topics = _describe(admin, _named(names))
    return {name: len(topic["partitions"]) for name, topic in topics.items() if topic["error_code"] == 0}


def grow_topics(names: Sequence[str], partitions: int, *, client_options: Mapping[str, object]) -> None:
    """Give topics more partitions, where they have fewer. Raises BrokerUnreachable, TopicNotCreated."""
    counts = partition_counts(names, client_options=client_options)
    small = [name for name in names if counts[name] < partitions]
    with admin_client(client_options) as admin:
        if small:
            admin.create_partitions(dict.fromkeys(small, partitions))
        deadline = time.monotonic() + _GROWN_SECONDS
        while any(len(topic["partitions"]) < partitions for topic in _describe(admin, _named(names)).values()):
            if time.monotonic() > deadline:
                raise TopicNotCreated(f"topics were given {partitions} partitions, but not all show them yet")
            time.sleep(0.2)


def _named(names: Sequence[str]) -> list[TopicSpec]:
    return [TopicSpec(name, 0) for name in names]


def topic_ids(names: Sequence[str], *, client_options: Mapping[str, object]) -> dict[str, str]:
    """Kafka's id of each topic that has one: a topic created again has another. Raises BrokerUnreachable."""
    with admin_client(client_options) as admin:
        described = cast(list[dict[str, Any]], admin.describe_topics(list(names)))
    ids = {topic["name"]: topic.get("topic_id") for topic in described if topic["error_code"] == 0}
    return {name: str(topic_id) for name, topic_id in ids.items() if topic_id and UUID(str(topic_id)).int}


def delete_topics(names: Sequence[str], *, client_options: Mapping[str, object]) -> None:
    """Delete topics and all that is in them. Raises BrokerUnreachable."""
    with admin_client(client_options) as admin:
        admin.delete_topics(list(names))


def check_topics(specs: Sequence[TopicSpec], *, client_options: Mapping[str, object]) -> list[TopicProblem]:
    """Compare the topics with what they should be; an empty list is good news.

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
            problems.append(_absence(spec, topics[spec.name]["error_code"], address=address))
    return problems


def _absence(spec: TopicSpec, error_code: int, *, address: str) -> TopicProblem:
    if error_code == UnknownTopicOrPartitionError.errno:
        command = f"engagement topics create --kafka {address} --partitions {spec.partitions}"
        return TopicProblem(spec.name, f"topic {spec.name!r} does not exist", command, is_missing=True)
    reason = for_code(error_code).__name__
    command = f"kafka-topics --bootstrap-server {address} --describe --topic {spec.name}"
    return TopicProblem(spec.name, f"topic {spec.name!r} cannot be described: {reason}", command)


def _partition_problems(
    spec: TopicSpec, specs: Sequence[TopicSpec], counts: Mapping[str, int], *, address: str
) -> Iterator[TopicProblem]:
    has = counts[spec.name]
    if has == spec.partitions:
        return
    # Those that should have as many and do are named, since they show what the number is meant to be.
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
    """The checked settings of each topic, as far as the broker tells: not all can, and not everybody may ask."""
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


def _create(admin: Any, spec: TopicSpec, *, replication: int) -> bool:
    """Create one topic; False when another process was faster."""
    config = dict(spec.config)
    while True:
        wish = {"num_partitions": spec.partitions, "replication_factor": replication, "configs": config}
        answer = admin.create_topics({spec.name: wish}, raise_errors=False)["topics"][0]
        error, reason = for_code(answer["error_code"]), answer.get("error_message") or "no reason given"
        if answer["error_code"] == 0:
            return True
        if error is TopicAlreadyExistsError:
            return False
        # "Unknown topic config name: ..." is a broker that can less, "Invalid value ..." the operator's mistake.
        is_unknown = error is InvalidConfigurationError and not reason.startswith("Invalid value")
        refused = [name for name in config if name in reason] if is_unknown else []
        if not refused:
            raise TopicNotCreated(f"cannot create topic {spec.name!r}: {error.__name__}: {reason}")
        for name in refused:
            log.warning("topic %r is created without %s=%s: %s", spec.name, name, config.pop(name), reason)


@contextmanager
def admin_client(client_options: Mapping[str, object]) -> Iterator[Any]:
    """An admin client whose failures to reach the cluster are all BrokerUnreachable."""
    address = _address(client_options)
    # kafka-python retries a refused connection until its timeout and then does not say what was wrong. A proxy or a
    # custom resolver sits between us and the broker: there the client must try by itself.
    if not client_options.get("proxy_url") and not client_options.get("socks5_proxy"):
        _require_listener(address)
    _hide_passwords_from_the_log()
    connections: list[Any] = []

    def connect(**config: object) -> object:
        connections.append(KafkaAdminClient.DEFAULT_CONFIG["kafka_client"](**config))
        return connections[-1]

    options = {**_PATIENCE, "kafka_client": connect, **client_options}
    try:
        admin = KafkaAdminClient(**options)
    except KafkaTimeoutError as error:
        for connection in connections:  # kafka-python would leave its thread and sockets behind
            connection.close()
        protocol = client_options.get("security_protocol", "PLAINTEXT")
        told = f"it accepts connections but no Kafka request with security_protocol {protocol} and these credentials"
        raise BrokerUnreachable(f"cannot reach a Kafka broker at {address}: {told}") from error
    try:
        yield admin
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError) as error:
        raise BrokerUnreachable(f"lost the Kafka broker at {address}: {error}") from error
    finally:
        admin.close()


def _require_listener(address: str) -> None:
    reasons = []
    for server in address.split(","):
        host, _, port = server.rpartition("://")[2].strip().rpartition(":")
        try:
            # Without a port the client takes 9092, as all Kafka clients do.
            target = (host.strip("[]"), int(port)) if host else (port, 9092)
            socket.create_connection(target, _CONNECT_TIMEOUT_SECONDS).close()
            return
        except ValueError:
            reasons.append(f"{port!r} is no port")
        except OSError as error:
            reasons.append((error.strerror or str(error)).lower())
    raise BrokerUnreachable(f"cannot reach a Kafka broker at {address}: {', '.join(dict.fromkeys(reasons))}")


def _address(client_options: Mapping[str, object]) -> str:
    servers = client_options.get("bootstrap_servers", "localhost:9092")
    return servers if isinstance(servers, str) else ",".join(cast(Sequence[str], servers))


def _hide_passwords_from_the_log() -> None:
    # Its first debug line prints all options, sasl_plain_password among them.
    logging.getLogger("kafka.admin.client").addFilter(_is_no_configuration)


def _is_no_configuration(record: logging.LogRecord) -> bool:
    return "with configuration" not in str(record.msg)
