"""The ledger of closed days: how many distinct users any window of complete local days has.

A user who was active on a day counts in all windows of n days that end on that day or on one of the n - 1 days after
it. The next active day of the user extends this range of days. The ledger stores at which days such ranges begin and
end. So the users of any closed window are a sum, and an active day that becomes known late corrects it.
"""

from collections.abc import Iterable, Iterator

import msgspec

from stream.core.tally import Tally, add


class DayLedger:
    """Distinct users of each closed window: of each length in days, and ending with any day.

    It stores the change of the number of users from one day to the next, with a field for each window length. Such
    changes of several users or partitions can be added.
    """

    def __init__(self, name: str, lengths: Iterable[int]) -> None:
        self.name = name
        self.lengths = tuple(lengths)
        self._changes: dict[int, Tally] = {}
        self._before: Tally = {}  # the sum of the changes on days that are not stored one by one any more
        self.since: int | None = None  # the first day that is stored by itself; None as long as all are
        self._changed: set[int] = set()

    def book(self, old: list[int], new: list[int], *, users: int = 1) -> None:
        """Replace the active days `old` of so many users by `new`. Both are in order."""
        before, after = set(self._changes_of(old)), set(self._changes_of(new))
        for day, length, change in before - after:
            self._put(day, length, -change * users)
        for day, length, change in after - before:
            self._put(day, length, change * users)

    def _changes_of(self, days: list[int]) -> Iterator[tuple[int, int, int]]:
        for index, day in enumerate(days):
            following = days[index + 1] if index + 1 < len(days) else None
            preceding = days[index - 1] if index else None
            for length in self.lengths:
                # If the windows of one day reach the next active day, the range goes on: it has no end here, and the
                # next day begins no new one.
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
        """By day from `first` to `last`: the users of each window length."""
        running = dict(self._before)
        for day in sorted(day for day in self._changes if day < first):
            add(running, self._changes[day])
        result = {}
        for day in range(first, last + 1):
            add(running, self._changes.get(day, {}))
            result[day] = dict(running)
        return result

    def first_day(self) -> int | None:
        """The first day that is stored, or None before the first event."""
        if self.since is not None:
            return self.since
        return min((day for day, page in self._changes.items() if page), default=None)

    def size(self) -> int:
        """The number of pages."""
        return len(self._changes) + bool(self._before)

    def forget_before(self, day: int) -> None:
        """Store days one by one only from `day` on, and earlier ones as one sum. Does nothing if none is earlier."""
        first = self.first_day()
        if first is None or day <= first:
            return
        self.since = day
        for old in [old for old in self._changes if old < day]:
            add(self._before, self._changes.pop(old))
            self._changed.update((old, -1))

    def pages(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The pages that have changed since the last call, as key and value; the value is None for a deleted page."""
        for day in sorted(self._changed):
            page = self._before if day == -1 else self._changes.get(day)
            if not page:
                self._changes.pop(day, None)
            yield f"days/{self.name}/{day}".encode(), msgspec.msgpack.encode(page) if page else None
        self._changed.clear()

    def restore(self, pages: Iterable[tuple[bytes, bytes]], *, since: int | None) -> None:
        """Load stored pages. `since` is the first day that was stored by itself, or None if all were."""
        for key, value in pages:
            day = int(key.rsplit(b"/", 1)[1])
            page = msgspec.msgpack.decode(value, type=Tally)
            if day == -1:
                self._before = page
            else:
                self._changes[day] = page
        self.since = since
