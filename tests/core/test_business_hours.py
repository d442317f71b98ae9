"""Business time: weekdays, holidays, hours that the clock skips or has twice, and texts that say no hours."""

import datetime as dt
import pickle

import pytest

from stream.core.business_hours import BusinessHours, hours_of

DAY = (hours_of("09:00-12:00"), hours_of("13:00-17:30"))
BERLIN = BusinessHours("Europe/Berlin", dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), DAY), [dt.date(2024, 5, 1)])
HOUR_MS = 3_600_000


def at_ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [
        ("2024-04-26T17:00+02:00", "2024-04-29T09:30+02:00", 1),  # over a weekend
        ("2024-04-29T11:30+02:00", "2024-04-29T13:30+02:00", 1),  # over lunch
        ("2024-04-30T17:00+02:00", "2024-05-02T09:00+02:00", 0.5),  # over a holiday
        ("2024-04-27T10:00+02:00", "2024-04-28T10:00+02:00", 0),
        ("2024-04-29T09:00+02:00", "2024-04-29T09:00+02:00", 0),
        ("2024-04-29T10:00+02:00", "2024-04-29T09:00+02:00", 0),  # its end is before its begin
        ("2024-03-25T00:00+01:00", "2024-04-01T00:00+02:00", 37.5),  # the week after which clocks go forward
    ],
)
def test_only_the_hours_in_which_somebody_is_there_count(begin: str, end: str, hours: float) -> None:
    assert BERLIN.between(at_ms(begin), at_ms(end)) == hours * HOUR_MS


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        ("2024-03-31", 23),  # two o'clock becomes three
        ("2024-10-27", 25),  # three o'clock becomes two
        ("2024-06-02", 24),
    ],
)
def test_a_day_that_is_open_from_midnight_to_midnight_has_its_own_length(day: str, hours: int) -> None:
    always = BusinessHours("Europe/Berlin", dict.fromkeys(("sat", "sun", "mon"), (hours_of("00:00-24:00"),)))
    noon_before, noon_after = (at_ms(f"{day}T12:00+02:00") + shift * 36 * HOUR_MS for shift in (-1, 1))
    whole = BusinessHours("Europe/Berlin", {"sun": (hours_of("00:00-24:00"),)})
    assert whole.between(noon_before, noon_after) == hours * HOUR_MS
    assert always.between(at_ms(f"{day}T10:00+02:00"), at_ms(f"{day}T11:00+02:00")) == HOUR_MS


def test_business_hours_say_what_they_are_and_go_to_other_processes() -> None:
    assert str(BERLIN) == (
        "Europe/Berlin: mon 09:00-12:00 13:00-17:30, tue 09:00-12:00 13:00-17:30, wed 09:00-12:00 13:00-17:30, "
        "thu 09:00-12:00 13:00-17:30, fri 09:00-12:00 13:00-17:30 without 2024-05-01"
    )
    there = pickle.loads(pickle.dumps(BERLIN))
    begin, end = at_ms("2024-04-26T17:00+02:00"), at_ms("2024-05-08T09:30+02:00")
    assert there.between(begin, end) == BERLIN.between(begin, end) > 0
    assert str(there) == str(BERLIN)


@pytest.mark.parametrize(
    "text", ["9:00-17:00", "09:00", "09:00-09:00", "17:00-09:00", "09:00-24:01", "09:60-10:00", ""]
)
def test_what_says_no_hours_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (span of hours|time of day) such as 09:00"):
        hours_of(text)
