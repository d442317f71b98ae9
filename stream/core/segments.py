"""Active users by segment: by platform, plan, country and version of the app.

A user has one attribute for each segment: the value of the newest activity event that has one, by event time. If
several events have the same time, the greatest value counts. An event without a value changes nothing. The user counts
once in each segment, under that value, or as `unknown` if no event has had one. Attributes are booked with the user, in
the minute of the last activity. So the values of a segment and `unknown` add up to the active users of each window.
`unknown` is not booked, but calculated as the rest. So rows that were written before segments were counted need no
special treatment.

The 20 values of a segment with the most users in the longest window, over all partitions, are shown by name. All others
are shown as `other`. A value that producers call `other` counts as `other` too, and a value `unknown` as no value.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from heapq import nsmallest
from unicodedata import category, normalize

import msgspec

from stream.core.ids import is_placeholder
from stream.core.tally import Field, Tally, add

# There are no others, because a label must have few values. Their positions are stored, so new ones go to the end.
PLATFORM, PLAN, COUNTRY, APP_VERSION = SEGMENTS = ("platform", "plan", "country", "app_version")

OTHER, UNKNOWN = "other", "unknown"

# How many values are shown by name. More can't be read in a chart, and each is a time series for each window.
NAMED_VALUES = 20
# How many values a partition reports. These are many more than are shown, so that the server finds the largest ones of
# all partitions, and few enough for a small report whatever producers send.
_MAX_REPORTED_VALUES = 200

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
    values: AttributeValues = tuple(map(_cleaned_value, labels))
    if values == NO_ATTRIBUTES:
        values = NO_ATTRIBUTES
    if all(map(_is_cacheable, labels)):
        if len(cached_attribute_values) >= _MAX_CACHED:
            cached_attribute_values.clear()
        cached_attribute_values[labels] = values
    return values


def _is_cacheable(label: object) -> bool:
    # As keys of a dictionary 1 and true would be the same. A long text would need much memory.
    return label is None or (type(label) is str and len(label) <= 2 * _MAX_VALUE_LENGTH)


def _cleaned_value(label: object) -> str:
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
    """The attributes of one user. A later event with the same values changes `at_ms` in place."""

    at_ms: int  # of the newest event that had a value
    values: AttributeValues
    times: tuple[int, ...] = ()  # by segment: the time of its value, or -1 without one; empty if all are of `at_ms`


def newest_attributes(
    known: Attributes | None, values: AttributeValues, at_ms: int, *, counted: tuple[str, ...] = SEGMENTS
) -> Attributes | None:
    """The attributes after an activity event with `values`; returns `known` itself if nothing changes."""
    if counted is not SEGMENTS:
        values = only(values, counted)
    if values is NO_ATTRIBUTES:
        return known
    if known is None:
        return Attributes(at_ms, values)
    if not known.times and (values is known.values or values == known.values):  # the common case, fast
        return Attributes(at_ms, values) if at_ms > known.at_ms else known
    before = known.times or (known.at_ms,) * len(values)
    newest = [
        max((value_ms if old else -1, old), (at_ms if new else -1, new))
        for value_ms, old, new in zip(before, known.values, values, strict=True)
    ]
    newest_ms = max(value_ms for value_ms, _ in newest)
    times = (
        () if all(value_ms in (newest_ms, -1) for value_ms, _ in newest) else tuple(value_ms for value_ms, _ in newest)
    )
    updated = Attributes(newest_ms, tuple(value for _, value in newest), times)
    return known if updated == known else updated


@lru_cache(maxsize=16_384)
def fields_of(values: AttributeValues) -> Mapping[Field, int]:
    """The fields of a tally in which a user with these values is counted, in addition to the active users.

    The name of a field is the position of the segment, followed by the value.
    """
    return {f"{place}{value}": 1 for place, value in enumerate(values) if value}


# -- totals out --------------------------------------------------------------------------------------------------------

# By segment and value: users by window length in minutes.
Users = dict[str, dict[str, Tally]]


def users_of(
    sums: Mapping[int, Mapping[Field, int]],
    windows: Iterable[int],
    segments: Iterable[str],
    *,
    all_values: bool = False,
) -> Users:
    """The users of each value in the sums of some windows.

    Unless `all_values` is true, each segment has only the values with the most users, and the rest as `other`.
    """
    users: Users = {segment: {} for segment in segments}
    lengths = sorted(windows)
    for window in lengths:
        for field, amount in sums[window].items():
            if isinstance(field, str) and field[0].isdigit():
                users[SEGMENTS[int(field[0])]].setdefault(field[1:], {})[window] = amount
    if all_values:
        return {segment: of_value for segment, of_value in users.items() if of_value}
    return {
        segment: _largest_values(of_value, lengths[-1], _MAX_REPORTED_VALUES)
        for segment, of_value in users.items()
        if of_value
    }


def named(of_value: Mapping[str, Tally], window: int) -> dict[str, Tally]:
    """The values that are shown by name, those with the most users first, and `other` if there are more."""
    return _largest_values(
        {value: users for value, users in of_value.items() if users.get(window)}, window, NAMED_VALUES
    )


def _largest_values(of_value: Mapping[str, Tally], window: int, count: int) -> dict[str, Tally]:
    values = [value for value in of_value if value != OTHER]
    if len(values) > count:
        values = nsmallest(count, values, key=lambda value: (-of_value[value].get(window, 0), value))
    else:
        values.sort(key=lambda value: (-of_value[value].get(window, 0), value))
    kept = {value: of_value[value] for value in values}
    if len(kept) < len(of_value):
        rest: Tally = {}
        for value, users in of_value.items():
            if value not in kept:
                add(rest, users)
        kept[OTHER] = rest
    return kept


def added(one: Users, other: Users) -> Users:
    """The sum of the users of several partitions."""
    result: Users = {}
    for segment in sorted({*one, *other}):
        result[segment] = {value: dict(users) for value, users in one.get(segment, {}).items()}
        for value, users in other.get(segment, {}).items():
            add(result[segment].setdefault(value, {}), users)
    return result
