"""What producers and topics may be set to: codecs, transactions, and who writes the time of a record."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer

from stream.kafka.topics import TopicSpec, create_topics
from stream.settings import load
from tests.integration.deployment import Deployment

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
USERS = 8
TEN_HOURS_MS = 10 * 3_600_000

_INPUTS = """
[[inputs]]
topic = "{logins}"
name = "logins"
kind = "logins"

[[inputs]]
topic = "{appended}"
name = "appended"
kind = "logins"
time = "record"

[[inputs]]
topic = "{created}"
name = "created"
kind = "logins"
time = "record"
"""
NAMES = ("logins", "appended", "created")


async def send(address: str, topics: dict[str, str], *, now_ms: int) -> None:
    """Send logins of other users with each codec, all keyed by a gateway: some are committed, some aborted."""
    for codec in CODECS:
        producer = AIOKafkaProducer(
            bootstrap_servers=address, compression_type=codec, transactional_id=f"{topics['logins']}-{codec}"
        )
        async with producer:
            for fate in ("aborted", "committed"):
                await producer.begin_transaction()
                for number in range(USERS):
                    user = f"{fate}-{codec}-{number}"
                    timed = json.dumps({"user_id": user, "event_time": now_ms, "padding": "x" * 500})
                    await producer.send(topics["logins"], timed.encode(), key=b"gateway")
                    for name in ("appended", "created"):
                        timeless = json.dumps({"user_id": f"{user}-{name}"}).encode()
                        old_ms = now_ms - TEN_HOURS_MS
                        await producer.send(topics[name], timeless, key=b"gateway", timestamp_ms=old_ms)
                await producer.flush()
                await (producer.abort_transaction() if fate == "aborted" else producer.commit_transaction())


def test_every_codec_and_what_is_committed_alone_and_the_time_that_the_topic_gives(
    deployment: Deployment, tmp_path: Path
) -> None:
    file, topics = tmp_path / "settings.toml", {name: f"{deployment.settings.app_id}.{name}" for name in NAMES}
    file.write_text(_INPUTS.format(**topics))
    for kind in ("SESSIONS", "LOGINS", "SURVEYS"):
        del deployment.variables[f"ENGAGEMENT_TOPICS_{kind}"]
    deployment.variables |= {"ENGAGEMENT_SETTINGS": str(file), "ENGAGEMENT_CLOCK": "wall"}
    deployment.settings = load(file, deployment.variables)
    partitions = deployment.settings.topics.partitions
    by_broker = TopicSpec(topics["appended"], partitions, {"message.timestamp.type": "LogAppendTime"})
    create_topics([by_broker], client_options=deployment.client, replication=1)
    worker = deployment.start()
    worker.wait_until_ready()

    asyncio.run(send(deployment.address, topics, now_ms=time.time_ns() // 1_000_000))

    committed = USERS * len(CODECS)
    worker.wait_until(lambda: worker.outcomes()["applied"] == 3 * committed, "all that was committed counted")
    worker.wait_until_ready()
    assert worker.outcomes()["rekeyed"] > 0
    assert set(worker.outcomes()) == {"applied", "rekeyed"}  # what was aborted is nowhere
    told = worker.metrics()
    # What the broker has given a time is of now, what its producer has, of ten hours ago, wherever it was forwarded to.
    assert told['engagement_active_users{window="1h"}'] == 2 * committed
    assert told['engagement_active_users{window="1d"}'] == 3 * committed
