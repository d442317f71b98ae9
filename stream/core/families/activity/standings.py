"""Under which value of a segment a user counts on closed days.

At the end of each day a user *stands* on the last active day, under the values told last. Both follow from what is
known by then, so a standing begins at the end of a day and lasts until another one begins: with the next active day, or
where another value is told. It is booked on the active day it stands on, from the day on which it begins, and taken out
again on that on which the next one does. A window that ends with day D then holds each user once, under the values that
were known at the end of D.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from stream.core.families.activity.known_periods import AttributeDays, counted_since
from stream.core.segments import NO_ATTRIBUTES, Attributes, AttributeValues, attributes_since, values_of

# Active days: the day of bit 0, and the bits.
DayBits = tuple[int, int]

NO_DAY = -1


class Standing(NamedTuple):
    """Where a user counts from the end of a day on."""

    since_day: int
    active_day: int  # NO_DAY before the first one
    values: AttributeValues


# How many users more begin to count at the end of a day, on an active day, under some values.
Counted = dict[tuple[int, int, AttributeValues], int]


def count_changes(counted: Counted, standings: Iterable[Standing], times: int) -> None:
    """Count each standing where it begins, and out where the next one begins; the first is there already."""
    for before, after in pairwise(standings):
        since, day, values = after
        if day == before.active_day and values == before.values:
            continue
        if before.active_day != NO_DAY:
            gone = since, before.active_day, before.values
            counted[gone] = counted.get(gone, 0) - times
        if day != NO_DAY:
            counted[after] = counted.get(after, 0) + times


class KnownAttributes:
    """What was known of segments at the end of each day, and since when it counts (`known_periods`)."""

    def __init__(self, attributes: Sequence[Attributes], counted: AttributeDays, day_of: Callable[[int], int]) -> None:
        self.days = [day_of(one.at_ms) for one in attributes]
        self._attributes = attributes
        self._counted = counted
        self._day_of = day_of

    def standing(self, day: int, day_bits: DayBits) -> Standing:
        """Where a user stands at the end of a day."""
        known = bisect_right(self.days, day)
        values = self._values(self._attributes[known - 1], day) if known else NO_ATTRIBUTES
        return Standing(day, day_at_or_before(day_bits, day), values)

    def _values(self, attributes: Attributes, day: int) -> AttributeValues:
        if not self._counted:
            return attributes.values
        since = counted_since(self._counted, day)
        return values_of(attributes_since(attributes, lambda at_ms: self._day_of(at_ms) >= since))

    def first_difference(self, other: "KnownAttributes") -> int | None:
        """The first day at whose end other values counted."""
        days = [first for first, _ in {*self._counted} ^ {*other._counted}]
        first = self._first_told_otherwise(other)
        return min([*days, *(() if first is None else (first,))], default=None)

    def _first_told_otherwise(self, other: "KnownAttributes") -> int | None:
        has_periods = self._counted or other._counted
        for day, one, other_day, another in zip(
            self.days, self._attributes, other.days, other._attributes, strict=False
        ):
            # Where attributes begin anew, the times of values make a difference too.
            if day != other_day or one.values != another.values or (has_periods and one != another):
                return min(day, other_day)
        shorter = min(len(self.days), len(other.days))
        rest = (*self.days[shorter:], *other.days[shorter:])
        return rest[0] if rest else None


def day_at_or_before(day_bits: DayBits, day: int) -> int:
    """The last active day up to that one; NO_DAY for none."""
    since, bits = day_bits
    known = bits & (1 << max(0, day - since + 1)) - 1
    return since + known.bit_length() - 1 if known else NO_DAY


def days_since(day_bits: DayBits, first: int) -> Iterator[int]:
    """The active days from that one on."""
    since, bits = day_bits
    rest = bits >> (skipped := max(0, first - since))
    while rest:
        lowest = rest & -rest
        yield since + skipped + lowest.bit_length() - 1
        rest ^= lowest


def only_new_day(before: DayBits, after: DayBits) -> int | None:
    """The last active day, where it is all that is new; None where more is."""
    (since, bits), (since_after, bits_after) = before, after
    place = bits_after.bit_length() - 1
    if not bits:
        return None if place else since_after
    is_last = since == since_after and bits ^ bits_after == 1 << place and place >= bits.bit_length()
    return since + place if is_last else None


def first_day_of_difference(one: DayBits, other: DayBits) -> int | None:
    """The first day that is active in one of both alone."""
    (since, bits), (other_since, other_bits) = one, other
    begins = min(since if bits else other_since, other_since if other_bits else since)
    differs = (bits << since - begins if bits else 0) ^ (other_bits << other_since - begins if other_bits else 0)
    return begins + (differs & -differs).bit_length() - 1 if differs else None
