"""A family of metrics: the events that it processes, what it stores of each user, and the numbers that follow.

A family is a class in a module or package of this folder, and a line in `registry.py`. Everything else uses that list:
the inputs read its messages, a partition has its part of each user's row, checkpoints store its totals, and the report,
/metrics, the API, the definitions, README and `compute` show its numbers.

Each partition has an instance of its own with the totals of the family: a ring of rolling windows, and for some
families a ledger of closed days. The family stores a *part* of the row of each user. The events that the family
processes change a part in place. Before its first change since the totals were updated, the part records what is booked
of it (`booked`) and is added to `changed`. `update_totals` takes the recorded contribution out of the totals and books
what the part contributes now. So a user with many events between two snapshots is booked once, and an event makes no
copy of a row.

A family may not read the part of another family. A number that needs several families is calculated from their sums, in
the report.

Features that will come have to fit into this:

- *Joining* makes one part of two, of a device and of a person. A family defines it as a function of two parts that is
  commutative, associative and idempotent. Both parts first record what is booked of them, and one of them remains.
- *Erasing* removes a whole part: it records what is booked of it, is emptied, and is booked again like any changed
  part.
- *Closed days*: what a family books in its ring it can also book by local day, as differences in a ledger of days.
- *Segments*: a field of a tally is a number, or a text if it counts under a value of a segment (`segments.fields_of`).
  Amounts may have both, so a booking has the values under which it counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from stream.core.days import DayLedger
from stream.core.events import Event, EventWithoutUser
from stream.core.messages import MessageKind
from stream.core.metrics import Metric
from stream.core.ring import Pages, Ring
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally
from stream.core.time import MINUTE_MS, minutes_of
from stream.core.windows import Windows, whole_days

Part = TypeVar("Part")

# Applies events of one kind to a part, in their order: (part, events, changed, minute of the clock). It sets
# `changed[index]` for each event that has changed anything.
EventHandler = Callable[[Any, Sequence[Any], bytearray, int], None]

# A snapshot has the longest closed window of each day of the last five weeks. For as long, late events may change days
# before that.
_CORRECTABLE_DAYS = 35


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
    watermark_ms: int
    now: int  # the clock's minute


class Family(Generic[Part]):
    """One family of metrics in one partition."""

    name: ClassVar[str]  # in the keys of its stored totals, and in snapshots
    number: ClassVar[int]  # of its part in a stored row; it is never used again for another family
    windows: ClassVar[Windows]
    metrics: ClassVar[tuple[Metric, ...]]
    message_kinds: ClassVar[tuple[MessageKind, ...]] = ()  # the kinds of native messages that it brings
    reported_ahead: ClassVar[tuple[int, ...]] = ()  # fields whose amounts in future minutes are reported
    has_closed_days: ClassVar[bool] = False

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lengths = {window: minutes_of(window) for window in rules.windows_of(self.windows)}
        self.ring = Ring(self.name, self.lengths.values())
        self.ledger = DayLedger(self.name, whole_days(self.lengths)) if self.has_closed_days else None
        self.changed: list[Part] = []  # parts that have changed since the totals were updated

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

    def references(self) -> Mapping[type[EventWithoutUser], Callable[[Part], Iterable[str]]]:
        """By type of event without a user: a function that returns the references that a part has."""
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

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        """Update the totals to the current parts and to the minute of the clock."""
        self.ring.advance(now)
        if self.changed:
            self.book(self.changed)
            self.changed.clear()

    def book(self, parts: list[Part]) -> None:
        """Take out of the totals what parts have recorded as booked, and book what they contribute now."""
        raise NotImplementedError

    def sums(self, *, last_closed_day: int, days: int | None, all_values: bool = False) -> Sums:
        """What the totals contribute to every number now, with the last `days` closed days; None for the usual number.

        With `all_values` they have every value of a segment, also those of few users.
        """
        live = self.ring.sums()
        return Sums(
            live={window: _numeric_fields(tally) for window, tally in live.items()},
            ahead={field: count for field in self.reported_ahead if (count := self.ring.ahead(field))},
            segments=self.segments_of(live, all_values=all_values),
            by_day=self.by_day_of(live),
            closed=self._closed_sums(last_closed_day, days),
        )

    def segments_of(self, live: Mapping[int, Mapping[Field, int]], *, all_values: bool) -> dict[str, dict[str, Tally]]:
        """The sums of windows by segment and value: of all values, or of those with many users."""
        return {}

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """The sums of windows by local day, for a family that counts by it."""
        return {}

    def _reported_days(self) -> int:
        return max(whole_days(self.lengths)) + _CORRECTABLE_DAYS

    def _closed_sums(self, last: int, days: int | None) -> dict[int, Tally]:
        if self.ledger is None:
            return {}
        first = self.ledger.first_day()
        first_told = last + 1 if first is None else first
        return self.ledger.users(max(first_told, last - (self._reported_days() if days is None else days) + 1), last)

    def forget_days(self, last_closed_day: int) -> None:
        """Stop storing single days that are not reported any more and that no late event can change."""
        if self.ledger is not None:
            self.ledger.forget_before(last_closed_day - self._reported_days() - _CORRECTABLE_DAYS)

    def size(self) -> int:
        """The number of pages of the totals."""
        return self.ring.size() + (self.ledger.size() if self.ledger is not None else 0)

    def pages(self) -> Pages:
        """The pages of the totals that have changed since the last call, as key and value; None for a deleted page."""
        yield from self.ring.pages()
        if self.ledger is not None:
            yield from self.ledger.pages()

    def restore(self, stored: Callable[[bytes], Iterable[tuple[bytes, bytes]]], *, now: int, since: int | None) -> None:
        """Load stored pages. `stored` returns those whose keys begin with a prefix; `since` is the first single day."""
        self.ring.restore(stored(f"ring/{self.name}/".encode()), now=now)
        if self.ledger is not None:
            self.ledger.restore(stored(f"days/{self.name}/".encode()), since=since)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        """The live numbers that follow from sums."""
        raise NotImplementedError

    def closed(self, sums: Sums, day: int) -> Iterator[Sample]:
        """The numbers of one closed day, which must be among the sums."""
        yield from ()


def _numeric_fields(tally: Mapping[Field, int]) -> Tally:
    """A tally without its text fields."""
    return {field: amount for field, amount in tally.items() if isinstance(field, int)}
