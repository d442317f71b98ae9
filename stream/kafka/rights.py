"""What each role of a deployment must be allowed to do in Kafka, and the `kafka-acls` lines that allow it.

A role is one or more commands that run under the same user. The lists below are the only place that says what a command
needs: the manual's table, the script of `engagement topics rights`, the check at the start of each command and the
messages about a missing right are all made from them.

Only what is needed is listed. Kafka lets who may read, write, delete or alter something also describe it, and since
2.8 (KIP-679) who may write to some topic also be an idempotent producer.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from stream.kafka.access_tokens import access_tokens
from stream.redis_url import is_redis_url
from stream.settings import Settings

Operation = Literal["Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs", "IdempotentWrite"]
Kind = Literal["topic", "group", "transactional-id", "cluster"]
Pattern = Literal["literal", "prefixed"]

# The operations that include Describe.
_DESCRIBING: Final = frozenset({"Read", "Write", "Alter"})

# The one name that Kafka gives its cluster.
CLUSTER_NAME: Final = "kafka-cluster"


class Right(NamedTuple):
    """Somebody may do `operation` with the topic, group or other resource that has this name, or this prefix."""

    operation: Operation
    kind: Kind
    name: str
    pattern: Pattern = "literal"

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind.replace('-', ' ')} {self.name!r}"


# The commands of each role. Those that change or create something are listed after those that do not.
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "worker": ("worker",),
    "server": ("serve",),
    "dlq": ("dlq list", "dlq show", "dlq replay --dry-run", "dlq replay"),
    "state": ("state inspect", "rfm", "health USER", "state reset", "state accept"),
    "privacy": ("privacy find", "privacy export", "privacy erase"),
    "topics": ("topics check", "topics create", "topics grow"),
    "replay": ("replay", "simulate", "simulate --live"),
    "inputs": ("inputs check",),
}
# Commands that few need, and that `engagement topics rights` therefore leaves out unless it is asked for them.
RARE: Final = frozenset({"topics create", "topics grow", "simulate --live"})
# Those that change what workers count.
CHANGING: Final = frozenset({"dlq replay", "state reset", "state accept", "privacy erase"})

# Brokers before 2.8 ask idempotent producers for this.
IDEMPOTENT_WRITE: Final = Right("IdempotentWrite", "cluster", CLUSTER_NAME)


def rights_of(
    command: str, settings: Settings, *, inputs: Collection[str] | None = None, old_brokers: bool = False
) -> list[Right]:
    """Return the rights that a command needs with these settings, each once, and none that another one includes.

    `inputs` are the Kafka topics of the inputs that it uses, if these are not all of the settings. With `old_brokers`,
    what brokers before 2.8 ask of idempotent producers is among them.
    """
    topics = [*dict.fromkeys(settings.input_topics.values() if inputs is None else inputs)]
    found = without_included(_RIGHTS[command](settings, topics))
    if old_brokers and settings.kafka.idempotent and any(right.operation == "Write" for right in found):
        found.append(IDEMPOTENT_WRITE)
    return found


def rights_of_role(
    role: str, settings: Settings, *, but: Collection[str] = frozenset(), old_brokers: bool = False
) -> dict[Right, list[str]]:
    """Return the rights of all commands of a role except the commands `but`, each with the commands that need it."""
    needed = {
        command: rights_of(command, settings, old_brokers=old_brokers) for command in ROLES[role] if command not in but
    }
    return {
        right: [command for command, its in needed.items() if any(includes(right, one) for one in its)]
        for right in without_included(right for its in needed.values() for right in its)
    }


def with_prefix(rights: Mapping[Right, Sequence[str]], settings: Settings) -> dict[Right, list[str]]:
    """Return the same with one right for all internal topics, by their prefix, in the place of one for each."""
    widened: dict[Right, list[str]] = {}
    for right, commands in rights.items():
        is_internal = right.kind == "topic" and right.name in _internal_topics(settings)
        wide = right._replace(name=f"{settings.app_id}-", pattern="prefixed") if is_internal else right
        known = widened.setdefault(wide, [])
        known += [command for command in commands if command not in known]
    return {right: widened[right] for right in without_included(widened)}


def acl_lines(rights: Iterable[Right], *, principal: str, servers: str, command_config: str = "") -> list[str]:
    """Return the lines that grant rights: one for all resources of a kind on which the same operations are allowed.

    `command_config` is the file with the settings of an administrator's client.
    """
    operations: dict[tuple[Kind, Pattern, str], list[Operation]] = {}
    for right in rights:
        operations.setdefault((right.kind, right.pattern, right.name), []).append(right.operation)
    names: dict[tuple[Kind, Pattern, tuple[Operation, ...]], list[str]] = {}
    for (kind, pattern, name), allowed in operations.items():
        names.setdefault((kind, pattern, tuple(allowed)), []).append(name)
    config = ["--command-config", command_config] if command_config else []
    start = ["kafka-acls", "--bootstrap-server", servers, *config, "--add", "--allow-principal", principal]
    return [
        shlex.join(
            [
                *start,
                *(part for operation in allowed for part in ("--operation", operation)),
                *(part for name in found for part in _resource_options(kind, name)),
                *(["--resource-pattern-type", pattern] if pattern != "literal" else []),
            ]
        )
        for (kind, pattern, allowed), found in names.items()
    ]


def principal_of(settings: Settings) -> str:
    """Return the principal that the brokers know a client with these settings by, as far as the settings say it."""
    kafka = settings.kafka
    if kafka.security_protocol == "SSL":
        return "User:SUBJECT OF THE CLIENT CERTIFICATE" if kafka.ssl_certfile else "User:ANONYMOUS"
    tokens = access_tokens(settings)
    if tokens is not None:
        return f"User:{tokens.subject or kafka.oauth_client_id}"
    return f"User:{kafka.sasl_username or 'ANONYMOUS'}"


def _resource_options(kind: Kind, name: str) -> tuple[str, ...]:
    return ("--cluster",) if kind == "cluster" else (f"--{kind}", name)


def includes(right: Right, other: Right) -> bool:
    """Whether who has a right has the other one too."""
    same = right.operation == other.operation or (other.operation == "Describe" and right.operation in _DESCRIBING)
    if right.pattern == "prefixed":
        return same and right.kind == other.kind and other.name.startswith(right.name)
    return same and right[1:] == other[1:]


def without_included(rights: Iterable[Right]) -> list[Right]:
    """Return these rights, each once, and without those that another one includes."""
    found = list(dict.fromkeys(rights))
    return [right for right in found if not any(other != right and includes(other, right) for other in found)]


# -- what each command does --------------------------------------------------------------------------------------------


def _on_topics(names: Iterable[str], *operations: Operation) -> Iterator[Right]:
    return (Right(operation, "topic", name) for name in names for operation in operations)


def _changelogs(settings: Settings) -> list[str]:
    return [] if is_redis_url(settings.state.url) else [settings.changelog_topic]


def _internal_topics(settings: Settings) -> list[str]:
    """The topics that only this deployment uses, beside those of dead letters: their names begin with its app id."""
    own = [settings.rekey_topic, settings.replayed_topic, settings.snapshots_topic, settings.days_topic]
    return [*own, *_changelogs(settings), *_scores(settings), *_audits(settings)]


def _scores(settings: Settings) -> list[str]:
    return [settings.health_topic] if settings.health.enabled else []


def _audits(settings: Settings) -> list[str]:
    return [settings.privacy_audit_topic] if settings.erases else []


def _letters(settings: Settings, inputs: Iterable[str]) -> list[str]:
    return [settings.dead_letter_topic(name) for name in inputs]


def _worker(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(inputs, "Read")
    yield Right("Read", "group", settings.app_id)
    yield from _on_topics([settings.rekey_topic, *_changelogs(settings)], "Read", "Write")
    reports = [settings.snapshots_topic, settings.days_topic, *_scores(settings), *_audits(settings)]
    yield from _on_topics([*reports, *_letters(settings, inputs)], "Write")


def _server(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics([settings.snapshots_topic, settings.days_topic], "Read")


def _dlq_list(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics([*_letters(settings, inputs), settings.replayed_topic], "Read")


def _dlq_dry_run(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _dlq_list(settings, inputs)
    # A letter that lacks a large part is sent with the original record, which is read from its input.
    yield from _on_topics(inputs, "Read")


def _dlq_replay(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _dlq_dry_run(settings, inputs)
    yield from _on_topics(inputs, "Write")
    yield from _on_topics([settings.replayed_topic], "Write")
    if settings.kafka.idempotent:
        yield Right("Write", "transactional-id", settings.replay_transactional_id)


def _state_inspect(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics([*inputs, settings.rekey_topic], "Describe")
    yield Right("Describe", "group", settings.app_id)
    yield from _on_topics(_changelogs(settings), "Read")


def _rfm(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    # From Redis it reads the rows alone.
    return iter(()) if is_redis_url(settings.state.url) else _state_inspect(settings, inputs)


def _privacy_find(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _state_inspect(settings, inputs)
    yield from _on_topics([*_letters(settings, inputs), *_scores(settings)], "Read")


def _privacy_erase(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(settings.privacy_topics, "Write")


def _state_change(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    # Kafka lets only those commit an offset of a topic who may read the topic.
    yield from _on_topics([*inputs, settings.rekey_topic], "Read")
    yield Right("Read", "group", settings.app_id)
    yield from _on_topics(_changelogs(settings), "Read", "Write")


def _all_topics(settings: Settings, inputs: Sequence[str]) -> list[str]:
    return [*inputs, *_letters(settings, inputs), *_internal_topics(settings)]


def _topics_check(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(_all_topics(settings, inputs), "Describe", "DescribeConfigs")


def _topics_create(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(_all_topics(settings, inputs), "Describe", "DescribeConfigs", "Create")


def _topics_grow(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    growing = [name for name in _all_topics(settings, inputs) if name != settings.replayed_topic]
    yield from _on_topics(growing, "Alter")
    yield from _state_inspect(settings, inputs)
    yield from _on_topics(_changelogs(settings), "Write")


def _send(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(inputs, "Write")


def _send_and_go_on(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    # Its first look is at the newest events that it has sent before.
    yield from _on_topics(inputs, "Read", "Write")


def _inputs_check(settings: Settings, inputs: Sequence[str]) -> Iterator[Right]:
    yield from _on_topics(inputs, "Read")


_RIGHTS: Final[Mapping[str, Callable[[Settings, Sequence[str]], Iterator[Right]]]] = {
    "worker": _worker,
    "serve": _server,
    "dlq list": _dlq_list,
    "dlq show": _dlq_list,
    "dlq replay --dry-run": _dlq_dry_run,
    "dlq replay": _dlq_replay,
    "state inspect": _state_inspect,
    "rfm": _rfm,
    "health USER": _rfm,
    "privacy find": _privacy_find,
    "privacy export": _rfm,
    "privacy erase": _privacy_erase,
    "state reset": _state_change,
    "state accept": _state_change,
    "topics check": _topics_check,
    "topics create": _topics_create,
    "topics grow": _topics_grow,
    "replay": _send,
    "simulate": _send,
    "simulate --live": _send_and_go_on,
    "inputs check": _inputs_check,
}
