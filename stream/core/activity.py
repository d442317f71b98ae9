"""Who was active, and how many: DAU, WAU, MAU and stickiness.

A user is booked in the minute of the last activity. Who returns moves to a newer minute, so a rolling distinct count
is a sum of buckets and never a walk over users. Activity that lies ahead of the clock (clocks differ, topics are read
at different speeds) is remembered beside the last one that has come.

For closed days each user keeps one bit a day. A day's bit covers the windows that end on it or within the n days from
it, up to the next active day; so the users of any closed window are a sum too, and a bit set late corrects it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from stream.core.ring import Booking, latest
from stream.core.tally import Field, Tally, add


class Activity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When one user was active."""

    minutes: tuple[int, ...] = ()  # the last that has come, then those still ahead of the clock
    first_day: int | None = None  # the first day ever
    since_day: int = 0  # the day of bit 0
    day_bits: bytes = b""  # little endian


NEVER = Activity()


def active_at(activity: Activity, *, minute: int, day: int, now: int) -> Activity:
    """The user was active in `minute`, which lies in `day`; the clock shows the minute `now`."""
    minutes = activity.minutes
    if len(minutes) == 1 and minute <= now and minutes[0] <= now:  # the common case, fast
        if minute > minutes[0]:
            minutes = (minute,)
    elif minute not in minutes:
        latest = latest_and_ahead((*minutes, minute), now)
        minutes = minutes if latest == minutes else latest
    bit = day - activity.since_day
    if 0 <= bit < 8 * len(activity.day_bits) and activity.day_bits[bit >> 3] >> (bit & 7) & 1:
        if minutes is activity.minutes:
            return activity
        return Activity(minutes, activity.first_day, activity.since_day, activity.day_bits)
    first_day = day if activity.first_day is None else min(day, activity.first_day)
    return Activity(minutes, first_day, *_with_day(activity.since_day, activity.day_bits, day))


def _with_day(since_day: int, day_bits: bytes, day: int) -> tuple[int, bytes]:
    if not day_bits:
        return day, b"\x01"
    bits = int.from_bytes(day_bits, "little")
    if day < since_day:
        bits <<= since_day - day
        since_day = day
    bits |= 1 << day - since_day
    return since_day, bits.to_bytes(bits.bit_length() + 7 >> 3, "little")


def latest_and_ahead(minutes: Iterable[int], now: int) -> tuple[int, ...]:
    """Of several minutes the latest that has come, and all that have not."""
    ordered = sorted(set(minutes))
    return tuple(ordered[max(0, bisect_right(ordered, now) - 1) :])


def active_days(activity: Activity) -> list[int]:
    """The days on which the user was active, in order, as far back as they are kept."""
    digits = f"{int.from_bytes(activity.day_bits, 'little'):b}"
    return [activity.since_day + bit for bit, digit in enumerate(reversed(digits)) if digit == "1"]


def without_days_before(activity: Activity, day: int) -> Activity:
    """Forget the days before `day`, all but the day of the first activity ever."""
    if not activity.day_bits or day <= activity.since_day:
        return activity
    days = [kept for kept in active_days(activity) if kept >= day]
    return Activity(activity.minutes, activity.first_day, days[0] if days else 0, _bits(days))


def _bits(days: list[int]) -> bytes:
    if not days:
        return b""
    bits = sum(1 << day - days[0] for day in days)
    return bits.to_bytes((days[-1] - days[0]) // 8 + 1, "little")


def bookings(minutes: Sequence[int], amounts: Mapping[Field, int]) -> list[Booking]:
    """What one user adds, in the minute of the last activity."""
    return latest(minutes, amounts)


class DayLedger:
    """Distinct users of each closed window of days: `days` of them, ending with any day.

    Kept as changes from one day to the next, a field for each window length, so that users and partitions add.
    """

    def __init__(self, lengths: Iterable[int]) -> None:
        self.lengths = tuple(lengths)
        self._changes: dict[int, Tally] = {}
        self._before: Tally = {}  # the sum of changes on days that are kept no more
        self.since: int | None = None  # the first day kept, once some before it are not
        self._changed: set[int] = set()

    def book(self, old: list[int], new: list[int]) -> None:
        """A user's active days, in order, were `old` and are `new`."""
        if not old:  # the common case of a new user, fast
            for day, length, change in self._changes_of(new):
                self._put(day, length, change)
            return
        before, after = set(self._changes_of(old)), set(self._changes_of(new))
        for day, length, change in before - after:
            self._put(day, length, -change)
        for day, length, change in after - before:
            self._put(day, length, change)

    def _changes_of(self, days: list[int]) -> Iterator[tuple[int, int, int]]:
        for place, day in enumerate(days):
            following = days[place + 1] if place + 1 < len(days) else None
            preceding = days[place - 1] if place else None
            for length in self.lengths:
                # Where one day's windows reach the next active day, the end of the one and the begin of the other
                # cancel: only runs have ends.
                if preceding is None or preceding + length < day:
                    yield day, length, 1
                if following is None or day + length < following:
                    yield day + length, length, -1

    def _put(self, day: int, length: int, change: int) -> None:
        if self.since is not None and day < self.since:
            add(self._before, {length: change})
            self._changed.add(-1)
        else:
            page = self._changes.get(day)
            if page is None:
                page = self._changes[day] = {}
            users = page.get(length, 0) + change
            if users:
                page[length] = users
            else:
                page.pop(length, None)
            self._changed.add(day)

    def users(self, first: int, last: int) -> dict[int, Tally]:
        """Users of each window length for each day from `first` to `last`."""
        running = dict(self._before)
        for day in sorted(day for day in self._changes if day < first):
            add(running, self._changes[day])
        result = {}
        for day in range(first, last + 1):
            add(running, self._changes.get(day, {}))
            result[day] = dict(running)
        return result

    def first_day(self) -> int | None:
        """The first day that is known of, or None before any event."""
        if self.since is not None:
            return self.since
        return min((day for day, page in self._changes.items() if page), default=None)

    def size(self) -> int:
        """How many pages it holds."""
        return len(self._changes) + bool(self._before)

    def forget_before(self, day: int) -> None:
        """Keep single days only from `day` on. As long as there are none before it, all stay single."""
        first = self.first_day()
        if first is None or day <= first:
            return
        self.since = day
        for old in [old for old in self._changes if old < day]:
            add(self._before, self._changes.pop(old))
            self._changed.update((old, -1))

    def pages(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The pages changed since the last call, as key and value; None where a page is gone."""
        for day in sorted(self._changed):
            page = self._before if day == -1 else self._changes.get(day)
            if not page:
                self._changes.pop(day, None)
            yield f"days/day/{day}".encode(), msgspec.msgpack.encode(page) if page else None
        self._changed.clear()

    def restore(self, pages: Iterable[tuple[bytes, bytes]], *, since: int | None) -> None:
        """Take over pages written before, when single days were kept from `since` on."""
        for key, value in pages:
            day = int(key.rsplit(b"/", 1)[1])
            page = msgspec.msgpack.decode(value, type=Tally)
            if day == -1:
                self._before = page
            else:
                self._changes[day] = page
        self.since = since
