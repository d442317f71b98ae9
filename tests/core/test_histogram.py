"""Histograms are exact to 1 %, and empty when everything is subtracted again."""

from collections import Counter
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from stream.core.families.sessions.numbers import FIRST_DURATION_BIN, LAST_DURATION_BIN, contribution
from stream.core.families.sessions.part import Session
from stream.core.histogram import bin_of, quantile, value_of
from stream.core.tally import Tally, add
from stream.core.time import DAY_MS, HOUR_MS
from stream.settings import load

durations = st.integers(0, DAY_MS)


@given(durations)
def test_a_bin_tells_its_values_within_1_percent(duration: int) -> None:
    assert abs(value_of(bin_of(duration)) - duration) <= 0.01 * duration


@given(durations, durations)
def test_a_longer_duration_never_lies_in_a_lower_bin(one: int, other: int) -> None:
    assert (bin_of(one) <= bin_of(other)) or one > other


def test_bin_0_holds_only_0() -> None:
    assert bin_of(0) == 0
    assert value_of(0) == 0
    assert bin_of(1) == 1


def test_the_longest_cap_of_a_session_still_has_a_field() -> None:
    longest_ms = load(None, {"ENGAGEMENT_SESSION_CAP": "4d"}).rules.session_cap_ms

    assert FIRST_DURATION_BIN + bin_of(longest_ms) <= LAST_DURATION_BIN


@given(st.lists(st.integers(0, 30 * DAY_MS), min_size=1), st.sampled_from((HOUR_MS, DAY_MS, 4 * DAY_MS)))
def test_a_histogram_has_as_many_bins_as_its_cap_allows(lengths: list[int], cap_ms: int) -> None:
    tally: Tally = {}
    for length in lengths:
        add(tally, contribution(Session(0, length), cap_ms=cap_ms))

    bins = [field for field in tally if field >= FIRST_DURATION_BIN]
    assert max(bins) <= FIRST_DURATION_BIN + bin_of(cap_ms)


@given(st.lists(durations, min_size=1), st.sampled_from((0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)))
def test_a_quantile_is_the_nearest_rank_within_1_percent(values: list[int], share: float) -> None:
    counts = Counter(bin_of(value) for value in values)
    expected = sorted(values)[max(0, ceil(share * len(values) - 1e-9) - 1)]
    found = quantile(counts.items(), share)
    assert found is not None

    assert abs(found - expected) <= 0.01 * expected


def test_the_median_of_two_is_the_lower_one_and_of_three_the_middle_one() -> None:
    assert quantile([(0, 1), (100, 1)], 0.5) == 0
    assert quantile([(0, 1), (100, 1), (200, 1)], 0.5) == value_of(100)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([(3, 0)], 0.5) is None


@given(st.lists(durations))
def test_what_is_added_and_taken_out_again_leaves_nothing(values: list[int]) -> None:
    tally: Tally = {}
    for value in values:
        add(tally, {bin_of(value): 1})
    for value in reversed(values):
        add(tally, {bin_of(value): 1}, -1)

    assert tally == {}
