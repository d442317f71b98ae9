"""Messages in Avro, JSON Schema and Protobuf go through Kafka, sent by the serializers of a registry's vendor.

The registry asks for a password over TLS, and is away at first.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from kafka import KafkaProducer

from stream.core.rejections import LeftOut
from stream.settings import load
from tests.inputs.encoded import LOGIN_SCHEMA, answer_class, avro_of, framed
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program
from tests.integration.letters import shown
from tests.integration.test_formats import left_out
from tests.ports import free_port
from tests.schema_registry import SchemaRegistry, running

USER, PASSWORD = "reader", "registry-P0lonius"
USERS = 12
AT = datetime.fromtimestamp(LOAD_STARTS_MS / 1_000, timezone.utc)

_SETTINGS = """
[registry]
url = "{url}"
username = "{user}"
password_file = "{folder}/registry-password"
ssl_cafile = "{folder}/ca.pem"

[[inputs]]
topic = "{logins}"
name = "logins"
kind = "logins"
encoding = "registry"

[[inputs]]
topic = "{answers}"
name = "answers"
kind = "surveys"
encoding = "registry"

[[inputs]]
topic = "{views}"
name = "views"
format = "mapped"
encoding = "registry"
[inputs.mapping]
user_id = "who"
event_time = "at"
event = "what"
[inputs.mapping.events]
page_view = "page"

[[inputs]]
topic = "{rows}"
name = "rows"
kind = "logins"
envelope = "debezium"

