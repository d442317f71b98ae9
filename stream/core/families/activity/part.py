"""What is kept of one user's activity: when the last one was, and on which days there was any.

The minutes kept are the last one that has come, and those that lie ahead of the clock (clocks differ, topics are read
at different speeds). Of days each has one bit.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from stream.core.families.activity.lives import Lives
from stream.core.segments import NOT_TOLD, Told, Values
from stream.core.time import Span

NO_QUARTER = NO_DAY = -1


class SummaryTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a session began and ended that was told as a summary, which a higher revision can still move."""

    revision: int
    last_ms: int
    first_ms: int
    # Those that began or ended on an earlier day, of lower rank, in order of rank: what closed days said of it.
    earlier: tuple["SummaryTimes", ...] = ()


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What a part had contributed when the totals were settled last."""

    minutes: tuple[int, ...]
    since_day: int
    day_bits: bytes
    before_day: int
    told: Told | None
    told_earlier: tuple[Told, ...]
    summaries: Mapping[str, SummaryTimes]
    lives: Lives

    @property
    def values(self) -> Values:
        """What was known of segments."""
        return NOT_TOLD if self.told is None else self.told.values


class Activity(msgspec.Struct, array_like=True, gc=False):
    """When one user was active, and what the activity events told of segments."""

    minutes: tuple[int, ...] = ()  # the last that has come, then those still ahead of the clock
    lives: Lives = ()  # since when the user is known
    since_day: int = 0  # the day of bit 0
    day_bits: bytes = b""  # little endian
    before_day: int = NO_DAY  # the last active one of the days that are kept no more
    told: Told | None = None  # of segments
    told_earlier: tuple[Told, ...] = ()  # what was known at the end of earlier days, in order of time
    summaries: dict[str, SummaryTimes] = {}  # by session id; their activity is not among the minutes and days above
    booked: Booked | None = None  # while the totals don't hold the part as it is now; never stored
    # Never stored: a quarter of an hour of whose later minutes day and life are known; days begin with a quarter.
    quarter: int = NO_QUARTER
    # Never stored: the day on which the newest value was told, as far as it is known.
    told_since_ms: int = 0
    told_until_ms: int = 0

    @property
    def values(self) -> Values:
        """What is known of segments."""
        return NOT_TOLD if self.told is None else self.told.values


def told_of(part: Activity | Booked) -> tuple[Told, ...]:
    """What was known of segments at the end of each day on which any was told, as far as that is kept."""
    return () if part.told is None else (*part.told_earlier, part.told)


def add_minute(minutes: tuple[int, ...], minute: int, now: int) -> tuple[int, ...]:
    """The minutes after an activity in `minute`, or the very same; the clock shows the minute `now`."""
    if len(minutes) == 1 and minute <= now and minutes[0] <= now:  # the common case, fast
        return (minute,) if minute > minutes[0] else minutes
    after = latest_and_ahead((*minutes, minute), now)
    return minutes if after == minutes else after


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
    kept = active_days(activity.since_day, activity.day_bits)
    days = [one for one in kept if one >= day]
    if len(days) < len(kept):
        activity.before_day = kept[len(kept) - len(days) - 1]
    activity.since_day = days[0] if days else 0
    activity.day_bits = _bits(days)


def _bits(days: list[int]) -> bytes:
    if not days:
        return b""
    bits = sum(1 << day - days[0] for day in days)
    return bits.to_bytes((days[-1] - days[0]) // 8 + 1, "little")


def last_day(activity: Activity) -> int:
    """The last active day that is known."""
    if not activity.day_bits:
        return activity.before_day
    return activity.since_day + int.from_bytes(activity.day_bits, "little").bit_length() - 1


# -- sessions told as summaries ----------------------------------------------------------------------------------------


def rank(times: SummaryTimes) -> tuple[int, int, int]:
    """Of several summaries of a session the one of the greatest rank counts, as sessions have it."""
    return times.revision, times.last_ms, -times.first_ms  # what ranks otherwise makes no other time of it


def with_times(known: SummaryTimes | None, told: SummaryTimes, span: Span) -> SummaryTimes | None:
    """The times of a session after one more summary of it; None where nothing follows from that one."""
    if known is None:
        return told
    if any(rank(one) == rank(told) for one in (known, *known.earlier)):
        return None
    ranked = sorted((*known.earlier, msgspec.structs.replace(known, earlier=()), told), key=rank)
    kept: list[SummaryTimes] = []
    for one in reversed(ranked):
        if all(
            (one.first_ms < other.first_ms and not span.is_same_day(one.first_ms, other.first_ms))
            or (one.last_ms < other.last_ms and not span.is_same_day(one.last_ms, other.last_ms))
            for other in kept
        ):
            kept.append(one)
    if not any(one is told for one in kept):
        return None
    return msgspec.structs.replace(kept[0], earlier=tuple(reversed(kept[1:])))


def moments(times: SummaryTimes) -> tuple[int, int]:
    """When a session made its user active: when it began and when it ended."""
    return times.first_ms, times.last_ms


def moments_as_of(times: SummaryTimes, day: int, day_of: Callable[[int], int]) -> Iterator[int]:
    """The same by what was known at the end of a day: its beginning and its end are told each at its own time."""
    ranked = (times, *reversed(times.earlier))
    for which in (0, 1):
        known = [at_ms for at_ms in (moments(one)[which] for one in ranked) if day_of(at_ms) <= day]
        yield from known[:1]


def days_told(times: SummaryTimes, day_of: Callable[[int], int]) -> set[int]:
    """The days on which something was told of a session that was told otherwise before; none for another one."""
    if not times.earlier:
        return set()
    return {day_of(at_ms) for one in (times, *times.earlier) for at_ms in moments(one)}
