"""What a family of metrics is: the events it hears, what it keeps of each user, and the numbers it makes of that.

A family is a class in a module or package of this folder and a line in `registry.py`. Everything else takes it from
there: the inputs read its messages, a partition keeps its part of each user's row, checkpoints store its totals, and
report, /metrics, API, definitions, README and `compute` tell its numbers.

Each partition makes an instance of its own, which holds the family's totals: a ring of rolling windows, and a book of
local days for the closed ones. What is only counted goes into both at once (`count`); what is superseded, or counted
otherwise until some day, a family books in each by itself. Of each user the family keeps a *part* of the row. A part is
changed in place by the events that the family hears. When it changes for the first time since the totals were settled
it notes what is booked of it (`booked`), and waits in `changed`; `settle` takes that out of the totals and books what
it contributes now. So a user who is busy between two snapshots is booked once, and an event costs no copy of a row.

What a family may not do: read the part of another family. What follows from several is made from sums in the report.

What is known to come keeps to this:

- *Joining* makes one part of two, of a device and of a person. A family says how, as a function of two parts that is
  commutative, associative and idempotent; both parts note what is booked of them first, and one is left.
- *Erasing* takes a part out whole: it notes what is booked of it, is emptied, and is settled as any other change.
- *Closed twins*: what a family tells of a live window (`of_window`) it tells of a closed one too, under the name that
  `metrics.closed_twins` gives. A number that is made otherwise on closed days has a method of its own (`closed`).
- *Segments*: a field of a tally is a number, or a text for a number that counts under a value of a segment
  (`segments.fields_of`); amounts hold both, so a booking carries the values it counts under.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from stream.core.days import DayBook, OfWindows
from stream.core.events import Event, Nameless
from stream.core.messages import Messages
from stream.core.metrics import Metric, closed_name
from stream.core.ring import Pages, Ring
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally, add
from stream.core.time import MINUTE_MS, Span, minutes_of
from stream.core.windows import Windows, whole_days

Part = TypeVar("Part")

# Changes a part for events of one kind, in their order, when the clock shows a minute. Sets the flag of each event that
# has changed anything.
Heard = Callable[[Any, Sequence[Any], bytearray, int], None]


def one_by_one(hear: Callable[[Any, Any, int], bool]) -> Heard:
    """What hears events one after the other, by a function that tells whether one has changed anything."""

    def heard(part: Any, events: Sequence[Any], changed: bytearray, now: int) -> None:
        for place, event in enumerate(events):
            if hear(part, event, now):
                changed[place] = True

    return heard


@dataclass(frozen=True, slots=True)
class Horizon:
    """What can still come: no event from before `before_ms` is applied any more."""

    before_ms: int
    watermark_ms: int
    now: int  # the clock's minute


class Family(Generic[Part]):
    """One family of metrics in one partition."""

    name: ClassVar[str]  # of its totals, in keys of the state and in snapshots
    number: ClassVar[int]  # of its part in a stored row; never used again for another family
    windows: ClassVar[Windows]
    metrics: ClassVar[tuple[Metric, ...]]
    messages: ClassVar[tuple[Messages, ...]] = ()  # the kinds of native messages that it brings
    told_ahead: ClassVar[tuple[int, ...]] = ()  # fields of which is told what lies ahead of the clock

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lengths = {window: minutes_of(window) for window in rules.windows_of(self.windows)}
        self.ring = Ring(self.name, self.lengths.values())
        self.closed_lengths = whole_days(self.lengths)
        self.days = DayBook(self.name)
        self.changed: list[Part] = []  # parts that are not booked as they are now
        self._counted: dict[int, dict[Field, int]] = {}  # by minute: what is to be counted in ring and days
        self._span_counted = Span(rules.days)
        self._closed: dict[int, OfWindows] = {}  # closed days as they were told last

    @classmethod
    def stored_by(cls, rules: Rules) -> dict[str, str]:
        """The settings that what is stored depends on: state written under others would give wrong numbers."""
        return {f"windows.{cls.windows.name}": ",".join(rules.windows_of(cls.windows))}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def hears(self) -> Mapping[type[Event], Heard]:
        """The kinds of events that the family hears, each with what it does to a part; `Event` is all those not named.

        What a batch tells of one user is heard at once, kind by kind: no order of arrival makes a difference.
        """
        raise NotImplementedError

    def knows(self) -> Mapping[type[Nameless], Callable[[Part], Iterable[str]]]:
        """By what is told without saying of whom: the things of a part that may be meant."""
        return {}

    def new(self) -> Part:
        """The part of a user of whom the family knows nothing."""
        raise NotImplementedError

    def decode(self, stored: msgspec.Raw) -> Part:
        """A part from its stored bytes."""
        raise NotImplementedError

    def stored(self, part: Part) -> object:
        """What is stored of a part, as something that msgspec encodes; None when there is nothing to keep."""
        raise NotImplementedError

    def let_go(self, part: Part, horizon: Horizon) -> None:
        """Drop from a part what no event that is not late can change. What it contributed stays booked."""
        raise NotImplementedError

    def remembered(self, part: Part) -> Part | None:
        """What is still to be known of a user who comes back within `memory`; None where that is nothing.

        What a part contributed is in no window any more when all but this of it is dropped.
        """
        return None

    def last_ms(self, part: Part) -> int:
        """The last moment that anything in a part is of; 0 for an empty one."""
        raise NotImplementedError

    def reach_ms(self) -> int:
        """For how long after its last event a user's part is needed: as long as the longest window."""
        return max(self.lengths.values()) * MINUTE_MS

    # -- totals ----------------------------------------------------------------------------------------------------

    def day_of_minute(self, minute: int) -> int:
        """The local day in which a minute lies."""
        return self.rules.days.day_of(minute * MINUTE_MS)

    def count(self, minute: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Count what nothing supersedes, in its minute and on its day; it is there when the totals are settled."""
        counted = self._counted.get(minute)
        if counted is None:
            counted = self._counted[minute] = {}
        add(counted, amounts, times)

    def settle(self, now: int) -> None:
        """Bring the totals up to the parts and to the clock's minute."""
        self.ring.advance(now)
        if self.changed:
            self.book(self.changed)
            self.changed.clear()
        if self._counted:
            self._put_counted()
            self._counted.clear()

    def _put_counted(self) -> None:
        """Put what was counted where it is summed up: in buckets of the ring and on local days."""
        put, span, on = self.ring.put, self._span_counted, None
        for minute, amounts in self._counted.items():
            if amounts:
                put(minute, amounts)
                at_ms = minute * MINUTE_MS
                if on is None or not span.starts_ms <= at_ms < span.ends_ms:  # mostly all are of one day
                    span.end_of_day(at_ms)
                    on = self.days.on(self.rules.days.day_of(at_ms))
                add(on, amounts)

    def book(self, parts: list[Part]) -> None:
        """Take out what parts have noted as booked of them, and book what they contribute now."""
        raise NotImplementedError

    def sums(self, *, all_values: bool = False) -> Sums:
        """What the totals add to every live number now.

        With `all_values` every value of a segment is told of, also those that few users have.
        """
        live = self.ring.sums()
        return Sums(
            live={window: _numbered(tally) for window, tally in live.items()},
            ahead={field: count for field in self.told_ahead if (count := self.ring.ahead(field))},
            segments=self.segments_of(live, all_values=all_values),
            by_day=self.by_day_of(live),
        )

    def segments_of(self, live: Mapping[int, Mapping[Field, int]], *, all_values: bool) -> dict[str, dict[str, Tally]]:
        """What is told of values of segments, from the sums of windows: of all, or of those that many users have."""
        return {}

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """What is told by local day, from the sums of windows."""
        return {}

    def closed_days(self, first: int, last: int, *, first_known: int) -> dict[int, OfWindows]:
        """What each of these closed days says. `first_known` is the day of the partition's first event.

        A day is looked at again only when something was booked that may change it.
        """
        days = range(first, last + 1)
        for day in days:
            if day not in self._closed:
                self._closed[day] = self.closed_sums(day, first_known)
        return {day: self._closed[day] for day in days}

    def look_again(self) -> int | None:
        """The first day from which on closed days may say something else than before; None where all is the same."""
        touched, self.days.touched = self.days.touched, None
        if touched is not None and self._closed:
            self._closed = {day: told for day, told in self._closed.items() if day < touched}
        return touched

    def forget_closed(self, before: int) -> None:
        """Days before that one are told no more."""
        for day in [day for day in self._closed if day < before]:
            del self._closed[day]

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        """What the windows that end with a closed day hold. `first_known` is the day of the partition's first event."""
        return self.days.windows(day, self.closed_lengths)

    def closed_reach(self) -> int:
        """How many days back from a closed day its numbers reach."""
        return max(self.closed_lengths)

    def size(self) -> int:
        """How many pages the totals have."""
        return self.ring.size() + self.days.size()

    def pages(self) -> Pages:
        """The pages of the totals that have changed since the last call, as key and value; None where one is gone."""
        yield from self.ring.pages()
        yield from self.days.pages()

    def restore(self, stored: Callable[[bytes], Iterable[tuple[bytes, bytes]]], *, now: int, since: int | None) -> None:
        """Take over pages; `stored` gives those whose key begins so, days were kept from `since` on."""
        self.ring.restore(stored(f"ring/{self.name}/".encode()), now=now)
        self.days.restore(stored(f"days/{self.name}/".encode()), since=since)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        """The live numbers that sums make."""
        for window, length in self.lengths.items():
            yield from self.of_window({"window": window}, sums.live.get(length, {}))

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        """The numbers of one closed day. `whole_since` is the first day of which all is known."""
        for length in self.closed_lengths:
            for name, labels, value in self.of_window({"window": f"{length}d"}, of_windows.get(length, {})):
                yield Sample(closed_name(name), labels, value)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """The numbers that what one window holds makes, by their live names."""
        raise NotImplementedError


def _numbered(tally: Mapping[Field, int]) -> Tally:
    """A tally without the fields that are texts."""
    return {field: amount for field, amount in tally.items() if isinstance(field, int)}
