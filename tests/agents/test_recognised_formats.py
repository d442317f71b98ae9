"""What a worker says at its start of inputs whose format is to be recognised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from stream.agents.recognised_formats import RecognisedFormats
from stream.kafka.options import client_options
from stream.kafka.topics import TopicSpec, create_topics
from stream.settings import load
from stream.simulate.embedded_broker import EmbeddedBroker
from tests.inputs.samples import POSTHOG, SEGMENT

pytestmark = pytest.mark.broker

_SETTINGS = """
[[inputs]]
topic = "clicks"
format = "auto"

[[inputs]]
topic = "quiet"
format = "auto"

[[inputs]]
topic = "elsewhere"
format = "auto"

[[inputs]]
topic = "named"
format = "segment"
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def test_formats_are_named_at_the_start_once_each_and_an_empty_topic_is_said_to_be_so(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(_SETTINGS)
    settings = load(path, {"ENGAGEMENT_KAFKA_SERVERS": broker.address})
    options = client_options(settings)
    create_topics([TopicSpec(name, 2) for name in ("clicks", "quiet", "named")], client_options=options, replication=1)

    async def scenario() -> None:
        async with AIOKafkaProducer(**options) as producer:
            for one in (SEGMENT, SEGMENT, POSTHOG, {"who": "ada"}):
                await producer.send_and_wait("clicks", msgspec.json.encode(one))
            await producer.send_and_wait("named", msgspec.json.encode(SEGMENT))
        formats = RecognisedFormats(settings, {})
        await formats.look()
        formats.recognised("clicks", "segment")
        formats.recognised("quiet", "posthog")

    with capture_logs() as logs:
        asyncio.run(scenario())

    recognised = {(line["input"], line["format"]) for line in logs if "format" in line}
    assert recognised == {("clicks", "segment"), ("clicks", "posthog"), ("quiet", "posthog")}
    assert sum("format" in line for line in logs) == 3
    others = {line["event"]: line for line in logs if "format" not in line}
    assert others["no message yet: the format is recognised with the first one"]["input"] == "quiet"
    refused = others["some of the newest messages can't be used"]
    assert (refused["messages"], refused["refused"]) == (4, 1)
    assert refused["why"] == "no format that is known has these fields: who"
    away = others["the newest messages can't be looked at: formats are logged as they come"]
    assert away["why"].startswith("topic 'elsewhere' does not exist")
