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
  (`segments.fields_of`); amounts hold both, so a booking carries the values it counts under. What is counted so, and in
  which windows it is told, says `by_segment`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from stream.core import segments
from stream.core.days import DayBook, OfWindows
from stream.core.events import Event, Nameless
from stream.core.messages import Messages
from stream.core.metrics import Metric, closed_name, segment_name
from stream.core.ring import Pages, Ring
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import NOT_TOLD, OTHER, SEGMENTS, UNKNOWN, Named, Values
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally, add
from stream.core.time import DAY_MS, MINUTE_MS, Span, minutes_of
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


@dataclass(frozen=True, slots=True)
class BySegment:
    """What a family counts by segment too."""

    metrics: tuple[str, ...]  # by name without prefix, as the setting `segments.metrics` has them
    windows: Windows  # those of the family's that it is told of
    fields: Mapping[str, tuple[int, ...]]  # by the letter of what is counted: the fields of the whole that it adds to


# What is known of each value of one segment: by length of the window what it holds.
_OfValues = dict[str, dict[int, dict[int, int]]]


class Family(Generic[Part]):
    """One family of metrics in one partition."""

    name: ClassVar[str]  # of its totals, in keys of the state and in snapshots
    number: ClassVar[int]  # of its part in a stored row; never used again for another family
    windows: ClassVar[Windows]
    metrics: ClassVar[tuple[Metric, ...]]
    messages: ClassVar[tuple[Messages, ...]] = ()  # the kinds of native messages that it brings
    told_ahead: ClassVar[tuple[int, ...]] = ()  # fields of which is told what lies ahead of the clock
    by_segment: ClassVar[BySegment | None] = None  # None: nothing

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lengths = {window: minutes_of(window) for window in rules.windows_of(self.windows)}
        self.ring = Ring(self.name, self.lengths.values())
        self.closed_lengths = whole_days(self.lengths)
        self.days = DayBook(self.name)
        names = self.names_by_segment(rules)
        self.segments = rules.segments if names else ()  # by which something is counted
        self.segment_lengths = self._segment_lengths(rules)
        self._names_by_segment = names
        self.share(segments.Apart())
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

    # -- what is counted by segment --------------------------------------------------------------------------------

    @classmethod
    def names_by_segment(cls, rules: Rules) -> frozenset[str]:
        """The names of the whole's numbers that are told by segment: those that are asked for, and their parts."""
        if cls.by_segment is None or not rules.segments:
            return frozenset()
        asked = rules.segment_metrics
        wanted = {f"engagement_{name}" for name in cls.by_segment.metrics if asked is None or name in asked}
        told = [metric for metric in cls.metrics if metric.name in wanted]
        return frozenset(name for metric in told for name in (*metric.names, *metric.parts))

    def share(self, apart: segments.Apart) -> None:
        """Count those values apart that the families of a partition keep apart together."""
        self.apart = apart
        # Of the values that an event tells those that count here.
        self.counted: Callable[[Values], Values] = apart.of if self.segments is SEGMENTS else self._counted_of

    def _counted_of(self, values: Values) -> Values:
        return self.apart.of(segments.only(values, self.segments)) if self.segments else NOT_TOLD

    def _segment_lengths(self, rules: Rules) -> dict[str, int]:
        """The windows that are told by segment, with their lengths in minutes."""
        if not self.segments or self.by_segment is None:
            return {}
        told = rules.windows_of(self.by_segment.windows)
        return {window: length for window, length in self.lengths.items() if window in told}

    def closed_segment_lengths(self) -> dict[str, int]:
        """Those of whole days, with their lengths in days."""
        days = (divmod(length * MINUTE_MS, DAY_MS) for length in self.segment_lengths.values())
        return {f"{count}d": count for count, rest in days if not rest}

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

    def sums(self) -> Sums:
        """What the totals add to every live number now, with every value of a segment."""
        live = self.ring.sums()
        return Sums(
            live={window: _numbered(tally) for window, tally in live.items()},
            ahead={field: count for field in self.told_ahead if (count := self.ring.ahead(field))},
            segments={length: segments.of_values(live[length]) for length in self.segment_lengths.values()},
            by_day=self.by_day_of(live),
        )

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
        found = [book.touched for book in self.books() if book.touched is not None]
        for book in self.books():
            book.touched = None
        touched = min(found, default=None)
        if touched is not None and self._closed:
            self._closed = {day: told for day, told in self._closed.items() if day < touched}
        return touched

    def forget_closed(self, before: int) -> None:
        """Days before that one are told no more."""
        for day in [day for day in self._closed if day < before]:
            del self._closed[day]

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        """What the windows that end with a closed day hold. `first_known` is the day of the partition's first event."""
        told = self.days.windows(day, self.closed_lengths)
        by_segment = self.closed_segment_lengths().values()
        return {
            length: tally if length in by_segment else segments.without_values(tally) for length, tally in told.items()
        }

    def closed_reach(self) -> int:
        """How many days back from a closed day its numbers reach."""
        return max(self.closed_lengths)

    def books(self) -> tuple[DayBook, ...]:
        """What is booked by local day."""
        return (self.days,)

    def value_fields(self) -> Iterator[Field]:
        """The fields of values that are booked anywhere, some of them more than once."""
        for tally in (*self.ring.tallies(), *(tally for book in self.books() for tally in book.tallies())):
            yield from filter(segments.is_of_value, tally)

    def size(self) -> int:
        """How many pages the totals have."""
        return self.ring.size() + sum(book.size() for book in self.books())

    def pages(self) -> Pages:
        """The pages of the totals that have changed since the last call, as key and value; None where one is gone."""
        yield from self.ring.pages()
        for book in self.books():
            yield from book.pages()

    def restore(
        self, stored: Callable[[bytes], Iterable[tuple[bytes, bytes]]], *, now: int, days_since: Mapping[str, int]
    ) -> None:
        """Take over pages; `stored` gives those whose key begins so. `days_since` tells from when on days were kept."""
        self.ring.restore(stored(f"ring/{self.name}/".encode()), now=now)
        for book in self.books():
            book.restore(stored(f"days/{book.name}/".encode()), since=days_since.get(book.name))

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        """The live numbers that sums make."""
        for window, length in self.lengths.items():
            yield from self.of_window({"window": window}, sums.live.get(length, {}))

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        """The numbers of one closed day. `whole_since` is the first day of which all is known."""
        for length in self.closed_lengths:
            whole = segments.without_values(of_windows.get(length, {}))
            for name, labels, value in self.of_window({"window": f"{length}d"}, whole):
                yield Sample(closed_name(name), labels, value)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """The numbers that what one window holds makes, by their live names."""
        raise NotImplementedError

    # -- numbers by segment ----------------------------------------------------------------------------------------

    def live_by_segment(self, sums: Sums, named: Named) -> Iterator[Sample]:
        """The live numbers of each value that has a name, of `other` and of `unknown`.

        Raises ValueError where the values of a segment are more than the whole.
        """
        for name, labels, value in self._by_segment(sums.live, sums.segments, self.segment_lengths, named):
            yield Sample(segment_name(name), labels, value)

    def closed_by_segment(self, of_windows: OfWindows, named: Named) -> Iterator[Sample]:
        """The same of a closed day."""
        for name, labels, value in self._by_segment(of_windows, of_windows, self.closed_segment_lengths(), named):
            yield Sample(closed_name(segment_name(name)), labels, value)

    def _by_segment(
        self,
        whole: Mapping[int, Mapping[Any, int]],
        by_value: Mapping[int, Mapping[Field, int]],
        lengths: Mapping[str, int],
        named: Named,
    ) -> Iterator[Sample]:
        if not lengths:
            return
        longest = max(lengths.values())
        for segment, values in self._sorted_by_value(by_value, lengths.values(), named).items():
            values[UNKNOWN] = self._unknown(segment, whole, values, lengths.values())
            for value, of_windows in values.items():
                if not any(of_windows.get(longest, {}).values()):
                    continue  # absent, as a value that nobody ever had
                for name, labels, amount in self.of_value(of_windows, lengths):
                    if name in self._names_by_segment:
                        yield Sample(name, {**labels, "segment": segment, "value": value}, amount)

    def _sorted_by_value(
        self, by_value: Mapping[int, Mapping[Field, int]], lengths: Iterable[int], named: Named
    ) -> dict[str, _OfValues]:
        """What each value with a name holds, and `other`, by segment."""
        assert self.by_segment is not None
        found: dict[str, _OfValues] = {segment: {value: {} for value in named[segment]} for segment in self.segments}
        for length in lengths:
            for field, amount in by_value.get(length, {}).items():
                if segments.is_of_value(field):
                    segment, what, value = segments.parsed(field)
                    if segment in found:
                        own = found[segment].setdefault(value if value in found[segment] else OTHER, {})
                        held = own.setdefault(length, {})
                        for number in self.by_segment.fields[what]:
                            held[number] = held.get(number, 0) + amount
        return found

    def _unknown(
        self, segment: str, whole: Mapping[int, Mapping[Any, int]], values: _OfValues, lengths: Iterable[int]
    ) -> dict[int, dict[int, int]]:
        """What of the whole was never told a value."""
        assert self.by_segment is not None
        numbers = sorted({number for counted in self.by_segment.fields.values() for number in counted})
        unknown: dict[int, dict[int, int]] = {}
        for length in lengths:
            held, all_of_it = unknown.setdefault(length, {}), whole.get(length, {})
            for number in numbers:
                told = sum(of_windows.get(length, {}).get(number, 0) for of_windows in values.values())
                held[number] = all_of_it.get(number, 0) - told
                if held[number] < 0:
                    raise ValueError(f"the values of {segment} in {self.name} are {-held[number]} more than there are")
        return unknown

    def of_value(self, of_windows: Mapping[int, Mapping[int, int]], lengths: Mapping[str, int]) -> Iterator[Sample]:
        """The numbers that what the windows hold of one value makes, by the names of the whole."""
        for window, length in lengths.items():
            yield from self.of_window({"window": window}, of_windows.get(length, {}))


def _numbered(tally: Mapping[Field, int]) -> Tally:
    """A tally without the fields that are texts."""
    return {field: amount for field, amount in tally.items() if isinstance(field, int)}
