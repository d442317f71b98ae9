"""Activity of one user, and the ledger of closed days, against counting by hand."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.days import DayLedger
from stream.core.events import Login, Summary
from stream.core.families.activity.family import ActivityFamily
from stream.core.families.activity.lives import NEVER, Life, first_minutes, that_can_change, with_day
from stream.core.families.activity.part import Activity, active_days, add_day, latest_and_ahead, without_days_before
from stream.core.families.activity.samples import ACTIVE_USERS
from stream.core.families.family import Horizon
from stream.core.ring import Booking, latest
from stream.core.rules import Rules
from stream.core.segments import NOT_TOLD
from stream.core.tally import Field
from stream.core.time import DAY_MS, MINUTE_MS

DAY = 1_440  # minutes

minutes = st.integers(19_000 * DAY, 19_040 * DAY)


def active_at(activity: Activity, minute: int, *, now: int) -> bool:
    """Whether an activity in that minute changes anything."""
    login = Login("ann", minute * 60_000, False, identity=0, success=True, segments=NOT_TOLD)
    return ActivityFamily(Rules()).hear_login(activity, login, now)


def active(*at: int, now: int) -> Activity:
    activity = Activity()
    for minute in at:
        active_at(activity, minute, now=now)
    return activity


def days(activity: Activity) -> list[int]:
    return active_days(activity.since_day, activity.day_bits)


def stored(activity: Activity) -> object:
    return ActivityFamily(Rules()).stored(activity)


@given(st.lists(minutes, min_size=1, max_size=12), minutes, st.randoms(use_true_random=False))
def test_the_last_minute_that_has_come_and_all_ahead_are_kept_in_any_order(
    at: list[int], now: int, random: object
) -> None:
    found = active(*at, now=now)

    come = sorted(minute for minute in at if minute <= now)[-1:]
    assert found.minutes == (*come, *sorted({minute for minute in at if minute > now}))
    assert days(found) == sorted({minute // DAY for minute in at})
    assert first_minutes(found.lives) == [min(at)]
    assert stored(active(*reversed(at), now=now)) == stored(found)


def test_activity_that_changes_nothing_is_told_from_one_that_does() -> None:
    known = active(30_000, 30_005, now=30_010)

    assert not active_at(known, 30_005, now=30_010)
    assert not active_at(known, 30_001, now=30_010)
    assert active_at(known, 30_006, now=30_010)


def test_once_it_has_come_a_later_minute_takes_the_place_of_an_earlier_one() -> None:
    assert latest_and_ahead((5, 7, 9), 4) == (5, 7, 9)
    assert latest_and_ahead((5, 7, 9), 5) == (5, 7, 9)
    assert latest_and_ahead((9, 7, 5), 7) == (7, 9)
    assert latest_and_ahead((5, 7, 9), 9) == (9,)
    assert latest_and_ahead((), 9) == ()


def test_a_user_is_booked_in_the_minute_of_the_last_activity() -> None:
    one: dict[Field, int] = {ACTIVE_USERS: 1}

    assert list(latest((), one)) == []
    assert list(latest((5, 7), one)) == [Booking(5, one, until=7), Booking(7, one)]


def test_forgotten_days_leave_the_first_activity_ever() -> None:
    known = active(*(day * DAY for day in (10, 20, 30)), now=31 * DAY)

    for before, kept in ((10, [10, 20, 30]), (11, [20, 30]), (20, [20, 30])):
        without_days_before(known, before)
        assert days(known) == kept
    assert known.since_day == 20
    for before in (31, 40):
        without_days_before(known, before)
        assert (days(known), first_minutes(known.lives), known.day_bits) == ([], [10 * DAY], b"")
    active_at(known, 50 * DAY, now=50 * DAY)
    assert days(known) == [50]


@pytest.mark.parametrize(("longest", "kept"), [("30d", 64), ("90d", 90)])
def test_days_are_kept_for_two_months_or_as_long_as_the_longest_window(longest: str, kept: int) -> None:
    family, known = ActivityFamily(Rules(windows={"activity": ("1d", longest)})), Activity()
    for day in range(100, 201):
        known.since_day, known.day_bits = add_day(known.since_day, known.day_bits, day)
    family.let_go(known, Horizon(before_ms=200 * DAY_MS, now=203 * DAY))

    assert days(known) == list(range(200 - kept, 201))


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
    ledger = DayLedger("activity", LENGTHS)
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
    ledger, stored = DayLedger("activity", LENGTHS), dict[bytes, bytes]()
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
    restored = DayLedger("activity", ledger.lengths)
    restored.restore(stored.items(), since=ledger.since)
    assert list(restored.pages()) == []
    assert restored.users(90, 230) == ledger.users(90, 230)
    assert restored.size() == ledger.size()
    assert restored.first_day() == ledger.first_day()
    return restored


def test_a_ledger_without_users_has_no_first_day_and_no_page() -> None:
    ledger = DayLedger("activity", LENGTHS)
    assert ledger.first_day() is None
    assert ledger.size() == 0
    ledger.forget_before(50)
    assert ledger.since is None

    ledger.book([], [100])
    ledger.book([100], [])
    assert ledger.first_day() is None
    assert all(page is None for _, page in ledger.pages())


def test_days_are_forgotten_only_when_there_are_some() -> None:
    ledger = DayLedger("activity", LENGTHS)
    ledger.book([], [100])
    ledger.forget_before(100)
    assert (ledger.since, ledger.first_day()) == (None, 100)

    ledger.forget_before(101)
    assert (ledger.since, ledger.first_day()) == (101, 101)
    assert ledger.users(101, 101) == {101: {7: 1, 28: 1}}


def test_a_session_told_whole_can_be_corrected_for_as_long_as_its_own_family_keeps_it() -> None:
    family, known = ActivityFamily(Rules()), Activity()
    summary = Summary("ann", 30_010 * MINUTE_MS, False, "s", 30_000 * MINUTE_MS, 1, 0, None, 1, None, NOT_TOLD)
    family.hear_summary(known, summary, 30_010)
    family.settle(30_010)
    edge_ms = summary.at_ms + DAY_MS + Rules().session_timeout_ms

    family.let_go(known, Horizon(edge_ms, 40_000))
    assert list(known.summaries) == ["s"]
    family.let_go(known, Horizon(edge_ms + 1, 40_000))
    assert (known.summaries, known.minutes) == ({}, (30_010,))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=10), st.randoms(use_true_random=False)
)
def test_lives_are_parted_by_longer_pauses_than_are_remembered_in_any_order(
    heard: list[tuple[int, bool]], chance: Random
) -> None:
    def told(events: list[tuple[int, bool]]) -> tuple[Life, ...]:
        lives: tuple[Life, ...] = ()
        for day, is_activity in events:
            lives = with_day(lives, day, day * DAY if is_activity else NEVER, memory_days=4)
        return lives

    found = told(heard)
    shuffled = list(heard)
    chance.shuffle(shuffled)

    assert told([*shuffled, *heard]) == found
    assert all(later.first_day - earlier.last_day > 4 for earlier, later in pairwise(found))
    assert {day for day, _ in heard} <= {day for life in found for day in range(life.first_day, life.last_day + 1)}
    for life in found:
        active = [day * DAY for day, is_activity in heard if is_activity and life.first_day <= day <= life.last_day]
        assert life.first_minute == min(active, default=NEVER)
    kept = that_can_change(found, 30, memory_days=4)
    for day in range(30, 40):
        assert with_day(kept, day, NEVER, memory_days=4)[-1] == with_day(found, day, NEVER, memory_days=4)[-1]
