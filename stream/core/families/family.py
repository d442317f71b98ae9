"""A family of metrics: the events that it processes, what it stores of each user, and the numbers that follow.

A family is a class in a module or package of this folder, and a line in `registry.py`. Everything else uses that list:
the inputs read its messages, a partition has its part of each user's row, checkpoints store its totals, and the report,
/metrics, the API, the definitions, METRICS.md and `compute` show its numbers.

Each partition has an instance of its own with the totals of the family: a ring of rolling windows, and a book of local
days for the closed ones. What is only counted goes into both at once (`count`). What is superseded, or counts otherwise
until some day, a family books in each by itself. The family stores a *part* of the row of each user. The events that
the family processes change a part in place. Before its first change since the totals were updated, the part records
what is booked of it (`booked`) and is added to `changed`. `update_totals` takes the recorded contribution out of the
totals and books what the part contributes now. So a user with many events between two snapshots is booked once, and an
event makes no copy of a row.

A family may not read the part of another family. A number that needs several families is calculated from their sums, in
the report. Where it needs what two families know of the same user, one of them passes on what it has found out, as an
event (`conclusions`). Only what follows from most of what is known of a user, such as a health score, has a family that
is given the parts of others (`derives_from`).

Somebody may be *erased* (`erase`): all that is booked of the part is booked again, taken away (`take_out`); in closed
days from the day of the erasure on. What `prune` drops stays booked, so where people may be erased, the family notes it
with `remember`: it is kept in the row, and taken out with the rest.

Features that will come have to fit into this:

- *Joining* makes one part of two, of a device and of a person. A family defines it as a function of two parts that is
  commutative, associative and idempotent. Both parts first record what is booked of them, and one of them remains.
- *Closed twins*: the numbers that a family has of a live window (`of_window`) it has of a closed window too, under the
  name that `metrics.closed_twins` gives. Numbers that are calculated otherwise for closed days have a method of their
  own (`closed`).
- *Segments*: a field of a tally is a number, or a text if it counts under a value of a segment (`segments.fields_of`).
  Amounts may have both, so a booking has the values under which it counts. `by_segment` says what is counted so, and in
  which windows it is shown.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from stream.core import segments
from stream.core.days import DayBook, OfWindows
from stream.core.events import Event, EventWithoutUser
from stream.core.ledger import Ledger
from stream.core.messages import MessageKind
from stream.core.metrics import Metric, closed_name, segment_name
from stream.core.readable import readable
from stream.core.ring import Pages, Ring
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import NO_ATTRIBUTES, OTHER, SEGMENTS, UNKNOWN, AttributeValues, Named
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally, add
from stream.core.time import DAY_MS, MINUTE_MS, Span, minutes_of
from stream.core.user_scores import Scores
from stream.core.windows import Windows, whole_days

Part = TypeVar("Part")

# Applies events of one kind to a part, in their order: (part, events, changed, minute of the clock). It sets
# `changed[index]` for each event that has changed anything.
EventHandler = Callable[[Any, Sequence[Any], bytearray, int], None]


def one_by_one(handler: Callable[[Any, Any, int], bool]) -> EventHandler:
    """Make an event handler of a function that applies one event and returns whether it has changed anything."""

    def handle(part: Any, events: Sequence[Any], changed: bytearray, now: int) -> None:
        for index, event in enumerate(events):
            if handler(part, event, now):
                changed[index] = True

    return handle


@dataclass(frozen=True, slots=True)
class Horizon:
    """The limit of what can still change: events before `before_ms` are late and not applied."""

    before_ms: int
    now: int  # the clock's minute


@dataclass(frozen=True, slots=True)
class BySegment:
    """What a family counts by segment too."""

    metrics: tuple[str, ...]  # by name without prefix, as the setting `segments.metrics` has them
    windows: Windows  # those of the family's that it is told of
    fields: Mapping[str, tuple[int, ...]]  # by the letter of what is counted: the fields of the whole that it adds to


# What a part has let go that is still booked, by minute, or by quarter of an hour where it is older than the ring has
# minutes; under EVER what it adds to a ledger for ever.
Past = dict[int, dict[Field, int]]
EVER = -1

_QUARTER_HOUR = 15
_HOUR = 60
_HOURS_WITH_MINUTES = 25

# What is known of each value of one segment: by length of the window what it holds.
_OfValues = dict[str, dict[int, dict[int, int]]]


class Family(Generic[Part]):
    """One family of metrics in one partition."""

    name: ClassVar[str]  # in the keys of its stored totals, and in snapshots
    number: ClassVar[int]  # of its part in a stored row; it is never used again for another family
    since_format: ClassVar[int] = 6  # the first format of the state that has parts of the family (`progress.FORMAT`)
    windows: ClassVar[Windows]
    metrics: ClassVar[tuple[Metric, ...]]
    message_kinds: ClassVar[tuple[MessageKind, ...]] = ()  # the kinds of native messages that it brings
    reported_ahead: ClassVar[tuple[int, ...]] = ()  # fields whose amounts in future minutes are reported
    by_segment: ClassVar[BySegment | None] = None  # None: nothing
    # Whether there are no numbers at all while the longest window is empty: of what many deployments never send.
    is_absent_when_empty: ClassVar[bool] = False
    derives_from: ClassVar[tuple[str, ...]] = ()  # the families whose parts of the same user it is given (`derive`)

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
        self.first_known = 0  # the local day of the partition's first event
        self._is_used = False
        self.changed: list[Part] = []  # parts that have changed since the totals were updated
        self._counted: dict[int, dict[Field, int]] = {}  # by minute: what is to be counted in ring and days
        self._span_counted = Span(rules.days)
        self._closed: dict[int, OfWindows] = {}  # closed days as they were told last
        self.past: Past = {}  # what the part that is being pruned lets go and stays booked

    @classmethod
    def state_settings(cls, rules: Rules) -> dict[str, str]:
        """The settings on which the stored state depends. With other settings it would give wrong numbers."""
        return {f"windows.{cls.windows.name}": ",".join(rules.windows_of(cls.windows))}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        """The handlers of the family, by type of event; that of `Event` gets all types that are not named.

        A handler gets all events of its type that a batch has of one user, type by type. So the result must not depend
        on the order in which events arrive.
        """
        raise NotImplementedError

    def conclusions(self) -> Mapping[type[Event], tuple[type[Event], Callable[[], Event | None]]]:
        """What families that count with it are told of the same user, after the events of one type were applied.

        By that type: the type of the conclusion, and a function that returns the conclusion from the events that were
        applied last, or None if nothing follows from them. A family that wants it has a handler for its type.
        """
        return {}

    def references(self) -> Mapping[type[EventWithoutUser], Callable[[Part, str, int], bool]]:
        """By type of event without a user: a function that returns whether a reference means a thing of a part.

        Its arguments are the part, the reference and the time of the event.
        """
        return {}

    def new(self) -> Part:
        """The part of a new user."""
        raise NotImplementedError

    def decode(self, stored: msgspec.Raw) -> Part:
        """Decode a stored part."""
        raise NotImplementedError

    def stored(self, part: Part) -> object:
        """What is stored of a part, as a value that msgspec can encode; None if the part is empty."""
        raise NotImplementedError

    def prune(self, part: Part, horizon: Horizon) -> None:
        """Drop what can't change any more, because every event that would change it is late. It stays booked."""
        raise NotImplementedError

    def long_term_part(self, part: Part) -> Part | None:
        """What is kept as long as the setting `memory` says, so that a user who comes back is not new; or None.

        The rest is dropped only when nothing that the part has contributed is in any window.
        """
        return None

    def last_ms(self, part: Part) -> int:
        """The latest time of anything in a part; 0 for an empty part."""
        raise NotImplementedError

    def min_retention_ms(self) -> int:
        """How long a user's part is needed after the last event: as long as the longest window."""
        return max(self.lengths.values()) * MINUTE_MS

    def known_ms(self) -> int:
        """How long all of a user's part is known after the last event, in event time."""
        # A day more, because windows of hours end with the hour, and sessions close after their last step.
        return max(self.rules.retention_ms, self.min_retention_ms()) + DAY_MS

    def readable(self, part: Part) -> Any:
        """What is stored of a user, as JSON that people can read."""
        return readable(part)

    # -- erasing ---------------------------------------------------------------------------------------------------

    def take_out(self, part: Part) -> None:
        """Take all that is booked of a part out of the totals, which are up to date. The part is not used again."""
        raise NotImplementedError

    def erase(self, part: Part, past: Past, day: int) -> None:
        """Take a user out: of live numbers at once, and of closed days from that day on.

        `past` is what the part has let go and is still booked.
        """
        with ExitStack() as stack:
            for book in self.books():
                stack.enter_context(book.from_day_on(day))
            self.take_out(part)
            for minute, amounts in past.items():
                if minute == EVER:
                    next(book for book in self.books() if isinstance(book, Ledger)).change(0, amounts, -1)
                else:
                    self.count(minute, amounts, -1)
            self._put_counted()
        self._counted.clear()

    def remember(self, minute: int, amounts: Mapping[Any, int], times: int = 1) -> None:
        """Note what a part lets go while it is pruned, and stays booked. It has no effect where nobody is erased."""
        if self.rules.erases:
            if minute // _HOUR < self.ring.now // _HOUR - _HOURS_WITH_MINUTES:
                begins = minute - minute % _QUARTER_HOUR
                # Where a day begins within the quarter of an hour, the minute says of which day it is.
                minute = begins if self.day_of_minute(begins) == self.day_of_minute(minute) else minute
            add(self.past.setdefault(minute, {}), amounts, times)

    def remember_ever(self, amounts: Mapping[Any, int]) -> None:
        """The same of what stays in the ledger for ever."""
        if self.rules.erases:
            add(self.past.setdefault(EVER, {}), amounts)

    def forget_past(self, past: Past, horizon: Horizon) -> None:
        """Drop what was let go and is in no window any more."""
        # Two days more: local days may be longer, and begin before the moment that is asked for.
        reach_ms = max(self.min_retention_ms(), self.closed_reach() * DAY_MS) + 2 * DAY_MS
        before = (horizon.before_ms - reach_ms) // MINUTE_MS
        for minute in [minute for minute in past if EVER < minute < before]:
            del past[minute]

    # -- what follows from parts of other families -------------------------------------------------------------------

    def derive(self, parts_of: Callable[[str], Sequence[Any]], first_open: int) -> Iterable[str]:
        """Book what follows for the users of whom events were handled since the last call.

        `parts_of` returns the part of a user, and then those of `derives_from`. No event before the day `first_open`
        was applied since then. Returns the users whose part has changed.
        """
        return ()

    def look_at(self, part: Part, others: Sequence[Any], first_open: int) -> bool:
        """Book what follows for one user. Returns whether the part has changed."""
        return False

    @property
    def rules_number(self) -> int | None:
        """Tells apart the settings from which that follows. With another number all users are looked at again.

        None if nothing follows for anybody, because it is switched off.
        """
        return None

    def scores(self, part: Part, others: Sequence[Any], day: int) -> Scores:
        """What is told of one user at the end of a closed day: one score, or None for who has none any more.

        Nothing for whom no score was ever told.
        """
        return ()

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
        self.counted: Callable[[AttributeValues], AttributeValues] = (
            apart.of if self.segments is SEGMENTS else self._counted_of
        )

    def _counted_of(self, values: AttributeValues) -> AttributeValues:
        return self.apart.of(segments.only(values, self.segments)) if self.segments else NO_ATTRIBUTES

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

    @property
    def is_used(self) -> bool:
        """Whether it has anything to say. A family that many deployments never use costs nothing where it is not."""
        return self._is_used or not self.is_absent_when_empty or bool(self.changed or self._counted)

    def update_totals(self, now: int) -> None:
        """Update the totals to the current parts and to the minute of the clock."""
        self._is_used = True
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
        """Take out of the totals what parts have recorded as booked, and book what they contribute now."""
        raise NotImplementedError

    def sums(self) -> Sums:
        """What the totals contribute to every live number now, with every value of a segment."""
        live = self.ring.sums()
        return Sums(
            live={window: _numeric_fields(tally) for window, tally in live.items()},
            ahead={field: count for field in self.reported_ahead if (count := self.ring.ahead(field))},
            segments={length: segments.of_values(live[length]) for length in self.segment_lengths.values()},
            by_day=self.by_day_of(live),
        )

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """The sums of windows by local day, for a family that counts by it."""
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

    def books(self) -> tuple[DayBook | Ledger, ...]:
        """What is booked by local day."""
        return (self.days,)

    def value_fields(self) -> Iterator[Field]:
        """The fields of values that are booked anywhere, some of them more than once."""
        for tally in (*self.ring.tallies(), *(tally for book in self.books() for tally in book.tallies())):
            yield from filter(segments.is_of_value, tally)

    def size(self) -> int:
        """The number of pages of the totals."""
        return self.ring.size() + sum(book.size() for book in self.books())

    def pages(self) -> Pages:
        """The pages of the totals that have changed since the last call, as key and value; None for a deleted page."""
        return chain(self.ring.pages(), *(book.pages() for book in self.books()))

    def restore(
        self, stored: Callable[[bytes], Iterable[tuple[bytes, bytes]]], *, now: int, days_since: Mapping[str, int]
    ) -> None:
        """Load stored pages. `stored` returns those whose keys begin with a prefix.

        `days_since` is the first day whose page was kept, by name of the book of days.
        """
        self.ring.restore(stored(f"ring/{self.name}/".encode()), now=now)
        for book in self.books():
            book.restore(stored(f"days/{book.name}/".encode()), since=days_since.get(book.name))
        self._is_used = self.size() > 0

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        """The live numbers that follow from sums."""
        if self.is_absent_when_empty and not sums.live.get(max(self.lengths.values())):
            return
        for window, length in self.lengths.items():
            yield from self.of_window({"window": window}, sums.live.get(length, {}))

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        """The numbers of one closed day. `whole_since` is the first day of which all is known."""
        if self.is_absent_when_empty and not of_windows.get(max(self.closed_lengths)):
            return
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


def _numeric_fields(tally: Mapping[Field, int]) -> dict[Field, int]:
    """A tally without its text fields."""
    return {field: amount for field, amount in tally.items() if isinstance(field, int)}
