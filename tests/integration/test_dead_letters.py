"""What can't be used is counted by reason, and can be looked at byte for byte."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections import Counter

import pytest
from aiokafka.structs import TopicPartition

from stream.agents.partition_task import QUIET_SECONDS
from stream.core.rejections import Reason
from stream.core.time import DAY_MS, iso, parse_iso
from stream.kafka import range_reader
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program, simulated
from tests.integration.letters import MIB, Message, engagement, listed, produce, refuse, shown

AT = f'"event_time":{LOAD_STARTS_MS}'


@pytest.fixture
def refusing(deployment: Deployment) -> Deployment:
    """A deployment whose inputs take messages of 16 MiB."""
    deployment.create_topics(max_message_bytes=str(16 * MIB))
    return deployment


def one_of_each_reason() -> dict[Reason, Message]:
    """A message for each reason to refuse one, but for being late, which takes others before it."""
    return {
        Reason.NOT_JSON: Message("logins", b"no json"),
        Reason.MISSING_FIELD: Message("logins", b'{"user_id":"ada"}'),
        Reason.WRONG_TYPE: Message("logins", f'{{"user_id":7.5,{AT}}}'.encode()),
        Reason.UNKNOWN_VALUE: Message("sessions", f'{{"user_id":"ada","type":"nod",{AT}}}'.encode()),
        Reason.OUT_OF_RANGE: Message(
            "surveys", f'{{"user_id":"ada","response_id":"r","kind":"csat","score":9,{AT}}}'.encode()
        ),
        Reason.BAD_USER: Message("logins", f'{{"user_id":"null",{AT}}}'.encode()),
        Reason.BAD_TIME: Message("logins", b'{"user_id":"ada","event_time":17}'),
        Reason.NO_RESPONSE: Message("surveys", None, b"nobody-knows"),
        Reason.TOO_LARGE: Message("sessions", b"x" * (2 * MIB)),
        Reason.FUTURE: Message("logins", b'{"user_id":"ada","event_time":"2999-01-01T00:00:00Z"}'),
    }


def test_what_is_listed_is_what_was_counted_for_each_reason(refusing: Deployment) -> None:
    worker = refusing.start()
    worker.wait_until_ready()
    refusing.send(simulated(users=20, days=3))
    refusing.wait_until_every_gauge_equals_the_recount(worker)
    time.sleep(QUIET_SECONDS + 1)  # a quiet topic holds the watermark back no more

    messages = one_of_each_reason()
    late_ms = LOAD_STARTS_MS - 31 * DAY_MS
    messages[Reason.LATE] = Message("logins", f'{{"user_id":"ada","event_time":{late_ms}}}'.encode())
    # A row is full after its first checkpoint only: `tests/core/test_retention.py`.
    assert set(messages) == set(Reason) - {Reason.USER_FULL}
    wanted = Counter({(messages[reason].topic, reason.value): count for count, reason in enumerate(messages, start=1)})
    produce(refusing, [messages[Reason(reason)] for _, reason in wanted.elements()])
    worker.wait_until(lambda: counted(worker) == wanted, "all are counted")

    counts = listed(refusing)
    assert {(one["topic"], one["reason"]): one["letters"] for one in counts} == wanted
    assert {one["reason"]: one["by_reference"] for one in counts if one["by_reference"]} == {
        "too_large": wanted["sessions", "too_large"]
    }
    assert all(one["replayed"] == one["again"] == 0 for one in counts)
    table = engagement(refusing, "dlq", "list").stdout.splitlines()
    assert [row.split()[:3] for row in table[1:]] == [
        [one["topic"], one["reason"], str(one["letters"])] for one in counts
    ]


def counted(program: Program) -> Counter[tuple[str, str]]:
    """What /metrics counts of dead letters, by topic and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for sample in program.api().get("health", []):
        if sample["name"] == "engagement_dead_letters_total":
            counts[sample["labels"]["topic"], sample["labels"]["reason"]] += int(sample["value"])
    return counts


