"""Numbers by segment: by platform, plan, country and version of the app.

Under which value something counts:

- a user under the value of the newest activity event that has one, by event time. If several events have the same time,
  the greatest value counts. On a closed day it is the newest one up to the end of that day. An event without a value
  changes nothing. Who comes back when `memory` is over has none until one is sent;
- a session under the newest value of its own steps (an `end` has none), or that of its summary;
- an answer under the value of its own message.

If there was no value, it counts as `unknown`. That is not booked, but calculated as the rest. So the values of a
segment and `unknown` always add up to the whole of each window. Values are booked together with the whole, in the same
minute and on the same day, as fields of their own: a letter for the segment, one for what is counted, and the value.

The 20 values of a segment with the most users in the longest window, over all partitions, are shown by name in all
numbers. All others are shown as `other`. A value that producers call `other` counts as `other` too, and a value
`unknown` as no value.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from heapq import nsmallest
from typing import TypeGuard
from unicodedata import category, normalize

import msgspec

from stream.core.ids import is_placeholder
from stream.core.tally import Field

# There are no others, because a label must have few values. Their positions are stored, so new ones go to the end.
PLATFORM, PLAN, COUNTRY, APP_VERSION = SEGMENTS = ("platform", "plan", "country", "app_version")

OTHER, UNKNOWN = "other", "unknown"

# How many values are shown by name. More can't be read in a chart, and each is a time series for each window.
NAMED_VALUES = 20
# How many values a partition reports. These are many more than are shown, so that the server finds the largest ones of
# all partitions, and few enough for a small report whatever producers send.
_MAX_REPORTED_VALUES = 200

# Values of a segment that one partition keeps apart: whoever sends an id as a version must not fill the state.
_KEPT_APART = 1_000

_MAX_VALUE_LENGTH = 64
_UNREADABLE = frozenset({"Cc", "Cf", "Zl", "Zp"})

# One text for each segment, in the order of SEGMENTS; empty if there is no value.
AttributeValues = tuple[str, ...]
NO_ATTRIBUTES: AttributeValues = ("",) * len(SEGMENTS)

# By labels as they were sent: the values. Most events of a deployment share a few hundred combinations. A cache, which
# is cleared when it is full.
cached_attribute_values: dict[tuple[object, ...], AttributeValues] = {(None,) * len(SEGMENTS): NO_ATTRIBUTES}
_MAX_CACHED = 20_000


def attribute_values_of(labels: tuple[object, ...]) -> AttributeValues:
    """The values of an event for each segment. A label that can't be used is treated as absent."""
    values: AttributeValues = tuple(map(cleaned_value, labels))
    if values == NO_ATTRIBUTES:
        values = NO_ATTRIBUTES
    if all(map(_is_cacheable, labels)):
        if len(cached_attribute_values) >= _MAX_CACHED:
            cached_attribute_values.clear()
        cached_attribute_values[labels] = values
    return values


def shared_attribute_values(values: AttributeValues) -> AttributeValues:
    """The same values as one object for all events that have them."""
    return cached_attribute_values.get(values) or attribute_values_of(values)


def _is_cacheable(label: object) -> bool:
    # As keys of a dictionary 1 and true would be the same. A long text would need much memory.
    return label is None or (type(label) is str and len(label) <= 2 * _MAX_VALUE_LENGTH)


def cleaned_value(label: object) -> str:
    """The value of a text, trimmed and in Unicode normal form C, or of a whole number.

    Fractions are not accepted, because the version 3.10 would be 3.1. Empty if there is no value, which an empty text,
    a placeholder, a text that is too long, and one that is not readable mean too.
    """
    if type(label) is int:
        value = str(label) if abs(label) < 10**_MAX_VALUE_LENGTH else ""
    elif isinstance(label, str):
        value = (label if label.isascii() else normalize("NFC", label)).strip()
    else:
        return ""
    if len(value) > _MAX_VALUE_LENGTH or value == UNKNOWN or is_placeholder(value) or not _is_readable(value):
        return ""
    return value


def _is_readable(value: str) -> bool:
    """Whether a text has no invisible characters.

    Control characters and line separators (Cc, Zl, Zp) would break the lines of a program that shows the text. With
    format characters (Cf), such as a zero-width space or a change of direction, it would look like another text.
    """
    return value.isprintable() or _UNREADABLE.isdisjoint(map(category, value))


def in_order(segments: Iterable[str]) -> tuple[str, ...]:
    """The names in the order in which their values are stored, in whatever order they are given."""
    named = set(segments)
    return SEGMENTS if named == set(SEGMENTS) else tuple(name for name in SEGMENTS if name in named)


@lru_cache(maxsize=4_096)
def only(values: AttributeValues, segments: tuple[str, ...]) -> AttributeValues:
    """The values, without those of segments that are not counted."""
    kept = tuple(value if name in segments else "" for name, value in zip(SEGMENTS, values, strict=True))
    return NO_ATTRIBUTES if kept == NO_ATTRIBUTES else kept


