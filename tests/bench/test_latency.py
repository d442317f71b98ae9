"""How long after it was produced an event is in a gauge.

Two markers among the events: logins of a user of the first partition, surveys of a user of the last. Each topic's
counter of applied events then tells which of its markers the gauges hold, as a page that is polled sees it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from stream.kafka.options import client_options
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.telemetry import LATENCY_BOUNDS
from tests.bench.conftest import SetUp, Setup
from tests.bench.figures import percentile, percentile_of_histogram, show, value_at
from tests.bench.load import MANY_USERS, many_users, now_ms, preload
from tests.bench.processes import ENGAGEMENT, Samples, answers, running, wait_until_answered
from tests.bench.progress import Watcher
from tests.ports import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

SECONDS = 30
USERS = 20_000
_BEAT_SECONDS = 0.02  # so often a handful of events is sent, two of them markers
_POLLED_EVERY_SECONDS = 0.1
# In this time a million users are sent and counted.
_UNTIL_THE_DAY_CLOSES_SECONDS = 300
DAY_SECONDS = 86_400


class _Marker(NamedTuple):
    """An event that is watched."""

    sent: float
    waited: float  # seconds until it was seen


class Producing(threading.Thread):
    """Sends events at an even rate, and notes when each marker was sent."""

    def __init__(self, settings: Settings, events_a_second: int, applied_before: Mapping[str, int]) -> None:
        """`applied_before` says how many events of each topic were applied before these."""
        super().__init__(daemon=True)
        self.applied_before = Counter(applied_before)
        self._settings, self._rate = settings, events_a_second
        self.sent_at: dict[str, list[float]] = {"logins": [], "surveys": []}
        self.sent: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._produce())
        except BaseException as error:
            self.failure = error
            raise

    async def _produce(self) -> None:
        options = client_options(self._settings)
        async with AIOKafkaProducer(**options, acks="all", linger_ms=2) as producer:
            started = time.monotonic()
            for beat in range(int(SECONDS / _BEAT_SECONDS)):
                await asyncio.sleep(started + beat * _BEAT_SECONDS - time.monotonic())
                for topic, user, value in self._of_a_beat(beat):
                    self.sent[topic] += 1
                    await producer.send(self._settings.input_topics[topic], value, key=user.encode())
            await producer.flush()

    def _of_a_beat(self, beat: int) -> list[tuple[str, str, bytes]]:
        at_ms, partitions = now_ms(), self._settings.topics.partitions
        first, last = (_user_in(number, partitions) for number in (0, partitions - 1))
        self.sent_at["logins"].append(time.time())
        login = b'{"user_id":"%s","event_time":%d,"event_id":"l%d"}' % (first.encode(), at_ms, beat)
        self.sent_at["surveys"].append(time.time())
        survey = b'{"user_id":"%s","event_time":%d,"response_id":"r%d","kind":"csat","score":5}'
        survey = survey % (last.encode(), at_ms, beat)
        events = [("logins", first, login), ("surveys", last, survey)]
        for number in range(int(self._rate * _BEAT_SECONDS) - len(events)):
            user = f"u{(beat * 7_919 + number * 104_729) % USERS}"
            step = b'{"type":"page_view","user_id":"%s","event_time":%d,"event_id":"%d-%d"}'
            events.append(("sessions", user, step % (user.encode(), at_ms, beat, number)))
        return events


def _user_in(partition: int, partitions: int) -> str:
    return next(
        user for user in map("marker-{}".format, range(1_000)) if partition_of(user.encode(), partitions) == partition
    )


@pytest.mark.parametrize("events_a_second", [5_000, 20_000])
def test_event_latency(set_up: SetUp, tmp_path: Path, events_a_second: int) -> None:
    setup = set_up(f"latency-{events_a_second}")
    with _serving(setup, tmp_path) as (address, process, watcher), Samples(process.pid) as samples:
        producing, markers = _produced(setup.settings, events_a_second, address)
        used, wall = (samples.cpu[-1][place] - samples.cpu[0][place] for place in (1, 0))
        watcher.wait_for(producing.sent.total(), timeout_seconds=30.0)
        own = watcher.event_latency()

    assert watcher.outcomes() == {"applied": events_a_second * SECONDS}
    _show(markers, f"{events_a_second:,} events/s for {SECONDS} s", target_p99=1.2)
    own_p99 = percentile_of_histogram(own.counts, LATENCY_BOUNDS, 0.99)
    show("  p99 of engagement_event_latency_seconds", "s", [own_p99], against="what the worker says of all events")
    show("  worker and server, at that rate", "cores", [used / wall], against="polled ten times a second")


@pytest.mark.timeout(1_200)
def test_event_latency_while_a_day_of_a_million_users_closes(set_up: SetUp, tmp_path: Path) -> None:
    """The day closes in the middle: `close_after` is chosen so, because days end at midnight."""
    rate, closes_at = 5_000, int(time.time()) + _UNTIL_THE_DAY_CLOSES_SECONDS
    setup = set_up("closing", more={"ENGAGEMENT_CLOSE_AFTER": f"{closes_at % DAY_SECONDS}s"})
    loaded = preload(setup.settings, many_users(end_ms=now_ms()))
    with _serving(setup, tmp_path) as (address, process, watcher), Samples(process.pid) as samples:
        watcher.wait_for(loaded.events, timeout_seconds=400.0)
        left = closes_at - SECONDS / 2 - time.time()
        assert left > 0, "a million users took too long: make _UNTIL_THE_DAY_CLOSES_SECONDS longer"
        time.sleep(left)
        producing, markers = _produced(setup.settings, rate, address, loaded.by_topic)
        watcher.wait_for(loaded.events + producing.sent.total(), timeout_seconds=60.0)
        closed, half = float(closes_at), SECONDS / 2 - 3
        began, closed, ended = (value_at(samples.cpu, at) for at in (closed - half, closed, closed + half))
        day = json.loads(answers(f"{address}/api/v1/closed?metric=engagement_active_users_closed") or b"{}")["days"][-1]

    assert watcher.outcomes() == {"applied": loaded.events + rate * SECONDS}
    (of_a_month,) = [one["value"] for one in day["samples"] if one["labels"] == {"window": "30d"}]
    usual = [marker for marker in markers if marker.sent < closes_at - 3]
    _show(usual, f"{rate:,} events/s before a day closes", target_p99=1.2)
    around = [marker for marker in markers if closes_at - 3 <= marker.sent < closes_at + 5]
    _show(around, "from 3 s before it closes to 5 s after", target_p99=1.5)
    show(
        "  work for the closed day",
        "s of CPU",
        [ended - 2 * closed + began],
        against="beside as long before it; target < 5 s",
    )
    show(
        "  active users of 30 days that it tells", "", [of_a_month], against=f"{MANY_USERS:,} users came in three days"
    )


@contextmanager
def _serving(setup: Setup, folder: Path) -> Iterator[tuple[str, Any, Watcher]]:
    """A worker and server in one process that is ready: its address, the process, and who watches it."""
    port = free_port()
    environment = {**setup.environment, "ENGAGEMENT_SERVER_PORT": str(port)}
    address = f"http://127.0.0.1:{port}"
    with (
        running([*ENGAGEMENT, "run"], folder / "run.log", environment=environment) as process,
        Watcher(setup.settings, process) as watcher,
    ):
        wait_until_answered(f"{address}/readyz", process, timeout_seconds=400.0)
        yield address, process, watcher


def _produced(
    settings: Settings, events_a_second: int, address: str, applied_before: Mapping[str, int] | None = None
) -> tuple[Producing, list[_Marker]]:
    """Who has sent events for a while, and the markers among them."""
    producing = Producing(settings, events_a_second, applied_before or {})
    producing.start()
    seen = _watch(address, producing)
    producing.join()
    assert producing.failure is None
    return producing, [
        _Marker(sent, at - sent)
        for topic, times in producing.sent_at.items()
        for at, sent in zip(seen[topic], times, strict=True)
    ]


def _show(markers: list[_Marker], rate: str, *, target_p99: float) -> None:
    waited = [marker.waited for marker in markers]
    told = f"{rate}, {len(waited):,} marked"
    show("event to gauge, seen at /api/v1/metrics, p50", "s", [percentile(waited, 0.5)], against=told)
    show("  p95", "s", [percentile(waited, 0.95)], against="a report a second, a poll each 0.1 s")
    show("  p99", "s", [percentile(waited, 0.99)], against=f"target < {target_p99:g} s")


def _watch(address: str, producing: Producing) -> dict[str, list[float]]:
    """By topic: when each of its markers was first seen to be counted."""
    seen: dict[str, list[float]] = {topic: [] for topic in producing.sent_at}
    deadline = time.monotonic() + SECONDS + 30
    markers = int(SECONDS / _BEAT_SECONDS)
    while any(len(times) < markers for times in seen.values()) and time.monotonic() < deadline:
        document = json.loads(answers(f"{address}/api/v1/metrics") or b'{"health": []}')
        now = time.time()
        for sample in document["health"]:
            topic, outcome = (sample["labels"].get(name) for name in ("topic", "outcome"))
            if sample["name"] == "engagement_events_total" and outcome == "applied" and topic in seen:
                seen[topic] += [now] * (int(sample["value"]) - producing.applied_before[topic] - len(seen[topic]))
        time.sleep(_POLLED_EVERY_SECONDS)
    return seen
