"""What is stored of one user's activity: when the last one was, and on which days there was any.

The stored minutes are the last one that has come, and all future ones. There are future ones because clocks differ and
topics are read at different speeds. Each day has one bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from stream.core import reuse
from stream.core.families.activity.known_periods import KnownPeriods
from stream.core.reuse import TimeSpan
from stream.core.segments import Attributes
from stream.core.time import Span

NO_QUARTER_HOUR = NO_DAY = -1


class SummaryTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a session began and ended that was sent as a summary. A higher revision can still change it."""

    revision: int
    last_ms: int
    first_ms: int
    # Those that began or ended on an earlier day, of lower rank, in order of rank: what closed days said of it.
    earlier: tuple["SummaryTimes", ...] = ()
    told: TimeSpan | None = None  # from the first beginning to the last end of its summaries, if those are not as above

    def span(self) -> TimeSpan:
        """From the first beginning to the last end of all its summaries."""
        return self.told or (self.first_ms, self.last_ms)


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What a part had contributed when the totals were last updated."""

    minutes: tuple[int, ...]
    since_day: int
    day_bits: bytes
    before_day: int
    attributes: Attributes | None
    earlier_attributes: tuple[Attributes, ...]
    summaries: Mapping[str, SummaryTimes]
    known_periods: KnownPeriods
    signed_up_ms: tuple[int, ...] = ()


class Activity(msgspec.Struct, array_like=True, gc=False):
    """When one user was active, and the attributes of the user."""

    minutes: tuple[int, ...] = ()  # the last that has come, then those in the future
    known_periods: KnownPeriods = ()  # since when the user is known
    since_day: int = 0  # the day of bit 0
    day_bits: bytes = b""  # little endian
    before_day: int = NO_DAY  # the last active one of the days that are kept no more
    attributes: Attributes | None = None  # of segments
    earlier_attributes: tuple[Attributes, ...] = ()  # what was known at the end of earlier days, in order of time
    summaries: dict[str, SummaryTimes] = {}  # by id (`reuse`); their activity is not among the minutes and days above
    signed_up_ms: tuple[int, ...] = ()  # when the user signed up, as long as a late event may fall into the week after
    booked: Booked | None = None  # what is in the totals, if the part has changed since then; never stored
    # A quarter of an hour in which all later minutes have a known day and period, because days begin with one. Never
    # stored.
    quarter_hour: int = NO_QUARTER_HOUR
    # Never stored: the day on which the newest value was told, as far as it is known.
    attributes_since_ms: int = 0
    attributes_until_ms: int = 0


def attributes_by_day(part: Activity | Booked) -> tuple[Attributes, ...]:
    """What was known of segments at the end of each day on which any was told, as far as that is kept."""
    return () if part.attributes is None else (*part.earlier_attributes, part.attributes)


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


def with_times(known: Sequence[SummaryTimes], times: SummaryTimes, span: Span) -> SummaryTimes | None:
    """The times of a session after one more summary; None if nothing follows from that one.

    `known` is what was known of the session: several things, if the summary joins them.
    """
    if not known:
        return times
    if any(rank(one) == rank(times) for those in known for one in (those, *those.earlier)):
        return None
    told = times.span()
    for those in known:
        told = reuse.of_both(told, those.span())
    alone = (msgspec.structs.replace(those, earlier=(), told=None) for those in known)
    earlier = [*alone, *(one for those in known for one in those.earlier)]
    ranked = sorted((*earlier, msgspec.structs.replace(times, told=None)), key=rank)
    kept: list[SummaryTimes] = []
    for one in reversed(ranked):
        if all(
            (one.first_ms < other.first_ms and not span.is_same_day(one.first_ms, other.first_ms))
            or (one.last_ms < other.last_ms and not span.is_same_day(one.last_ms, other.last_ms))
            for other in kept
        ):
            kept.append(one)
    winner = kept[0]
    differs = told != (winner.first_ms, winner.last_ms)
    after = msgspec.structs.replace(winner, earlier=tuple(reversed(kept[1:])), told=told if differs else None)
    return None if len(known) == 1 and after == known[0] else after


def moments(times: SummaryTimes) -> tuple[int, int]:
    """When a session made its user active: when it began and when it ended."""
    return times.first_ms, times.last_ms


def moments_as_of(times: SummaryTimes, day: int, day_of: Callable[[int], int]) -> Iterator[int]:
    """The same by what was known at the end of a day: its beginning and its end are told each at its own time."""
    ranked = (times, *reversed(times.earlier))
    for which in (0, 1):
        known = [at_ms for at_ms in (moments(one)[which] for one in ranked) if day_of(at_ms) <= day]
        yield from known[:1]


def days_reported(times: SummaryTimes, day_of: Callable[[int], int]) -> set[int]:
    """The days on which something was told of a session that was told otherwise before; none for another one."""
    if not times.earlier:
        return set()
    return {day_of(at_ms) for one in (times, *times.earlier) for at_ms in moments(one)}
