"""A schedule of faults is what its seed says."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import FAULTS_OF_A_STORM, SECONDS_BETWEEN_FAULTS, Kind, schedule
from tests.chaos.setups import STORES, Setup, setup

KINDS = {"killed": Kind(), "frozen": Kind(7, 11), "cut": Kind(1, 6)}
SETUP = setup(1, "memory")

seeds = st.integers(0, 2**63)
setups = st.builds(setup, seeds, st.sampled_from(STORES))


@given(seeds, st.floats(10, 1_000), setups)
def test_the_same_seed_makes_the_same_schedule(seed: int, seconds: float, chosen: Setup) -> None:
    first, second = (schedule(seed, KINDS, seconds=seconds, setup=chosen) for _ in range(2))

    assert first == second


def test_another_seed_makes_another_one() -> None:
    assert len({str(schedule(seed, KINDS, seconds=60, setup=SETUP)) for seed in range(100)}) == 100


@given(seeds, st.floats(10, 1_000))
def test_a_longer_run_begins_as_a_shorter_one(seed: int, seconds: float) -> None:
    shorter = schedule(seed, KINDS, seconds=seconds, setup=SETUP)
    longer = schedule(seed, KINDS, seconds=2 * seconds, setup=SETUP)

    assert longer[: len(shorter)] == shorter


def test_without_kinds_nothing_goes_wrong() -> None:
    assert schedule(1, {}, seconds=60, setup=SETUP) == []


@given(seeds, st.floats(1, 1_000), setups)
def test_each_kind_comes_as_often_as_the_others_and_befalls_who_is_there(
    seed: int, seconds: float, chosen: Setup
) -> None:
    faults = [fault for storm in schedule(seed, KINDS, seconds=seconds, setup=chosen) for fault in storm]

    often = Counter(dict.fromkeys(KINDS, 0))
    often.update(fault.kind for fault in faults)
    assert max(often.values()) - min(often.values()) <= 1
    for fault in faults:
        assert 0 <= fault.worker < chosen.workers
        assert 0 <= fault.other < chosen.workers
        assert (fault.other == fault.worker) == (chosen.workers == 1)
        assert 0 <= fault.server < chosen.servers
        assert KINDS[fault.kind].least <= fault.seconds <= KINDS[fault.kind].most


@given(seeds)
def test_within_a_storm_a_fault_comes_soon_after_the_last(seed: int) -> None:
    least, most = SECONDS_BETWEEN_FAULTS
    for storm in schedule(seed, KINDS, seconds=300, setup=SETUP):
        assert len(storm) in FAULTS_OF_A_STORM
        assert storm[0].at_seconds == 0
        for fault, following in pairwise(storm):
            assert least <= following.at_seconds - fault.at_seconds <= most + 1e-9


def test_storms_are_of_one_fault_and_of_several() -> None:
    storms = schedule(1, KINDS, seconds=3_600, setup=SETUP)

    assert {len(storm) for storm in storms} == set(FAULTS_OF_A_STORM)


def test_a_fault_tells_what_goes_wrong_for_how_long_and_with_whom() -> None:
    chosen = Setup(workers=2, servers=1, partitions=4, named=False, standbys=0, transactional=False)
    kinds = {"cut off": Kind(2, 2, "server {server}"), "killed": Kind(whom="workers {worker} and {other}")}
    kinds["restart"] = Kind(whom="")

    told = {str(fault) for storm in schedule(1, kinds, seconds=300, setup=chosen) for fault in storm}

    assert told == {"cut off for 2.0 s (server 0)", "killed (workers 0 and 1)", "killed (workers 1 and 0)", "restart"}
