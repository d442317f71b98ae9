"""What topic administration says when there is no broker to talk to."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from stream.kafka.topics import BrokerUnreachable, TopicSpec, check_topics, create_topics
from tests.ports import free_port

SPECS = [TopicSpec("sessions", 4)]


def why_unreachable(client_options: Mapping[str, object]) -> str:
    with pytest.raises(BrokerUnreachable) as raised:
        check_topics(SPECS, client_options=client_options)
    with pytest.raises(BrokerUnreachable):
        create_topics(SPECS, client_options=client_options, replication=1)
    return str(raised.value)


def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    started = time.monotonic()

    assert why_unreachable({"bootstrap_servers": address}) == (
        f"cannot reach a Kafka broker at {address}: connection refused"
    )
    assert time.monotonic() - started < 20  # half a minute when it waits for an answer


def test_a_name_that_does_not_resolve_is_told() -> None:
    told = why_unreachable({"bootstrap_servers": "no-such-host.invalid:9092"})

    assert told.startswith("cannot reach a Kafka broker at no-such-host.invalid:9092: ")


def test_an_address_whose_port_is_no_number_is_told() -> None:
    assert why_unreachable({"bootstrap_servers": ["127.0.0.1:kafka"]}) == (
        "cannot reach a Kafka broker at 127.0.0.1:kafka: 'kafka' is no port"
    )


def test_a_broker_that_comes_back_behind_a_proxy_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def never_connected(**config: object) -> object:
        asked.update(config)
        raise KafkaTimeoutError("nobody there")

    monkeypatch.setattr("stream.kafka.topics.EachAddressClient", never_connected)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        why_unreachable({"bootstrap_servers": f"127.0.0.1:{silent.getsockname()[1]}"})

    # kafka-python doubles the pause after each try: unbounded, the last one would take half of the time there is.
    assert asked["reconnect_backoff_max_ms"] <= asked["bootstrap_timeout_ms"] / 10


def test_a_listener_that_speaks_no_kafka_is_told_and_passwords_stay_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        told = why_unreachable(
            {
                "bootstrap_servers": address,
                "bootstrap_timeout_ms": 300,
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "metrics",
                "sasl_plain_password": "hunter2",
            }
        )

    assert told.startswith(f"cannot reach a Kafka broker at {address}: it accepts connections but no Kafka request")
    assert "SASL_PLAINTEXT" in told
    assert "hunter2" not in told + caplog.text
