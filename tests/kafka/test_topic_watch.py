"""A watch over topics: which ids they have, and whether they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from stream.kafka import topic_watch
from stream.kafka.topic_watch import TopicWatch
from stream.kafka.topics import BrokerUnreachable

LOOKS = 4


class Kafka:
    """Says at each look which topics it has, or that it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: Mapping[str, str] | None) -> None:
        self._looks = list(looks)
        self.opened = 0
        monkeypatch.setattr(topic_watch, "admin_client", self._open)
        monkeypatch.setattr(topic_watch, "ids_of", self._ids)
        monkeypatch.setattr(topic_watch, "_LOOK_SECONDS", 0.0)
        monkeypatch.setattr(topic_watch, "_MISSING_LOOKS", LOOKS)

    @contextmanager
    def _open(self, options: Mapping[str, object]) -> Iterator[None]:
        self.opened += 1
        yield

    def _ids(self, admin: Any, topics: list[str]) -> Mapping[str, str]:
        assert topics == ["logins", "surveys"]
        found = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if found is None:
            raise BrokerUnreachable("nobody there")
        return found


def told_by(*looks: Mapping[str, str] | None, monkeypatch: pytest.MonkeyPatch, count: int) -> list[Any]:
    """What a watch tells at its first looks."""

    async def scenario() -> list[Any]:
        told: asyncio.Queue[Mapping[str, str | None]] = asyncio.Queue()
        Kafka(monkeypatch, *looks)
        watch = TopicWatch(["logins", "surveys"], client_options={}, on_ids=told.put_nowait)
        watch.start()
        found = [await told.get() for _ in range(count)]
        watch.stop()
        return found

    return asyncio.run(scenario())


def test_it_tells_the_id_of_each_topic_and_goes_on_when_kafka_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = {"logins": "a", "surveys": "b"}, {"logins": "c", "surveys": "b"}

    assert told_by(first, None, None, second, monkeypatch=monkeypatch, count=2) == [first, second]


def test_a_topic_is_missing_when_a_broker_has_not_known_it_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks, has = {"surveys": "b"}, {"logins": "a", "surveys": "b"}

    told = told_by(*[lacks] * (LOOKS - 1), has, *[lacks] * LOOKS, has, monkeypatch=monkeypatch, count=2 * LOOKS + 1)
    assert told[: LOOKS + 2] == [lacks] * (LOOKS - 1) + [has] + [lacks] * 2
    assert told[2 * LOOKS - 1] == {"logins": None, "surveys": "b"}
    assert told[2 * LOOKS] == has


def test_a_broker_that_tells_no_ids_tells_nothing_of_a_topic_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_by({"logins": "", "surveys": "b"}, monkeypatch=monkeypatch, count=1) == [{"surveys": "b"}]
