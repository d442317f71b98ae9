"""Tallies add and subtract."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.tally import Tally, add, total

amounts = st.integers(-5, 5).filter(bool)
tallies = st.dictionaries(st.integers(0, 4), amounts, max_size=4)


def test_a_field_that_is_zero_is_not_in_the_tally() -> None:
    tally: Tally = {1: 2}
    add(tally, {1: 1, 2: 3}, -2)

    assert tally == {2: -6}


@given(tallies, tallies)
def test_the_order_of_a_sum_does_not_matter(one: Tally, other: Tally) -> None:
    assert total([one, other]) == total([other, one])


@given(tallies, tallies, tallies)
def test_parts_may_be_added_first(one: Tally, other: Tally, third: Tally) -> None:
    assert total([total([one, other]), third]) == total([one, total([other, third])])


@given(tallies, tallies)
def test_what_is_taken_out_again_was_never_there(one: Tally, other: Tally) -> None:
    tally = dict(one)
    add(tally, other)
    add(tally, other, -1)

    assert tally == one


@given(tallies, tallies)
def test_a_sum_is_a_new_tally(one: Tally, other: Tally) -> None:
    before = dict(one), dict(other)
    total([one, other])[99] = 1

    assert (one, other) == before
