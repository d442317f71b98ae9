"""Times, days and windows: which forms are read, and where one bucket ends and the next begins."""

import datetime as dt
from importlib.resources import files
from struct import unpack
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import zones
from stream.core.time import (
    DAY_MS,
    HOUR_MS,
    LATEST_MS,
    MINUTE_MS,
    QUARTER_HOUR_MS,
    Days,
    Span,
    date_of,
    epoch_ms,
    iso,
    minutes_of,
    parse_iso,
    parse_time,
    seconds_of,
)

NEW_YEAR_MS = 1_704_067_200_000  # 2024-01-01T00:00Z

moments = st.integers(0, LATEST_MS - 1)


@pytest.mark.parametrize(
    ("text", "after_new_year_ms"),
    [
        ("2024-01-01T00:00:00Z", 0),
        ("2024-01-01t00:00:00z", 0),
        ("2024-01-01 00:00:00Z", 0),
        (" 2024-01-01T00:00:00Z ", 0),
        ("20240101T000000Z", 0),
        ("2024-01-01T00:00Z", 0),
        ("2024-01-01T00Z", 0),
        ("20240101T0130Z", 90 * MINUTE_MS),
        ("2024-01-01T01:30:00+01:30", 0),
        ("2024-01-01T01:30:00+0130", 0),
        ("2024-01-01T01+01", 0),
        ("2023-12-31T16:00:00-08:00", 0),
        ("2024-01-01T00:00:00.1Z", 100),
        ("2024-01-01T00:00:00,12Z", 120),
        ("2024-01-01T00:00:00.123Z", 123),
        ("2024-01-01T00:00:00.123999999Z", 123),  # less than a millisecond is cut off
        ("2023-12-31T24:00:00Z", 0),  # ends the day, when the next one begins
        ("20231231T24Z", 0),
        ("2023-12-31T23:59:60Z", -1),  # a leap second belongs to the day that it ends
        ("2024-01-01T05:29:60.5+05:30", -1),
        ("2023-12-31T23:59:59.9999999Z", -1),  # the last tick of a day in .NET
        ("2024-02-29T00:00:00Z", 59 * DAY_MS),
    ],
)
def test_iso_8601_is_read_in_its_extended_and_basic_form(text: str, after_new_year_ms: int) -> None:
    assert parse_iso(text) == NEW_YEAR_MS + after_new_year_ms


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00",  # no offset: nobody knows when that is
        "2024-01-01",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T24:00:01Z",
        "2024-01-01T24:00:00.001Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T23:59:60+01:00",  # no leap second: in UTC they end a day
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:60Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "24-01-01T00:00:00Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00ZZ",
        "yesterday",
        "",
    ],
)
def test_what_names_no_moment_is_not_guessed(text: str) -> None:
    assert parse_iso(text) is None


@pytest.mark.parametrize("number", ["1704067200", "1704067200000", "1704067200000999", " 1704067200.0009 "])
def test_an_epoch_number_may_be_text(number: str) -> None:
    assert parse_time(number) == parse_time("2024-01-01T00:00:00Z") == NEW_YEAR_MS


@pytest.mark.parametrize("number", ["170406720", "17040672000", "-1704067200", "1704067200.", "1e12", "\u0661" * 10])
def test_a_text_of_other_digits_is_no_epoch_number(number: str) -> None:
    assert parse_time(number) is None


@given(moments)
def test_iso_text_is_read_back_as_the_same_moment(at_ms: int) -> None:
    assert parse_iso(iso(at_ms)) == at_ms


def test_iso_text_has_milliseconds_only_where_there_are_some() -> None:
    assert iso(NEW_YEAR_MS) == "2024-01-01T00:00:00Z"
    assert iso(NEW_YEAR_MS + 7) == "2024-01-01T00:00:00.007Z"


@pytest.mark.parametrize(
    ("number", "at_ms"),
    [
        (1_704_067_200, NEW_YEAR_MS),
        (1_704_067_200_000, NEW_YEAR_MS),
        (1_704_067_200_000_999, NEW_YEAR_MS),
        (1_704_067_200.0, NEW_YEAR_MS),
        (1_704_067_200.123, NEW_YEAR_MS + 123),
        (1_704_067_200_000.9, NEW_YEAR_MS),
        (1_000_000_000, 1_000_000_000_000),
        (9_999_999_999, 9_999_999_999_000),
        (1_000_000_000_000, 1_000_000_000_000),
        (9_999_999_999_999, 9_999_999_999_999),
        (1_000_000_000_000_000, 1_000_000_000_000),
        (9_999_999_999_999_999, 9_999_999_999_999),
    ],
)
def test_the_digits_of_an_epoch_number_tell_its_unit(number: float, at_ms: int) -> None:
    assert epoch_ms(number) == at_ms