[[inputs]]
topic = "{plain}"
name = "plain"
kind = "logins"
encoding = "avro"
schema = "{folder}/login.avsc"
"""
NAMES = ("logins", "answers", "views", "rows", "plain")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SchemaRegistry]:
    """A registry that asks for a password over TLS, with the files that a deployment needs for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "registry-password").write_text(f"{PASSWORD}\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with running(SchemaRegistry(user=USER, password=PASSWORD, tls=context)) as registry:
        yield registry


class Senders:
    """Producers of a deployment, each message in the encoding of its topic. All of them key by a gateway."""

    def __init__(self, deployment: Deployment, registry: SchemaRegistry, folder: Path) -> None:
        self._topics = deployment.settings.input_topics
        self._producer = KafkaProducer(**deployment.client)
        options = {"basic.auth.user.info": f"{USER}:{PASSWORD}", "ssl.ca.location": str(folder / "ca.pem")}
        self._client = SchemaRegistryClient({"url": registry.url, **options})
        self._avro = AvroSerializer(self._client, LOGIN_SCHEMA)
        self._avro_by_guid = AvroSerializer(
            self._client, LOGIN_SCHEMA, conf={"schema.id.serializer": header_schema_id_serializer}
        )
        self._protobuf = ProtobufSerializer(answer_class(), self._client, {"use.deprecated.format": False})

    def send(self, name: str, value: bytes | None, headers: Any = None) -> None:
        self._producer.send(self._topics[name], key=b"gateway", value=value, headers=headers or [])

    def login(self, user: str, at: datetime, *, by_guid: bool = False) -> None:
        message = {"user_id": user, "event_time": at, "success": True, "platform": "web"}
        context = SerializationContext(self._topics["logins"], MessageField.VALUE, [])
        value = (self._avro_by_guid if by_guid else self._avro)(message, context)
        self.send("logins", value, context.headers)

    def answer(self, user: str, at: datetime) -> None:
        message = answer_class()(user_id=user, response_id=1, kind="nps", score=0)
        message.event_time.FromDatetime(at)
        self.send("answers", self._protobuf(message, SerializationContext(self._topics["answers"], MessageField.VALUE)))

    def flush(self) -> None:
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()


@pytest.mark.chaos
def test_messages_of_a_registry_wait_for_it_and_then_all_count(
    deployment: Deployment, registry: SchemaRegistry, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    topics = {name: f"{deployment.settings.app_id}.{name}" for name in NAMES}
    settings.write_text(_SETTINGS.format(url=registry.url, user=USER, folder=tmp_path, **topics))
    (tmp_path / "login.avsc").write_text(LOGIN_SCHEMA)
    for kind in ("SESSIONS", "LOGINS", "SURVEYS"):
        del deployment.variables[f"ENGAGEMENT_TOPICS_{kind}"]
    deployment.variables |= {"ENGAGEMENT_SETTINGS": str(settings), "ENGAGEMENT_CLOCK": "wall"}
    deployment.variables |= {"ENGAGEMENT_ALLOWED_LATENESS": "30d"}
    deployment.settings = load(settings, deployment.variables)
    deployment.create_topics()
    senders = Senders(deployment, registry, tmp_path)
    by_name = registry.register("json-value", '{"type":"object"}', kind="JSON")
    now = datetime.now(timezone.utc)
    for number in range(USERS):
        at = now - timedelta(minutes=number)
        senders.login(f"ada-{number}", at, by_guid=number % 2 == 0)
        senders.answer(f"bob-{number}", at.replace(tzinfo=None))
        view = {"who": f"eve-{number}", "at": at.isoformat(), "what": "page"}
        senders.send("views", framed(by_name, json.dumps(view).encode()))
        row = {"user_id": f"dan-{number}", "event_time": at.isoformat()}
        senders.send("rows", json.dumps({"op": "c", "after": row, "source": {}}).encode())
        plain = {"user_id": f"pam-{number}", "event_time": at, "success": True, "platform": "ios"}
        senders.send("plain", avro_of(LOGIN_SCHEMA, plain))
    senders.send("rows", json.dumps({"op": "d", "before": {}, "after": None}).encode())
    senders.send("rows", None)
    senders.send("logins", framed(999, b"what may it be"))
    senders.send("logins", framed(2, b"no Avro of its schema"))
    senders.send("views", b'{"who":"max","at":"2026-03-10T12:00:00Z"}')
    senders.send("plain", b"\xff")
    senders.flush()
    registry.stop()

    worker = deployment.start(ENGAGEMENT_WORKER_PORT=str(probes := free_port()))

    # What needs no registry is counted, and what does says why it is not.
    worker.wait_until(lambda: worker.outcomes()["applied"] == 2 * USERS, "rows and plain messages counted")
    worker.wait_until(lambda: _why_unread(worker) == {"logins", "answers", "views"}, "the inputs that wait say so")
    status, told = worker.get("/readyz")
    assert status == 503
    assert f"logins is not read: the schema registry at {registry.url} can't be reached: ConnectError" in told
    assert "its messages wait in Kafka" in told
    probes_program = Program(worker._process, port=probes, log=worker._log)
    assert f"{topics['views']} is not read: the schema registry" in probes_program.get("/readyz")[1]
    assert {value for name, value in worker.metrics().items() if _is_readable(name, "logins")} == {0, 1}

    # The registry comes back, but refuses everything for now; then it answers.
    registry.fails_with = 500
    registry.start()
    worker.wait_until(lambda: "answers 500: as the test wants it" in worker.get("/readyz")[1], "its answer is shown")
    registry.fails_with = 0
    worker.wait_until(lambda: worker.outcomes()["applied"] == 5 * USERS, "every event counted")
    worker.wait_until(lambda: worker.outcomes()["invalid"] == 4, "what can't be used refused")
    worker.wait_until_ready()

    assert worker.metrics()['engagement_active_users{window="1d"}'] == 4 * USERS
    responses = {name: count for name, count in worker.metrics().items() if _is_of_nps(name)}
    assert set(responses.values()) == {USERS}, responses
    assert left_out(worker) == {f'topic="rows",what="{LeftOut.EMPTY.value}"}}': 2}
    letters = [*shown(deployment, "--topic", "logins"), *shown(deployment, "--topic", "views")]
    letters += shown(deployment, "--topic", "plain")
    assert {(letter["reason"], letter["detail"].partition(" of its schema: ")[0]) for letter in letters} == {
        ("unknown_value", "the registry has no schema 999, or not all that it refers to"),
        ("not_json", "the message is no Avro"),
        ("not_json", "the message names no schema of a registry: it begins with 7b 22 77 68 6f 22 3a 22"),
    }
    asked = [path for path in registry.asked if "999" not in path and path.startswith("/schemas")]
    schemas = {path.partition("?")[0] for path in asked}
    assert len(schemas) == 4  # of Avro one by its id and one by its GUID

    # A schema that is new while it runs is fetched, and the messages before and after it stay in order.
    before = len(registry.asked)
    senders.send("logins", framed(999, b"again"))
    senders.login("ann", now)
    senders.send(
        "views",
        framed(registry.register("new-value", "{}", kind="JSON"), b'{"who":"zoe","at":1741000000,"what":"page"}'),
    )
    senders.flush()
    worker.wait_until(lambda: worker.outcomes()["applied"] == 5 * USERS + 1, "the newest counted")
    worker.wait_until(lambda: worker.outcomes()["late"] == 1, "the old one refused")
    assert [path for path in registry.asked[before:] if "999" not in path] == ["/schemas/ids/4"]

    checked = deployment.command("inputs", "check", "--topic", topics["logins"])
    assert f"{USERS + 4} messages" in " ".join(checked.stdout.split())[:40], checked.stdout
    assert "refused: unknown_value" in checked.stdout
    worker.terminate()
    assert worker.wait_for_exit() == 0
    senders.close()
    secrets = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
    shown_settings = deployment.command("settings").stdout
    assert registry.url in shown_settings
    assert not [secret for secret in secrets if secret in worker.log + shown_settings + checked.stdout + told]


def _why_unread(worker: Program) -> set[str]:
    """The inputs of which the server says that they are not read."""
    told = worker.get("/readyz")[1].splitlines()
    return {one.partition(": ")[2].partition(" ")[0] for one in told if "is not read" in one}


def _is_readable(name: str, topic: str) -> bool:
    return name.startswith("engagement_topic_readable") and f'topic="{topic}"' in name


def _is_of_nps(name: str) -> bool:
    labels = ('kind="nps"', 'status="completed"', 'window="1d"')
    return name.startswith("engagement_survey_responses{") and all(label in name for label in labels)
