"""The ledger of closed days: how many distinct users any window of complete local days has.

A day on which a user was active covers the windows that end on it or within the n days from it, up to the user's next
active day. So the users of any closed window are a sum, and a day that becomes known late corrects it.
"""

from collections.abc import Iterable, Iterator

import msgspec

from stream.core.tally import Tally, add


class DayLedger:
    """Distinct users of each closed window of days: `days` of them, ending with any day.

    Kept as changes from one day to the next, a field for each window length, so that users and partitions add.
    """

    def __init__(self, name: str, lengths: Iterable[int]) -> None:
        self.name = name
        self.lengths = tuple(lengths)
        self._changes: dict[int, Tally] = {}
        self._before: Tally = {}  # the sum of changes on days that are kept no more
        self.since: int | None = None  # the first day kept, once some before it are not
        self._changed: set[int] = set()

    def book(self, old: list[int], new: list[int], *, users: int = 1) -> None:
        """The active days of so many users, in order, were `old` and are `new`."""
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
            yield f"days/{self.name}/{day}".encode(), msgspec.msgpack.encode(page) if page else None
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
