"""What the benches feed: a population of users from the simulator, and a million users as plain bytes.

The load lies in Kafka before a worker starts, so that a bench measures the worker and not who produces.
ENGAGEMENT_TEST_BENCH_EVENTS=20000 takes only so many events of the population, to see whether a bench works.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from zlib import crc32

from msgspec.structs import replace

from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from stream.kafka.options import client_options
from stream.partitioning import partition_of
from stream.settings import Settings
from stream.simulate.bulk_producer import BulkProducer
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate

MIXED_USERS = 100_000
# A population of 100,000 sends about 460,000 events a day.
MIXED_SPAN_MS = 54 * HOUR_MS
MIXED_EVENTS = int(os.environ.get("ENGAGEMENT_TEST_BENCH_EVENTS", "0")) or None

MANY_USERS = 1_000_000
_MANY_SPAN_MS = 3 * DAY_MS
_EVERY_HOW_MANY_LOGS_IN = 2
# Odd, so that no two users share an id; large, so that ids don't come in order, which would flatter any store.
_SCATTER = 0x9E3779B97F4A7C15


@dataclass(slots=True)
class Loaded:
    """What was sent, as it was counted on the way."""

    end_ms: int = 0  # of a load that can be simulated again
    by_topic: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    value_bytes: int = 0

    @property
    def events(self) -> int:
        """How many events there are."""
        return self.by_topic.total()

    def counted(self, events: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
        """The events, each counted as it passes."""
        for event in events:
            self.by_topic[event.topic] += 1
            self.users.add(event.key)
            self.value_bytes += len(event.value)
            yield event


def mixed(*, end_ms: int) -> Iterator[SimulatedEvent]:
    """About a million events of 100,000 users in the 54 hours before `end_ms`: 94 % steps, logins, survey answers.

    The same `end_ms` gives the same events again.
    """
    events = simulate(SimulatorSettings(users=MIXED_USERS), start_ms=end_ms - MIXED_SPAN_MS, end_ms=end_ms)
    return islice(events, MIXED_EVENTS)


def many_users(*, end_ms: int, users: int = MANY_USERS) -> Iterator[SimulatedEvent]:
    """So many distinct users in three days, in order of time: a page view each, and a login of every second one."""
    start_ms = end_ms - _MANY_SPAN_MS
    for number in range(users):
        at_ms = start_ms + number * (_MANY_SPAN_MS - MINUTE_MS) // users
        user = f"u{number * _SCATTER % 2**64:016x}"
        if number % _EVERY_HOW_MANY_LOGS_IN == 0:
            value = b'{"user_id":"%s","event_time":%d,"event_id":"l%d"}' % (user.encode(), at_ms, number)
            yield SimulatedEvent(at_ms, at_ms, "logins", user, value, "")
        at_ms += 1_000
        value = b'{"type":"page_view","user_id":"%s","event_time":%d,"session_id":"s%d"}' % (
            user.encode(),
            at_ms,
            number,
        )
        yield SimulatedEvent(at_ms, at_ms, "sessions", user, value, "")


def misplaced(events: Iterable[SimulatedEvent], *, partitions: int) -> Iterator[SimulatedEvent]:
    """The same events as from gateways that key by their own names: each lies in a partition that is not its user's.

    All events of a user come from one gateway, so that they stay in order.
    """
    names = (f"gateway-{number}" for number in itertools.count())
    gateways: dict[int, str] = {}
    while len(gateways) < partitions:
        name = next(names)
        gateways.setdefault(partition_of(name.encode(), partitions), name)
    for event in events:
        its_own = partition_of(event.key.encode(), partitions)
        yield replace(event, key=gateways[(its_own + 1 + crc32(event.key.encode()) % (partitions - 1)) % partitions])


def preload(settings: Settings, events: Iterable[SimulatedEvent], *, end_ms: int = 0) -> Loaded:
    """Put the events into the topics, which exist."""
    loaded = Loaded(end_ms)
    asyncio.run(_send(settings, loaded.counted(events)))
    return loaded


async def _send(settings: Settings, events: Iterable[SimulatedEvent]) -> None:
    options = client_options(settings)
    async with BulkProducer(options, topics=settings.input_topics, partitions=settings.topics.partitions) as producer:
        await producer.send(events)
        await producer.flush()


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
