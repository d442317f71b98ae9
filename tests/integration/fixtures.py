"""Brokers for the tests: one of each kind for the whole run, started when the first test wants it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stream.simulate.embedded_broker import EmbeddedBroker, EmbeddedBrokerMissing
from tests.chaos.world import ProxiedKafka, behind
from tests.integration.deployment import Deployment
from tests.integration.kafka_of_the_run import kafka_of_the_run
from tests.integration.kafka_server import (
    LASTING,
    KafkaServer,
    KafkaUnavailable,
    RunningKafka,
    kafka_libs,
    start_kafka,
)
from tests.missing import missing
from tests.state.conftest import run_redis as run_redis
from tests.state.conftest import run_watched_redis as run_watched_redis


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes a broker gets its marker, so that none can be forgotten."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if {"kafka", "own_kafka", "ways", "proxied", "secured_kafka", "guarded_kafka"}.intersection(fixtures):
            item.add_marker("kafka")
        if "embedded_broker" in fixtures:
            item.add_marker("broker")
        if {"run_redis", "run_watched_redis"}.intersection(fixtures):
            item.add_marker("redis")


@pytest.fixture(scope="session")
def shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedKafka]:
    """A real Apache Kafka with proxies before it, shared by all tests, also of other processes of the run."""
    process, folder = os.environ.get("PYTEST_XDIST_WORKER"), tmp_path_factory.getbasetemp()
    run = {"processes": 1, "number": 0}
    if process is not None:  # gw0, gw1, ...
        folder = folder.parent
        run = {"processes": int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), "number": int(process.removeprefix("gw"))}
    with (
        kafka_of_the_run(partial(start_kafka_or_skip, properties=LASTING), folder, proxies=2, **run) as (kafka, ports),
        behind(kafka, ports) as all_,
    ):
        yield all_


@pytest.fixture(scope="session")
def kafka(shared_kafka: ProxiedKafka) -> RunningKafka:
    """A real Apache Kafka, shared by all tests: leave it running."""
    return shared_kafka.kafka


@pytest.fixture
def ways(shared_kafka: ProxiedKafka) -> Iterator[ProxiedKafka]:
    """The Kafka that all tests share, for one that lets proxies before it fail: leave the broker itself running."""
    yield shared_kafka
    for way in shared_kafka.proxies:
        way.heal()


@pytest.fixture
def own_kafka() -> Iterator[RunningKafka]:
    """A real Apache Kafka for one test, which may stop and kill it."""
    server = start_kafka_or_skip()
    yield server
    server.discard()


def start_kafka_or_skip(**options: Any) -> RunningKafka:
    """A new Kafka, by `start_kafka`; without one the test is skipped, or fails where Kafka is required."""
    try:
        return start_kafka(**options)
    except KafkaUnavailable as error:
        skip_without_kafka(error)
        raise


_Started = TypeVar("_Started", bound=KafkaServer)


@contextmanager
def a_kafka_of(kind: Callable[..., _Started], **options: Any) -> Iterator[_Started]:
    """A Kafka of a kind of its own for the tests of a file: `kind(libs, **options)` makes it."""
    try:
        server = kind(kafka_libs(), **options)
    except KafkaUnavailable as error:
        skip_without_kafka(error)
        raise
    server.start()
    try:
        yield server
    finally:
        server.discard()


def skip_without_kafka(error: KafkaUnavailable) -> None:
    """Skip a test that can't have its broker; where CI promises one, fail."""
    missing(str(error))


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """The broker of the demo, shared by all tests."""
    try:
        broker = EmbeddedBroker()
        broker.start()
    except EmbeddedBrokerMissing as error:
        missing(str(error))
    yield broker
    broker.stop()


@pytest.fixture(
    params=[
        pytest.param("embedded_broker", marks=pytest.mark.broker, id="embedded"),
        pytest.param("kafka", marks=pytest.mark.kafka, id="kafka"),
    ]
)
def any_broker(request: pytest.FixtureRequest) -> str:
    """The address of each kind of broker in turn."""
    address = request.getfixturevalue(request.param).address
    assert isinstance(address, str)
    return address


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names of topics, groups and apps that no other test uses."""
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{suffix}"


Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(unique: Callable[[str], str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deploy]:
    """Makes deployments, whose processes end with the test: `deploy(address, all_kinds=…, **settings)`."""
    made: list[Deployment] = []

    def make(address: str, *, all_kinds: bool = False, **settings: object) -> Deployment:
        made.append(Deployment(address, unique, tmp_path, all_kinds=all_kinds, **settings))
        made[-1].forks = request.node.get_closest_marker("executed") is None
        return made[-1]

    yield make
    for deployment in made:
        deployment.end()


@pytest.fixture
def deployment(kafka: RunningKafka, deploy: Deploy) -> Deployment:
    """A deployment on a real Kafka."""
    return deploy(kafka.address)


@pytest.fixture(
    params=[
        pytest.param("embedded_broker", marks=pytest.mark.broker, id="embedded"),
        pytest.param("kafka", marks=pytest.mark.kafka, id="kafka"),
    ]
)
def any_deploy(request: pytest.FixtureRequest, deploy: Deploy) -> Deploy:
    """Like `deploy`, with the address known: on each kind of broker in turn."""
    address = request.getfixturevalue(request.param).address
    # The embedded broker has no idempotent producers, and its changelog can't be recovered from.
    can_less = {"kafka.idempotent": "false", "state.url": "memory://"} if request.param == "embedded_broker" else {}
    return lambda **settings: deploy(address, **{**can_less, **settings})
