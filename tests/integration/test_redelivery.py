"""Dead letters go back once, byte for byte, and end up counted or as letters that are left alone."""

from __future__ import annotations

import json
import signal
import time
from base64 import b64decode
from collections import Counter

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from stream.agents.partition_task import QUIET_SECONDS
from stream.core.rejections import Reason
from stream.core.time import HOUR_MS
from stream.kafka.headers import Origin, Replay, replay_headers
from stream.partitioning import partition_of
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, login
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.integration.letters import (
    MIB,
    Message,
    engagement,
    in_topics,
    listed,
    produce,
    refuse,
    replay,
    replayed,
    shown,
)
from tests.timeouts import TIMEOUT_SECONDS


@pytest.fixture
def mailbox(deployment: Deployment) -> Deployment:
    """A deployment without a worker, whose inputs take messages of 16 MiB."""
    deployment.create_topics(max_message_bytes=str(16 * MIB))
    return deployment


def numbered(count: int) -> list[Message]:
    return [Message("logins", b"no json %d" % number, b"user-%d" % number) for number in range(count)]


# -- what is sent ------------------------------------------------------------------------------------------------


def test_records_go_back_byte_for_byte_to_where_a_producer_would_send_them(mailbox: Deployment) -> None:
    at_ms = LOAD_STARTS_MS + 5
    records = produce(
        mailbox,
        [
            Message("logins", b"\xff\x00", b"\xff\xfe"),
            Message("sessions", b"no json", None),
            Message("surveys", None, b"response-1", [("response_id", None)], at_ms),
            Message("surveys", None, None, [], at_ms),
            Message("logins", b"", b"", [("null", None), ("twice", b"1"), ("twice", b"2"), ("reason", b"mine")]),
            Message("logins", b"large key", b"k" * MIB, [("trace", b"t")]),
            Message("logins", b"x" * 900_000, b"ada", [("trace", b"t" * MIB)]),
        ],
    )
    refuse(mailbox, records)

    before_ms = time.time_ns() // 1_000_000
    told = replay(mailbox)

    assert told.stderr.startswith("7 records replayed in ")
    sent = {record.value: record for record in replayed(mailbox) if record.value is not None}
    nulls = {record.key: record for record in replayed(mailbox) if record.value is None}
    assert len(sent) + len(nulls) == len(records)
    for record in records:
        back = nulls[record.key] if record.value is None else sent[record.value]
        assert (back.topic, back.key, back.value) == (record.topic, record.key, record.value)
        partitions = len(mailbox.all_partitions)
        assert back.partition == (record.partition if record.key is None else partition_of(record.key, partitions))
        assert list(back.headers) == [
            *record.headers,
            ("replayed-attempts", b"1"),
            ("replayed-origin-topic", record.topic.encode()),
            ("replayed-origin-partition", b"%d" % record.partition),
            ("replayed-origin-offset", b"%d" % record.offset),
            ("replayed-origin-timestamp", b"%d" % record.timestamp),
        ]
        assert back.timestamp == at_ms if record.value is None else back.timestamp >= before_ms


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(3)))
    refuse(mailbox, produce(mailbox, [Message("surveys", b"{}")]), Reason.MISSING_FIELD)
    refuse(mailbox, produce(mailbox, [Message("surveys", b"x" * MIB)]), Reason.TOO_LARGE)
    lying = in_topics(mailbox, all_topics(mailbox))

    told = replay(mailbox, "--dry-run")
    limited = replay(mailbox, "--dry-run", "--limit", "2")

    assert [row.split() for row in told.stdout.splitlines()] == [
        ["topic", "reason", "to", "replay", "larger", "than", "max_message_bytes"],
        ["logins", "not_json", "3", "0"],
        ["surveys", "missing_field", "1", "0"],
        ["surveys", "too_large", "0", "1"],
    ]
    assert told.stderr == "would replay 4 records; left alone: 1 larger than max_message_bytes (1,000,000)\n"
    assert limited.stderr.startswith("would replay 2 records")
    assert in_topics(mailbox, all_topics(mailbox)) == lying
    assert replay(mailbox).stderr.startswith("4 records replayed")


