"""Files computed by several processes: the numbers are those of one, and so is what is said of lines."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from functools import reduce
from operator import add
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import parallel_compute
from stream.core.messages import Reader
from stream.core.offline import Computed, Offline, computed_of
from stream.core.rules import Rules
from stream.core.time import DAY_MS
from stream.inputs.native import user_of_message
from stream.parallel_compute import ParallelOffline
from stream.simulate.simulator import SimulatorSettings, simulate
from tests.core.live import line
from tests.core.worlds import World, answers, logins, steps_by_gap, steps_by_id, summaries, worlds
from tests.native import READERS

# Starts processes, for most of its tests.
pytestmark = pytest.mark.slow


def needs() -> tuple[Rules, Mapping[str, Reader]]:
    return Rules(), READERS


@given(worlds(logins, steps_by_id, steps_by_gap, summaries, answers), st.integers(2, 4))
def test_the_sums_of_some_users_add_up_to_those_of_all(world: World, count: int) -> None:
    shares: dict[int, list[bytes]] = defaultdict(list)
    everything = [line(told) for told in world.events]
    for one in everything:
        user = user_of_message(one)
        assert user is not None
        shares[crc32(user.encode()) % count].append(one)
    whole, parts = Offline(world.rules, READERS), [Offline(world.rules, READERS) for _ in range(count)]
    assert list(whole.apply(everything)) == []
    for number, part in enumerate(parts):
        assert list(part.apply(shares[number])) == []

    newest_ms = max(part.newest_ms for part in parts)
    together = computed_of(reduce(add, [part.snapshot(newest_ms) for part in parts]), world.rules, days=40)
    assert together == whole.computed(days=40)


@given(worlds(logins, steps_by_id, steps_by_gap, summaries, answers))
def test_numbers_and_counts_do_not_depend_on_how_events_are_divided_into_batches(world: World) -> None:
    lines = [line(told) for told in world.events]
    together, one_by_one = Offline(world.rules, READERS), Offline(world.rules, READERS)
    assert list(together.apply(lines)) == []
    for one in lines:
        assert list(one_by_one.apply([one])) == []

    assert one_by_one.computed(days=40) == together.computed(days=40)


# -- with processes ----------------------------------------------------------------------------------------------------

START_MS = 1_704_067_200_000  # 2024-01-01
AT = b'"event_time":1704110400000'

PARTLY = 2_000  # lines: more than processes are given at once

ODD_LINES = (
    *(b"", b"  ", b"{", b"[]", b'{"user_id":"ann"}', b'{"topic":"clicks","user_id":"ann"}', b'{"topic":"logins"}'),
    *(b'{"topic":"logins","user_id":"null",%s}' % AT, b'{"topic":"logins","user_id":["ann"],%s}' % AT),
    *(b'{"user_id":"\\ud800","topic":"logins",%s}' % AT, b'{"topic":"logins","user_id":"%s",%s}' % (b"a" * 600, AT)),
    *(b'{"topic":"logins","user_id":"zoe %d","title":"half \\ud83c",%s}' % (n, AT) for n in range(9)),
    *(b'{"topic":"logins","user_id":"zoe \\ud83c","title":"half \\ud83c",%s}' % AT, b"\0" * 99),
    *(b'{"topic":"logins","user_id":1.5,%s}' % AT, b'{"x":' + b"[" * 10_000, b"\xff\xfe"),
    *(b'{"topic":"logins","user_id":7,%s,"platform":"p%d"}' % (AT, n) for n in range(300)),
    *(b'{"topic":"logins","user_id":" 7",%s,"platform":"p%d"}' % (AT, n) for n in range(300)),
    *(b'{"topic":"logins","anonymous_id":"device %d",%s,"platform":"p%d"}' % (n, AT, n) for n in range(300)),
)  # fmt: skip


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """What 300 people did within a week, of which some comes twice; among it lines that can't be used."""
    population = SimulatorSettings(users=300, duplicate=0.05, shuffled=0.05, misrouted=0.02, bot=0.02, broken=0.02)
    events = simulate(population, start_ms=START_MS, end_ms=START_MS + 7 * DAY_MS)
    mixed = [event.value.replace(b"{", b'{"topic":"%s",' % event.topic.encode(), 1) for event in events]
    assert len(mixed) > 3 * PARTLY
    for place, odd in enumerate(ODD_LINES):
        mixed.insert(place * 7, odd)
    return mixed


@pytest.mark.parametrize("at_ms", [None, START_MS + 3 * DAY_MS])
def test_several_processes_say_what_one_says(lines: list[bytes], at_ms: int | None) -> None:
    one = Offline(*needs(), at_ms=at_ms)
    unusable = sorted(one.apply(lines))
    with ParallelOffline(needs, processes=3, at_ms=at_ms) as several:
        half = len(lines) // 2
        found = [*several.apply(lines[:half]), *several.apply(lines[half:])]
        computed = several.computed(days=40)

    assert unusable
    assert found == unusable
    assert computed == one.computed(days=40)


def erasing() -> tuple[Rules, Mapping[str, Reader]]:
    return Rules(erases=True), READERS


def test_several_processes_fulfil_requests_of_people_as_one_does(lines: list[bytes]) -> None:
    users = sorted({user for user in map(user_of_message, lines[-500:]) if user and not user.startswith("zoe")})[:20]
    with_requests = list(lines)
    for number, user in enumerate(users):
        told = {
            "topic": "privacy",
            "user_id": user,
            "event_time": START_MS + (1 + number % 6) * DAY_MS,
            "type": "anonymise" if number % 4 == 3 else "erase",
        }
        with_requests.insert(len(lines) * (number % 7) // 6, line(told))
    one = Offline(*erasing())
    unusable = sorted(one.apply(with_requests))
    with ParallelOffline(erasing, processes=3) as several:
        assert list(several.apply(with_requests)) == unusable
        computed = several.computed(days=40)

    assert computed == one.computed(days=40)
    assert computed.events["erased"] > len(users)
    assert sum(sample.value for sample in computed.live) != sum(sample.value for sample in without(lines).live)


def without(lines: list[bytes]) -> Computed:
    """What the same lines say where nobody has asked for anything."""
    offline = Offline(*erasing())
    list(offline.apply(lines))
    return offline.computed(days=40)


def test_of_nothing_several_processes_know_nothing() -> None:
    with ParallelOffline(needs, processes=2) as several:
        assert list(several.apply([])) == []
        assert several.computed(days=3) == Offline(*needs()).computed(days=3)


def test_a_process_that_is_killed_is_told(lines: list[bytes]) -> None:
    def killing() -> Iterator[bytes]:
        for number, one in enumerate(lines):
            if number == len(lines) // 2:
                os.kill(several._executors[0].submit(os.getpid).result(), signal.SIGKILL)
            yield one

    with ParallelOffline(needs, processes=2) as several, pytest.raises(BrokenProcessPool):
        list(several.apply(killing()))


def test_no_more_is_read_ahead_than_the_processes_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_compute, "_LINES_PER_CHUNK", 10)
    read = [0]

    def counted() -> Iterator[bytes]:
        while read[0] < 10_000:
            read[0] += 1
            yield b"{" if read[0] == 1 else b'{"topic":"logins","user_id":"u%d",%s}' % (read[0], AT)

    with ParallelOffline(needs, processes=2) as several:
        first = next(iter(several.apply(counted())))

    assert first.number == 1
    assert read[0] == 10 * 2 * (parallel_compute._MAX_PENDING_ROUNDS + 1)
