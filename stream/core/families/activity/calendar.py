"""The days on which one user was active, and what each of them adds to closed days.

All closed numbers of active users follow from three facts about each active day of each user: how many days it comes
after the first one (its *age*), how many after the last one before it (its *gap*, 0 for none), and which of the 27 days
before it were active too. They are booked on that day, and never have to be moved as the calendar goes on: that a user
drops out of a window, or loses an active day in it, follows from where the window begins. Only a late day changes what
is booked of the days after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from stream.core.tally import Field

# The fields of tallies. They are stored: a new one takes a new number, none is used again.
ACTIVE_USERS = 1
NEW_USERS = 2
_FIRST_EARLIER = 4_096
_FIRST_AGE = 1 << 20

# Who comes back after having been away since a younger age than that is booked with the exact age: retention needs it.
_YOUNG_AGE = 91

# For all others the age only decides the tenure, which is within 1 %, as all quantiles are. So a first day that is long
# ago is booked as the middle one of a block of days. The blocks have so many days if all of them are more than so many
# days ago. Each block lies within one of the next size, and the middle of the larger one is that of a smaller one too.
# So it makes no difference for the tenure whether a first day was rounded before.
_BLOCKS = ((27, 1_300), (9, 400), (3, 120))

# L28: active days of four weeks.
WEEKS_DAYS = 28

_MOST_GAP = 1_023


class ActiveDays(NamedTuple):
    """The active days of a user as far as they are kept, and the first day of each life (`known_periods`)."""

    since_day: int
    bits: int
    before_day: int  # the last active day before those; -1 for none
    first_days: Sequence[int]  # in order

    def first_difference(self, other: "ActiveDays") -> int | None:
        """The first day from which on two users' days add something else; None where all is the same."""
        differs: list[int] = []
        since = min(self.since_day if self.bits else other.since_day, other.since_day if other.bits else self.since_day)
        changed = self._bits_since(since) ^ other._bits_since(since)
        if changed:
            differs.append(since + (changed & -changed).bit_length() - 1)
        if self.first_days != other.first_days:
            differs += {*self.first_days} ^ {*other.first_days}
        return min(differs, default=None)

    def _bits_since(self, day: int) -> int:
        return self.bits << self.since_day - day if self.bits else 0

    def only_new_day(self, before: "ActiveDays") -> tuple[int, int, int, int] | None:
        """The last active day as `facts` tells it, where it is all that is new; None where more is or may be."""
        bits, earlier = self.bits, before.bits
        place = bits.bit_length() - 1
        if not earlier:
            if place or self.before_day != before.before_day:
                return None
        elif self.since_day != before.since_day or bits ^ earlier != 1 << place or place < earlier.bit_length():
            return None
        if earlier and self.first_days != before.first_days:
            return None
        day, first_days = self.since_day + place, self.first_days
        if day < first_days[-1]:
            return None
        if earlier:
            gap = place + 1 - earlier.bit_length()
        else:
            gap = day - self.before_day if self.before_day >= 0 else 0
        window = earlier >> place - 27 if place > 27 else earlier << 27 - place
        return day, day - first_days[-1], gap, window

    def facts(self, first: int) -> Iterator[tuple[int, int, int, int]]:
        """Each active day from `first` on: with its age, its gap, and which of the 27 days before it were active."""
        since, bits = self.since_day, self.bits
        rest = bits >> first - since << first - since if first > since else bits
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            place = lowest.bit_length() - 1
            day, earlier = since + place, bits & lowest - 1
            if earlier:
                gap = place + 1 - earlier.bit_length()
            else:
                gap = day - self.before_day if self.before_day >= 0 else 0
            window = earlier >> place - 27 if place > 27 else earlier << 27 - place
            yield day, day - self._first_day(day), gap, window

    def _first_day(self, day: int) -> int:
        return next((first for first in reversed(self.first_days) if first <= day), day)


def amounts_of(day: int, age: int, gap: int, window: int, *, whole_since: int) -> dict[Field, int]:
    """What an active day adds; bit 26 of `window` is the day before it, bit 0 the 27th."""
    amounts: dict[Field, int] = {}
    count(amounts, day, age, gap, window, 1, whole_since)
    return amounts


def count(on: dict[Field, int], day: int, age: int, gap: int, window: int, users: int, whole_since: int) -> None:
    """Count the same for so many users in what is booked on that day."""
    get = on.get  # this runs for each active day of each user
    of_age = age_field(day, age, gap, whole_since)
    fields = (ACTIVE_USERS, of_age) if age else (ACTIVE_USERS, of_age, NEW_USERS)
    for field in fields:
        on[field] = get(field, 0) + users
    base = _FIRST_EARLIER + 28
    while window:
        bit = window.bit_length()
        window ^= 1 << bit - 1
        base += 32
        field = base - bit
        on[field] = get(field, 0) + users
    if users < 0:
        for gone in [one for one, total in on.items() if not total]:
            del on[gone]


def age_field(day: int, age: int, gap: int, whole_since: int) -> int:
    """The field of the active days of this age and this gap, in what is booked on `day`.

    First days before `whole_since`, the first day of which all is known as far as this partition can tell, are booked
    exactly, because it depends on the other partitions which of them count.
    """
    if gap == 0 or age - gap >= _YOUNG_AGE:
        age = day - rounded_first_day(day - age, day, whole_since)
    return _FIRST_AGE + (age << 10) + (min(_MOST_GAP, gap))


@lru_cache(maxsize=16_384)
def rounded_first_day(first_day: int, day: int, whole_since: int = 0) -> int:
    """The first day of a user as it counts for the tenure on `day` or later: at most 1 % of that nearer or farther.

    It is rounded only within days from `whole_since` on.
    """
    for length, ago in _BLOCKS:
        begins = first_day // length * length
        if begins >= whole_since and day - (begins + length - 1) > ago:
            return begins + length // 2
    return first_day


class Day(NamedTuple):
    """What one day holds, sorted for those who count with it."""

    users: int
    new: int
    gaps: list[tuple[int, int]]  # and of how many users
    ages: list[tuple[int, int, int]]  # gap, age and users, the longest gaps first; those without one before all
    young: list[tuple[int, int, int]]  # age, that of the active day before (-1 for none) and users
    earlier: list[tuple[int, int, int]]  # the how-manieth active day before, how many days before, and users


# Cohorts are followed day by day for so long, and week by week for thirteen.
FOLLOWED_DAYS = 60
_OLDEST_YOUNG = 90


def day_of(amounts: Mapping[Field, int]) -> Day:
    """What one day holds."""
    gaps: dict[int, int] = {}
    ages, young, earlier = [], [], []
    for field, users in amounts.items():
        if not isinstance(field, int):
            continue
        if field >= _FIRST_AGE:
            age, gap = field - _FIRST_AGE >> 10, field & _MOST_GAP
            gaps[gap] = gaps.get(gap, 0) + users
            ages.append((gap, age, users))
            last_age = age - gap if 0 < gap <= age else -1
            if 0 < age <= _OLDEST_YOUNG or 0 <= last_age < min(age, FOLLOWED_DAYS):
                young.append((age, last_age, users))
        elif field >= _FIRST_EARLIER:
            earlier.append((field - _FIRST_EARLIER >> 5, field & 31, users))
    ages.sort(key=_without_gap_first)
    return Day(amounts.get(ACTIVE_USERS, 0), amounts.get(NEW_USERS, 0), list(gaps.items()), ages, young, earlier)


def _without_gap_first(one: tuple[int, int, int]) -> int:
    return -(one[0] or _MOST_GAP + 1)