@pytest.mark.parametrize("digits", [n for n in range(1, 22) if n not in (10, 13, 16)])
def test_other_numbers_of_digits_say_nothing(digits: int) -> None:
    assert epoch_ms(10 ** (digits - 1)) is None
    assert epoch_ms(10**digits - 1) is None


def test_zero_and_times_before_1970_say_nothing() -> None:
    assert epoch_ms(0) is None
    assert epoch_ms(-1_704_067_200) is None


# From 2242 on, doubles are too far apart for it.
@given(st.integers(10**9, 2**33 - 1), st.integers(0, 999))
def test_seconds_with_a_fraction_keep_their_millisecond(seconds: int, millisecond: int) -> None:
    assert epoch_ms(float(f"{seconds}.{millisecond:03d}")) == seconds * 1_000 + millisecond


@given(moments, st.sampled_from(("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia")))
@settings(max_examples=200)
def test_a_day_is_the_one_the_local_calendar_shows(at_ms: int, zone: str) -> None:
    at_ms = at_ms % (70 * 365 * DAY_MS) + 3 * 365 * DAY_MS
    shown = dt.datetime.fromtimestamp(at_ms // 1_000, zones.zone(zone)).date()

    assert date_of(Days(zone).day_of(at_ms)) == shown


def changes(zone: str) -> list[int]:
    """The moments since 1970 at which a zone changes its clocks, from its file (RFC 8536)."""
    content = files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()

    def counts(at: int) -> tuple[int, ...]:
        return unpack(">6l", content[at + 20 : at + 44])

    utc, standard, leap, times, types, letters = counts(0)
    second = 44 + 5 * times + 6 * types + letters + 8 * leap + standard + utc  # the part with 64 bits
    _, _, _, times, _, _ = counts(second)
    return [at * 1_000 for at in unpack(f">{times}q", content[second + 44 : second + 44 + 8 * times]) if at >= 0]


@pytest.mark.parametrize("first_letter", sorted({name[0] for name in zones.names()}))
def test_days_of_all_zones_follow_one_another_and_begin_when_their_date_is_first_shown(first_letter: str) -> None:
    different = {zones.fingerprint(name): name for name in sorted(zones.names()) if name[0] == first_letter}
    for zone in different.values():
        days, tz, newest = Days(zone), zones.zone(zone), -1
        for changed_ms in changes(zone):
            quarter_hour_ms = changed_ms // QUARTER_HOUR_MS * QUARTER_HOUR_MS
            around = {changed_ms, quarter_hour_ms, quarter_hour_ms + QUARTER_HOUR_MS}
            around |= {at + 60_000 for at in around} | {changed_ms - HOUR_MS, changed_ms + HOUR_MS}
            for at_ms in sorted({at for one in around for at in (one - 1, one) if at >= DAY_MS}):
                shown = (dt.datetime.fromtimestamp(at_ms // 1_000, tz).date() - dt.date(1970, 1, 1)).days
                newest, day = max(newest, shown), days.day_of(at_ms)
                assert day == newest, (zone, iso(at_ms))
                assert days.starts_ms(day) <= at_ms < days.starts_ms(day + 1), (zone, iso(at_ms))
                assert Span(days).end_of_day(at_ms) == days.starts_ms(day + 1)


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("Pacific/Guam", "1976-09-25T14:00:59.999Z", "1976-09-26"),  # clocks go from 00:01 to 23:01
        ("Pacific/Guam", "1976-09-25T14:01Z", "1976-09-26"),
        ("Pacific/Kiritimati", "1979-09-30T10:39:59.999Z", "1979-09-29"),  # 10 h 40 min behind UTC
        ("Pacific/Kiritimati", "1979-09-30T10:40Z", "1979-09-30"),
        ("America/St_Johns", "2009-11-01T02:29:59.999Z", "2009-10-31"),
        ("America/St_Johns", "2009-11-01T02:30Z", "2009-11-01"),  # 00:00
        ("America/St_Johns", "2009-11-01T02:31Z", "2009-11-01"),  # 23:01
        ("America/St_Johns", "2009-11-01T03:30Z", "2009-11-01"),  # 00:00 again
    ],
)
def test_a_quarter_of_an_hour_may_lie_in_two_days(zone: str, at: str, day: str) -> None:
    at_ms = parse_iso(at)

    assert at_ms is not None
    assert date_of(Days(zone).day_of(at_ms)).isoformat() == day


def test_zones_are_those_of_the_package_whatever_the_machine_has() -> None:
    assert zones.zone("Europe/Berlin") is zones.zone("Europe/Berlin")
    for name in ("Factory", "localtime", "right/UTC", "../zones", "/etc/localtime", ""):
        with pytest.raises(ZoneInfoNotFoundError):
            zones.zone(name)


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("UTC", dt.date(2024, 3, 10), 24),
        ("America/New_York", dt.date(2024, 3, 10), 23),
        ("America/New_York", dt.date(2024, 11, 3), 25),
        ("Europe/Berlin", dt.date(2024, 3, 31), 23),
        ("Europe/Berlin", dt.date(2024, 10, 27), 25),
        ("America/Sao_Paulo", dt.date(2018, 11, 4), 23),  # its midnight does not exist
        ("Atlantic/Azores", dt.date(2024, 10, 27), 25),  # its midnight comes twice
    ],
)
def test_a_day_is_as_long_as_its_zone_says(zone: str, date: dt.date, hours: int) -> None:
    days, day = Days(zone), (date - dt.date(1970, 1, 1)).days
    first, after = days.starts_ms(day), days.starts_ms(day + 1)

    assert after - first == hours * HOUR_MS
    assert days.day_of(first - 1) == day - 1
    assert days.day_of(first) == day
    assert days.day_of(after - 1) == day
    assert days.day_of(after) == day + 1