def test_letters_are_shown_byte_for_byte(refusing: Deployment) -> None:
    messages = [
        Message("logins", b"no json"),
        Message("logins", b"\xff\x00\xfe", b"\xff\xfe"),
        Message("logins", None, b"key"),
        Message("logins", b"value", None),
        Message("logins", None, None),
        Message("logins", b"", b""),
        Message("logins", b"value", b"key", [("null", None), ("empty", b""), ("twice", b"1"), ("twice", b"\xff")]),
        Message("logins", b"value", b"key", [("reason", b"mine"), ("origin-topic", b"elsewhere"), ("attempts", b"9")]),
        Message("logins", "\u00e4\u2028\x1b[31m".encode(), "ä".encode()),
    ]
    records = produce(refusing, messages)
    refuse(refusing, records)

    letters = shown(refusing)

    times = [parse_iso(one["written"]) or 0 for one in letters]
    assert times == sorted(times)
    by_place = {(one["origin"]["topic"], one["origin"]["partition"], one["origin"]["offset"]): one for one in letters}
    assert len(by_place) == len(records)
    for record in records:
        letter = by_place[record.topic, record.partition, record.offset]
        assert decoded(letter["key_base64"]) == record.key
        assert decoded(letter["value_base64"]) == record.value
        assert [(one["name"], decoded(one["value_base64"])) for one in letter["headers"]] == list(record.headers)
        assert letter["origin"] == {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": iso(record.timestamp),
        }
        assert (letter["reason"], letter["detail"]) == ("not_json", "refused for not_json")
        assert (letter["attempts"], letter["replayed"], letter["by_reference"]) == (0, False, None)
    page = engagement(refusing, "dlq", "show").stdout
    assert page.count("  value     ") == len(letters)
    assert "\x1b" not in page
    assert "  value     ä\\u2028\\x1b[31m\n" in page


def decoded(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def test_filters_take_topics_reasons_times_and_the_newest(refusing: Deployment) -> None:
    for topic in ("sessions", "logins", "surveys"):
        records = produce(refusing, [Message(topic, b"%d" % number) for number in range(4)])
        refuse(refusing, records[:3])
        refuse(refusing, records[3:], Reason.BAD_TIME)
    time.sleep(0.01)  # a letter has the time at which Kafka has appended it, which may be this millisecond
    since = iso(time.time_ns() // 1_000_000)
    time.sleep(0.01)
    refuse(refusing, produce(refusing, [Message("logins", b"new")]), Reason.BAD_USER)

    def letters(*options: str) -> dict[tuple[str, str], int]:
        return {(one["topic"], one["reason"]): one["letters"] for one in listed(refusing, *options)}

    assert sum(letters().values()) == 13
    assert letters("--topic", "logins", "--topic", "surveys", "--reason", "bad_time", "--reason", "bad_user") == {
        ("logins", "bad_time"): 1,
        ("logins", "bad_user"): 1,
        ("surveys", "bad_time"): 1,
    }
    assert letters("--since", since) == {("logins", "bad_user"): 1}
    assert sum(letters("--since", "1h").values()) == 13
    assert letters("--since", "0s") == {}
    assert letters("--limit", "2") == {("logins", "bad_user"): 1, ("surveys", "bad_time"): 1}
    assert [one["value_base64"] for one in shown(refusing, "--topic", "logins", "--limit", "2")] == ["Mw==", "bmV3"]
    assert engagement(refusing, "dlq", "list", "--reason", "future").stdout == "no dead letters\n"
    assert engagement(refusing, "dlq", "show", "--reason", "future").stdout == "no dead letters\n"


def test_a_letter_that_a_crash_wrote_twice_is_listed_once(refusing: Deployment) -> None:
    records = produce(refusing, [Message("logins", b"no json"), Message("logins", b"no json")])
    refuse(refusing, records)
    refuse(refusing, records[:1])

    assert len(refusing.dead_letters(at_least=3)) == 3
    assert [one["letters"] for one in listed(refusing)] == [2]
    assert len(shown(refusing)) == 2


def test_what_comes_while_it_is_read_is_left_for_the_next_time(refusing: Deployment) -> None:
    topic = refusing.settings.topics.logins
    produce(refusing, [Message("logins", b"%d" % number) for number in range(3)])

    async def scenario() -> list[bytes]:
        async with range_reader.open_consumer(refusing.settings) as consumer:
            places = [TopicPartition(topic, number) for number in refusing.all_partitions]
            lying = await range_reader.current_ranges(consumer, places)
            await asyncio.to_thread(produce, refusing, [Message("logins", b"new")])
            return [record.value async for record in range_reader.read_ranges(consumer, lying)]

    assert asyncio.run(scenario()) == [b"0", b"1", b"2"]


def test_a_dead_letter_topic_that_is_missing_is_named(deployment: Deployment) -> None:
    ended = engagement(deployment, "dlq", "list", "--topic", "logins")

    topic = deployment.settings.dead_letter_topic(deployment.settings.topics.logins)
    assert ended.status == 1
    assert ended.stderr == (
        f"engagement: topic {topic!r} does not exist at {deployment.address}: "
        "create it with `engagement topics create`\n"
    )
