"""The book of local days: a closed day says what was so at its end, whatever happens later."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from stream.core.days import DayBook, Version, by_day
from stream.core.ring import Booking

LENGTHS = (1, 7, 28)
DAYS = range(100, 160)

_day = st.integers(100, 140)
_booking = st.builds(
    Booking,
    minute=_day,
    amounts=st.dictionaries(st.sampled_from((1, 2, "ios")), st.integers(1, 3), min_size=1),
    until=st.none() | _day,
    since=st.none() | _day,
)
_bookings = st.lists(_booking, max_size=8)


def as_of(bookings: Iterable[Booking], day: int) -> list[Booking]:
    """Those that count at the end of a day."""
    return [
        one for one in bookings if max(one.minute, one.since or 0) <= day and (one.until is None or day < one.until)
    ]


def by_hand(bookings: Iterable[Booking], day: int, first: int, last: int) -> dict[int | str, int]:
    held: dict[int | str, int] = {}
    for booking in as_of(bookings, day):
        if first <= booking.minute <= last:
            for field, amount in booking.amounts.items():
                held[field] = held.get(field, 0) + amount
    return held


@given(_bookings, st.integers(95, 160))
def test_a_window_holds_what_counts_on_its_days_at_its_end(bookings: list[Booking], day: int) -> None:
    book = DayBook("toys")
    book.book(bookings)

    assert book.windows(day, LENGTHS) == {n: by_hand(bookings, day, day - n + 1, day) for n in LENGTHS}
    matured = {n: by_hand(bookings, day, day - 7 - n + 1, day - 7) for n in LENGTHS}
    assert book.windows(day, LENGTHS, ended_before=7) == matured
    assert book.first == min((one.minute for one in as_of_any(bookings)), default=None)


def as_of_any(bookings: list[Booking]) -> list[Booking]:
    """Those that count on some day, as if booked on the first of these."""
    return [
        Booking(max(one.minute, one.since or 0), one.amounts)
        for one in bookings
        if one.until is None or max(one.minute, one.since or 0) < one.until
    ]


@given(_bookings, _bookings)
def test_taking_out_what_was_booked_leaves_no_trace(bookings: list[Booking], others: list[Booking]) -> None:
    one, other = DayBook("toys"), DayBook("toys")
    one.book([*bookings, *others])
    one.book(bookings, times=-1)
    other.book(others)

    assert all(one.windows(day, LENGTHS) == other.windows(day, LENGTHS) for day in DAYS)
    assert {key for key, page in one.pages() if page} == {key for key, page in other.pages() if page}


@given(_bookings, _bookings, _bookings, st.tuples(_day, _day, _day).map(sorted))
def test_until_some_day_all_was_as_an_earlier_version_says(
    final: list[Booking], first: list[Booking], second: list[Booking], days: list[int]
) -> None:
    book = DayBook("toys")
    book.book(final)
    book.book_versions(final, [Version(days[0], days[1], first), Version(days[1], days[2], second)])

    for day in DAYS:
        then = first if days[0] <= day < days[1] else second if days[1] <= day < days[2] else final
        assert book.windows(day, LENGTHS) == {n: by_hand(then, day, day - n + 1, day) for n in LENGTHS}


@given(_bookings, _bookings, _day)
def test_pages_that_no_window_reaches_can_be_dropped(bookings: list[Booking], late: list[Booking], day: int) -> None:
    whole, forgetful = DayBook("toys"), DayBook("toys")
    for book in (whole, forgetful):
        book.book(bookings)
    forgetful.forget_before(day - max(LENGTHS) + 1)
    for book in (whole, forgetful):
        book.book(late)
    stored = {key: page for key, page in forgetful.pages() if page is not None}
    restored = DayBook("toys")
    restored.restore(stored.items(), since=forgetful.since)

    for at in range(day, 160):
        assert forgetful.windows(at, LENGTHS) == restored.windows(at, LENGTHS) == whole.windows(at, LENGTHS)
    assert restored.size() == len(stored)


def attributes_by_day(book: DayBook) -> tuple[int | None, int | None]:
    """The first day of all, and the first that has changed since it was asked for last."""
    touched, book.touched = book.touched, None
    return book.first, touched


def test_it_tells_the_first_day_that_has_changed() -> None:
    book = DayBook("toys")
    assert attributes_by_day(book) == (None, None)
    book.count(120, {1: 1})
    book.book([Booking(110, {1: 1}, until=130)])
    assert attributes_by_day(book) == (110, 110)
    book.book([Booking(110, {1: 1}, since=140)])
    assert attributes_by_day(book) == (110, 140)
    book.book([Booking(110, {1: 1}, since=140, until=140)])
    assert attributes_by_day(book) == (110, None)

    assert dict(book.as_of(140, 100)) == {110: {1: 1}, 120: {1: 1}}


def test_bookings_of_minutes_become_those_of_their_days() -> None:
    booked = by_day([Booking(2_879, {1: 1}, 2_880, 2_878), Booking(0, {1: 1})], lambda minute: minute // 1_440)

    assert booked == [Booking(1, {1: 1}, 2, 1), Booking(0, {1: 1}, None, None)]
