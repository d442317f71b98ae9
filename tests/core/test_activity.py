"""Activity of one user, and the ledger of closed days, against counting by hand."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.activity import (
    NEVER,
    Activity,
    DayLedger,
    active_at,
    active_days,
    bookings,
    latest_and_ahead,
    without_days_before,
)
from stream.core.fields import ACTIVE_USERS
from stream.core.ring import Booking
from stream.core.tally import Field

DAY = 1_440  # minutes

minutes = st.integers(19_000 * DAY, 19_040 * DAY)


def active(*at: int, now: int) -> Activity:
    activity = NEVER
    for minute in at:
        activity = active_at(activity, minute=minute, day=minute // DAY, now=now)
    return activity


@given(st.lists(minutes, min_size=1, max_size=12), minutes, st.randoms(use_true_random=False))
def test_the_last_minute_that_has_come_and_all_ahead_are_kept_in_any_order(
    at: list[int], now: int, random: object
) -> None:
    found = active(*at, now=now)

    come = sorted(minute for minute in at if minute <= now)[-1:]
    assert found.minutes == (*come, *sorted({minute for minute in at if minute > now}))
    assert active_days(found) == sorted({minute // DAY for minute in at})
    assert found.first_day == min(at) // DAY
    assert active(*reversed(at), now=now) == found


def test_activity_that_changes_nothing_gives_the_very_same_value() -> None:
    known = active(30_000, 30_005, now=30_010)

    assert active_at(known, minute=30_005, day=20, now=30_010) is known
    assert active_at(known, minute=30_001, day=20, now=30_010) is known
    assert active_at(known, minute=30_006, day=20, now=30_010) is not known


def test_once_it_has_come_a_later_minute_takes_the_place_of_an_earlier_one() -> None:
    assert latest_and_ahead((5, 7, 9), 4) == (5, 7, 9)
    assert latest_and_ahead((5, 7, 9), 5) == (5, 7, 9)
    assert latest_and_ahead((9, 7, 5), 7) == (7, 9)
    assert latest_and_ahead((5, 7, 9), 9) == (9,)
    assert latest_and_ahead((), 9) == ()


def test_a_user_is_booked_in_the_minute_of_the_last_activity() -> None:
    one: dict[Field, int] = {ACTIVE_USERS: 1}

    assert list(bookings((), one)) == []
    assert list(bookings((5, 7), one)) == [Booking(5, one, until=7), Booking(7, one)]


def test_forgotten_days_leave_the_first_day_ever() -> None:
    known = active(*(day * DAY for day in (10, 20, 30)), now=31 * DAY)

    assert without_days_before(known, 10) is known
    assert active_days(without_days_before(known, 11)) == [20, 30]
    assert without_days_before(known, 20).since_day == 20
    gone = without_days_before(known, 31)
    assert (active_days(gone), gone.first_day, gone.day_bits) == ([], 10, b"")
    assert without_days_before(gone, 40) is gone
    assert active_days(active_at(gone, minute=50 * DAY, day=50, now=50 * DAY)) == [50]


LENGTHS = (1, 7, 28)
calendars = st.lists(st.lists(st.integers(100, 180), max_size=8).map(lambda days: sorted(set(days))), max_size=5)


def by_hand(users: list[list[int]], first: int, last: int) -> dict[int, dict[int, int]]:
    counted = {}
    for day in range(first, last + 1):
        active = {n: sum(any(day - n < at <= day for at in days) for days in users) for n in LENGTHS}
        counted[day] = {length: count for length, count in active.items() if count}
    return counted


@given(calendars, st.integers(90, 190), st.integers(0, 40), st.data())
def test_the_ledger_counts_distinct_users_of_each_window_of_days(
    users: list[list[int]], first: int, length: int, data: st.DataObject
) -> None:
    ledger = DayLedger(LENGTHS)
    for days in users:
        known: list[int] = []
        for day in data.draw(st.permutations(days)):  # the days become known one by one, late ones too
            ledger.book(known, sorted([*known, day]))
            known = sorted([*known, day])

    assert ledger.users(first, first + length) == by_hand(users, first, first + length)
    assert ledger.first_day() == min((day for days in users for day in days), default=None)


@given(calendars, st.integers(95, 185), st.booleans(), st.data())
def test_a_ledger_that_forgets_single_days_still_counts_the_later_ones(
    users: list[list[int]], since: int, stores: bool, data: st.DataObject
) -> None:
    ledger, stored = DayLedger(LENGTHS), dict[bytes, bytes]()
    late = []
    for days in users:
        told = data.draw(st.sets(st.sampled_from(days))) if days else set()
        ledger.book([], sorted(set(days) - told))
        late.append((sorted(set(days) - told), days))
    for day in (since - 5, since, since - 5):
        ledger.forget_before(day)
        if stores:
            ledger = stored_and_restored(ledger, stored)
    for before, after in late:
        ledger.book(before, after)

    assert ledger.users(since, since + 40) == by_hand(users, since, since + 40)


def stored_and_restored(ledger: DayLedger, stored: dict[bytes, bytes]) -> DayLedger:
    for key, page in ledger.pages():
        if page is None:
            stored.pop(key, None)
        else:
            stored[key] = page
    restored = DayLedger(ledger.lengths)
    restored.restore(stored.items(), since=ledger.since)
    assert list(restored.pages()) == []
    assert restored.users(90, 230) == ledger.users(90, 230)
    assert restored.size() == ledger.size()
    assert restored.first_day() == ledger.first_day()
    return restored


def test_a_ledger_without_users_has_no_first_day_and_no_page() -> None:
    ledger = DayLedger(LENGTHS)
    assert ledger.first_day() is None
    assert ledger.size() == 0
    ledger.forget_before(50)
    assert ledger.since is None

    ledger.book([], [100])
    ledger.book([100], [])
    assert ledger.first_day() is None
    assert all(page is None for _, page in ledger.pages())


def test_days_are_forgotten_only_when_there_are_some() -> None:
    ledger = DayLedger(LENGTHS)
    ledger.book([], [100])
    ledger.forget_before(100)
    assert (ledger.since, ledger.first_day()) == (None, 100)

    ledger.forget_before(101)
    assert (ledger.since, ledger.first_day()) == (101, 101)
    assert ledger.users(101, 101) == {101: {7: 1, 28: 1}}
