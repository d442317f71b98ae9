"""Event time: milliseconds, minutes, hours and the calendar days of one zone.

All times are integer milliseconds since 1970-01-01T00:00Z. A *minute* is a bucket number, `at_ms // 60_000`.
A *day* is the number of a local calendar day since 1970-01-01. Only days depend on the time zone. A day has 23 or 25
hours when the clocks of the zone change.
"""

import datetime as dt
import re
from decimal import Decimal
from functools import lru_cache

from stream.core import zones

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
DAY_SECONDS = DAY_MS // SECOND_MS

# Python's calendar ends with the year 9999. In every time zone another day follows that of this moment.
LATEST_MS = 253_402_128_000_000

_EPOCH = dt.date(1970, 1, 1).toordinal()

# Most quarters of an hour, counted in UTC, lie in one local day. The exceptions are rare and old: Kiritimati was 10 h
# 40 min behind UTC until 1979, and Guam changed its clocks at one minute past midnight in 1976.
QUARTER_HOUR_MS = 900_000

# Three months of quarters of an hour, as long as the longest windows. They take two megabytes.
_MAX_CACHED_QUARTER_HOURS = 10_000

# By number of digits: 10 are seconds, 13 milliseconds, 16 microseconds. Multiply by the first number, divide by the
# second.
_UNIT_OF_DIGITS = {10: (SECOND_MS, 1), 13: (1, 1), 16: (1, 1_000)}

_EPOCH_NUMBER = re.compile(r"[1-9]\d{9}(?:\d{3}){0,2}(?:\.\d+)?", re.ASCII)

_ISO_8601 = re.compile(
    r"(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)[Tt ]"
    r"(?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?P<offset>[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
)


class Days:
    """The calendar of one IANA time zone: which local day a moment lies in, and when a day begins.

    A day begins when clocks show its date for the first time, and ends when the next day begins. So days follow one
    another without gaps, even where clocks were set back from one minute past midnight to the evening before, as in
    St. John's until 2011: that evening belongs to the day that had begun.

    Raises `zoneinfo.ZoneInfoNotFoundError` if there is no such zone.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone
        self._zone = zones.zone(zone)
        self._day_of_quarter_hour: dict[int, int] = {}

    def day_of(self, at_ms: int) -> int:
        """Number of the local calendar day in which `at_ms` lies."""
        day = self._day_of_quarter_hour.get(at_ms // QUARTER_HOUR_MS)
        return self._calculated_day_of(at_ms) if day is None else day

    def _calculated_day_of(self, at_ms: int) -> int:
        """The same, and remember the day of the quarter of an hour, if all of it lies in one day."""
        quarter_hour = at_ms // QUARTER_HOUR_MS
        begins_ms = quarter_hour * QUARTER_HOUR_MS
        day = self._day_at(begins_ms)
        if day != self._day_at(begins_ms + QUARTER_HOUR_MS - 1):
            return self._day_at(at_ms)
        if len(self._day_of_quarter_hour) >= _MAX_CACHED_QUARTER_HOURS:
            self._day_of_quarter_hour.clear()
        self._day_of_quarter_hour[quarter_hour] = day
        return day

    def _day_at(self, at_ms: int) -> int:
        day = self._shown_at(at_ms)
        while at_ms >= self.starts_ms(day + 1):  # clocks were set back to the day before
            day += 1
        return day

    def _shown_at(self, at_ms: int) -> int:
        """The date that clocks show, as the number of a day."""
        return dt.datetime.fromtimestamp(at_ms // SECOND_MS, self._zone).toordinal() - _EPOCH

    def starts_ms(self, day: int) -> int:
        """The first moment of a local day. A day that a zone has left out begins when the next one does."""
        midnight = dt.datetime.combine(date_of(day), dt.time(), self._zone)
        starts_ms = round(midnight.timestamp()) * SECOND_MS
        if self._shown_at(starts_ms - 1) < day:
            return starts_ms
        # Clocks were set forward over midnight, from before it to after it.
        earlier_ms = starts_ms - DAY_MS
        while starts_ms - earlier_ms > SECOND_MS:
            between_ms = (earlier_ms + starts_ms) // 2 // SECOND_MS * SECOND_MS
            if self._shown_at(between_ms) < day:
                earlier_ms = between_ms
            else:
                starts_ms = between_ms
        return starts_ms

    def last_closed(self, now_ms: int, *, close_after_ms: int) -> int:
        """Number of the newest day that ended `close_after_ms` ago or earlier."""
        return self.day_of(max(now_ms - close_after_ms, 0)) - 1


class Span:
    """One local day as a span of time: the last that was asked for. What lies in it needs no calendar."""

    __slots__ = ("_days", "ends_ms", "starts_ms")

    def __init__(self, days: Days) -> None:
        self._days = days
        self.starts_ms = self.ends_ms = 0

    def end_of_day(self, at_ms: int) -> int:
        """The first moment of the next local day."""
        if not self.starts_ms <= at_ms < self.ends_ms:
            day = self._days.day_of(at_ms)
            self.starts_ms, self.ends_ms = self._days.starts_ms(day), self._days.starts_ms(day + 1)
        return self.ends_ms

    def is_same_day(self, one_ms: int, other_ms: int) -> bool:
        """Whether two moments lie in the same local day."""
        ends_ms = self.end_of_day(one_ms)
        return self.starts_ms <= other_ms < ends_ms


def date_of(day: int) -> dt.date:
    """The calendar date of a day number."""
    return dt.date.fromordinal(day + _EPOCH)


def day_number(date: str) -> int:
    """The number of a calendar day, such as 2026-11-21. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise ValueError(f"not a day such as 2026-11-21: {date!r}")
    return dt.date.fromisoformat(date).toordinal() - _EPOCH