def test_a_day_closes_an_hour_after_its_midnight_and_not_a_millisecond_before() -> None:
    for zone in ("UTC", "Europe/Berlin"):
        days = Days(zone)
        day = days.day_of(1_711_900_000_000)  # 2024-03-31, of 23 h in Berlin
        closes_ms = days.starts_ms(day + 1) + HOUR_MS

        assert days.last_closed(closes_ms - 1, close_after_ms=HOUR_MS) == day - 1
        assert days.last_closed(closes_ms, close_after_ms=HOUR_MS) == day


def test_days_of_a_long_life_are_not_all_remembered() -> None:
    days = Days()
    for day in range(365):
        for quarter_hour in range(96):
            assert days.day_of(day * DAY_MS + quarter_hour * 900_000) == day

    assert len(days._day_of_quarter_hour) <= 10_000


def test_lengths_of_time_have_a_whole_number_and_a_unit() -> None:
    assert [seconds_of(length) for length in ("90s", "5m", "1h", "30d")] == [90, 300, 3_600, 2_592_000]


@pytest.mark.parametrize("length", ["", "5", "m", "5w", "1.5h", "-5m", " 5m", "5 m", "٥m", "5M"])
def test_other_lengths_are_refused_by_name(length: str) -> None:
    with pytest.raises(ValueError, match="not a length of time") as raised:
        seconds_of(length)
    assert repr(length) in str(raised.value)


def test_a_window_up_to_a_day_is_whole_minutes_and_a_longer_one_whole_hours() -> None:
    assert minutes_of("60s") == 1
    assert minutes_of("5m") == 5
    assert minutes_of("1440m") == minutes_of("24h") == minutes_of("1d") == 1_440
    assert minutes_of("25h") == 1_500
    assert minutes_of("30d") == 43_200
    for window, granularity in (("90s", 60), ("0m", 60), ("1441m", 3_600), ("1450m", 3_600)):
        with pytest.raises(ValueError, match=f"'{window}' is not a multiple of {granularity} s"):
            minutes_of(window)


def test_the_fraction_of_an_epoch_number_is_cut_off_too() -> None:
    assert epoch_ms(1_704_067_199.9999998) == NEW_YEAR_MS - 1
    assert epoch_ms(1_704_067_199_999.9998) == NEW_YEAR_MS - 1
    assert epoch_ms(2_147_483_648.075) == 2_147_483_648_075  # the nearest float is a little less
