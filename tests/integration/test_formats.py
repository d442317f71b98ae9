"""Messages of other formats go through Kafka: batches keyed by a gateway, what can't be used, what is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from stream.core.rejections import LeftOut
from stream.settings import load
from tests.inputs.samples import AMPLITUDE, SEGMENT, TYPEFORM, changed, snowplow_line
from tests.integration.deployment import Deployment, Program
from tests.integration.letters import shown

USERS = 12

_INPUTS = """
[[inputs]]
topic = "{events}"
format = "auto"
name = "events"

[[inputs]]
topic = "{envelopes}"
format = "cloudevents"
inside = "amplitude"
name = "envelopes"

[[inputs]]
topic = "{surveys}"
format = "typeform"
name = "surveys"
[[inputs.questions]]
question = "support"
kind = "csat"
"""

_BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/app"), ("ce_type", b"event")]


def left_out(program: Program) -> dict[str, float]:
    """What is told of each topic and not counted, by topic and word."""
    counted = {name: value for name, value in program.metrics().items() if name.startswith("engagement_left_out_total")}
    return {name.partition("{")[2]: value for name, value in counted.items() if value}


async def _send(address: str, messages: list[tuple[str, bytes, list[tuple[str, bytes]]]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for topic, value, headers in messages:
            await producer.send_and_wait(topic, value, key=b"gateway", headers=headers)


@pytest.mark.chaos
def test_events_of_four_formats_count_once_whatever_they_are_keyed_by(deployment: Deployment, tmp_path: Path) -> None:
    file, names = tmp_path / "settings.toml", ("events", "envelopes", "surveys")
    topics = {name: f"{deployment.settings.app_id}.{name}" for name in names}
    file.write_text(_INPUTS.format(**topics))
    for kind in ("SESSIONS", "LOGINS", "SURVEYS"):
        del deployment.variables[f"ENGAGEMENT_TOPICS_{kind}"]
    deployment.variables["ENGAGEMENT_SETTINGS"] = str(file)
    deployment.settings = load(file, deployment.variables)
    deployment.create_topics()
    calls = [changed(SEGMENT, userId=f"segment-{number}", messageId=f"m-{number}") for number in range(USERS)]
    batch = {"batch": [*calls, {"type": "page"}, changed(SEGMENT, type="identify")]}
    columns = [snowplow_line(user_id=f"snowplow-{number}") for number in range(USERS)]
    envelopes = [changed(AMPLITUDE, user_id=f"amplitude-{number}", device_id="") for number in range(USERS)]
    answers = [changed(TYPEFORM, form_response__hidden__user_id=f"asked-{number}") for number in range(USERS)]
    messages = [
        *((topics["events"], value, []) for value in (msgspec.json.encode(batch), *columns, b'{"who":"ada"}')),
        *((topics["envelopes"], msgspec.json.encode(told), _BINARY) for told in envelopes),
        *((topics["surveys"], msgspec.json.encode(told), []) for told in answers),
    ]
    asyncio.run(_send(deployment.address, messages + messages[:1]))  # the batch once more

    worker = deployment.start()
    counted = 5 * USERS
    worker.wait_until(lambda: worker.outcomes()["applied"] == counted, "every event counted")
    worker.wait_until(lambda: worker.outcomes()["duplicate"] == USERS, "those of the batch counted once")
    worker.wait_until(lambda: worker.outcomes()["invalid"] == 3, "what can't be used refused")

    told = worker.metrics()
    assert told['engagement_active_users{window="1d"}'] == 3 * USERS
    assert told['engagement_csat_answers{window="1d"}'] == USERS
    identity = LeftOut.IDENTITY.value
    assert left_out(worker) == {f'topic="events",what="{identity}"}}': 2}
    assert worker.outcomes()["rekeyed"] > 0
    recognised = [line for line in worker.log.splitlines() if "the format of messages was recognised" in line]
    assert {"segment", "snowplow"} <= {msgspec.json.decode(line)["format"] for line in recognised}
    details = {letter["detail"] for letter in shown(deployment, "--topic", "events")}
    assert details == {
        "part 12 of the message: at `$.batch[12]`: needs `$.userId` or `$.anonymousId`",
        "no format that is known has these fields: who",
    }