class Attributes(msgspec.Struct, array_like=True, gc=False):
    """The attributes of a user, a session or an answer. A later event of the same day with the same values changes
    `at_ms` in place.
    """

    at_ms: int  # of the newest event that had a value
    values: AttributeValues
    times: tuple[int, ...] = ()  # by segment: the time of its value, or -1 without one; empty if all are of `at_ms`


def newest_attributes(known: Attributes | None, values: AttributeValues, at_ms: int) -> Attributes | None:
    """The attributes after an event with `values`; returns `known` itself if nothing changes."""
    if values is NO_ATTRIBUTES:
        return known
    if known is None:
        return Attributes(at_ms, values)
    if not known.times and (values is known.values or values == known.values):  # the common case, fast
        return Attributes(at_ms, values) if at_ms > known.at_ms else known
    return merged(known, Attributes(at_ms, values))


def merged(one: Attributes, other: Attributes) -> Attributes:
    """What is known where both were told: the newest of each segment, of equal times the greatest; or the first."""
    newest = [
        max((one_ms if value else -1, value), (other_ms if other_value else -1, other_value))
        for one_ms, value, other_ms, other_value in zip(
            _times_of(one), one.values, _times_of(other), other.values, strict=True
        )
    ]
    newest_ms = max(value_ms for value_ms, _ in newest)
    times = (
        () if all(value_ms in (newest_ms, -1) for value_ms, _ in newest) else tuple(value_ms for value_ms, _ in newest)
    )
    updated = Attributes(newest_ms, tuple(value for _, value in newest), times)
    return one if updated == one else updated


def _times_of(attributes: Attributes) -> tuple[int, ...]:
    return attributes.times or (attributes.at_ms,) * len(attributes.values)


def values_of(attributes: Attributes | None) -> AttributeValues:
    """The value of each segment."""
    return NO_ATTRIBUTES if attributes is None else attributes.values


def attributes_since(attributes: Attributes, is_known: Callable[[int], bool]) -> Attributes | None:
    """The attributes without the values of a time that is not known any more; or the very same."""
    times = _times_of(attributes)
    kept = [at_ms if value and is_known(at_ms) else -1 for at_ms, value in zip(times, attributes.values, strict=True)]
    if all(at_ms >= 0 or not value for at_ms, value in zip(kept, attributes.values, strict=True)):
        return attributes
    newest_ms = max(kept)
    if newest_ms < 0:
        return None
    values = tuple(value if at_ms >= 0 else "" for at_ms, value in zip(kept, attributes.values, strict=True))
    return Attributes(newest_ms, values, () if set(kept) <= {newest_ms, -1} else tuple(kept))


def newest_of(several: Iterable[Attributes | None]) -> Attributes | None:
    """The newest value of each segment of all these attributes."""
    newest: Attributes | None = None
    for attributes in several:
        if attributes is not None:
            newest = attributes if newest is None else merged(newest, attributes)
    return newest


def newest_by_day(
    known: tuple[Attributes, ...], values: AttributeValues, at_ms: int, day_of: Callable[[int], int]
) -> tuple[Attributes, ...]:
    """What was known at the end of each day on which something was told, after one more event; or the very same.

    In order of the days. Whatever was told up to the end of a day is in what is known then, so a late event changes
    that of its own day and of those after it.
    """
    day = day_of(at_ms)
    place = len(known)
    while place and day_of(known[place - 1].at_ms) >= day:
        place -= 1
    after = list(known[:place])
    if place == len(known) or day_of(known[place].at_ms) != day:
        first = newest_attributes(known[place - 1] if place else None, values, at_ms)
        assert first is not None
        after.append(first)
    for then in known[place:]:
        later = newest_attributes(then, values, at_ms)
        assert later is not None
        after.append(later)
    return known if len(after) == len(known) and all(map(_is, after, known)) else tuple(after)


def _is(one: object, other: object) -> bool:
    return one is other


class Apart:
    """The values that a partition keeps apart: of a segment at most a thousand, those that are told first.

    What comes beyond counts as `other`, and stays so where it was told. `beyond` counts how many texts that were, each
    time that they are met anew.
    """

    def __init__(self, max_values: int = _KEPT_APART) -> None:
        self._max_values = max_values
        self._kept: tuple[set[str], ...] = tuple(set[str]() for _ in SEGMENTS)
        self._known: dict[AttributeValues, AttributeValues] = {NO_ATTRIBUTES: NO_ATTRIBUTES}
        self.beyond = 0

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    def of(self, values: AttributeValues) -> AttributeValues:
        """The values as they are counted; the very same where all of them are kept apart."""
        known = self._known.get(values)
        return self._kept_of(values) if known is None else known

    def _kept_of(self, values: AttributeValues) -> AttributeValues:
        kept = tuple(map(self._value_to_count, self._kept, values))
        if len(self._known) >= _MAX_CACHED:
            self._known.clear()
        self._known[values] = result = values if kept == values else kept
        return result

    def _value_to_count(self, kept: set[str], value: str) -> str:
        if not value or value == OTHER or value in kept:
            return value
        if len(kept) >= self._max_values:
            self.beyond += 1
            return OTHER
        kept.add(value)
        return value

    @property
    def is_full(self) -> bool:
        """Whether some segment has no room for one more."""
        return any(len(kept) >= self._max_values for kept in self._kept)

    def keep(self, fields: Iterable[Field]) -> None:
        """Keep the values of these fields alone: those that are booked anywhere."""
        for kept in self._kept:
            kept.clear()
        for field in fields:
            if is_of_value(field) and field[2:] != OTHER:
                self._kept[ord(field[0]) - ord("A")].add(field[2:])
        self._known.clear()


