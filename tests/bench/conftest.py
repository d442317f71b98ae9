"""Kafka and the loads of the benches, each made once for a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream.kafka.options import client_options
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import create_topics
from stream.settings import Settings, load
from tests.bench.load import Loaded, mixed, now_ms, preload
from tests.integration.kafka_server import KafkaUnavailable, RunningKafka, start_kafka


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Benches run when they are asked for, by `-m bench`; a run of all tests leaves them out."""
    if "bench" in config.getoption("markexpr"):
        return
    benches = [item for item in items if item.get_closest_marker("bench")]
    if benches:
        items[:] = [item for item in items if item not in benches]
        config.hook.pytest_deselected(items=benches)


@pytest.fixture(scope="session")
def kafka() -> Iterator[RunningKafka]:
    """A real Apache Kafka for all benches."""
    try:
        server = start_kafka()
    except KafkaUnavailable as error:
        pytest.skip(str(error))
    yield server
    server.discard()


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings, and the variables that give them to a process."""

    settings: Settings
    environment: dict[str, str]


SetUp = Callable[..., Setup]


@pytest.fixture(scope="session")
def set_up(kafka: RunningKafka, tmp_path_factory: pytest.TempPathFactory) -> SetUp:
    """Makes the settings of one deployment: a new group with a state directory of its own, reading topics `inputs`-*.

    `app_id` and `state` are given for one that goes on where another stopped, `topics=False` for one that is to
    create its topics, `url` for one that has its state elsewhere; `more` are further variables.
    """
    numbers = itertools.count(1)

    def made(
        inputs: str,
        *,
        app_id: str | None = None,
        state: Path | None = None,
        topics: bool = True,
        url: str = "",
        more: Mapping[str, str] | None = None,
    ) -> Setup:
        app_id = app_id or f"bench-{next(numbers)}"
        state = state or tmp_path_factory.mktemp(app_id)
        environment = {
            "ENGAGEMENT_KAFKA_SERVERS": kafka.address,
            "ENGAGEMENT_APP_ID": app_id,
            "ENGAGEMENT_STATE_URL": url or f"rocksdb://{state}",
            "ENGAGEMENT_SERVER_PORT": "0",
            **{f"ENGAGEMENT_TOPICS_{name.upper()}": f"{inputs}-{name}" for name in ("sessions", "logins", "surveys")},
            **(more or {}),
        }
        settings = load(None, environment)
        if topics:
            create_topics(topic_specs(settings), client_options=client_options(settings), replication=1)
        return Setup(settings, environment)

    return made


@pytest.fixture(scope="session")
def mixed_load(set_up: SetUp) -> Loaded:
    """About a million events of 100,000 users, in the topics `mixed-*`."""
    end_ms = now_ms()
    return preload(set_up("mixed").settings, mixed(end_ms=end_ms), end_ms=end_ms)
