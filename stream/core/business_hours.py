"""Business time: how much of a wait lies in the hours in which somebody is there to answer."""

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache

from stream.core import zones
from stream.core.time import SECOND_MS

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_OF_A_DAY = 1_440

Hours = tuple[tuple[int, int], ...]  # of one day: from and to, in minutes after midnight by the clock on the wall


class BusinessHours:
    """The hours of each weekday in a zone, without holidays."""

    def __init__(self, zone: str, week: Mapping[str, Hours], holidays: Iterable[dt.date] = ()) -> None:
        self.zone = zone
        self.week = tuple(week.get(day, ()) for day in WEEKDAYS)
        self.holidays = frozenset(holidays)
        self._zone = zones.zone(zone)
        self._of_day = lru_cache(maxsize=4_096)(self._calculated)

    def __str__(self) -> str:
        week = (
            f"{day} {' '.join(f'{_clock(opens)}-{_clock(closes)}' for opens, closes in hours)}"
            for day, hours in zip(WEEKDAYS, self.week, strict=True)
            if hours
        )
        without = f" without {' '.join(map(str, sorted(self.holidays)))}" if self.holidays else ""
        return f"{self.zone}: {', '.join(week)}{without}"

    def __reduce__(self) -> tuple[type["BusinessHours"], tuple[object, ...]]:
        return BusinessHours, (self.zone, dict(zip(WEEKDAYS, self.week, strict=True)), self.holidays)

    def between(self, begin_ms: int, end_ms: int) -> int:
        """The milliseconds of business time between two moments."""
        if end_ms <= begin_ms:
            return 0
        day, last, total = self._date(begin_ms), self._date(end_ms), 0
        while day <= last:
            for opens_ms, closes_ms in self._of_day(day):
                total += max(0, min(closes_ms, end_ms) - max(opens_ms, begin_ms))
            day += dt.timedelta(days=1)
        return total

    def _date(self, at_ms: int) -> dt.date:
        return dt.datetime.fromtimestamp(at_ms // SECOND_MS, self._zone).date()

    def _calculated(self, day: dt.date) -> tuple[tuple[int, int], ...]:
        """When it opens and closes on a day."""
        if day in self.holidays:
            return ()
        hours = self.week[day.weekday()]
        return tuple((self._at_ms(day, opens), self._at_ms(day, closes)) for opens, closes in hours)

    def _at_ms(self, day: dt.date, minute: int) -> int:
        if minute == _MINUTES_OF_A_DAY:
            day, minute = day + dt.timedelta(days=1), 0
        at = dt.datetime.combine(day, dt.time(minute // 60, minute % 60), self._zone)
        return round(at.timestamp()) * SECOND_MS


def hours_of(text: str) -> tuple[int, int]:
    """The hours that a text such as 09:00-17:30 says. Raises ValueError."""
    begin, dash, end = text.partition("-")
    opens, closes = _minute_of(begin), _minute_of(end)
    if not dash or opens >= closes:
        raise ValueError(f"{text!r} is no span of hours such as 09:00-17:30")
    return opens, closes


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minute_of(text: str) -> int:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and len(hour) == len(minute) == 2 and (hour + minute).isascii() and (hour + minute).isdigit()):
        raise ValueError(f"{text!r} is no time of day such as 09:00")
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > _MINUTES_OF_A_DAY:
        raise ValueError(f"{text!r} is no time of day such as 09:00")
    return found
