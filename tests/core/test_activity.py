"""Activity of one user, and what its days add to closed ones, against counting by hand."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.days import DayBook
from stream.core.events import Login, Summary
from stream.core.families.activity import calendar, closing
from stream.core.families.activity.calendar import ACTIVE_USERS, ActiveDays, amounts_of
from stream.core.families.activity.family import ActivityFamily
from stream.core.families.activity.known_periods import NEVER, KnownPeriod, first_minutes, needed_periods, with_day
from stream.core.families.activity.part import Activity, active_days, add_day, without_days_before
from stream.core.families.family import Horizon
from stream.core.ring import Booking, latest_and_future, latest_bookings
from stream.core.rules import Rules
from stream.core.segments import NO_ATTRIBUTES
from stream.core.tally import Field
from stream.core.time import DAY_MS, MINUTE_MS

DAY = 1_440  # minutes

minutes = st.integers(19_000 * DAY, 19_040 * DAY)


def active_at(activity: Activity, minute: int, *, now: int) -> bool:
    """Whether an activity in that minute changes anything."""
    login = Login("ann", minute * 60_000, False, identity=0, success=True, segments=NO_ATTRIBUTES)
    return ActivityFamily(Rules()).apply_login(activity, login, now)


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
    assert first_minutes(found.known_periods) == [min(at)]
    assert stored(active(*reversed(at), now=now)) == stored(found)


def test_activity_that_changes_nothing_is_told_from_one_that_does() -> None:
    known = active(30_000, 30_005, now=30_010)

    assert not active_at(known, 30_005, now=30_010)
    assert not active_at(known, 30_001, now=30_010)
    assert active_at(known, 30_006, now=30_010)


def test_once_it_has_come_a_later_minute_takes_the_place_of_an_earlier_one() -> None:
    assert latest_and_future((5, 7, 9), 4) == (5, 7, 9)
    assert latest_and_future((5, 7, 9), 5) == (5, 7, 9)
    assert latest_and_future((9, 7, 5), 7) == (7, 9)
    assert latest_and_future((5, 7, 9), 9) == (9,)
    assert latest_and_future((), 9) == ()


def test_a_user_is_booked_in_the_minute_of_the_last_activity() -> None:
    one: dict[Field, int] = {ACTIVE_USERS: 1}

    assert list(latest_bookings((), one)) == []
    assert list(latest_bookings((5, 7), one)) == [Booking(5, one, until=7), Booking(7, one)]


def test_forgotten_days_leave_the_first_activity_ever() -> None:
    known = active(*(day * DAY for day in (10, 20, 30)), now=31 * DAY)

    for before, kept in ((10, [10, 20, 30]), (11, [20, 30]), (20, [20, 30])):
        without_days_before(known, before)
        assert days(known) == kept
    assert known.since_day == 20
    for before in (31, 40):
        without_days_before(known, before)
        assert (days(known), first_minutes(known.known_periods), known.day_bits) == ([], [10 * DAY], b"")
    active_at(known, 50 * DAY, now=50 * DAY)
    assert days(known) == [50]


@pytest.mark.parametrize(("longest", "kept"), [("30d", 64), ("90d", 90)])
def test_days_are_kept_for_two_months_or_as_long_as_the_longest_window(longest: str, kept: int) -> None:
    family, known = ActivityFamily(Rules(windows={"activity": ("1d", longest)})), Activity()
    for day in range(100, 201):
        known.since_day, known.day_bits = add_day(known.since_day, known.day_bits, day)
    family.prune(known, Horizon(before_ms=200 * DAY_MS, now=203 * DAY))

    assert days(known) == list(range(200 - kept, 201))


LENGTHS = (1, 7, 28)
calendars = st.lists(st.lists(st.integers(100, 180), max_size=8).map(lambda days: sorted(set(days))), max_size=5)


def kept(days: list[int], *, first: int = 0) -> ActiveDays:
    """The active days of a user, those before `first` let go."""
    bits = [day for day in days if day >= first]
    before = max((day for day in days if day < first), default=-1)
    since = bits[0] if bits else 0
    return ActiveDays(since, sum(1 << day - since for day in bits), before, days[:1])


def booked(users: list[list[int]]) -> DayBook:
    book = DayBook("activity")
    for days in users:
        for day, age, gap, window in kept(days).facts(0):
            book.count(day, amounts_of(day, age, gap, window, whole_since=0))
    return book


@given(calendars, st.integers(100, 190))
def test_an_active_day_tells_its_age_its_gap_and_the_days_before_it(users: list[list[int]], first: int) -> None:
    for days in users:
        for day, age, gap, window in kept(days, first=first).facts(first):
            earlier = [one for one in days if one < day]
            assert (age, gap) == (day - days[0], day - earlier[-1] if earlier else 0)
            near = [one for one in earlier if one >= max(day - 27, first)]
            assert [day - 27 + bit for bit in range(27) if window >> bit & 1] == near


@given(calendars, st.integers(95, 240))
def test_closed_days_count_distinct_users_of_each_window_and_of_the_one_before(
    users: list[list[int]], day: int
) -> None:
    days = ((number, calendar.day_of(amounts)) for number, amounts in booked(users).as_of(day, day - 89))
    told = closing.closed_sums(days, day, LENGTHS, first_known=0, cohorts_from=None)

    def active(last: int, length: int) -> set[int]:
        return {n for n, days in enumerate(users) if any(last - length < at <= last for at in days)}

    for length in (1, 7, 28, 30):
        now, before = active(day, length), active(day - length, length)
        found = {field: count for field, count in told[length].items() if field in (1, 2, 3, 4, 5)}
        expected = {
            calendar.ACTIVE_USERS: len(now),
            calendar.NEW_USERS: sum(days[0] > day - length for days in users if days and days[0] <= day),
            closing.USER_DAYS: sum(len(active(one, 1)) for one in range(day - length + 1, day + 1)),
            closing.BEFORE: len(before),
            closing.RETURNING: len(now & before),
        }
        assert found == {field: count for field, count in expected.items() if count}


@given(calendars, st.data())
def test_what_late_days_change_is_the_difference_of_all_days(users: list[list[int]], data: st.DataObject) -> None:
    """Only what may differ is booked anew: that gives the same as booking all of it."""
    family = ActivityFamily(Rules())
    counted: dict[tuple[int, int, int, int], int] = {}
    for days in users:
        known: list[int] = []
        for day in data.draw(st.permutations(days)):
            family._rebook_days(kept(known), kept(sorted([*known, day])), counted)
            known = sorted([*known, day])

    facts = [facts for days in users for facts in kept(days).facts(0)]
    assert {one: users for one, users in counted.items() if users} == Counter(facts)


def test_ages_are_exact_where_retention_needs_them() -> None:
    for age, gap in ((0, 0), (120, 1), (121, 31), (400, 310)):
        assert calendar.day_of({calendar.age_field(2_000, age, gap, 0): 3}).ages == [(gap, age, 3)]


@given(st.integers(0, 20_000), st.integers(0, 5_000), st.integers(0, 29), st.integers(0, 20_000))
# The oldest or the newest day of a block that has just been rounded: its tenure differs most from that of the middle.
@example(first_day=27 * 4, age=1_300 + 26 + 1, later=0, whole_since=0)
@example(first_day=9 * 4 + 8, age=400 + 1, later=0, whole_since=0)
@example(first_day=3 * 4 + 2, age=120 + 1, later=0, whole_since=0)
def test_tenures_are_within_1_percent_of_each_user_and_exact_up_to_four_months(
    first_day: int, age: int, later: int, whole_since: int
) -> None:
    day = first_day + age
    rounded = calendar.rounded_first_day(first_day, day, whole_since)

    assert abs(rounded - first_day) <= 0.01 * (age + later)
    assert rounded == first_day or age > 120
    assert (rounded >= whole_since) is (first_day >= whole_since)
    # However it was booked, it is of the same tenure.
    assert calendar.rounded_first_day(rounded, day) == calendar.rounded_first_day(first_day, day)


lives = st.tuples(st.integers(0, 40), st.lists(st.integers(0, 1_500), max_size=4)).map(
    lambda life: [life[0], *sorted({life[0] + 1 + days for days in life[1]})]
)


@given(st.lists(st.lists(lives, min_size=1, max_size=3), min_size=1, max_size=3), st.integers(0, 1_560), st.data())
@settings(max_examples=60)
def test_tenures_of_several_partitions_are_those_of_one_that_has_all_users_and_within_1_percent(
    partitions: list[list[list[int]]], day: int, data: st.DataObject
) -> None:
    cohorts_from = data.draw(st.none() | st.integers(0, 60))
    first_known = min(days[0] for users in partitions for days in users)
    whole_since = first_known + 1 if cohorts_from is None else cohorts_from

    def tenures(users: list[list[int]]) -> Counter[tuple[int, Field]]:
        """What one partition says of the tenures in each window. Its own first event is that of its first user."""
        first = min(days[0] for days in users)
        book = DayBook("activity")
        for days in users:
            for number, age, gap, window in kept(days).facts(0):
                since = first + 1 if cohorts_from is None else cohorts_from
                book.count(number, amounts_of(number, age, gap, window, whole_since=since))
        held = ((number, calendar.day_of(amounts)) for number, amounts in book.as_of(day, day - 89))
        told = closing.closed_sums(held, day, LENGTHS, first_known=first, cohorts_from=cohorts_from)
        return Counter({(length, field): users for length, sums in told.items() for field, users in sums.items()})

    def whole(told: Counter[tuple[int, Field]], length: int) -> list[tuple[int, int]]:
        sums = closing.whole({field: users for (its, field), users in told.items() if its == length}, whole_since)
        numbers = [(field, n) for field, n in sums.items() if isinstance(field, int)]
        return sorted((field - closing.FIRST_TENURE, n) for field, n in numbers if field >= closing.FIRST_TENURE)

    everyone = [days for users in partitions for days in users]
    of_parts, of_all = sum(map(tenures, partitions), Counter()), tenures(everyone)
    for length in closing.WINDOWS:
        assert whole(of_parts, length) == whole(of_all, length)
        known = sorted(
            day - days[0]
            for days in everyone
            if days[0] >= whole_since and any(day - length < one <= day for one in days)
        )
        found = [tenure for tenure, users in whole(of_all, length) for _ in range(users)]
        assert len(found) == len(known)
        assert all(abs(one - exact) <= 0.01 * exact for one, exact in zip(found, known, strict=True))


def test_a_session_told_whole_can_be_corrected_for_as_long_as_its_own_family_keeps_it() -> None:
    family, known = ActivityFamily(Rules()), Activity()
    summary = Summary("ann", 30_010 * MINUTE_MS, False, "s", 30_000 * MINUTE_MS, 1, 0, None, 1, None, NO_ATTRIBUTES)
    family.apply_summary(known, summary, 30_010)
    family.update_totals(30_010)
    edge_ms = summary.at_ms + DAY_MS + Rules().session_timeout_ms

    family.prune(known, Horizon(edge_ms, 40_000))
    assert list(known.summaries) == ["s"]
    family.prune(known, Horizon(edge_ms + 1, 40_000))
    assert (known.summaries, known.minutes) == ({}, (30_010,))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=10), st.randoms(use_true_random=False)
)
def test_lives_are_parted_by_longer_pauses_than_are_remembered_in_any_order(
    happened: list[tuple[int, bool]], chance: Random
) -> None:
    def told(events: list[tuple[int, bool]]) -> tuple[KnownPeriod, ...]:
        known_periods: tuple[KnownPeriod, ...] = ()
        for day, is_activity in events:
            known_periods = with_day(known_periods, day, day * DAY if is_activity else NEVER, memory_days=4)
        return known_periods

    found = told(happened)
    shuffled = list(happened)
    chance.shuffle(shuffled)

    assert told([*shuffled, *happened]) == found
    assert all(later.first_day - earlier.last_day > 4 for earlier, later in pairwise(found))
    assert {day for day, _ in happened} <= {
        day for period in found for day in range(period.first_day, period.last_day + 1)
    }
    for period in found:
        active = [
            day * DAY for day, is_activity in happened if is_activity and period.first_day <= day <= period.last_day
        ]
        assert period.first_minute == min(active, default=NEVER)
    kept = needed_periods(found, 30, kept_days=4)
    for day in range(30, 40):
        assert with_day(kept, day, NEVER, memory_days=4)[-1] == with_day(found, day, NEVER, memory_days=4)[-1]
