"""Rolling windows as sums of time buckets.

Everything that is counted is booked in the minute in which it begins to count. A window is then a sum of buckets:
the minutes at its edges and the whole hours between them. What does not count yet lies in a minute that has not
come, and enters by itself as the clock passes: no timers.

Of some things only the latest counts: a user's last activity, a user's last NPS answer. Such a booking is made
*until* the minute of the next one. While that minute lies ahead of the clock the booking stays, and a debit that
falls due then takes it out. What is booked *since* a minute ahead is a credit that falls due then.

Nothing counts before its minute has come, and windows end with the current minute. Windows longer than a day begin
with a whole hour.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.tally import Field, add, total

_HOUR = 60
_DAY = 24 * _HOUR

Bucket = dict[Field, int]
Pages = Iterator[tuple[bytes, bytes | None]]


class Booking(msgspec.Struct, frozen=True, gc=False):
    """What one thing contributes: `amounts`, from a minute on, until another minute if it is then superseded.

    `since` is for what is known only later to count in its minute: until then it counts nowhere.
    """

    minute: int
    amounts: Mapping[Any, int]
    until: int | None = None
    since: int | None = None


def successive(minutes: Sequence[tuple[int, Mapping[Any, int]]]) -> list[Booking]:
    """Bookings of things of which only the latest counts, given in order of time."""
    following: list[int | None] = [*(minute for minute, _ in minutes[1:]), None]
    return [Booking(*latest, until) for latest, until in zip(minutes, following, strict=False)]


def latest(minutes: Sequence[int], amounts: Mapping[Any, int]) -> list[Booking]:
    """The same of one thing that counts alike in each of these minutes, given in order."""
    if len(minutes) == 1:  # the common case, fast
        return [Booking(minutes[0], amounts)]
    return successive([(minute, amounts) for minute in minutes])


def second_latest(minutes: Sequence[int], amounts: Mapping[Any, int]) -> list[Booking]:
    """Bookings of one thing that counts where it happened the last time but one: it then has happened twice since.

    Of the minutes, given in order, each becomes the last but one when the next of them comes.
    """
    following: list[int | None] = [*minutes[2:], None]
    return [
        Booking(before, amounts, until, since)
        for before, since, until in zip(minutes, minutes[1:], following, strict=False)
    ]


class Ring:
    """The buckets of one group of metrics and the sums of its windows.

    `windows` are lengths in minutes; lengths over a day are whole hours. `now` is the clock's minute; it never goes
    back. Buckets older than the longest window are forgotten, and booking there changes nothing.
    """

    def __init__(self, name: str, windows: Iterable[int]) -> None:
        self.name = name
        self.windows = tuple(sorted(set(windows)))
        self.now = -1
        # What was counted since buckets were last asked for, by minute: of things that move from one minute to another
        # much cancels between two reports, and what is left is put into few buckets.
        self._counted: dict[int, Bucket] = {}
        self._minutes: dict[int, Bucket] = {}
        self._hours: dict[int, Bucket] = {}
        self._due: dict[int, dict[int, Bucket]] = {}
        self._whole_hours = {window: max(0, window // _HOUR - 1) for window in self.windows}
        # Minutes are kept for a day and the current hour: windows up to a day begin within an hour.
        self._longest = max(24, *self._whole_hours.values())
        # Sums of each window's whole hours before the current one, but for what `_belated` holds by hour.
        self._earlier: dict[int, Bucket] = {window: {} for window in self.windows}
        self._belated: dict[int, Bucket] = {}
        # Numbers of the buckets changed since `pages` were told.
        self._changed_minutes: set[int] = set()
        self._changed_hours: set[int] = set()
        self._changed_due: set[int] = set()

    def book(self, bookings: Iterable[Booking], *, times: int = 1) -> None:
        """Count bookings, or with `times=-1` take them out again."""
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
                self._put(minute, booking.amounts, times)
            else:
                self._put_when_due(since, minute, booking.amounts, times)
            if until is not None:
                self._put_when_due(until, minute, booking.amounts, -times)

    def _put_when_due(self, due: int, minute: int, amounts: Mapping[Any, int], times: int) -> None:
        """Count amounts in `minute` as soon as the minute `due` has come."""
        add(self._due.setdefault(due, {}).setdefault(minute, {}), amounts, times)
        self._changed_due.add(due)

    def remembers(self, minute: int) -> bool:
        """Whether a booking in this minute can still count."""
        return minute >= (self.now // _HOUR - self._longest) * _HOUR

    def count(self, minute: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Count what is never superseded, as `book` does."""
        if self.remembers(minute):
            self._put(minute, amounts, times)

    def put(self, minute: int, amounts: Bucket) -> None:
        """Count what was gathered of one minute, as `count` does."""
        if minute >= (self.now // _HOUR - self._longest) * _HOUR:
            self._put_into_buckets_of(minute, amounts)

    def _put(self, minute: int, amounts: Mapping[Any, int], times: int) -> None:
        bucket = self._counted.get(minute)
        if bucket is None:
            bucket = self._counted[minute] = {}
        add(bucket, amounts, times)

    def _put_into_buckets(self) -> None:
        """Put what was counted where it is summed up."""
        for minute, amounts in self._counted.items():
            if amounts:
                self._put_into_buckets_of(minute, amounts)
        self._counted.clear()

    def _put_into_buckets_of(self, minute: int, amounts: Bucket) -> None:
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
            bucket = self._belated.get(hour)
            if bucket is None:
                bucket = self._belated[hour] = {}
            add(bucket, amounts)

    def advance(self, now: int) -> None:
        """Move the clock to the minute `now`. An earlier one changes nothing."""
        if now <= self.now:
            return
        self._put_into_buckets()
        hour_passed = now // _HOUR != self.now // _HOUR
        self.now = now
        if hour_passed:
            self._forget()
        for until in sorted(minute for minute in self._due if minute <= now):
            self.book(Booking(minute, amounts) for minute, amounts in self._due.pop(until).items())
            self._changed_due.add(until)

    def _forget(self) -> None:
        current = self.now // _HOUR
        for minute in [minute for minute in self._minutes if minute // _HOUR < current - 24]:
            del self._minutes[minute]
            self._changed_minutes.add(minute)
        for hour in [hour for hour in self._hours if hour < current - self._longest]:
            del self._hours[hour]
            self._changed_hours.add(hour)
        self._sum_earlier_hours()

    def _sum_earlier_hours(self) -> None:
        current = self.now // _HOUR
        summed: Bucket = {}
        since = current
        for window in self.windows:
            first = current - self._whole_hours[window]
            for hour in range(first, since):
                add(summed, self._hours.get(hour, {}))
            since = min(since, first)
            self._earlier[window] = dict(summed)
        self._belated.clear()

    def sums(self) -> dict[int, Bucket]:
        """What each window holds now, by its length in minutes."""
        self._put_into_buckets()
        current = self.now // _HOUR
        for hour, tally in self._belated.items():
            for window, whole_hours in self._whole_hours.items():
                if hour >= current - whole_hours:
                    add(self._earlier[window], tally)
        self._belated.clear()
        return {window: self._sum(window) for window in self.windows}

    def _sum(self, window: int) -> Bucket:
        now, minutes = self.now, self._minutes
        this_hour = now - now % _HOUR
        if window < _HOUR:
            return total(minutes.get(minute, {}) for minute in range(now - window + 1, now + 1))
        summed = dict(self._earlier[window])
        first = now - window + 1
        if window <= _DAY:
            first_whole = this_hour - self._whole_hours[window] * _HOUR
            for minute in range(first, first_whole):
                add(summed, minutes.get(minute, {}))
        for minute in range(this_hour, now + 1):
            add(summed, minutes.get(minute, {}))
        return summed

    def ahead(self, field: int) -> int:
        """How much of a field lies in minutes that have not come."""
        self._put_into_buckets()
        return sum(bucket.get(field, 0) for minute, bucket in self._minutes.items() if minute > self.now)

    def tallies(self) -> Iterator[Mapping[Field, int]]:
        """All that is booked, what is due included; what is in minutes is in hours too."""
        self._put_into_buckets()
        yield from self._hours.values()
        for due in self._due.values():
            yield from due.values()

    def size(self) -> int:
        """How many pages it holds."""
        self._put_into_buckets()
        return len(self._minutes) + len(self._hours) + len(self._due)

    def pages(self) -> Pages:
        """The pages changed since the last call, as key and value; None where a page is gone."""
        self._put_into_buckets()
        changed: Iterable[tuple[str, dict[int, Any], set[int]]] = (
            ("due", self._due, self._changed_due),
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
        """Take over pages written before, as they were when the clock showed the minute `now`."""
        for key, value in pages:
            _, _, kind, number = key.decode().split("/")
            if kind == "minute":
                self._minutes[int(number)] = msgspec.msgpack.decode(value, type=Bucket)
            elif kind == "hour":
                self._hours[int(number)] = msgspec.msgpack.decode(value, type=Bucket)
            else:
                self._due[int(number)] = msgspec.msgpack.decode(value, type=dict[int, Bucket])
        self.now = now
        self._sum_earlier_hours()
