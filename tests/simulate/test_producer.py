"""Sending events: where they go, and what is said about those that do not arrive."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped, unused-ignore]  # has no types
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2

from stream.kafka.topics import TopicSpec, create_topics
from stream.simulate.embedded_broker import EmbeddedBroker
from stream.simulate.producer import DeliveryFailed, EventProducer
from tests.ports import free_port


@given(st.text(max_size=40), st.integers(1, 64))
def test_two_independent_clients_put_a_user_into_the_same_partition(user: str, partitions: int) -> None:
    key = user.encode()
    ours = (murmur2(key) & 0x7FFFFFFF) % partitions

    assert ours == DefaultPartitioner()(key, list(range(partitions)), [])


def test_murmur2_is_the_one_of_java() -> None:
    # Of Apache Kafka's own UtilsTest, as signed 32-bit numbers.
    java = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}

    assert {key: murmur2(key) - (1 << 32) for key in java} == java


def test_a_misspelt_option_is_refused_without_printing_values() -> None:
    with pytest.raises(ValueError, match="unknown options of the Kafka producer: sasl_password") as raised:
        EventProducer({"sasl_password": "hunter2"})

    assert "hunter2" not in str(raised.value)


def test_without_a_broker_it_says_where_it_looked() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(DeliveryFailed, match=f"no Kafka broker answers at {address}"):
        EventProducer({"bootstrap_servers": address, "bootstrap_timeout_ms": 200})


@pytest.mark.broker
def test_a_topic_that_does_not_exist_is_named_and_not_made() -> None:
    with EmbeddedBroker() as broker:
        for _ in range(2):
            with (
                EventProducer({"bootstrap_servers": broker.address}) as producer,
                pytest.raises(DeliveryFailed, match=r"topic 'logins' does not exist at .*`engagement topics create`"),
            ):
                producer.send("logins", "ada", b"{}")


@pytest.mark.broker
def test_who_gives_up_on_a_broker_that_is_gone_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with EmbeddedBroker() as broker:
        at = {"bootstrap_servers": broker.address}
        create_topics([TopicSpec("logins", 1)], client_options=at, replication=1)
        with suppress(RuntimeError), EventProducer(at) as producer:
            producer.send("logins", "ada", b"{}")
            producer.flush()
            broker.stop()
            producer.send("logins", "ada", b"{}")
            raise RuntimeError

    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(10)

    assert not any(thread.is_alive() for thread in left)
