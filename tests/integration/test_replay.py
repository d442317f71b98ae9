"""Recordings sent to brokers come out as they happened."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner import murmur2

from stream.kafka.topics import TopicSpec, create_topics
from stream.simulate.producer import DeliveryFailed, EventProducer
from stream.simulate.recording import ReplayEvent
from stream.simulate.replay import replay
from tests.integration.kafka_server import RunningKafka
from tests.timeouts import TIMEOUT_SECONDS

Unique = Callable[[str], str]

PARTITIONS = 4


def made_up(topics: list[str], count: int) -> list[ReplayEvent]:
    """Events of 300 users in order of time, one a second."""
    chance = random.Random(7)
    events = []
    for second in range(count):
        topic, user = chance.choice(topics), f"user-{chance.randrange(300)}"
        value = json.dumps({"topic": topic, "user_id": user, "event_time": 1_400_000_000 + second}).encode()
        events.append(ReplayEvent((1_400_000_000 + second) * 1_000, topic, user, value))
    return events


def stored(address: str, topics: list[str], count: int) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """What lies in the topics: key and value in order, by topic and partition."""
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)])
    records: dict[tuple[str, int], list[tuple[str, bytes]]] = defaultdict(list)
    found, deadline = 0, time.monotonic() + TIMEOUT_SECONDS
    while found < count and time.monotonic() < deadline:
        for place, batch in consumer.poll(timeout_ms=200).items():
            records[place.topic, place.partition] += [(one.key.decode(), one.value) for one in batch]
            found += len(batch)
    consumer.close()
    return records


def test_what_was_recorded_comes_out_in_order_in_the_partition_of_its_user(any_broker: str, unique: Unique) -> None:
    topics = [unique("sessions"), unique("logins")]
    client = {"bootstrap_servers": any_broker}
    create_topics([TopicSpec(topic, PARTITIONS) for topic in topics], client_options=client, replication=1)
    events = made_up(topics, 5_000)
    told: list[int] = []

    summary = replay(events, client, rate=None, on_progress=told.append)

    expected = defaultdict(list)
    for event in events:
        partition = (murmur2(event.key.encode()) & 0x7FFFFFFF) % PARTITIONS
        expected[event.topic, partition].append((event.key, event.value))
    assert stored(any_broker, topics, len(events)) == expected
    assert summary.events == sum(summary.events_by_topic.values()) == told[-1] == 5_000
    assert (summary.first_ms, summary.last_ms) == (events[0].at_ms, events[-1].at_ms)


def test_a_rate_is_kept_smoothly(any_broker: str, unique: Unique) -> None:
    topic = unique("sessions")
    client = {"bootstrap_servers": any_broker}
    create_topics([TopicSpec(topic, PARTITIONS)], client_options=client, replication=1)
    times: list[tuple[float, int]] = []

    summary = replay(
        made_up([topic], 1_000),
        client,
        rate=1_000,
        on_progress=lambda sent: times.append((time.monotonic(), sent)),
    )

    assert summary.seconds > 0.95
    started = times[-1][0] - summary.seconds
    # Never ahead of the rate, at any moment it reports.
    assert all(sent <= (moment - started) * 1_000 + 1 for moment, sent in times)


def test_an_event_that_can_not_be_delivered_is_an_error_that_names_it(own_kafka: RunningKafka, unique: Unique) -> None:
    topic, address = unique("sessions"), own_kafka.address
    client: dict[str, object] = {"bootstrap_servers": address}
    create_topics([TopicSpec(topic, PARTITIONS)], client_options=client, replication=1)
    impatient: dict[str, object] = {"delivery_timeout_ms": 2_000, "request_timeout_ms": 1_000}

    producer = EventProducer({**client, **impatient})
    producer.send(topic, "grace", b"{}")
    producer.flush()
    own_kafka.kill()
    producer.send(topic, "ada", b"{}")

    with pytest.raises(DeliveryFailed, match=f"an event of 'ada' did not reach topic '{topic}' at {address}: "):
        producer.close()


def test_a_broker_that_restarts_in_the_middle_costs_no_event_and_doubles_none(
    own_kafka: RunningKafka, unique: Unique
) -> None:
    topic, address = unique("sessions"), own_kafka.address
    client: dict[str, object] = {"bootstrap_servers": address}
    create_topics([TopicSpec(topic, PARTITIONS)], client_options=client, replication=1)
    events = made_up([topic], 20_000)

    with EventProducer(client) as producer:
        for sent, event in enumerate(events):
            producer.send(event.topic, event.key, event.value)
            if sent == 10_000:
                own_kafka.restart()

    values = [value for batch in stored(address, [topic], len(events)).values() for _, value in batch]
    assert sorted(values) == sorted(event.value for event in events)
