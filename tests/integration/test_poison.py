"""Messages that no reader can use stop nothing, are counted, and are kept as they came."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from stream.core.rejections import Reason
from stream.kafka.topics import TopicSpec, create_topics
from stream.partitioning import partition_of
from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, StoredRecord, simulated

MIB = 1024 * 1024
INPUTS = ("sessions", "logins", "surveys")
AT = f'"event_time":{LOAD_STARTS_MS}'


class Poison(NamedTuple):
    """A message, and the reason for which it must be refused; None where the recount says whether it is."""

    topic: str
    value: bytes | None
    reason: Reason | None
    key: bytes | None = b"somebody"
    headers: Sequence[tuple[str, bytes | None]] = ()


def session(fields: str) -> bytes:
    return f'{{"user_id":"u","type":"page_view",{AT},{fields}}}'.encode()


def survey(fields: str) -> bytes:
    return f'{{"user_id":"u","response_id":"r","kind":"csat",{AT},{fields}}}'.encode()


def login(fields: str) -> bytes:
    return f"{{{fields}}}".encode()


def spoilt() -> Iterator[Poison]:
    """One of each kind that anybody has ever sent."""
    for topic in INPUTS:
        yield from of_any_topic(topic)
    for name in ("null", "undefined", "anonymous", "[object Object]", "00000000-0000-0000-0000-000000000000", " "):
        yield Poison("logins", json.dumps({"user_id": name, "event_time": LOAD_STARTS_MS}).encode(), Reason.BAD_USER)
    for when in ("1e300", "-1740787200", "0", "17", '"0001-01-01T00:00:00Z"', '"1969-12-31T23:59:59Z"', '"yesterday"'):
        yield Poison("logins", login(f'"user_id":"u","event_time":{when}'), Reason.BAD_TIME)
    for fields in ('"user_id":7.5', '"user_id":["u"]', '"user_id":{}', '"user_id":"u","success":"yes"'):
        yield Poison("logins", login(f"{AT},{fields}"), Reason.WRONG_TYPE)
    yield Poison("logins", login(f'{AT},"user_id":"{"u" * 600}"'), Reason.BAD_USER)
    yield Poison("logins", login(f'{AT},"user_id":"\\ud800"'), None)
    yield from of_numbers()


def of_numbers() -> Iterator[Poison]:
    for fields in ('"engaged_ms":-1', '"engaged_ms":1e300', '"type":7', '"session_id":""', '"key_event":"no"'):
        yield Poison("sessions", session(fields), None)
    for score in ("0", "6", "3.5", "-1", "1e308", "9" * 5_000, "99999999999999999999", '"5"', "null", "true", "[]"):
        yield Poison("surveys", survey(f'"score":{score}'), None)
    for scale in ('"scale_min":5,"scale_max":1', '"scale_min":3,"scale_max":3', f'"scale_max":{"9" * 300}'):
        yield Poison("surveys", survey(f'"score":3,{scale}'), Reason.OUT_OF_RANGE)


def of_any_topic(topic: str) -> Iterator[Poison]:
    for nothing in (b"", b"null", b"[]", b"{}", b'"text"', b"NaN", b"\x00" * 64, b"\xef\xbb\xbf{}", b"\xff\xfe{"):
        yield Poison(topic, nothing, None)
    for key in (b"somebody", None, b"\xff\xfe"):
        yield Poison(topic, None, Reason.NO_RESPONSE if topic == "surveys" else Reason.NOT_JSON, key=key)
    for deep in (b"[" * 100_000, b'{"a":' * 100_000, b'{"user_id":' + b"[" * 100_000, b'{"x":' + b'{"a":' * 100_000):
        yield Poison(topic, deep, Reason.NOT_JSON)
    for large in (b"x" * (10 * MIB), b'{"user_id":"' + b"x" * (10 * MIB) + b'"}', b"[" * (10 * MIB)):
        yield Poison(topic, large, Reason.TOO_LARGE)
    for key in (None, b"\xff\xfe invalid UTF-8 \x00", b"k" * (2 * MIB)):
        yield Poison(topic, b"no json", Reason.NOT_JSON, key=key)
    for headers in (
        [("trace", b"t" * 200_000), ("empty", None)],
        [("origin-topic", b"somewhere"), ("reason", b"mine")],
    ):
        yield Poison(topic, b"no json", Reason.NOT_JSON, headers=headers)


def fuzzed(good: list[ReplayEvent]) -> Iterator[Poison]:
    """Noise, and good messages that something has happened to."""
    chance = random.Random(7)
    for event in good:
        place = chance.randrange(1, len(event.value))
        cut, noise = event.value[:place], chance.randbytes(chance.randrange(1, 200))
        hole = event.value[:place] + b"\x00" + event.value[place + 1 :]
        for value in (cut, noise, hole, cut + noise):
            yield Poison(event.topic, value, None, key=chance.choice((None, event.key.encode(), noise)))


@pytest.fixture
def poisoned(deployment: Deployment) -> Deployment:
    """A deployment whose inputs take messages of 16 MiB."""
    deployment.create_topics(max_message_bytes=str(16 * MIB))
    return deployment


def test_poison_between_good_events_stops_nothing_and_is_kept(poisoned: Deployment) -> None:
    good = simulated(users=100, days=10)
    poison = [*spoilt(), *fuzzed(random.Random(1).sample(good, 250))]
    random.Random(2).shuffle(poison)
    worker = poisoned.start()
    worker.wait_until_ready()

    poisoned.send(good[: len(good) // 2])
    send(poisoned, poison)
    poisoned.send(good[len(good) // 2 :])
    poisoned.wait_until_every_gauge_equals_the_recount(worker)

    outcomes = worker.outcomes()
    refused = outcomes["invalid"] + outcomes["late"] + outcomes["future"]
    assert outcomes["applied"] + outcomes["duplicate"] + refused == len(good) + len(poison)
    letters = poisoned.dead_letters(at_least=refused)
    assert len(letters) == refused
    for letter, origin in with_origins(poisoned, letters):
        assert_is_kept(letter, origin)
    reasons = Counter(letter.headers["reason"].decode() for letter in letters)
    expected = Counter(message.reason.value for message in poison if message.reason is not None)
    assert reasons >= expected
    assert worker.status is None
    assert "Traceback" not in worker.log


def test_a_good_event_counts_whatever_its_key_and_headers(poisoned: Deployment) -> None:
    events = simulated(users=30, days=3)
    odd: list[dict[str, Any]] = [
        {"key": None},
        {"key": b""},
        {"key": b"\xff\xfe"},
        {"key": b"k" * (2 * MIB)},
        {"headers": [("trace", b"t" * (2 * MIB))]},
        {"headers": [("empty", None), ("origin-topic", b"none of ours"), ("origin-offset", None)]},
    ]
    worker = poisoned.start()
    worker.wait_until_ready()

    messages = [Poison(event.topic, event.value, None, key=event.key.encode()) for event in events]
    messages[::10] = [
        message._replace(**how) for message, how in zip(messages[::10], itertools.cycle(odd), strict=False)
    ]
    send(poisoned, messages)
    poisoned.wait_until_every_gauge_equals_the_recount(worker)

    assert set(worker.outcomes()) <= {"applied", "rekeyed"}


def test_producers_may_compress_as_they_like(deployment: Deployment) -> None:
    settings = deployment.settings.topics
    for topic, codec in ((settings.sessions, "snappy"), (settings.logins, "lz4"), (settings.surveys, "zstd")):
        # The broker compresses anew, whatever the producer did.
        spec = TopicSpec(topic, settings.partitions, {"compression.type": codec})
        create_topics([spec], client_options=deployment.client, replication=1)
    worker = deployment.start()
    worker.wait_until_ready()

    deployment.send(simulated(users=100, days=10))

    deployment.wait_until_every_gauge_equals_the_recount(worker)


def send(deployment: Deployment, poison: list[Poison]) -> None:
    """Produce messages as they are, which takes batches: clients refuse to send some of these one by one."""
    asyncio.run(_send(deployment, poison))
    deployment.expect((message.topic, message.value) for message in poison if message.value is not None)
    for message in poison:
        if message.value is None:
            assert message.reason is not None
            deployment.expect_refused(message.reason, 1)


async def _send(deployment: Deployment, poison: list[Poison]) -> None:
    producer = AIOKafkaProducer(**deployment.client, max_batch_size=32 * MIB, max_request_size=32 * MIB)
    async with producer:
        for message in poison:
            batch = producer.create_batch()
            batch.append(key=message.key, value=message.value, timestamp=None, headers=list(message.headers))
            batch.close()
            partition = partition_of(message.key, len(deployment.all_partitions)) if message.key else 0
            topic = deployment.settings.input_topics[message.topic]
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()


def with_origins(deployment: Deployment, letters: list[StoredRecord]) -> Iterator[tuple[StoredRecord, StoredRecord]]:
    """Each dead letter with the record that its headers say it is."""
    produced = deployment.produced()
    places = Counter(letter.origin for letter in letters)
    assert places.most_common(1)[0][1] == 1
    for letter in letters:
        yield letter, produced[letter.origin]


def assert_is_kept(letter: StoredRecord, origin: StoredRecord) -> None:
    if len(origin.key or b"") > MIB or sum(len(value or b"") for value in origin.headers.values()) > 100_000:
        assert (letter.key, letter.value) == (None, None)
    elif letter.headers["reason"] == b"too_large":
        assert (letter.key, letter.value) == (origin.key, None)
        assert len(origin.value or b"") > 1_000_000
    else:
        assert (letter.key, letter.value) == (origin.key, origin.value)
