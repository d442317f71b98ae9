"""Messages of a shape of their own, through Kafka: sent from a table, checked, and counted by a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from stream.kafka.topics import TopicSpec, create_topics
from tests.integration.kafka_server import RunningKafka
from tests.test_cli import engagement

MAPPING = """
[inputs.mapping]
user_id = "user"
event_time = { path = "ts", unit = "s" }
session_id = "visit"
event = "name"

[inputs.mapping.events]
page_view = "page"
logins = "login"
"""
PARTITIONS = 3


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        f"u{number % 40},{1_719_712_800 + number},v{number % 40},{'page' if number % 3 else 'basket'}"
        for number in range(300)
    ]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user,ts,visit,name", *reversed(rows), "u1,soon,v1,page"]))
    return path


def test_a_table_is_sent_by_its_mapping_and_the_topic_can_be_checked_without_a_trace(
    kafka: RunningKafka, unique: Callable[[str], str], table: Path, tmp_path: Path
) -> None:
    topic, settings = unique("app.events"), tmp_path / "settings.toml"
    settings.write_text(f'[[inputs]]\ntopic = "{topic}"\nformat = "mapped"\n{MAPPING}')
    client = {"bootstrap_servers": kafka.address}
    create_topics([TopicSpec(topic, PARTITIONS)], client_options=client, replication=1)

    sent = engagement("replay", str(table), "--format", "mapped", "--settings", str(settings), "--kafka", kafka.address)
    assert sent.exit_code == 3
    assert f"{table}:302: 'soon' at `ts` is no number of s" in sent.stderr
    assert "100 messages tell nothing that is counted" in sent.stderr
    assert "200 events sent" in sent.stderr

    admin = KafkaAdminClient(**client)
    checked = engagement("inputs", "check", "--topic", topic, "--settings", str(settings), "--kafka", kafka.address)
    told = " ".join(checked.stdout.split())
    assert checked.exit_code == 0, checked.output
    assert "200 messages, read as mapped 2024-06-30T02:00:01Z to 2024-06-30T02:04:59Z" in told
    assert "view 200 40" in told
    assert "Keys: the user's id in 200 of 200 events; 0 are misplaced" in told
    assert told.endswith("Nothing looks wrong")
    some = engagement(
        *("inputs", "check", "--topic", topic, "--settings", str(settings), "--kafka", kafka.address, "--limit", "50")
    )
    assert some.stdout.startswith("50 messages, read as mapped")
    assert groups_that_read(admin, topic) == []
    admin.close()

    nowhere = engagement("inputs", "check", "--topic", "no-such-topic", "--kafka", kafka.address)
    assert (nowhere.exit_code, nowhere.stderr) == (
        1,
        f"engagement: topic 'no-such-topic' does not exist at {kafka.address}\n",
    )


def groups_that_read(admin: KafkaAdminClient, topic: str) -> list[str]:
    """The groups that have committed an offset of a topic."""
    groups = [group["group_id"] for group in admin.list_groups()]
    return [group for group in groups if any(place.topic == topic for place in admin.list_group_offsets(group)[group])]
