"""Running totals: what holds at a moment, made of all changes up to it.

Windows sum up what lies in them. Other numbers have no window: how many subscribe now, what was ever paid. A ledger has
the changes by local day, and what it says at the end of a closed day D is the sum of those up to D. Changes of days
that are final are added up to one sum, so a ledger stays small however old it is.

    ledger.change(3, {ACTIVE: 1})               active from day 3 on
    ledger.change(5, {ACTIVE: -1})              until day 5

Live numbers hold nothing whose minute has not come: what is still to come is noted by its minute too (`put_ahead`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from stream.core.tally import Field, add

Amounts = dict[Field, int]

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Amounts] = msgspec.msgpack.Decoder(Amounts).decode

_BEFORE, _AHEAD = "before", "ahead-"


class Ledger:
    """The changes of one partition by local day."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.since: int | None = None  # changes of earlier days are one sum
        self.touched: int | None = None  # the earliest day changed since this was set to None
        self._before: Amounts = {}
        self._days: dict[int, Amounts] = {}
        self._ahead: dict[int, Amounts] = {}  # by minute: what does not hold yet
        self._total: Amounts = {}  # of all days, those to come included
        self._changed: set[str] = set()
        self._from_day = 0  # changes of earlier days are changes of this one

    # -- booking ---------------------------------------------------------------------------------------------------

    def change(self, day: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Change what holds at the end of a day and of all later ones."""
        day = max(day, self._from_day)
        if self.since is not None and day < self.since:
            self._changed.add(_BEFORE)
            add(self._before, amounts, times)
        else:
            self._changed.add(str(day))
            add(self._days.setdefault(day, {}), amounts, times)
        add(self._total, amounts, times)
        if self.touched is None or day < self.touched:
            self.touched = day

    @contextmanager
    def from_day_on(self, day: int) -> Iterator[None]:
        """What is changed meanwhile changes from that day on, or later; days before it say what they said."""
        self._from_day = day
        try:
            yield
        finally:
            self._from_day = 0

    def put_ahead(self, minute: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Note that some of the changes don't hold before a minute, which has not come."""
        self._changed.add(f"{_AHEAD}{minute}")
        add(self._ahead.setdefault(minute, {}), amounts, times)

    def advance(self, now: int) -> None:
        """Move the clock to a minute."""
        for minute in [minute for minute in self._ahead if minute <= now]:
            self._changed.add(f"{_AHEAD}{minute}")
            del self._ahead[minute]

    # -- what it says ----------------------------------------------------------------------------------------------

    def now(self) -> Amounts:
        """What holds at the minute of the clock."""
        held = dict(self._total)
        for amounts in self._ahead.values():
            add(held, amounts, -1)
        return held

    def as_of(self, day: int) -> Amounts:
        """What holds at the end of a day, which is not before `since`."""
        held = dict(self._before)
        for number, amounts in self._days.items():
            if number <= day:
                add(held, amounts)
        return held

    # -- keeping ---------------------------------------------------------------------------------------------------

    def tallies(self) -> Iterator[Mapping[Field, int]]:
        """All that is booked."""
        yield from (self._before, *self._days.values())

    def size(self) -> int:
        """The number of pages."""
        return sum(map(bool, (self._before, *self._days.values(), *self._ahead.values())))

    def forget_before(self, day: int) -> None:
        """Add up the changes of earlier days: no closed day will be asked for that lies among them."""
        gone = [old for old in self._days if old < day]
        if gone:
            self.since = day
            self._changed.add(_BEFORE)
            for old in gone:
                self._changed.add(str(old))
                add(self._before, self._days.pop(old))

    def pages(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The pages that have changed since the last call, as key and value; the value is None for a deleted page."""
        for name in sorted(self._changed):
            page = self._page(name)
            yield f"days/{self.name}/{name}".encode(), _encode(page) if page else None
        self._changed.clear()

    def _page(self, name: str) -> Amounts | None:
        if name == _BEFORE:
            return self._before
        if name.startswith(_AHEAD):
            return self._ahead.get(int(name.removeprefix(_AHEAD)))
        return self._days.get(int(name))

    def restore(self, pages: Iterable[tuple[bytes, bytes]], *, since: int | None) -> None:
        """Load stored pages. `since` is the first day whose changes are kept apart, or None if all are."""
        for key, value in pages:
            name, amounts = key.decode().rsplit("/", 1)[1], _decode(value)
            if name.startswith(_AHEAD):
                self._ahead[int(name.removeprefix(_AHEAD))] = amounts
                continue
            if name == _BEFORE:
                self._before = amounts
            else:
                self._days[int(name)] = amounts
            add(self._total, amounts)
        self.since = since
