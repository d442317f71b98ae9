"""A Kafka that grants nothing by itself: its authorizer is on, users log in by PLAIN or OAUTHBEARER.

Who comes to its other listener, `address`, is its super user: tests create topics, grant and look there. It logs what
it has allowed to whom.
"""

from __future__ import annotations

import argparse
import re
import shlex
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from stream.kafka.connections import EachAddressClient
from stream.kafka.rights import Right
from tests.integration.kafka_server import KafkaServer, classes_read, kafka_tools
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

_MODULES: Final = "org.apache.kafka.common.security"

_LOGGED: Final = """\
logger.audit.name = kafka.authorizer.logger
logger.audit.level = debug
logger.sessions.name = kafka.network.Processor
logger.sessions.level = debug
"""
_ALLOWED: Final = re.compile(
    r"Principal = (?P<principal>\S+) is Allowed operation = (?P<operation>\w+) from host = \S+ "
    r"on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+) "
)

_KINDS: Final = {"topic": "Topic", "group": "Group", "transactional-id": "TransactionalId", "cluster": "Cluster"}


class AuthorizingKafka(KafkaServer):
    """`users` has the passwords of those who log in by PLAIN, `keys` is the URL of the keys that sign tokens."""

    def __init__(self, libs: Path, *, users: Mapping[str, str], keys: str = "") -> None:
        super().__init__(libs, classes=classes_read(libs))
        self._users, self._keys = users, keys
        self._guarded_port = free_port()

    @property
    def guarded_address(self) -> str:
        """What goes into `bootstrap_servers` of those who may do what they were granted."""
        return f"127.0.0.1:{self._guarded_port}"

    def _told(self) -> dict[str, str]:
        told = super()._told()
        protocols, listener = "listener.security.protocol.map", "listener.name.sasl_plaintext"
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        tokens = {
            f"{listener}.oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
            f"{listener}.oauthbearer.sasl.server.callback.handler.class": (
                f"{_MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            f"{listener}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self._keys,
            f"{listener}.oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
        }
        return {
            **told,
            **{
                name: f"{told[name]},SASL_PLAINTEXT://{self.guarded_address}"
                for name in ("listeners", "advertised.listeners")
            },
            protocols: f"{told[protocols]},SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER" if self._keys else "PLAIN",
            f"{listener}.plain.sasl.jaas.config": f"{_MODULES}.plain.PlainLoginModule required {users};",
            **(tokens if self._keys else {}),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _java(self, *options: str) -> list[str]:
        allowed = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys}"] if self._keys else []
        return super()._java(*allowed, *options)

    def _write_properties(self) -> None:
        super()._write_properties()
        with (self._folder / "log4j2.properties").open("a") as logging:
            logging.write(_LOGGED)

    @property
    def expired_sessions(self) -> int:
        """How many connections it has closed so far because a request came after the end of their session."""
        return self.log_path.read_text(errors="replace").count("Disconnecting expired channel")

    # -- rights ----------------------------------------------------------------------------------------------------

    def run_script(self, script: str) -> None:
        """Grant what the lines of kafka-acls in a script grant."""
        lines = [shlex.split(line) for line in script.splitlines() if line.startswith("kafka-acls ")]
        self.grant(acl for line in lines for acl in _acls_of(line))

    def grant(self, acls: Iterable[ACL]) -> None:
        """Add rights, and wait until they count."""
        wanted = list(acls)
        with closing(self._admin()) as admin:
            admin.create_acls(wanted)
            _wait(lambda: all(_counts(admin, acl) for acl in wanted))

    def revoke(self, acls: Iterable[ACL]) -> None:
        """Remove rights, and wait until they do not count any more."""
        unwanted = list(acls)
        with closing(self._admin()) as admin:
            admin.delete_acls([_filter(acl) for acl in unwanted])
            _wait(lambda: not any(_counts(admin, acl) for acl in unwanted))

    def write_acls_program(self, path: Path) -> None:
        """Write Kafka's own `kafka-acls` to a path. Raises KafkaUnavailable."""
        tools = kafka_tools()
        with zipfile.ZipFile(tools) as jar:
            is_here = "org/apache/kafka/tools/AclCommand.class" in jar.namelist()
        program = "org.apache.kafka.tools.AclCommand" if is_here else "kafka.admin.AclCommand"  # of older versions
        command = ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{self._libs}/*:{tools}", program]
        path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        path.chmod(0o755)

    def granted_to(self, user: str) -> set[Right]:
        """The rights that a user has."""
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        asked = ACLFilter(
            principal=f"User:{user}",
            host=None,
            operation=ACLOperation.ANY,
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=anything,
        )
        with closing(self._admin()) as admin:
            found, _ = admin.describe_acls(asked)
        return {
            Right(
                _camel(one.operation.name),  # type: ignore[arg-type]
                one.resource_pattern.resource_type.name.lower().replace("_", "-"),
                one.resource_pattern.resource_name,
                one.resource_pattern.pattern_type.name.lower(),
            )
            for one in found
        }

    def used_by(self, user: str) -> set[Right]:
        """What it has allowed a user to do so far."""
        kinds = {kafkas: ours for ours, kafkas in _KINDS.items()}
        return {
            Right(_camel(found["operation"]), kinds[found["kind"]], found["name"])  # type: ignore[arg-type]
            for found in _ALLOWED.finditer(self.log_path.read_text(errors="replace"))
            if found["principal"] == f"User:{user}"
        }

    def _admin(self) -> Any:
        return KafkaAdminClient(bootstrap_servers=self.address, kafka_client=EachAddressClient)


def acl(right: Right, user: str) -> ACL:
    """A right of a user, as Kafka has it."""
    return ACL(
        principal=f"User:{user}",
        host="*",
        operation=ACLOperation[_snake(right.operation)],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(
            ResourceType[right.kind.replace("-", "_").upper()],
            right.name,
            ACLResourcePatternType[right.pattern.upper()],
        ),
    )


def _acls_of(line: list[str]) -> list[ACL]:
    """What a line of kafka-acls grants: each operation on each resource."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    for option in ("operation", "topic", "group", "transactional-id"):
        parser.add_argument(f"--{option}", action="append", default=[])
    told = parser.parse_args(line[1:])
    kinds = {"topic": told.topic, "group": told.group, "transactional-id": told.transactional_id}
    return [
        acl(Right(operation, kind, name, told.resource_pattern_type), told.allow_principal.removeprefix("User:"))  # type: ignore[arg-type]
        for operation in told.operation
        for kind, names in kinds.items()
        for name in names
    ]


def _filter(wanted: ACL) -> ACLFilter:
    pattern = wanted.resource_pattern
    return ACLFilter(
        principal=wanted.principal,
        host=wanted.host,
        operation=wanted.operation,
        permission_type=wanted.permission_type,
        resource_pattern=ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type),
    )


def _counts(admin: Any, wanted: ACL) -> bool:
    found, _ = admin.describe_acls(_filter(wanted))
    return bool(found)


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the broker does not follow"
        time.sleep(0.05)


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))
