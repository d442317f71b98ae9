"""The book of local days: what the closed numbers are made of.

A closed day D says what the events before its end say, whatever happens later. So everything that is counted is booked
on a local day, and a booking tells from which day on it counts and until which: what is edited on Thursday counts on
Wednesday as it was, and from Thursday on as it is now. A window of several days ending with D is the sum of what its
days hold, as of D.

    Booking(3, {ANSWERS: 1})                    an answer of day 3, in every window that holds day 3
    Booking(3, {ANSWERS: 1}, until=5)           until day 5, on which it was taken back: in the windows of days 3 and 4
    Booking(3, {COMPLETED: 1}, since=4)         shown on day 3 and completed on day 4: not in those of day 3

A page holds what is booked on its day, and what begins or ceases to count on it of earlier days. It follows from what
happened on that day alone, so a day that is final never changes, pages of partitions add, and old ones are dropped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from stream.core.ring import Booking
from stream.core.tally import Field, add

Amounts = dict[Field, int]
# Of one closed day, by length of the window in days: what it holds.
OfWindows = dict[int, Amounts]


class Page(msgspec.Struct, array_like=True, gc=False):
    """What became known on one local day."""

    on: Amounts = {}  # booked on this day
    due: dict[int, Amounts] = {}  # by earlier day: what counts there from this day on, negative for what counts no more


class Version(NamedTuple):
    """How something was booked from the end of one day on, until another day."""

    since: int
    until: int
    bookings: Iterable[Booking]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Page).decode


class DayBook:
    """Pages by local day. In a `Booking` of it minutes are days."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.since: int | None = None  # the first day that is kept, once earlier ones were dropped
        self.first: int | None = None  # the first day on which anything was booked
        self.touched: int | None = None  # the earliest day changed since this was set to None
        self.versions: dict[int, int] = {}  # by day: how often what is booked on it was changed
        self._pages: dict[int, Page] = {}
        self._changed: set[int] = set()

    # -- booking ---------------------------------------------------------------------------------------------------

    def book(self, bookings: Iterable[Booking], *, times: int = 1) -> None:
        """Count bookings, or with `times=-1` take them out again."""
        for booking in bookings:
            day, amounts, until, since = booking.minute, booking.amounts, booking.until, booking.since
            begins = day if since is None or since < day else since
            if until is not None and until <= begins:
                continue
            if begins == day:
                self.count(day, amounts, times)
            else:
                self._put_due(begins, day, amounts, times)
            if until is not None:
                self._put_due(until, day, amounts, -times)

    def book_versions(self, final: Sequence[Booking], earlier: Iterable[Version], *, times: int = 1) -> None:
        """Beside what `final` books: that until some day it was otherwise."""
        for since, until, bookings in earlier:
            self.book(_clipped(bookings, since, until), times=times)
            self.book(_clipped(final, since, until), times=-times)

    def count(self, day: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Count on a day what changes no more."""
        add(self.on(day), amounts, times)

    def count_since(self, since: int, day: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Count on a day what counts there from the end of that or of a later day on."""
        if since == day:
            self.count(day, amounts, times)
        else:
            self._put_due(since, day, amounts, times)

    def on(self, day: int) -> Amounts:
        """What is booked on a day, to be added to."""
        if self.since is not None and day < self.since:
            return {}
        self.versions[day] = self.versions.get(day, 0) + 1
        return self._page(day).on

    def _put_due(self, due: int, day: int, amounts: Mapping[Any, int], times: int) -> None:
        if self.since is not None and day < self.since:
            return
        of_earlier = self._page(due).due
        held = of_earlier.get(day)
        if held is None:
            held = of_earlier[day] = {}
        add(held, amounts, times)
        if not held:
            del of_earlier[day]

    def _page(self, day: int) -> Page:
        page = self._pages.get(day)
        if page is None:
            page = self._pages[day] = Page({}, {})
            if self.first is None or day < self.first:
                self.first = day
        if day not in self._changed:
            self._changed.add(day)
        if self.touched is None or day < self.touched:
            self.touched = day
        return page

    def holds(self, day: int, amounts: Mapping[Field, int]) -> bool:
        """Whether these amounts are what is booked on a day, themselves."""
        page = self._pages.get(day)
        return page is not None and page.on is amounts

    @contextmanager
    def from_day_on(self, day: int) -> Iterator[None]:
        """What is booked meanwhile counts from the end of that day on, or later; days before it say what they said.

        So the bookings of somebody who is erased are taken out: what was superseded by then cancels out.
        """
        kept = self._pages, self._changed, self.touched, self.first, self.since, self.versions
        self._pages, self._changed, self.since, self.versions = {}, set(), None, {}
        try:
            yield
        finally:
            booked = self._pages
            self._pages, self._changed, self.touched, self.first, self.since, self.versions = kept
        for number, page in booked.items():
            if page.on:
                self.count_since(max(number, day), number, page.on)
            for earlier, amounts in page.due.items():
                self.count_since(max(number, day), earlier, amounts)

    # -- what closed days say --------------------------------------------------------------------------------------

    def as_of(self, day: int, first: int, last: int | None = None) -> Iterator[tuple[int, Mapping[Field, int]]]:
        """What the days from `first` to `last` (or to `day`) hold, as of the end of `day`; empty ones are left out."""
        last = day if last is None else last
        pages = self._between(first, day)
        changed: dict[int, Amounts] = {}
        for page in pages.values():
            for earlier, amounts in page.due.items():
                if first <= earlier <= last:
                    held = changed.get(earlier)
                    if held is None:
                        on = pages.get(earlier)
                        held = changed[earlier] = {} if on is None else on.on.copy()
                    add(held, amounts)
        for number in sorted({*pages, *changed}) if changed else pages:
            held = changed.get(number)
            if held is None:
                held = pages[number].on
            if held and number <= last:
                yield number, held

    def _between(self, first: int, last: int) -> dict[int, Page]:
        """The pages of days from `first` to `last`, in their order."""
        pages = self._pages
        if last - first < len(pages):
            return {number: page for number in range(first, last + 1) if (page := pages.get(number)) is not None}
        return {number: pages[number] for number in sorted(pages) if first <= number <= last}

    def windows(self, day: int, lengths: Sequence[int], *, ended_before: int = 0) -> OfWindows:
        """What the windows of these lengths hold that end with `day`, or so many days before it, as of its end."""
        result: OfWindows = {}
        ordered = sorted(lengths)
        last = day - ended_before
        held = [*self.as_of(day, last - ordered[-1] + 1, last)] if ordered else []
        summed: Amounts = {}
        for length in ordered:
            while held and held[-1][0] > last - length:
                add(summed, held.pop()[1])
            result[length] = dict(summed)
        return result

    # -- keeping ---------------------------------------------------------------------------------------------------

    def tallies(self) -> Iterator[Mapping[Field, int]]:
        """All that is booked, what is due included."""
        for page in self._pages.values():
            yield page.on
            yield from page.due.values()

    def size(self) -> int:
        """The number of pages."""
        return len(self._pages)

    def forget_before(self, day: int) -> None:
        """Drop the pages of earlier days: no window that can still change reaches them."""
        gone = [old for old in self._pages if old < day]
        if gone:
            self.since = day
            self._changed.update(gone)
            for old in gone:
                del self._pages[old]
                self.versions.pop(old, None)

    def pages(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The pages that have changed since the last call, as key and value; the value is None for a deleted page."""
        for day in sorted(self._changed):
            page = self._pages.get(day)
            if page is not None and not page.on and not page.due:
                del self._pages[day]
                page = None
            yield f"days/{self.name}/{day}".encode(), None if page is None else _encode(page)
        self._changed.clear()

    def restore(self, pages: Iterable[tuple[bytes, bytes]], *, since: int | None) -> None:
        """Load stored pages. `since` is the first day whose page was kept, or None if all were."""
        for key, value in pages:
            self._pages[int(key.rsplit(b"/", 1)[1])] = _decode(value)
        self.since = since
        self.first = min(self._pages, default=None)


def by_day(bookings: Iterable[Booking], day_of_minute: Callable[[int], int]) -> list[Booking]:
    """Bookings of minutes as bookings of the days in which these lie."""
    return [
        Booking(
            day_of_minute(minute),
            amounts,
            None if until is None else day_of_minute(until),
            None if since is None else day_of_minute(since),
        )
        for minute, amounts, until, since in map(_fields, bookings)
    ]


def _fields(booking: Booking) -> tuple[int, Mapping[Any, int], int | None, int | None]:
    return booking.minute, booking.amounts, booking.until, booking.since


def _clipped(bookings: Iterable[Booking], since: int, until: int) -> Iterator[Booking]:
    """What bookings count from the end of one day on until another day."""
    for day, amounts, their_until, their_since in map(_fields, bookings):
        begins = max(day if their_since is None else their_since, since)
        ends = until if their_until is None else min(their_until, until)
        if begins < ends and day < ends:
            yield Booking(day, amounts, ends, begins)
