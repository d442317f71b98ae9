"""Numbers by segment: on which platform, plan, country and version of the app.

Under which value something counts:

- a user under the value that the newest activity event told (by event time; of equal times the greatest value), on a
  closed day under the newest one told up to its end. An event that tells no value leaves it as it was;
- a session under the newest value that its own steps told (an `end` tells none), or its summary;
- an answer under the value that its own message told.

What never was told a value is `unknown`. That is not booked: it is what is left of the whole. So the values of a
segment and `unknown` add up to the whole of each window, whatever happens. Values are booked beside the whole, in the
same minute and on the same day, as fields of their own: a letter for the segment, one for what is counted, the value.

The 20 values of a segment with the most users in the longest window, over all partitions, have a name in all numbers;
the rest is `other`. A value that producers call `other` counts there too, and one called `unknown` is none.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from heapq import nsmallest
from typing import TypeGuard
from unicodedata import category, normalize

import msgspec

from stream.core.ids import is_placeholder
from stream.core.tally import Field

# What is counted apart, and nothing else: a label must have few values. Their places are stored: new ones come last.
PLATFORM, PLAN, COUNTRY, APP_VERSION = SEGMENTS = ("platform", "plan", "country", "app_version")

OTHER, UNKNOWN = "other", "unknown"

# Values that are shown by name. Of more a chart tells nothing, and each is a time series in each window.
NAMED_VALUES = 20
# Values that one partition tells of: many more than are shown, so that those to show are found among all partitions,
# and few enough that a report stays small whatever producers send.
_TOLD_VALUES = 200

# Values of a segment that one partition keeps apart: whoever sends an id as a version must not fill the state.
_KEPT_APART = 1_000

_LONGEST_VALUE = 64
_UNREADABLE = frozenset({"Cc", "Cf", "Zl", "Zp"})

# One text a segment, in the order of SEGMENTS; empty where nothing was told.
Values = tuple[str, ...]
NOT_TOLD: Values = ("",) * len(SEGMENTS)

# Labels as sent, and what they mean: most events of a deployment share a few hundred. A cache, cleared when full.
known_values: dict[tuple[object, ...], Values] = {(None,) * len(SEGMENTS): NOT_TOLD}
_KNOWN_AT_MOST = 20_000


def values_of(labels: tuple[object, ...]) -> Values:
    """What an event tells of each segment. A label that is none is as if it were not there: it costs no event."""
    values: Values = tuple(map(_value, labels))
    if values == NOT_TOLD:
        values = NOT_TOLD
    if all(map(_can_be_kept, labels)):
        if len(known_values) >= _KNOWN_AT_MOST:
            known_values.clear()
        known_values[labels] = values
    return values


def _can_be_kept(label: object) -> bool:
    # 1 and true would be found as the same; and what is long might be a message long.
    return label is None or (type(label) is str and len(label) <= 2 * _LONGEST_VALUE)


def _value(label: object) -> str:
    """Text, trimmed and in Unicode normal form C, or a whole number. 3.10 as a number would already be 3.1.

    Empty where nothing is told: by an empty text, a placeholder, a text that is too long, or one that does not read as
    what it is.
    """
    if type(label) is int:
        value = str(label) if abs(label) < 10**_LONGEST_VALUE else ""
    elif isinstance(label, str):
        value = (label if label.isascii() else normalize("NFC", label)).strip()
    else:
        return ""
    if len(value) > _LONGEST_VALUE or value == UNKNOWN or is_placeholder(value) or not _is_readable(value):
        return ""
    return value


def _is_readable(value: str) -> bool:
    """Whether a text shows all that it holds.

    Control characters and separators of lines (Cc, Zl, Zp) would break the lines of whoever shows it. Format characters
    (Cf), such as a space of no width or a change of direction, would make it read as another one.
    """
    return value.isprintable() or _UNREADABLE.isdisjoint(map(category, value))


def in_order(segments: Iterable[str]) -> tuple[str, ...]:
    """The names as they are stored, in whatever order they were listed."""
    named = set(segments)
    return SEGMENTS if named == set(SEGMENTS) else tuple(name for name in SEGMENTS if name in named)


@lru_cache(maxsize=4_096)
def only(values: Values, segments: tuple[str, ...]) -> Values:
    """The values of those segments that are counted."""
    kept = tuple(value if name in segments else "" for name, value in zip(SEGMENTS, values, strict=True))
    return NOT_TOLD if kept == NOT_TOLD else kept


class Told(msgspec.Struct, array_like=True, gc=False):
    """What events have told of the segments. Changed in place where they tell the same again, later on the same day."""

    at_ms: int  # of the newest one that told any value
    values: Values
    times: tuple[int, ...] = ()  # when each value was told, where not all were at `at_ms`; -1 where none was


def told_at(known: Told | None, values: Values, at_ms: int) -> Told | None:
    """What is known after an event that told `values`, or the very same when nothing changes."""
    if values is NOT_TOLD:
        return known
    if known is None:
        return Told(at_ms, values)
    if not known.times and (values is known.values or values == known.values):  # the common case, fast
        return Told(at_ms, values) if at_ms > known.at_ms else known
    return merged(known, Told(at_ms, values))


def merged(one: Told, other: Told) -> Told:
    """What is known where both were told: the newest of each segment, of equal times the greatest; or the first."""
    newest = [
        max((one_ms if value else -1, value), (other_ms if other_value else -1, other_value))
        for one_ms, value, other_ms, other_value in zip(
            _times_of(one), one.values, _times_of(other), other.values, strict=True
        )
    ]
    newest_ms = max(told_ms for told_ms, _ in newest)
    times = () if all(told_ms in (newest_ms, -1) for told_ms, _ in newest) else tuple(told_ms for told_ms, _ in newest)
    told = Told(newest_ms, tuple(value for _, value in newest), times)
    return one if told == one else told


def _times_of(told: Told) -> tuple[int, ...]:
    return told.times or (told.at_ms,) * len(told.values)


def newest_of(tellings: Iterable[Told | None]) -> Told | None:
    """What is known where all of these were told."""
    known: Told | None = None
    for told in tellings:
        if told is not None:
            known = told if known is None else merged(known, told)
    return known


def told_by_day(known: tuple[Told, ...], values: Values, at_ms: int, day_of: Callable[[int], int]) -> tuple[Told, ...]:
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
        first = told_at(known[place - 1] if place else None, values, at_ms)
        assert first is not None
        after.append(first)
    for then in known[place:]:
        later = told_at(then, values, at_ms)
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

    def __init__(self, most: int = _KEPT_APART) -> None:
        self._most = most
        self._kept: tuple[set[str], ...] = tuple(set[str]() for _ in SEGMENTS)
        self._known: dict[Values, Values] = {NOT_TOLD: NOT_TOLD}
        self.beyond = 0

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    def of(self, values: Values) -> Values:
        """The values as they are counted; the very same where all of them are kept apart."""
        known = self._known.get(values)
        return self._kept_of(values) if known is None else known

    def _kept_of(self, values: Values) -> Values:
        kept = tuple(map(self._value, self._kept, values))
        if len(self._known) >= _KNOWN_AT_MOST:
            self._known.clear()
        self._known[values] = result = values if kept == values else kept
        return result

    def _value(self, kept: set[str], value: str) -> str:
        if not value or value == OTHER or value in kept:
            return value
        if len(kept) >= self._most:
            self.beyond += 1
            return OTHER
        kept.add(value)
        return value

    @property
    def is_full(self) -> bool:
        """Whether some segment has no room for one more."""
        return any(len(kept) >= self._most for kept in self._kept)

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
def fields_of(values: Values, what: str) -> Mapping[Field, int]:
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
    told = {name: {length: dict(tally) for length, tally in sums.items()} for name, sums in families.items()}
    if all(len(tally) <= _TOLD_VALUES for sums in told.values() for tally in sums.values()):
        return told  # the common case, fast: there are no more values than fields
    names = {segment: frozenset(values) for segment, values in named([*told.values()], _TOLD_VALUES).items()}
    return {name: {length: folded(tally, names) for length, tally in sums.items()} for name, sums in told.items()}


def folded(tally: Mapping[Field, int], names: Named) -> dict[Field, int]:
    """The same, with those values as `other` that have no name."""
    result: dict[Field, int] = {}
    for field, amount in tally.items():
        name = field
        if is_of_value(field) and field[2:] not in names[parsed(field)[0]]:
            name = f"{field[:2]}{OTHER}"
        result[name] = result.get(name, 0) + amount
    return result
