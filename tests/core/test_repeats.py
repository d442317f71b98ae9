"""What recognises an event that is sent again where nothing is forgotten: exact, and small."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import Step
from stream.core.families.sessions.family import SessionsFamily
from stream.core.families.sessions.part import MAX_KEPT_STEPS, UserSessions
from stream.core.offline import Computed, Offline
from stream.core.repeats import PackedTimes, is_packed_in, packed
from stream.core.rules import Rules
from tests.native import READERS, decode_session

NOON_MS = 1_704_110_400_000
RULES = Rules(features={"search": 1})

# With bytes that are alike, so that an identity is also found where one ends and the next begins.
identities = st.one_of(
    st.integers(0, 2**64 - 1),
    st.lists(st.sampled_from([0, 1, 255]), min_size=8, max_size=8).map(lambda bytes_: int.from_bytes(bytes_, "big")),
)

REPEATED = {
    "steps": '"topic":"sessions","type":"page_view","session_id":"s"',
    "steps without a session id": '"topic":"sessions","type":"page_view"',
    "steps of nobody": '"topic":"sessions","type":"heartbeat","interactive":false',
    "logins": '"topic":"logins"',
    "failed logins": '"topic":"logins","success":false',
    "features": '"topic":"features","feature":"search"',
}


def line(fields: str, number: int) -> bytes:
    return f'{{{fields},"user_id":"u{number % 10}","event_time":{NOON_MS + number}}}'.encode()


def computed(lines: list[bytes]) -> Computed:
    offline = Offline(RULES, READERS, at_ms=NOON_MS + 10**9)
    assert not list(offline.apply(lines))
    return offline.computed(days=3)


@given(st.lists(identities, unique=True, max_size=30), st.lists(identities, max_size=30))
def test_packed_identities_are_recognised_and_no_others_are(known: list[int], others: list[int]) -> None:
    first, rest = packed(known[:1]) if known else b"", packed(known[1:])

    for identity in (*known, *others, *(identity + 1 & 2**64 - 1 for identity in known)):
        assert is_packed_in(first + rest, identity) == (identity in known)


def test_what_lies_across_two_packed_identities_is_none_of_them() -> None:
    known = packed([0x0000_0000_0000_0001, 0x0000_0002_0000_0003, 0x0100_0000_0200_0000])

    assert is_packed_in(known, 0x0100_0000_0200_0000)  # its bytes lie across the first two as well
    assert not is_packed_in(known, 0x0000_0001_0000_0002)
    assert not is_packed_in(known, 0x0000_0003_0100_0000)


@given(st.lists(identities))
def test_packed_times_know_what_a_dict_knows(heard: list[int]) -> None:
    packed_times, times = PackedTimes(), dict[int, int]()

    for identity in heard:
        assert (identity in packed_times) == (identity in times)
        if identity not in times:
            packed_times[identity] = times[identity] = 5
    assert len(packed_times) == len(times)
    assert all(identity in packed_times for identity in heard)


@pytest.mark.parametrize("fields", REPEATED.values(), ids=REPEATED)
def test_a_line_leaves_9_bytes_behind_where_it_is_counted_with_others(fields: str) -> None:
    offline = Offline(RULES, READERS)
    tracemalloc.start()
    try:
        assert not list(offline.apply(line(fields, number) for number in range(4_000)))
        before = tracemalloc.get_traced_memory()[0]
        assert not list(offline.apply(line(fields, number) for number in range(4_000, 12_000)))
        left = (tracemalloc.get_traced_memory()[0] - before) / 8_000
    finally:
        tracemalloc.stop()

    assert 8 <= left < 11, f"{left:.1f} bytes a line"


@pytest.mark.parametrize("fields", REPEATED.values(), ids=REPEATED)
def test_what_is_sent_again_in_any_order_is_recognised(fields: str) -> None:
    sent = [line(fields, number) for number in range(0, 1_000_000, 1_000)]
    again = [*sent, *sent]
    Random(5).shuffle(again)
    once, found = computed(sent), computed(again)

    assert (found.live, found.closed) == (once.live, once.closed)
    assert (once.events["applied"], once.events["duplicate"]) == (1_000, 0)
    assert (found.events["applied"], found.events["duplicate"]) == (1_000, 1_000)


def test_of_a_session_that_never_ends_the_last_steps_are_recognised() -> None:
    family, part = SessionsFamily(Rules(packs_identities=True)), UserSessions()
    decoded = [decode_session(line(REPEATED["steps"], 10 * number)) for number in range(MAX_KEPT_STEPS + 10)]
    steps = [step for step in decoded if isinstance(step, Step)]
    family.apply_steps(part, steps[:3_000], bytearray(3_000), 0)
    for step in steps[3_000:]:
        family.apply_steps(part, [step], bytearray(1), 0)

    (session,) = part.by_id["s"].sessions
    kept = MAX_KEPT_STEPS + 1
    assert session.steps == packed([step.identity for step in steps[-kept:]])
    changed = bytearray(2)
    family.apply_steps(part, [steps[-kept], steps[-kept - 1]], changed, 0)
    assert [*changed] == [False, True]
