"""What is stored of one user's activity: when the last one was, and on which days there was any.

The stored minutes are the last one that has come, and all future ones. There are future ones because clocks differ and
topics are read at different speeds. Each day has one bit.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import msgspec

from stream.core.families.activity.known_periods import KnownPeriods
from stream.core.segments import Attributes, AttributeValues

NO_QUARTER_HOUR = -1


class SummaryTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a session began and ended that was sent as a summary. A higher revision can still change it."""

    revision: int
    last_ms: int
    first_ms: int


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What a part had contributed when the totals were last updated."""

    minutes: tuple[int, ...]
    since_day: int
    day_bits: bytes
    values: AttributeValues
    summaries: Mapping[str, SummaryTimes]
    known_periods: KnownPeriods


class Activity(msgspec.Struct, array_like=True, gc=False):
    """When one user was active, and the attributes of the user."""

    minutes: tuple[int, ...] = ()  # the last that has come, then those in the future
    known_periods: KnownPeriods = ()  # since when the user is known
    since_day: int = 0  # the day of bit 0
    day_bits: bytes = b""  # little endian
    attributes: Attributes | None = None  # of segments
    summaries: dict[str, SummaryTimes] = {}  # by session id; their activity is not among the minutes and days above
    booked: Booked | None = None  # what is in the totals, if the part has changed since then; never stored
    # A quarter of an hour in which all later minutes have a known day and period, because days begin with one. Never
    # stored.
    quarter_hour: int = NO_QUARTER_HOUR


def add_minute(minutes: tuple[int, ...], minute: int, now: int) -> tuple[int, ...]:
    """The minutes after an activity in `minute`, when the clock shows the minute `now`.

    Returns `minutes` itself if nothing changes.
    """
    if len(minutes) == 1 and minute <= now and minutes[0] <= now:  # the common case, fast
        return (minute,) if minute > minutes[0] else minutes
    after = latest_and_future((*minutes, minute), now)
    return minutes if after == minutes else after


def latest_and_future(minutes: Iterable[int], now: int) -> tuple[int, ...]:
    """The latest of several minutes that has come, and all that are in the future."""
    ordered = sorted(set(minutes))
    return tuple(ordered[max(0, bisect_right(ordered, now) - 1) :])


def has_day(since_day: int, day_bits: bytes, day: int) -> bool:
    """Whether the bit of a day is set."""
    bit = day - since_day
    return 0 <= bit < 8 * len(day_bits) and bool(day_bits[bit >> 3] >> (bit & 7) & 1)


def add_day(since_day: int, day_bits: bytes, day: int) -> tuple[int, bytes]:
    """The bits with one more day."""
    if not day_bits:
        return day, b"\x01"
    bits = int.from_bytes(day_bits, "little")
    if day < since_day:
        bits <<= since_day - day
        since_day = day
    bits |= 1 << day - since_day
    return since_day, bits.to_bytes(bits.bit_length() + 7 >> 3, "little")


def active_days(since_day: int, day_bits: bytes) -> list[int]:
    """The days whose bits are set, in order."""
    if day_bits == b"\x01":
        return [since_day]
    digits = f"{int.from_bytes(day_bits, 'little'):b}"
    return [since_day + bit for bit, digit in enumerate(reversed(digits)) if digit == "1"]


def without_days_before(activity: Activity, day: int) -> None:
    """Remove the days before `day`."""
    if not activity.day_bits or day <= activity.since_day:
        return
    days = [kept for kept in active_days(activity.since_day, activity.day_bits) if kept >= day]
    activity.since_day = days[0] if days else 0
    activity.day_bits = _bits(days)


def _bits(days: list[int]) -> bytes:
    if not days:
        return b""
    bits = sum(1 << day - days[0] for day in days)
    return bits.to_bytes((days[-1] - days[0]) // 8 + 1, "little")
