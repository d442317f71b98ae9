"""A schedule of faults is what its seed says."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import Kind, schedule

KINDS = {"killed": Kind(), "frozen": Kind(7, 11), "cut": Kind(1, 6)}

seeds = st.integers(0, 2**63)


@given(seeds, st.floats(10, 1_000))
def test_the_same_seed_makes_the_same_schedule(seed: int, seconds: float) -> None:
    assert schedule(seed, KINDS, seconds=seconds, workers=3) == schedule(seed, KINDS, seconds=seconds, workers=3)


def test_another_seed_makes_another_one() -> None:
    assert len({str(schedule(seed, KINDS, seconds=60, workers=3)) for seed in range(100)}) == 100


def test_without_kinds_nothing_goes_wrong() -> None:
    assert schedule(1, {}, seconds=60, workers=3) == []


@given(seeds, st.floats(1, 1_000), st.integers(1, 4))
def test_each_kind_comes_as_often_as_the_others_on_some_worker_within_the_time(
    seed: int, seconds: float, workers: int
) -> None:
    faults = schedule(seed, KINDS, seconds=seconds, workers=workers)

    often = Counter(fault.kind for fault in faults)
    assert often.keys() == KINDS.keys()
    assert max(often.values()) - min(often.values()) <= 1
    assert faults == sorted(faults, key=lambda fault: fault.at_seconds)
    for fault in faults:
        assert 0 <= fault.at_seconds <= seconds
        assert 0 <= fault.target < workers
        assert KINDS[fault.kind].least <= fault.seconds <= KINDS[fault.kind].most
