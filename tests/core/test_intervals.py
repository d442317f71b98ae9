"""Intervals against the published check values, and what must hold for any sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.intervals import net_score, wilson


@pytest.mark.parametrize(
    ("part", "whole", "lower", "upper"),
    [(8, 10, 0.490, 0.943), (5, 5, 0.566, 1), (0, 5, 0, 0.434), (85, 100, 0.767, 0.907)],
)
def test_wilson_gives_the_check_values(part: int, whole: int, lower: float, upper: float) -> None:
    assert wilson(part, whole) == pytest.approx((lower, upper), abs=0.0005)


@pytest.mark.parametrize(
    ("promoters", "passives", "detractors", "lower", "upper"),
    [(15, 10, 5, 4.8, 55.8), (3, 0, 0, -6.6, 100), (5, 3, 2, -19.1, 65.2)],
)
def test_adjusted_wald_gives_the_check_values(
    promoters: int, passives: int, detractors: int, lower: float, upper: float
) -> None:
    answers = promoters + passives + detractors

    assert net_score(promoters, detractors, answers) == pytest.approx((lower, upper), abs=0.05)


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0, 0) is None
    assert net_score(0, 0, 0) is None


@given(st.integers(1, 10**9).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_a_share_lies_in_its_interval_and_the_interval_between_0_and_1(sample: tuple[int, int]) -> None:
    part, whole = sample
    found = wilson(part, whole)
    assert found is not None

    assert 0 <= found.lower <= found.upper <= 1
    assert found.lower - 1e-9 <= part / whole <= found.upper + 1e-9


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_net_score_of_both_sides_swapped_has_the_interval_swapped(good: int, middle: int, bad: int) -> None:
    whole = good + middle + bad
    found, swapped = net_score(good, bad, whole), net_score(bad, good, whole)

    if found is None or swapped is None:
        assert whole == 0
    else:
        assert found == pytest.approx((-swapped.upper, -swapped.lower))
        assert -100 <= found.lower <= found.upper <= 100


def test_a_part_that_is_larger_than_its_whole_is_no_share() -> None:
    for part in (-1, 11):
        with pytest.raises(ValueError, match=f"{part} is no part of 10"):
            wilson(part, 10)