def all_topics(deployment: Deployment) -> list[str]:
    settings = deployment.settings
    inputs = list(settings.input_topics.values())
    return [*inputs, *(settings.dead_letter_topic(name) for name in inputs), settings.replayed_topic]


def test_only_what_the_filters_take_is_sent_and_at_most_so_much(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(5)))
    refuse(mailbox, produce(mailbox, [Message("surveys", b"late", b"ada")]), Reason.LATE)

    told = replay(mailbox, "--reason", "late", "--topic", "surveys")
    assert told.stderr.splitlines()[0] == (
        "some letters were late: they are late again unless allowed_lateness (30d here) has grown since"
    )
    assert told.stderr.splitlines()[1].startswith("1 record replayed")
    assert told.stderr.splitlines()[1].endswith(", 1 of them late")
    assert [record.value for record in replayed(mailbox)] == [b"late"]

    assert replay(mailbox, "--limit", "2").stderr.startswith("2 records replayed")
    assert len(replayed(mailbox)) == 3
    assert {one["reason"]: one["replayed"] for one in listed(mailbox)} == {"late": 1, "not_json": 2}
    assert replay(mailbox, "--since", "0s").stderr.startswith("0 records replayed")


def test_a_rate_is_kept(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(11)))

    started = time.monotonic()
    replay(mailbox, "--rate", "5")

    assert time.monotonic() - started >= 10 / 5
    times = sorted(record.timestamp for record in replayed(mailbox))
    assert times[-1] - times[0] >= 1_900


# -- once --------------------------------------------------------------------------------------------------------


def test_a_letter_is_replayed_once_whatever_runs_follow(mailbox: Deployment) -> None:
    records = produce(mailbox, numbered(6))
    refuse(mailbox, records)
    refuse(mailbox, records[:3])  # as a worker does that crashes

    assert replay(mailbox, "--reason", "not_json", "--limit", "4").stderr.startswith("4 records replayed")
    assert replay(mailbox).stderr.startswith("2 records replayed")
    third = replay(mailbox)
    refuse(mailbox, records[3:])  # the same crash, noticed later
    fourth = replay(mailbox, "--since", "1h", "--topic", "logins")

    for told in (third, fourth):
        assert told.stderr.startswith("0 records replayed")
        assert told.stderr.endswith("; left alone: 6 replayed before\n")
    assert Counter(record.value for record in replayed(mailbox)) == Counter(record.value for record in records)
    assert [(one["letters"], one["replayed"]) for one in listed(mailbox)] == [(6, 6)]


def test_brokers_without_transactions_keep_the_notes_too(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(3)))

    assert replay(mailbox, ENGAGEMENT_KAFKA_IDEMPOTENT="false").stderr.startswith("3 records replayed")
    assert replay(mailbox, ENGAGEMENT_KAFKA_IDEMPOTENT="false").stderr.startswith("0 records replayed")
    assert len(replayed(mailbox)) == 3


def test_ctrl_c_ends_a_run_when_all_that_was_sent_has_arrived(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(60)))
    run = mailbox.begin("dlq", "replay", "--rate", "4")
    wait_for_replayed(mailbox, 5)

    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=TIMEOUT_SECONDS)

    assert run.returncode == 128 + signal.SIGINT
    sent = len(replayed(mailbox))
    assert 5 <= sent < 60
    assert told.startswith(f"stopped: {sent} records replayed in ")
    assert told.endswith("; the next run goes on from there\n")
    assert "Traceback" not in told
    assert replay(mailbox).stderr.startswith(f"{60 - sent} records replayed")
    assert len(replayed(mailbox)) == 60


def test_a_run_that_is_killed_leaves_little_that_is_sent_again(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(120)))
    run = mailbox.begin("dlq", "replay", "--rate", "5")
    wait_for_replayed(mailbox, 30)
    run.kill()
    run.communicate()

    replay(mailbox)

    sent = Counter(record.value for record in replayed(mailbox))
    assert len(sent) == 120
    # What was sent in the last second before the end has no note.
    assert sum(sent.values()) - 120 <= 10


