"""What is kept of one user's activity: when the last one was, and on which days there was any.

The minutes kept are the last one that has come, and those that lie ahead of the clock (clocks differ, topics are read
at different speeds). Of days each has one bit.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

import msgspec

from stream.core import reuse
from stream.core.families.activity.lives import Lives
from stream.core.reuse import Span
from stream.core.segments import Told, Values

NO_QUARTER = -1


class SummaryTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a session began and ended that was told as a summary, which a higher revision can still move."""

    revision: int
    last_ms: int
    first_ms: int
    ends: Span | None = None  # the first and the last end that summaries told of it, where they told several

    def span(self) -> Span:
        """The first and the last end that summaries told of it."""
        return self.ends or (self.last_ms, self.last_ms)


def of_one_session(one: SummaryTimes, other: SummaryTimes) -> SummaryTimes:
    """What counts of two summaries of one session, as for sessions, but for what makes no other time of it."""
    winner, span = max(one, other, key=_rank), reuse.of_both(one.span(), other.span())
    return winner if span == winner.span() else msgspec.structs.replace(winner, ends=span)


def _rank(times: SummaryTimes) -> tuple[int, int, int]:
    return times.revision, times.last_ms, -times.first_ms


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What a part had contributed when the totals were settled last."""

    minutes: tuple[int, ...]
    since_day: int
    day_bits: bytes
    values: Values
    told: Told | None
    summaries: Mapping[str, SummaryTimes]
    lives: Lives


class Activity(msgspec.Struct, array_like=True, gc=False):
    """When one user was active, and what the activity events told of segments."""

    minutes: tuple[int, ...] = ()  # the last that has come, then those still ahead of the clock
    lives: Lives = ()  # since when the user is known
    since_day: int = 0  # the day of bit 0
    day_bits: bytes = b""  # little endian
    told: Told | None = None  # of segments
    # By session id (`reuse`); their activity is not among the minutes and days above.
    summaries: dict[str, SummaryTimes] = {}
    booked: Booked | None = None  # while the totals don't hold the part as it is now; never stored
    # Never stored: a quarter of an hour of whose later minutes day and life are known; days begin with a quarter.
    quarter: int = NO_QUARTER


def add_minute(minutes: tuple[int, ...], minute: int, now: int) -> tuple[int, ...]:
    """The minutes after an activity in `minute`, or the very same if it changes nothing; the clock shows `now`."""
    if len(minutes) == 1 and minute <= now and minutes[0] <= now:  # the common case, fast
        return (minute,) if minute > minutes[0] else minutes
    after = latest_and_ahead((*minutes, minute), now)
    return after if minute in after else minutes


def latest_and_ahead(minutes: Iterable[int], now: int) -> tuple[int, ...]:
    """Of several minutes the latest that has come, and all that have not."""
    ordered = sorted(set(minutes))
    return tuple(ordered[max(0, bisect_right(ordered, now) - 1) :])


def has_day(since_day: int, day_bits: bytes, day: int) -> bool:
    """Whether a day is among those of the bits."""
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
    """The days of the bits, in order."""
    if day_bits == b"\x01":
        return [since_day]
    digits = f"{int.from_bytes(day_bits, 'little'):b}"
    return [since_day + bit for bit, digit in enumerate(reversed(digits)) if digit == "1"]


def without_days_before(activity: Activity, day: int) -> None:
    """Forget the days before `day`."""
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
