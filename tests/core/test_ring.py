"""Rings: windows as sums of buckets, against adding up by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.ring import Booking, Ring, superseding_bookings
from stream.core.tally import Tally, total

HOUR, DAY = 60, 1_440
WINDOWS = ((5,), (HOUR,), (90, 150), (HOUR, DAY), (5, DAY, 2 * DAY), (7 * DAY, 26 * HOUR))
FIELD, OTHER = 1, 2


def covers(window: int, *, minute: int, now: int) -> bool:
    """Whether a live window covers a minute, directly by its definition."""
    bucket = 1 if window <= DAY else HOUR
    return minute <= now and now // bucket - window // bucket < minute // bucket


def counts_at(booking: Booking, now: int) -> bool:
    """A booking counts until the next one has come. If both are in the same minute, the later one counts."""
    since = booking.minute if booking.since is None else booking.since
    return since <= now and (booking.until is None or (booking.until > now and booking.until > since))


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, Booking]]]:
    """Windows, and bookings with the clock's minute at which each is made."""
    windows = draw(st.sampled_from(WINDOWS))
    now, made = draw(st.integers(20_000, 20_000 + 2 * DAY)), []
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from((0, 0, 1, 59, HOUR, DAY, 3 * DAY)))
        minute = now + draw(st.one_of(st.integers(-3 * DAY, 90), st.integers(-8 * DAY, -6 * DAY)))
        until = draw(st.one_of(st.none(), st.integers(minute - 1, minute + 90)))
        since = draw(st.one_of(st.none(), st.integers(minute, minute + 90)))
        made.append((now, Booking(minute, {FIELD: draw(st.integers(1, 3)), OTHER: 1}, until, since)))
    return windows, made


def by_hand(windows: tuple[int, ...], bookings: list[Booking], now: int) -> dict[int, Tally]:
    counting = [booking for booking in bookings if counts_at(booking, now)]
    return {
        window: total(b.amounts for b in counting if covers(window, minute=b.minute, now=now)) for window in windows
    }


@settings(max_examples=300)
@given(histories(), st.lists(st.sampled_from((0, 1, 30, 61, DAY)), min_size=1, max_size=4))
def test_a_window_is_what_adding_up_by_hand_gives(
    history: tuple[tuple[int, ...], list[tuple[int, Booking]]], waits: list[int]
) -> None:
    windows, made = history
    ring = Ring("ring", windows)
    booked = []
    for now, booking in made:
        ring.advance(now)
        ring.book([booking])
        booked.append(booking)
        assert ring.sums() == by_hand(ring.windows, booked, now)
    now = made[-1][0]
    for wait in waits:
        now += wait
        ring.advance(now)
        assert ring.sums() == by_hand(ring.windows, booked, now)


@settings(max_examples=200)
@given(histories(), st.integers(0, 3 * DAY), st.data())
def test_what_is_taken_out_again_leaves_nothing_and_what_is_restored_goes_on(
    history: tuple[tuple[int, ...], list[tuple[int, Booking]]], wait: int, data: st.DataObject
) -> None:
    windows, made = history
    ring, stored = Ring("ring", windows), dict[bytes, bytes]()
    for now, booking in made:
        ring.advance(now)
        ring.book([booking])
        if data.draw(st.booleans()):
            ring = stored_and_restored(ring, stored)
    ring.advance(made[-1][0] + wait)
    for _, booking in made:
        ring.book([booking], times=-1)
    ring = stored_and_restored(ring, stored)

    assert ring.sums() == {window: {} for window in ring.windows}
    assert ring.ahead(FIELD) == 0


def stored_and_restored(ring: Ring, stored: dict[bytes, bytes]) -> Ring:
    for key, page in ring.pages():
        if page is None:
            stored.pop(key, None)
        else:
            stored[key] = page
    restored = Ring(ring.name, ring.windows)
    restored.restore(stored.items(), now=ring.now)
    assert restored.sums() == ring.sums()
    assert restored.ahead(FIELD) == ring.ahead(FIELD)
    return restored


def test_nothing_counts_before_its_minute_has_come() -> None:
    ring = Ring("ring", (HOUR, 2 * DAY))
    ring.advance(1_000)
    ring.book([Booking(1_001, {FIELD: 1})])

    assert ring.ahead(FIELD) == 1
    assert ring.sums() == {HOUR: {}, 2 * DAY: {}}
    ring.advance(1_001)
    assert ring.ahead(FIELD) == 0
    assert ring.sums() == {HOUR: {FIELD: 1}, 2 * DAY: {FIELD: 1}}


def test_a_window_covers_as_many_minutes_as_it_is_long_and_not_one_more() -> None:
    for length in (5, HOUR, DAY):
        ring = Ring("ring", (length,))
        ring.advance(100_000)
        ring.book([Booking(100_000, {FIELD: 1})])
        ring.advance(100_000 + length - 1)
        assert ring.sums() == {length: {FIELD: 1}}
        ring.advance(100_000 + length)
        assert ring.sums() == {length: {}}


def test_a_late_booking_enters_the_windows_that_still_cover_it() -> None:
    for length in (5, HOUR, DAY):
        ring = Ring("ring", (length,))
        ring.advance(100_010)
        ring.book([Booking(100_010 - length + 1, {FIELD: 1}), Booking(100_010 - length, {FIELD: 1})])

        assert ring.sums() == {length: {FIELD: 1}}


def test_a_window_longer_than_a_day_begins_with_a_whole_hour() -> None:
    ring = Ring("ring", (2 * DAY,))
    ring.advance(100 * HOUR + 59)
    ring.book([Booking(53 * HOUR, {FIELD: 1}), Booking(53 * HOUR - 1, {OTHER: 1})])

    assert ring.sums() == {2 * DAY: {FIELD: 1}}


def test_the_clock_never_goes_back() -> None:
    ring = Ring("ring", (5,))
    ring.advance(100)
    ring.book([Booking(100, {FIELD: 1})])
    ring.advance(50)

    assert ring.now == 100
    assert ring.sums() == {5: {FIELD: 1}}


def test_of_successive_things_only_the_latest_that_has_come_counts() -> None:
    def answers() -> list[Booking]:
        return superseding_bookings([(100, {FIELD: 1}), (100, {FIELD: 2}), (103, {FIELD: 5})])

    ring = Ring("ring", (HOUR,))
    ring.advance(100)
    ring.book(answers())

    assert ring.sums() == {HOUR: {FIELD: 2}}
    ring.advance(103)
    assert ring.sums() == {HOUR: {FIELD: 5}}
    ring.book(answers(), times=-1)
    assert ring.sums() == {HOUR: {}}


def test_what_no_window_covers_any_more_is_forgotten() -> None:
    ring = Ring("ring", (HOUR, 2 * DAY))
    ring.advance(10_000)
    ring.book([Booking(10_000, {FIELD: 1}), Booking(10_001, {FIELD: 1}, until=10_003)])
    assert ring.size() > 0
    ring.advance(10_000 + 3 * DAY)

    assert ring.size() == 0
    assert dict(ring.pages()) == {
        b"ring/ring/due/10003": None, b"ring/ring/hour/166": None,
        b"ring/ring/minute/10000": None, b"ring/ring/minute/10001": None,
    }  # fmt: skip
    assert list(ring.pages()) == []
