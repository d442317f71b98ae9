"""Rolling windows as sums of time buckets.

Everything that is counted is booked in the minute in which it begins to count. A window is then a sum of buckets:
the minutes at its edges and the whole hours between them. What does not count yet is booked in a future minute. It
enters the windows when the clock reaches that minute, so no timers are needed.

Of some things only the latest counts: a user's last activity, a user's last NPS answer. An earlier one is booked
*until* the minute of the next one. While that minute is in the future, the booking stays, and its removal is scheduled
for that minute. In the same way a booking *since* a future minute is scheduled for that minute.

Nothing counts before its minute has come, and windows end with the current minute. Windows longer than a day begin
with a whole hour.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.tally import Field, add, total

_HOUR = 60
_DAY = 24 * _HOUR

Bucket = dict[Field, int]
Pages = Iterator[tuple[bytes, bytes | None]]


class Booking(msgspec.Struct, frozen=True, gc=False):
    """What one thing contributes: `amounts` in the bucket of `minute`.

    It counts only until the clock reaches the minute `until`, when something later supersedes it, and only since the
    clock has reached the minute `since`.
    """

    minute: int
    amounts: Mapping[Any, int]
    until: int | None = None
    since: int | None = None


def superseding_bookings(minutes: Sequence[tuple[int, Mapping[Any, int]]]) -> list[Booking]:
    """The bookings of things of which only the latest counts, in order of time."""
    following: list[int | None] = [*(minute for minute, _ in minutes[1:]), None]
    return [Booking(*latest_bookings, until) for latest_bookings, until in zip(minutes, following, strict=False)]


def latest_bookings(minutes: Sequence[int], amounts: Mapping[Any, int]) -> list[Booking]:
    """The bookings of one thing that happened in each of these minutes, in order, and counts in the latest of them."""
    if len(minutes) == 1:  # the common case, fast
        return [Booking(minutes[0], amounts)]
    return superseding_bookings([(minute, amounts) for minute in minutes])


def second_latest_bookings(minutes: Sequence[int], amounts: Mapping[Any, int]) -> list[Booking]:
    """The bookings of one thing that counts in the second latest of these minutes, which are in order.

    A window that contains that minute contains at least two of the minutes. Each minute becomes the second latest when
    the clock reaches the next one.
    """
    following: list[int | None] = [*minutes[2:], None]
    return [
        Booking(before, amounts, until, since)
        for before, since, until in zip(minutes, minutes[1:], following, strict=False)
    ]


def add_minute(minutes: tuple[int, ...], minute: int, now: int) -> tuple[int, ...]:
    """The minutes of which the latest counts, after one more of them, when the clock shows the minute `now`.

    Returns `minutes` itself if that makes no difference, whether or not earlier minutes have been dropped.
    """
    if len(minutes) == 1 and minute <= now and minutes[0] <= now:  # the common case, fast
        return (minute,) if minute > minutes[0] else minutes
    after = latest_and_future((*minutes, minute), now)
    return after if minute in after else minutes


def latest_and_future(minutes: Iterable[int], now: int) -> tuple[int, ...]:
    """The latest of several minutes that has come, and all that are in the future."""
    ordered = sorted(set(minutes))
    return tuple(ordered[max(0, bisect_right(ordered, now) - 1) :])


class Ring:
    """The buckets of one family of metrics and the sums of its windows.

    `windows` are lengths in minutes; lengths over a day are whole hours. `now` is the minute of the clock, which never
    goes back. Buckets that are older than the longest window are deleted, and a booking there changes nothing.
    """

    def __init__(self, name: str, windows: Iterable[int]) -> None:
        self.name = name
        self.windows = tuple(sorted(set(windows)))
        self.now = -1
        # By minute: what was counted since the buckets were last needed. Users move from one minute to another, and
        # between two reports many of these changes cancel out. The rest is added to a few buckets.
        self._pending: dict[int, Bucket] = {}
        self._minutes: dict[int, Bucket] = {}
        self._hours: dict[int, Bucket] = {}
        self._scheduled: dict[int, dict[int, Bucket]] = {}
        self._whole_hours = {window: max(0, window // _HOUR - 1) for window in self.windows}
        # Minutes are kept for a day and the current hour, because a window up to a day may begin within an hour.
        self._longest = max(24, *self._whole_hours.values())
        # By window: the sum of its whole hours before the current one, without what is in `_late_amounts`.
        self._whole_hour_sums: dict[int, Bucket] = {window: {} for window in self.windows}
        self._late_amounts: dict[int, Bucket] = {}
        # The numbers of the buckets that have changed since the last call of `pages`.
        self._changed_minutes: set[int] = set()
        self._changed_hours: set[int] = set()
        self._changed_scheduled: set[int] = set()

    def book(self, bookings: Iterable[Booking], *, times: int = 1) -> None:
        """Add bookings, or remove them again with `times=-1`."""
        now = self.now
        forgotten = (now // _HOUR - self._longest) * _HOUR
        for booking in bookings:
            minute, until = booking.minute, booking.until
            if minute < forgotten:
                continue
            since = booking.since
            if until is not None and (until <= now or until <= (minute if since is None else since)):
                continue
            if since is None or since <= now:
                self._add_pending(minute, booking.amounts, times)
            else:
                self._schedule(since, minute, booking.amounts, times)
            if until is not None:
                self._schedule(until, minute, booking.amounts, -times)

    def _schedule(self, due: int, minute: int, amounts: Mapping[Any, int], times: int) -> None:
        """Count amounts in `minute` when the clock reaches the minute `due`."""
        add(self._scheduled.setdefault(due, {}).setdefault(minute, {}), amounts, times)
        self._changed_scheduled.add(due)

    def covers(self, minute: int) -> bool:
        """Whether a booking in this minute can still be in a window."""
        return minute >= (self.now // _HOUR - self._longest) * _HOUR

    def count(self, minute: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Add amounts that nothing supersedes, as `book` does."""
        if self.covers(minute):
            self._add_pending(minute, amounts, times)

    def put(self, minute: int, amounts: Bucket) -> None:
        """Count what was gathered of one minute, as `count` does."""
        if minute >= (self.now // _HOUR - self._longest) * _HOUR:
            self._add_to_buckets(minute, amounts)

    def _add_pending(self, minute: int, amounts: Mapping[Any, int], times: int) -> None:
        bucket = self._pending.get(minute)
        if bucket is None:
            bucket = self._pending[minute] = {}
        add(bucket, amounts, times)

    def _apply_pending(self) -> None:
        """Add what was counted to the buckets."""
        for minute, amounts in self._pending.items():
            if amounts:
                self._add_to_buckets(minute, amounts)
        self._pending.clear()

    def _add_to_buckets(self, minute: int, amounts: Bucket) -> None:
        hour = minute // _HOUR
        current = self.now // _HOUR
        bucket = self._hours.get(hour)
        if bucket is None:
            bucket = self._hours[hour] = {}
        add(bucket, amounts)
        self._changed_hours.add(hour)
        if hour >= current - 24:
            bucket = self._minutes.get(minute)
            if bucket is None:
                bucket = self._minutes[minute] = {}
            add(bucket, amounts)
            self._changed_minutes.add(minute)
        if hour < current:
            bucket = self._late_amounts.get(hour)
            if bucket is None:
                bucket = self._late_amounts[hour] = {}
            add(bucket, amounts)

    def advance(self, now: int) -> None:
        """Move the clock to the minute `now`. An earlier minute changes nothing."""
        if now <= self.now:
            return
        self._apply_pending()
        hour_passed = now // _HOUR != self.now // _HOUR
        self.now = now
        if hour_passed:
            self._drop_old_buckets()
        for until in sorted(minute for minute in self._scheduled if minute <= now):
            self.book(Booking(minute, amounts) for minute, amounts in self._scheduled.pop(until).items())
            self._changed_scheduled.add(until)

    def _drop_old_buckets(self) -> None:
        current = self.now // _HOUR
        for minute in [minute for minute in self._minutes if minute // _HOUR < current - 24]:
            del self._minutes[minute]
            self._changed_minutes.add(minute)
        for hour in [hour for hour in self._hours if hour < current - self._longest]:
            del self._hours[hour]
            self._changed_hours.add(hour)
        self._sum_whole_hours()

    def _sum_whole_hours(self) -> None:
        current = self.now // _HOUR
        hours = sorted(self._hours)
        summed: Bucket = {}
        since = bisect_left(hours, current)
        for window in self.windows:
            first = bisect_left(hours, current - self._whole_hours[window], hi=since)
            for hour in hours[first:since]:
                add(summed, self._hours[hour])
            since = first
            self._whole_hour_sums[window] = dict(summed)
        self._late_amounts.clear()

    def sums(self) -> dict[int, Bucket]:
        """The sum of each window now, by its length in minutes."""
        self._apply_pending()
        if not self._hours:  # all is empty, as in a family whose topic is not used
            return {window: {} for window in self.windows}
        current = self.now // _HOUR
        for hour, tally in self._late_amounts.items():
            for window, whole_hours in self._whole_hours.items():
                if hour >= current - whole_hours:
                    add(self._whole_hour_sums[window], tally)
        self._late_amounts.clear()
        return {window: self._sum(window) for window in self.windows}

    def _sum(self, window: int) -> Bucket:
        now, minutes = self.now, self._minutes
        this_hour = now - now % _HOUR
        if window < _HOUR:
            return total(minutes.get(minute, {}) for minute in range(now - window + 1, now + 1))
        summed = dict(self._whole_hour_sums[window])
        first = now - window + 1
        if window <= _DAY:
            first_whole = this_hour - self._whole_hours[window] * _HOUR
            for minute in range(first, first_whole):
                add(summed, minutes.get(minute, {}))
        for minute in range(this_hour, now + 1):
            add(summed, minutes.get(minute, {}))
        return summed

    def ahead(self, field: int) -> int:
        """The amount of a field that is booked in future minutes."""
        self._apply_pending()
        return sum(bucket.get(field, 0) for minute, bucket in self._minutes.items() if minute > self.now)

    def tallies(self) -> Iterator[Mapping[Field, int]]:
        """All that is booked, what is due included; what is in minutes is in hours too."""
        self._apply_pending()
        yield from self._hours.values()
        for due in self._scheduled.values():
            yield from due.values()

    def size(self) -> int:
        """The number of pages."""
        self._apply_pending()
        return len(self._minutes) + len(self._hours) + len(self._scheduled)

    def pages(self) -> Pages:
        """The pages that have changed since the last call, as key and value; the value is None for a deleted page."""
        self._apply_pending()
        changed: Iterable[tuple[str, dict[int, Any], set[int]]] = (
            ("due", self._scheduled, self._changed_scheduled),
            ("hour", self._hours, self._changed_hours),
            ("minute", self._minutes, self._changed_minutes),
        )
        for kind, held, numbers in changed:
            for number in sorted(numbers):
                page = held.get(number)
                if page is not None and not page:
                    del held[number]
                yield f"ring/{self.name}/{kind}/{number}".encode(), msgspec.msgpack.encode(page) if page else None
            numbers.clear()

    def restore(self, pages: Iterable[tuple[bytes, bytes]], *, now: int) -> None:
        """Load stored pages, which were written when the clock showed the minute `now`."""
        for key, value in pages:
            _, _, kind, number = key.decode().split("/")
            if kind == "minute":
                self._minutes[int(number)] = msgspec.msgpack.decode(value, type=Bucket)
            elif kind == "hour":
                self._hours[int(number)] = msgspec.msgpack.decode(value, type=Bucket)
            else:
                self._scheduled[int(number)] = msgspec.msgpack.decode(value, type=dict[int, Bucket])
        self.now = now
        self._sum_whole_hours()
