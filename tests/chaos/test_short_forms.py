"""The runs that are part of all tests have what people choose, and most of what can go wrong."""

from __future__ import annotations

from tests.chaos.befall import kinds_for
from tests.chaos.conftest import SHORT_MINUTES, SHORT_SEEDS
from tests.chaos.schedule import SECONDS_OF_A_PAUSE, schedule
from tests.chaos.setups import STORES, setup

SETUPS = {store: setup(seed, store) for store, seed in SHORT_SEEDS.items()}
STORMS = {
    store: schedule(seed, kinds_for(store), seconds=60 * SHORT_MINUTES, setup=SETUPS[store])
    for store, seed in SHORT_SEEDS.items()
}


def test_each_store_has_one() -> None:
    assert SHORT_SEEDS.keys() == set(STORES)


def test_together_they_have_what_people_choose() -> None:
    setups = SETUPS.values()

    assert {one.named for one in setups} == {False, True}
    assert {one.standbys for one in setups} == {0, 1}
    assert {one.servers for one in setups} == {1, 2}
    assert {one.transactional for one in setups} == {False, True}
    assert len({one.workers for one in setups}) == len({one.partitions for one in setups}) == len(SETUPS)


def test_together_they_have_most_kinds_of_faults_and_faults_that_overlap() -> None:
    kinds = {kind for store in STORES for kind in kinds_for(store)}

    come = {fault.kind for storms in STORMS.values() for storm in storms for fault in storm}

    assert len(come) >= 0.8 * len(kinds)
    assert all(max(len(storm) for storm in storms) > 1 for storms in STORMS.values())


def test_none_takes_much_longer_than_the_others() -> None:
    for storms in STORMS.values():
        planned = sum(max(fault.at_seconds + fault.seconds for fault in storm) + SECONDS_OF_A_PAUSE for storm in storms)
        assert planned < 75
