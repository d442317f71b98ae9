"""Times as other systems write them: epoch numbers of a known unit, texts of a known format, local times of a zone."""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream.core import zones
from stream.core.messages import EPOCH, checked_time_ms
from stream.core.rejections import Reason, Rejected
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS, epoch_ms, parse_time

# How many nanoseconds each unit has.
UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NS_IN_MS = 10**6

# A date and time without an offset, as ISO 8601 and SQL write it. More than microseconds are cut off.
_LOCAL = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,6})\d*)?)?)?)?", re.ASCII)

# What reads the value of a field as a time: milliseconds. Raises Rejected. The text is the field's name.
TimeReader = Callable[[Any, str], int]


def time_reader(*, unit: str = "", pattern: str = "", zone: str = "") -> TimeReader:
    """What reads times.

    With `unit` they are epoch numbers, else their digits tell the unit. With `pattern`, one of `strptime`, they are
    texts of that kind, else ISO 8601. Times without an offset are local times of `zone`; a time that the zone has twice
    is the first of the two. Raises ValueError for what can't be.
    """
    if unit and unit not in UNITS:
        raise ValueError(f"unit {unit!r} is none of {', '.join(UNITS)}")
    if unit and (pattern or zone):
        raise ValueError(f"unit {unit!r} is of numbers, which have neither a format nor a zone")
    if unit:
        return _number_reader(unit)
    tz = _zone(zone) if zone else None
    if pattern:
        return _pattern_reader(pattern, tz)
    return lambda value, field: _iso_or_number_ms(value, field, tz)


def _zone(name: str) -> ZoneInfo:
    try:
        return zones.zone(name)
    except ZoneInfoNotFoundError:
        raise ValueError(f"zone {name!r} is no IANA time zone, such as UTC or Europe/Berlin") from None


def _number_reader(unit: str) -> TimeReader:
    ns = UNITS[unit]
    times, divided = max(ns // _NS_IN_MS, 1), max(_NS_IN_MS // ns, 1)

    def read(value: Any, field: str) -> int:
        if type(value) is int and 0 <= (at_ms := value * times // divided) < LATEST_MS:
            return at_ms
        try:
            number = value if type(value) is int else Decimal(str(value).strip())
            at_ms = int(number * ns // _NS_IN_MS)
        except (InvalidOperation, ValueError, OverflowError):
            raise Rejected(Reason.BAD_TIME, f"{value!r} at `{field}` is no number of {unit}") from None
        return checked_time_ms(at_ms, f"{value} {unit}", _name(field))

    return read


def _pattern_reader(pattern: str, tz: ZoneInfo | None) -> TimeReader:
    has_offset = "%z" in pattern
    if not has_offset and tz is None:
        raise ValueError(f"format {pattern!r} has no offset, %z: say in which zone its times are")
    try:
        dt.datetime.strptime(EPOCH.strftime(pattern), pattern)  # noqa: DTZ007  # only to see whether it can be read
    except ValueError as error:
        raise ValueError(f"format {pattern!r}: {error}") from None

    def read(value: Any, field: str) -> int:
        try:
            moment = dt.datetime.strptime(str(value).strip(), pattern)  # noqa: DTZ007  # the zone is put in below
        except ValueError:
            raise Rejected(Reason.BAD_TIME, f"{value!r} at `{field}` has not the format {pattern!r}") from None
        return _ms(moment, value, field, tz)

    return read


def _iso_or_number_ms(value: Any, field: str, tz: ZoneInfo | None) -> int:
    at_ms = None
    if isinstance(value, str):
        at_ms = parse_time(value)
        if at_ms is None and tz is not None and (local := _local(value.strip())) is not None:
            return _ms(local, value, field, tz)
        if at_ms is None:
            lacks = " with an offset: say in which zone it is" if tz is None and _local(value.strip()) else ""
            raise Rejected(Reason.BAD_TIME, f"{value!r} at `{field}` is no ISO 8601 time{lacks}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        at_ms = epoch_ms(value) if abs(value) < 10**17 else None
        if at_ms is None:
            raise Rejected(
                Reason.BAD_TIME, f"{value} at `{field}` has not 10 (s), 13 (ms) or 16 (us) digits: say its unit"
            )
    if at_ms is None:
        raise Rejected(Reason.BAD_TIME, f"{value!r} at `{field}` is no time")
    return checked_time_ms(at_ms, value, _name(field))


def _local(text: str) -> dt.datetime | None:
    """A time without an offset, or None."""
    found = _LOCAL.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = (part or "0" for part in found.groups())
    try:
        return dt.datetime(  # noqa: DTZ001  # the zone is put in by the caller
            int(year), int(month), int(day), int(hour), int(minute), int(second), int(fraction.ljust(6, "0"))
        )
    except ValueError:
        return None


def _ms(moment: dt.datetime, told: object, field: str, tz: ZoneInfo | None) -> int:
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)) - EPOCH
    return checked_time_ms(
        since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000, told, _name(field)
    )


def _name(field: str) -> str:
    return field.removeprefix("$.")


def moment_of(at_ms: int) -> dt.datetime:
    """Milliseconds as native messages take a time that need not have so many digits."""
    return EPOCH + dt.timedelta(milliseconds=at_ms)