def iso(at_ms: int) -> str:
    """ISO 8601 text of a moment in UTC, with milliseconds only if they are not 0."""
    moment = dt.datetime.fromtimestamp(at_ms // SECOND_MS, dt.timezone.utc).replace(tzinfo=None)
    fraction = at_ms % SECOND_MS
    return f"{moment.isoformat()}.{fraction:03d}Z" if fraction else f"{moment.isoformat()}Z"


def epoch_ms(number: int | float) -> int | None:
    """Milliseconds of an epoch number, whose unit follows from its number of digits; None for any other number."""
    whole = int(number)
    unit = _UNIT_OF_DIGITS.get(len(str(whole))) if whole > 0 else None
    if unit is None:
        return None
    times, divided = unit
    if number == whole:
        return whole * times // divided
    exact = number * times / divided
    at_ms = int(exact)
    # The float nearest to 2147483648.075 s is a little less. If it is so close to the next millisecond, the decimal
    # text of the number decides.
    return at_ms if round(exact, 3) < at_ms + 1 else int(Decimal(repr(number)) * times / divided)


def parse_time(text: str) -> int | None:
    """Milliseconds of a text, which is ISO 8601 as `parse_iso` reads it or an epoch number; None for any other text."""
    text = text.strip()
    if _EPOCH_NUMBER.fullmatch(text) is None:
        return parse_iso(text)
    number = Decimal(text)
    times, divided = _UNIT_OF_DIGITS[len(str(int(number)))]
    return int(number * times / divided)


def parse_iso(text: str) -> int | None:
    """Milliseconds of an ISO 8601 date and time with an offset, in extended or basic form; None for any other text.

    Fractions of a millisecond are cut off. 24:00 is the end of a day, which is the moment when the next one begins. A
    leap second, 23:59:60 in UTC, belongs to the day that it ends: it becomes the last millisecond of 23:59:59.
    """
    match = _ISO_8601.fullmatch(text.strip())
    if match is None:
        return None
    part = match.groupdict()
    hour, minute, second = int(part["hour"]), int(part["minute"] or 0), int(part["second"] or 0)
    thousandths = int((part["fraction"] or "0")[:3].ljust(3, "0"))
    ends_day, is_leap_second = hour == 24, second == 60
    if ends_day and (minute, second, int(part["fraction"] or "0")) != (0, 0, 0):
        return None
    try:
        moment = dt.datetime(
            int(part["year"]),
            int(part["month"]),
            int(part["day"]),
            0 if ends_day else hour,
            minute,
            59 if is_leap_second else second,
            tzinfo=dt.timezone.utc,
        )
    except ValueError:
        return None
    seconds = round(moment.timestamp()) - _offset_seconds(part["offset"]) + (DAY_SECONDS if ends_day else 0)
    if is_leap_second:
        return seconds * SECOND_MS + 999 if seconds % DAY_SECONDS == DAY_SECONDS - 1 else None
    return seconds * SECOND_MS + thousandths


def _offset_seconds(offset: str) -> int:
    if offset in "Zz":
        return 0
    sign = -1 if offset[0] == "-" else 1
    digits = offset[1:].replace(":", "")
    return sign * (int(digits[:2]) * 3_600 + int(digits[2:] or 0) * 60)


_SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(length: str) -> int:
    """Seconds of a length such as `90s`, `5m`, `1h` or `30d`. Raises ValueError for anything else."""
    unit = _SECONDS_OF_UNIT.get(length[-1:])
    if unit is None or not length[:-1].isascii() or not length[:-1].isdigit():
        raise ValueError(f"not a length of time such as '90s', '5m', '1h' or '30d': {length!r}")
    return int(length[:-1]) * unit


@lru_cache(maxsize=1_000)  # asked for each window of each family, in every partition and every snapshot
def minutes_of(window: str) -> int:
    """Minutes of a window such as `5m` or `30d`. Raises ValueError if it is not a whole number of buckets.

    A bucket is a minute for windows up to a day and an hour for longer ones.
    """
    seconds = seconds_of(window)
    granularity = 60 if seconds <= _SECONDS_OF_UNIT["d"] else 3_600
    if seconds == 0 or seconds % granularity:
        raise ValueError(f"a window must be whole buckets: {window!r} is not a multiple of {granularity} s")
    return seconds // 60
