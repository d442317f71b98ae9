"""What a family of metrics is: the events it hears, what it keeps of each user, and the numbers it makes of that.

A family is a class in a module or package of this folder and a line in `registry.py`. Everything else takes it from
there: the inputs read its messages, a partition keeps its part of each user's row, checkpoints store its totals, and
report, /metrics, API, definitions, README and `compute` tell its numbers.

Each partition makes an instance of its own, which holds the family's totals: a ring of rolling windows, and a ledger of
closed days for a family that has one. Of each user the family keeps a *part* of the row. A part is changed in place by
the events that the family hears. When it changes for the first time since the totals were settled it notes what is
booked of it (`booked`), and waits in `changed`; `settle` takes that out of the totals and books what it contributes
now. So a user who is busy between two snapshots is booked once, and an event costs no copy of a row.

What a family may not do: read the part of another family. What follows from several is made from sums in the report.

What is known to come keeps to this:

- *Joining* makes one part of two, of a device and of a person. A family says how, as a function of two parts that is
  commutative, associative and idempotent; both parts note what is booked of them first, and one is left.
- *Erasing* takes a part out whole: it notes what is booked of it, is emptied, and is settled as any other change.
- *Closed twins*: what a family books in its ring it can book by local day too, as differences in a ledger of days.
- *Segments*: a field of a tally is a number, or a text for a number that counts under a value of a segment
  (`segments.fields_of`); amounts hold both, so a booking carries the values it counts under.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from stream.core.days import DayLedger
from stream.core.events import Event, Nameless
from stream.core.messages import Messages
from stream.core.metrics import Metric
from stream.core.ring import Pages, Ring
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally
from stream.core.time import DAY_MS, MINUTE_MS, minutes_of
from stream.core.windows import Windows, whole_days

Part = TypeVar("Part")

# Changes a part for events of one kind, in their order, when the clock shows a minute. Sets the flag of each event that
# has changed anything.
Heard = Callable[[Any, Sequence[Any], bytearray, int], None]

# A snapshot tells the longest closed window of each day of the last five weeks; days before it can change for as long.
_WEEKS_TOLD_DAYS = 35


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
    now: int  # the clock's minute


class Family(Generic[Part]):
    """One family of metrics in one partition."""

    name: ClassVar[str]  # of its totals, in keys of the state and in snapshots
    number: ClassVar[int]  # of its part in a stored row; never used again for another family
    windows: ClassVar[Windows]
    metrics: ClassVar[tuple[Metric, ...]]
    messages: ClassVar[tuple[Messages, ...]] = ()  # the kinds of native messages that it brings
    told_ahead: ClassVar[tuple[int, ...]] = ()  # fields of which is told what lies ahead of the clock
    has_closed_days: ClassVar[bool] = False

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lengths = {window: minutes_of(window) for window in rules.windows_of(self.windows)}
        self.ring = Ring(self.name, self.lengths.values())
        self.ledger = DayLedger(self.name, whole_days(self.lengths)) if self.has_closed_days else None
        self.changed: list[Part] = []  # parts that are not booked as they are now

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

    def knows(self) -> Mapping[type[Nameless], Callable[[Part, str, int], bool]]:
        """By what is told without saying of whom: whether a part has the thing that is meant by it at a time."""
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

    def known_ms(self) -> int:
        """For how long after its last event a user's part is known, by the times of events."""
        # Windows of hours end with the hour, and sessions close after their last step: so a day more.
        return max(self.rules.retention_ms, self.reach_ms()) + DAY_MS

    # -- totals ----------------------------------------------------------------------------------------------------

    def settle(self, now: int) -> None:
        """Bring the totals up to the parts and to the clock's minute."""
        self.ring.advance(now)
        if self.changed:
            self.book(self.changed)
            self.changed.clear()

    def book(self, parts: list[Part]) -> None:
        """Take out what parts have noted as booked of them, and book what they contribute now."""
        raise NotImplementedError

    def sums(self, *, last_closed_day: int, days: int | None, all_values: bool = False) -> Sums:
        """What the totals add to every number now, with the last `days` closed days; None for the usual number.

        With `all_values` every value of a segment is told of, also those that few users have.
        """
        live = self.ring.sums()
        return Sums(
            live={window: _numbered(tally) for window, tally in live.items()},
            ahead={field: count for field in self.told_ahead if (count := self.ring.ahead(field))},
            segments=self.segments_of(live, all_values=all_values),
            by_day=self.by_day_of(live),
            closed=self._closed_sums(last_closed_day, days),
        )

    def segments_of(self, live: Mapping[int, Mapping[Field, int]], *, all_values: bool) -> dict[str, dict[str, Tally]]:
        """What is told of values of segments, from the sums of windows: of all, or of those that many users have."""
        return {}

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """What is told by local day, from the sums of windows."""
        return {}

    def _days_told(self) -> int:
        return max(whole_days(self.lengths)) + _WEEKS_TOLD_DAYS

    def _closed_sums(self, last: int, days: int | None) -> dict[int, Tally]:
        if self.ledger is None:
            return {}
        first = self.ledger.first_day()
        first_told = last + 1 if first is None else first
        return self.ledger.users(max(first_told, last - (self._days_told() if days is None else days) + 1), last)

    def forget_days(self, last_closed_day: int) -> None:
        """Let go of single days that are told no more and that no late event can change."""
        if self.ledger is not None:
            self.ledger.forget_before(last_closed_day - self._days_told() - _WEEKS_TOLD_DAYS)

    def size(self) -> int:
        """How many pages the totals have."""
        return self.ring.size() + (self.ledger.size() if self.ledger is not None else 0)

    def pages(self) -> Pages:
        """The pages of the totals that have changed since the last call, as key and value; None where one is gone."""
        yield from self.ring.pages()
        if self.ledger is not None:
            yield from self.ledger.pages()

    def restore(self, stored: Callable[[bytes], Iterable[tuple[bytes, bytes]]], *, now: int, since: int | None) -> None:
        """Take over pages; `stored` gives those whose key begins so, single days were kept from `since` on."""
        self.ring.restore(stored(f"ring/{self.name}/".encode()), now=now)
        if self.ledger is not None:
            self.ledger.restore(stored(f"days/{self.name}/".encode()), since=since)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        """The live numbers that sums make."""
        raise NotImplementedError

    def closed(self, sums: Sums, day: int) -> Iterator[Sample]:
        """The numbers of one closed day that is among the sums."""
        yield from ()


def _numbered(tally: Mapping[Field, int]) -> Tally:
    """A tally without the fields that are texts."""
    return {field: amount for field, amount in tally.items() if isinstance(field, int)}