def test_a_second_run_takes_over_from_the_first(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, numbered(200)))
    first = mailbox.begin("dlq", "replay", "--rate", "5")
    wait_for_replayed(mailbox, 20)

    assert engagement(mailbox, "dlq", "replay").status == 0
    _, told = first.communicate(timeout=TIMEOUT_SECONDS)

    assert first.returncode == 1
    assert told.splitlines()[-1] == (
        "engagement: another `engagement dlq replay` has begun, and goes on in place of this one"
    )
    assert "Traceback" not in told
    sent = Counter(record.value for record in replayed(mailbox))
    assert len(sent) == 200
    assert sum(sent.values()) - 200 <= 10


@pytest.mark.chaos
def test_a_run_outlives_a_broker_that_restarts(own_kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(own_kafka.address)
    deployment.create_topics()
    refuse(deployment, produce(deployment, numbered(100)))
    run = deployment.begin("dlq", "replay", "--rate", "10")
    wait_for_replayed(deployment, 10)

    own_kafka.kill()
    own_kafka.restart()
    _, told = run.communicate(timeout=TIMEOUT_SECONDS)

    assert run.returncode == 0, told
    assert told.splitlines()[-1].startswith("100 records replayed")
    assert {record.value for record in replayed(deployment)} == {message.value for message in numbered(100)}
    assert replay(deployment).stderr.startswith("0 records replayed")


def wait_for_replayed(deployment: Deployment, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while len(replayed(deployment)) < count:
        assert time.monotonic() < deadline, f"{count} records were not replayed"
        time.sleep(0.1)


def test_notes_of_letters_that_were_deleted_are_removed(mailbox: Deployment) -> None:
    records = produce(mailbox, numbered(8))
    refuse(mailbox, records)
    replay(mailbox)
    letters = mailbox.settings.dead_letter_topic(mailbox.settings.topics.logins)
    places = Counter(record.partition for record in in_topics(mailbox, [letters]))
    partition, held = places.most_common(1)[0]

    delete_before(mailbox, letters, partition, held)
    replay(mailbox)

    notes: dict[bytes | None, bytes | None] = {}
    for note in in_topics(mailbox, [mailbox.settings.replayed_topic]):
        notes[note.key] = note.value
    kept = [json.loads(value)["letter"] for value in notes.values() if value is not None]
    assert len(kept) == 8 - held
    assert partition not in {place[1] for place in kept}


def delete_before(deployment: Deployment, topic: str, partition: int, offset: int) -> None:
    admin = KafkaAdminClient(**deployment.client)
    admin.delete_records({TopicPartition(topic, partition): offset})
    admin.close()


# -- by reference ------------------------------------------------------------------------------------------------


def test_a_large_record_is_replayed_when_it_fits_and_is_still_there(mailbox: Deployment) -> None:
    large = produce(mailbox, [Message("logins", b"%d" % n * (2 * MIB), b"user-%d" % n) for n in range(3)])
    refuse(mailbox, large, Reason.TOO_LARGE)

    assert replay(mailbox).stderr.endswith("; left alone: 3 larger than max_message_bytes (1,000,000)\n")

    gone = large[0]
    delete_before(mailbox, gone.topic, gone.partition, gone.offset + 1)
    there = [record for record in large if record.partition != gone.partition]
    told = replay(mailbox, ENGAGEMENT_MAX_MESSAGE_BYTES=str(4 * MIB))

    assert told.stderr.startswith(f"{len(there)} record")
    assert told.stderr.endswith(f"; left alone: {3 - len(there)} kept by reference whose record is gone\n")
    assert Counter(record.value for record in replayed(mailbox)) == Counter(record.value for record in there)
    assert 0 < len(there) < 3


def test_a_topic_made_anew_has_none_of_the_records_that_letters_refer_to(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, [Message("logins", b"old", b"k" * MIB)]))
    mailbox.recreate_topic(mailbox.settings.topics.logins, max_message_bytes=str(16 * MIB))
    produce(mailbox, [Message("logins", b"new", b"k" * MIB)])

    assert replay(mailbox).stderr.endswith("; left alone: 1 kept by reference whose record is gone\n")
    assert replayed(mailbox) == []


def test_what_the_broker_does_not_take_keeps_nothing_else_back(mailbox: Deployment) -> None:
    refuse(mailbox, produce(mailbox, [Message("logins", b"x" * 500_000, b"large"), *numbered(20)]))
    admin = KafkaAdminClient(**mailbox.client)
    resource = ConfigResource(
        ConfigResourceType.TOPIC, mailbox.settings.topics.logins, {"max.message.bytes": str(100_000)}
    )
    admin.alter_configs([resource])
    admin.close()

    told = replay(mailbox)
    again = replay(mailbox)

    assert told.stderr.startswith("20 records replayed")
    assert told.stderr.endswith("; left alone: 1 refused by the broker\n")
    assert again.stderr.endswith("; left alone: 20 replayed before, 1 refused by the broker\n")
    assert len(replayed(mailbox)) == 20


# -- what becomes of it ------------------------------------------------------------------------------------------


def test_a_letter_with_a_forged_origin_takes_no_other_ones_place(mailbox: Deployment) -> None:
    (honest,) = produce(mailbox, [Message("logins", b"honest")])
    origin = Origin(honest.topic, honest.partition, honest.offset, honest.timestamp)
    forged = produce(
        mailbox,
        [Message("logins", b"forged", headers=replay_headers(Replay(attempts, origin))) for attempts in (1, 2, 3)],
    )
    refuse(mailbox, [*forged, honest])

    assert replay(mailbox).stderr.endswith("; left alone: 1 replayed as often as allowed (--max-attempts 3)\n")
    assert Counter(record.value for record in replayed(mailbox) if record.offset > forged[-1].offset) == {
        b"honest": 1,
        b"forged": 2,
    }


def test_when_the_cause_is_mended_a_replay_makes_every_gauge_equal_the_recount(
    deploy: Deploy, kafka: RunningKafka
) -> None:
    now_ms = time.time_ns() // 1_000_000
    strict = {"max_message_bytes": 2_000, "allowed_lateness": "1d", "future_limit": "1h"}
    mended = {
        "ENGAGEMENT_MAX_MESSAGE_BYTES": "900000",
        "ENGAGEMENT_ALLOWED_LATENESS": "30d",
        "ENGAGEMENT_FUTURE_LIMIT": "1d",
    }
    deployment = deploy(kafka.address, **strict)
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send(login(f"user-{n}", now_ms - (200 - n) * 60_000) for n in range(200))
    everybody_looks_at(deployment, now_ms)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    time.sleep(QUIET_SECONDS + 1)  # a quiet topic holds the watermark back no more

    letters = {
        Reason.TOO_LARGE: [padded(f"large-{n}", now_ms - n * HOUR_MS) for n in range(3)],
        Reason.LATE: [padded(f"late-{n}", now_ms - (48 + n) * HOUR_MS, 0) for n in range(4)],
        Reason.FUTURE: [padded(f"early-{n}", now_ms + (2 + n) * HOUR_MS, 0) for n in range(2)],
        # It was sent to take back an answer that came after it.
        Reason.NO_RESPONSE: [Message("surveys", None, b"response-1", timestamp_ms=now_ms - HOUR_MS)],
    }
    for reason, messages in letters.items():
        produce(deployment, messages)
        deployment.expect_refused(reason, len(messages))
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert {one["reason"]: one["letters"] for one in listed(deployment)} == {
        reason.value: len(messages) for reason, messages in letters.items()
    }
    worker.terminate()
    assert worker.wait_for_exit() == 0

    worker = deployment.start(**mended)
    worker.wait_until_ready()
    answer = (
        f'{{"user_id":"user-1","response_id":"response-1","kind":"csat","score":5,"event_time":{now_ms - 2 * HOUR_MS}}}'
    )
    produce(deployment, [Message("surveys", answer.encode(), b"response-1")])
    taken_back = answer.replace('"score":5', '"status":"retracted"').replace(
        str(now_ms - 2 * HOUR_MS), str(now_ms - HOUR_MS)
    )
    deployment.expect([("surveys", answer.encode())])
    everybody_looks_at(deployment, now_ms + 1)
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    assert replay(deployment, **mended).stderr.splitlines()[-1].startswith("10 records replayed")
    again = [(message.topic, message.value) for messages in letters.values() for message in messages if message.value]
    again.append(("surveys", taken_back.encode()))
    deployment.expect(again)
    everybody_looks_at(deployment, now_ms + 4 * HOUR_MS)
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    # Sent once more, as after a run that was killed: they are duplicates.
    assert replay(deployment, **mended).stderr.startswith("0 records replayed")
    elsewhere = {**mended, "ENGAGEMENT_APP_ID": f"{deployment.settings.app_id}-again"}
    assert replay(deployment, **elsewhere).stderr.splitlines()[-1].startswith("10 records replayed")
    deployment.expect(again)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert worker.outcomes()["duplicate"] == 10


def padded(user: str, at_ms: int, size: int = 3_000) -> Message:
    """A login of some size."""
    return Message(
        "logins", f'{{"user_id":"{user}","event_time":{at_ms},"pad":"{"x" * size}"}}'.encode(), user.encode()
    )


def everybody_looks_at(deployment: Deployment, at_ms: int) -> None:
    """With `--clock event` each partition needs an event of that time."""
    deployment.send(login(user, at_ms) for user in deployment.user_of_each_partition)


def test_what_is_refused_again_and_again_is_left_alone_in_the_end(deployment: Deployment) -> None:
    worker = deployment.start()
    worker.wait_until_ready()
    everybody_looks_at(deployment, LOAD_STARTS_MS)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    time.sleep(QUIET_SECONDS + 1)
    here, there = deployment.user_of_each_partition[:2]
    late_ms = LOAD_STARTS_MS - 31 * 24 * HOUR_MS
    # One that its own partition refuses, and one that another partition than it was sent to refuses.
    poison = Message("logins", b"no json", here.encode(), [("trace", b"t")])
    misplaced = Message(
        "logins", f'{{"user_id":"{there}","event_time":{late_ms}}}'.encode(), here.encode(), [("trace", None)]
    )
    first = produce(deployment, [poison, misplaced])
    worker.wait_until(lambda: letters(deployment) == 2, "both are refused")

    for attempt in (1, 2):
        assert replay(deployment, "--max-attempts", "2").stderr.splitlines()[-1].startswith("2 records replayed")
        worker.wait_until(lambda: letters(deployment) == 2 + 2 * attempt, "both are refused again")  # noqa: B023
    told = replay(deployment, "--max-attempts", "2").stderr

    assert told.startswith("0 records replayed")
    assert told.endswith("; left alone: 4 replayed before, 2 replayed as often as allowed (--max-attempts 2)\n")
    for record, reason in zip(first, ("not_json", "late"), strict=True):
        alike = shown(deployment, "--reason", reason)
        assert [one["attempts"] for one in alike] == [0, 1, 2]
        assert (
            len({json.dumps([one["origin"], one["key_base64"], one["value_base64"], one["headers"]]) for one in alike})
            == 1
        )
        origin = alike[0]["origin"]
        assert (origin["topic"], origin["partition"], origin["offset"]) == (
            record.topic,
            record.partition,
            record.offset,
        )
        assert b64decode(alike[0]["key_base64"]) == record.key
        assert b64decode(alike[0]["value_base64"]) == record.value
    deployment.expect_refused(Reason.NOT_JSON, 3)
    deployment.expect_refused(Reason.LATE, 3)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert {one["reason"]: one["again"] for one in listed(deployment)} == {"late": 2, "not_json": 2}


def letters(deployment: Deployment) -> int:
    return sum(one["letters"] for one in listed(deployment))
