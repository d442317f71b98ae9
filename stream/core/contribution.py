"""What a user contributes to the totals of a family, as a value: two of them make the difference that is booked.

What a part contributed is taken out and what it contributes now is added, so most of it cancels out. Only the rest is
booked, and no closed day is looked at again for what did not change.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from stream.core.days import Amounts, DayBook
from stream.core.ledger import Ledger
from stream.core.ring import Booking, Ring
from stream.core.tally import add

_Places = dict[tuple[int, int], Amounts]


@dataclass(slots=True)
class Contribution:
    """Sums by the minute and the day in which they count, each since a minute or a day; and changes of a ledger."""

    by_minute: _Places = field(default_factory=lambda: defaultdict(dict))  # since which minute, in which one
    by_day: _Places = field(default_factory=lambda: defaultdict(dict))  # since the end of which day, on which one
    changes: dict[int, Amounts] = field(default_factory=lambda: defaultdict(dict))  # by day
    ahead: dict[int, Amounts] = field(default_factory=lambda: defaultdict(dict))  # of the changes, by minute

    def put(self, ring: Ring, days: DayBook, ledger: Ledger) -> None:  # noqa: C901  one loop for each kind of place
        """Book it."""
        for (since, minute), amounts in self.by_minute.items():
            if amounts:
                ring.book([Booking(minute, amounts, None, None if since <= minute else since)])
        for (since, day), amounts in self.by_day.items():
            if amounts:
                days.count_since(max(since, day), day, amounts)
        for day, amounts in self.changes.items():
            if amounts:
                ledger.change(day, amounts)
        for minute, amounts in self.ahead.items():
            if amounts and minute > ring.now:
                ledger.put_ahead(minute, amounts)


def add_to(places: dict[tuple[int, int], Amounts], since: int, place: int, amounts: Amounts, times: int) -> None:
    """Add amounts that count in a place since another one, which may be earlier."""
    add(places[max(since, place), place], amounts, times)
