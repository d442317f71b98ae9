"""A set-up is what its seed says, and each that people choose can be drawn."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.setups import PARTITIONS, SERVERS, STORES, WORKERS, Pins, Setup, setup

seeds = st.integers(0, 2**63)
stores = st.sampled_from(STORES)


@given(seeds, stores)
def test_the_same_seed_makes_the_same_set_up(seed: int, store: str) -> None:
    assert setup(seed, store) == setup(seed, store)


@pytest.mark.parametrize("kept_in", STORES)
def test_each_combination_can_be_drawn(kept_in: str) -> None:
    drawn = {setup(seed, kept_in) for seed in range(5_000)}

    standbys = (0,) if kept_in == "redis" else (0, 1)
    wanted = set(itertools.product(WORKERS, SERVERS, PARTITIONS, (False, True), standbys))
    assert {(one.workers, one.servers, one.partitions, one.named, one.standbys) for one in drawn} == wanted


@given(seeds, stores, st.integers(1, 9), st.booleans())
def test_what_is_pinned_changes_nothing_else(seed: int, store: str, workers: int, named: bool) -> None:
    drawn = setup(seed, store)

    pinned = setup(seed, store, Pins(workers=workers, named=named))

    assert (pinned.workers, pinned.named) == (workers, named)
    assert (pinned.servers, pinned.partitions, pinned.standbys, pinned.transactional) == (
        drawn.servers,
        drawn.partitions,
        drawn.standbys,
        drawn.transactional,
    )


def test_its_options_pin_all_of_it() -> None:
    one = Setup(workers=3, servers=2, partitions=6, named=True, standbys=1, transactional=False)
    other = Setup(workers=1, servers=1, partitions=4, named=False, standbys=0, transactional=True)

    assert one.options == "--workers 3 --servers 2 --partitions 6 --named --standbys 1 --no-transactions"
    assert other.options == "--workers 1 --servers 1 --partitions 4 --unnamed --standbys 0 --transactions"


def test_redis_has_no_standbys() -> None:
    with pytest.raises(ValueError, match="standbys"):
        setup(1, "redis", Pins(standbys=1))


def test_it_is_told_in_words() -> None:
    one = Setup(workers=1, servers=1, partitions=4, named=True, standbys=0, transactional=False)
    many = Setup(workers=4, servers=2, partitions=12, named=False, standbys=1, transactional=True)

    assert str(one) == "1 worker with names, 1 server, 4 partitions"
    assert str(many) == "4 workers without names, 2 servers, 12 partitions, standbys 1, transactions"
