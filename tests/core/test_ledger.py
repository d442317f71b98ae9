"""The ledger: what holds at the end of a day is the sum of all changes up to it, however old they are."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.ledger import Ledger
from stream.core.tally import add

_change = st.tuples(st.integers(100, 120), st.dictionaries(st.sampled_from((1, 2, "web")), st.integers(-2, 2)))
_changes = st.lists(_change, max_size=8)


def by_hand(changes: list[tuple[int, dict[int | str, int]]], day: int) -> dict[int | str, int]:
    held: dict[int | str, int] = {}
    for changed_on, amounts in changes:
        if changed_on <= day:
            add(held, amounts)
    return held


@given(_changes, _changes, st.integers(100, 120))
def test_it_says_the_same_after_a_restart_and_has_the_pages_that_are_stored(
    changes: list[tuple[int, dict[int | str, int]]], late: list[tuple[int, dict[int | str, int]]], day: int
) -> None:
    ledger = Ledger("toys")
    stored: dict[bytes, bytes] = {}

    def checkpoint() -> None:
        for key, page in ledger.pages():
            if page is None:
                stored.pop(key, None)
            else:
                stored[key] = page

    for some in (changes, late):
        for changed_on, amounts in some:
            ledger.change(changed_on, amounts)
        checkpoint()
        ledger.forget_before(day)
    checkpoint()
    restored = Ledger("toys")
    restored.restore(stored.items(), since=ledger.since)

    for at in range(day, 122):
        assert ledger.as_of(at) == restored.as_of(at) == by_hand(changes + late, at)
    assert ledger.now() == restored.now() == by_hand(changes + late, 122)
    assert ledger.size() == restored.size() == len(stored)


def test_what_lies_ahead_holds_from_its_minute_on_and_is_a_page_until_then() -> None:
    ledger = Ledger("toys")
    ledger.change(100, {1: 3})
    ledger.put_ahead(144_060, {1: 2})

    ledger.advance(144_059)
    assert (ledger.now(), ledger.size()) == ({1: 1}, 2)
    ledger.advance(144_060)
    assert (ledger.now(), ledger.size()) == ({1: 3}, 1)


def test_a_ledger_in_which_nothing_is_booked_has_no_pages() -> None:
    assert Ledger("toys").size() == 0