# -- as fields of tallies ----------------------------------------------------------------------------------------------

# What a field of a value counts. They are stored. Those of sessions and answers are in their families.
USERS = "u"

_LETTERS = "ABCD"  # of the segments; no other field begins with a capital letter


@lru_cache(maxsize=16_384)
def fields_of(values: AttributeValues, what: str) -> Mapping[Field, int]:
    """What one thing of these values adds beside what it adds anyway: a field for each value."""
    return {f"{letter}{what}{value}": 1 for letter, value in zip(_LETTERS, values, strict=True) if value}


def is_of_value(field: Field) -> TypeGuard[str]:
    """Whether a field of a tally is that of a value."""
    return isinstance(field, str) and "A" <= field[0] <= "D"


def of_values(tally: Mapping[Field, int]) -> dict[Field, int]:
    """The fields of values."""
    # As `is_of_value` says, without a call for each field: this runs for each window of each snapshot.
    return {field: amount for field, amount in tally.items() if isinstance(field, str) and "A" <= field[0] <= "D"}


def without_values(tally: Mapping[Field, int]) -> dict[Field, int]:
    """The fields that are not of values."""
    return {field: amount for field, amount in tally.items() if not is_of_value(field)}


def parsed(field: str) -> tuple[str, str, str]:
    """The segment, what is counted, and the value."""
    return SEGMENTS[ord(field[0]) - ord("A")], field[1], field[2:]


# -- which values have a name ------------------------------------------------------------------------------------------

# By segment: the values that are told by name, those with the most users first.
Named = Mapping[str, Collection[str]]
# Sums of one family, by length of the window.
_ByWindow = Mapping[int, Mapping[Field, int]]


def named(families: Collection[_ByWindow], count: int, listed: Mapping[str, Collection[str]] | None = None) -> Named:
    """The values to be told by name: the `count` with the most users in the longest window, or those that are listed.

    Equal numbers go by name. A value that no user has, but a session or an answer, comes after those that users have.
    """
    users = _users(families)
    known: dict[str, set[str]] = {segment: set() for segment in SEGMENTS}
    for by_window in families:
        for tally in by_window.values():
            for field in tally:
                if is_of_value(field):
                    segment, _, value = parsed(field)
                    known[segment].add(value)
    chosen: dict[str, Collection[str]] = {}
    for letter, segment in zip(_LETTERS, SEGMENTS, strict=True):
        if listed and segment in listed:
            chosen[segment] = listed[segment]
        else:
            ranked = ((-users.get(f"{letter}{USERS}{value}", 0), value) for value in known[segment] - {OTHER})
            chosen[segment] = [value for _, value in nsmallest(count, ranked)]
    return chosen


def _users(families: Iterable[_ByWindow]) -> Mapping[Field, int]:
    """The users of each value in the longest window that tells any."""
    longest, found = -1, dict[Field, int]()
    for by_window in families:
        for length, tally in by_window.items():
            if length > longest and any(is_of_value(field) and field[1] == USERS for field in tally):
                longest, found = length, dict(tally)
    return found


def with_most_used(families: Mapping[str, _ByWindow]) -> dict[str, dict[int, dict[Field, int]]]:
    """Sums of families with those values alone that one partition tells of; the others of them are `other`."""
    whole = {name: {length: dict(tally) for length, tally in sums.items()} for name, sums in families.items()}
    if all(len(tally) <= _MAX_REPORTED_VALUES for sums in whole.values() for tally in sums.values()):
        return whole  # the common case, fast: there are no more values than fields
    names = {segment: frozenset(values) for segment, values in named([*whole.values()], _MAX_REPORTED_VALUES).items()}
    return {name: {length: folded(tally, names) for length, tally in sums.items()} for name, sums in whole.items()}


def folded(tally: Mapping[Field, int], names: Named) -> dict[Field, int]:
    """The same, with those values as `other` that have no name."""
    result: dict[Field, int] = {}
    for field, amount in tally.items():
        name = field
        if is_of_value(field) and field[2:] not in names[parsed(field)[0]]:
            name = f"{field[:2]}{OTHER}"
        result[name] = result.get(name, 0) + amount
    return result
