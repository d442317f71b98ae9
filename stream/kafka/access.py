"""Find out which rights are missing, and name each with the line that grants it.

Kafka tells who asks which operations it allows them on a topic that they may describe. For a consumer group it does so
only once the group exists, so a heartbeat of a member that does not exist is sent instead: Kafka refuses it for the
right before it looks for the member. A right to create something, and that to a transactional id, can't be asked for:
they are named when Kafka has refused what needs them.

Of a topic that may not be described Kafka tells nothing, so every right to it counts as missing. What a broker does not
tell otherwise counts as granted: brokers of other makes, and old ones, may not know the question.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from aiokafka import errors as aiokafka_errors
from kafka import errors as kafka_errors
from kafka.protocol.consumer import HeartbeatRequest

from stream.kafka.options import client_options
from stream.kafka.rights import IDEMPOTENT_WRITE, Right, acl_lines, principal_of, rights_of
from stream.kafka.topics import admin_client
from stream.settings import Settings, Unavailable

KafkaErrors: Final = (aiokafka_errors.KafkaError, kafka_errors.KafkaError)

# How Kafka's protocol, and kafka-python, name the operations.
_NAMES: Final[Mapping[str, str]] = {
    "Read": "READ",
    "Write": "WRITE",
    "Create": "CREATE",
    "Alter": "ALTER",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
}

# A new cluster creates its topic of committed offsets when a group is asked for the first time, and then has no
# coordinator for a moment.
_COORDINATOR_SECONDS: Final = 5.0


class RightsMissing(Unavailable):
    """Kafka does not allow what a command must do. The text names each right, with the line that grants it."""

    def __init__(self, rights: Iterable[Right], settings: Settings) -> None:
        super().__init__("\n".join(describe_missing(rights, settings)))


def describe_missing(rights: Iterable[Right], settings: Settings) -> list[str]:
    """Return a line for each of these rights that says that it is missing, and which line grants it."""
    principal, servers = principal_of(settings), settings.kafka.servers
    return [
        f"{right} is not granted to {principal}: {acl_lines([right], principal=principal, servers=servers)[0]}"
        for right in rights
    ]


def missing_rights(admin: Any, rights: Iterable[Right], *, coordinator_seconds: float = 0.0) -> list[Right]:
    """Return those of these rights that an open admin client does not have, as far as Kafka tells."""
    wanted = list(rights)
    names = [*dict.fromkeys(right.name for right in wanted if right.kind == "topic")]
    topics = {topic["name"]: topic for topic in admin.describe_topics(names)} if names else {}
    # Other brokers might take a heartbeat of nobody for a fault.
    asks_groups = any(topic.get("authorized_operations") or _is_hidden(topic) for topic in topics.values())
    return [
        right
        for right in wanted
        if (right.kind == "topic" and _is_refused(topics.get(right.name, {}), right))
        or (right.kind == "group" and asks_groups and _is_group_refused(admin, right, seconds=coordinator_seconds))
    ]


def _is_hidden(topic: Mapping[str, Any]) -> bool:
    return bool(topic.get("error_code") == kafka_errors.TopicAuthorizationFailedError.errno)


def _is_refused(topic: Mapping[str, Any], right: Right) -> bool:
    if _is_hidden(topic):
        return True
    allowed = topic.get("authorized_operations")
    # Who is told of a topic may describe it: a list without that is not the whole list.
    if topic.get("error_code") != 0 or not allowed or "DESCRIBE" not in allowed or right.operation == "Create":
        return False
    return _NAMES[right.operation] not in allowed


def _is_group_refused(admin: Any, right: Right, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        answer = _answer_about_group(admin, right)
        if not isinstance(answer, kafka_errors.CoordinatorNotAvailableError) or time.monotonic() > deadline:
            return isinstance(answer, kafka_errors.GroupAuthorizationFailedError)
        time.sleep(0.1)


def _answer_about_group(admin: Any, right: Right) -> kafka_errors.KafkaError | None:
    """Ask about a group; returns the error that Kafka answers with. Raises KafkaError if it does not answer."""
    try:
        is_refused = admin._manager.run(_ask_group, admin, right)
    except (kafka_errors.KafkaConnectionError, kafka_errors.KafkaTimeoutError, kafka_errors.NodeNotReadyError):
        raise
    except kafka_errors.KafkaError as error:
        return error
    return kafka_errors.GroupAuthorizationFailedError() if is_refused else None


async def _ask_group(admin: Any, right: Right) -> bool:
    coordinator = await admin._find_coordinator_id(right.name)  # this needs Describe
    if right.operation == "Describe":
        return False
    request = HeartbeatRequest(group_id=right.name, generation_id=-1, member_id="nobody", group_instance_id=None)
    answer = await admin._manager.send(request, node_id=coordinator)
    return bool(answer.error_code == kafka_errors.GroupAuthorizationFailedError.errno)


def ask_for_missing_rights(settings: Settings, rights: Iterable[Right]) -> list[Right]:
    """Connect to Kafka, and return those of these rights that these settings do not have. Raises BrokerUnreachable."""
    with admin_client(client_options(settings)) as admin:
        return missing_rights(admin, rights, coordinator_seconds=_COORDINATOR_SECONDS)


@contextmanager
def required_rights(settings: Settings, command: str, *, inputs: Collection[str] | None = None) -> Iterator[None]:
    """Raise RightsMissing at once if a command lacks a right, or later if that is why something inside has failed.

    `inputs` are the Kafka topics of the inputs that the command uses, if these are not all.
    """
    rights = rights_of(command, settings, inputs=inputs)
    missing = ask_for_missing_rights(settings, rights)
    if missing:
        raise RightsMissing(missing, settings)
    try:
        yield
    except (Unavailable, *KafkaErrors) as error:
        refused = list(refused_rights(error, rights))
        if not refused:
            raise
        with suppress(Unavailable, *KafkaErrors):
            refused = ask_for_missing_rights(settings, rights) or refused
        raise RightsMissing(refused, settings) from error


def refused_rights(error: BaseException, rights: Iterable[Right]) -> Iterator[Right]:
    """Return those of these rights for whose lack Kafka may have answered with an error; none for another error."""
    known = list(rights)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _OF_TOPICS):
            named = _names_in(cause)
            yield from (right for right in known if right.kind == "topic" and (not named or right.name in named))
        elif isinstance(cause, _OF_GROUPS):
            yield from (right for right in known if right.kind == "group")
        elif isinstance(cause, _OF_TRANSACTIONS):
            yield from (right for right in known if right.kind == "transactional-id")
        elif isinstance(cause, _OF_CLUSTERS):
            yield IDEMPOTENT_WRITE
        cause = cause.__cause__


def is_refusal(error: BaseException) -> bool:
    """Whether Kafka has answered that something is not allowed."""
    return isinstance(error, (*_OF_TOPICS, *_OF_GROUPS, *_OF_TRANSACTIONS, *_OF_CLUSTERS))


_OF_TOPICS: Final = (aiokafka_errors.TopicAuthorizationFailedError, kafka_errors.TopicAuthorizationFailedError)
_OF_GROUPS: Final = (aiokafka_errors.GroupAuthorizationFailedError, kafka_errors.GroupAuthorizationFailedError)
_OF_TRANSACTIONS: Final = (
    aiokafka_errors.TransactionalIdAuthorizationFailed,
    kafka_errors.TransactionalIdAuthorizationFailedError,
)
_OF_CLUSTERS: Final = (aiokafka_errors.ClusterAuthorizationFailedError, kafka_errors.ClusterAuthorizationFailedError)


def _names_in(error: BaseException) -> frozenset[str]:
    """Return the topics that an error of aiokafka names: one, or a set."""
    names: set[str] = set()
    for argument in error.args:
        names.update([argument] if isinstance(argument, str) else argument if isinstance(argument, set) else ())
    return frozenset(names)
