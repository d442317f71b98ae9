"""Active users by segment: on which platform, plan, country and version of the app.

A user counts once in each segment, under the value that the newest of the user's activity events told (by event time;
of equal times the greatest value). An event that tells no value leaves it as it was; who never told one is `unknown`.
Values are booked with the user, in the minute of the last activity, so a segment's values and `unknown` add up to the
active users of each window. `unknown` itself is never booked, it is what is left: so rows that were written before
segments were counted need no other treatment.

The 20 values of a segment with the most users in the longest window, over all partitions, have a name; the rest is
`other`. A value that producers call `other` counts there too, and one called `unknown` is none.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from heapq import nsmallest
from unicodedata import category, normalize

import msgspec

from stream.core.ids import is_placeholder
from stream.core.tally import Field, Tally, add

# What is counted apart, and nothing else: a label must have few values. Their places are stored: new ones come last.
PLATFORM, PLAN, COUNTRY, APP_VERSION = SEGMENTS = ("platform", "plan", "country", "app_version")

OTHER, UNKNOWN = "other", "unknown"

# Values that are shown by name. Of more a chart tells nothing, and each is a time series in each window.
NAMED_VALUES = 20
# Values that one partition tells of: many more than are shown, so that those to show are found among all partitions,
# and few enough that a report stays small whatever producers send.
_TOLD_VALUES = 200

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
    """What the activity events of one user have told. Changed in place where they tell the same again, later."""

    at_ms: int  # of the newest one that told any value
    values: Values
    times: tuple[int, ...] = ()  # when each value was told, where not all were at `at_ms`; -1 where none was


def told_at(known: Told | None, values: Values, at_ms: int, *, counted: tuple[str, ...] = SEGMENTS) -> Told | None:
    """What is known after an activity event that told `values`, or the very same when nothing changes."""
    if counted is not SEGMENTS:
        values = only(values, counted)
    if values is NOT_TOLD:
        return known
    if known is None:
        return Told(at_ms, values)
    if not known.times and (values is known.values or values == known.values):  # the common case, fast
        return Told(at_ms, values) if at_ms > known.at_ms else known
    before = known.times or (known.at_ms,) * len(values)
    newest = [
        max((told_ms if old else -1, old), (at_ms if new else -1, new))
        for told_ms, old, new in zip(before, known.values, values, strict=True)
    ]
    newest_ms = max(told_ms for told_ms, _ in newest)
    times = () if all(told_ms in (newest_ms, -1) for told_ms, _ in newest) else tuple(told_ms for told_ms, _ in newest)
    told = Told(newest_ms, tuple(value for _, value in newest), times)
    return known if told == known else told


def told_since(told: Told, is_known: Callable[[int], bool]) -> Told | None:
    """What is known of segments without the values that were told at a time that is not known any more."""
    times = told.times or (told.at_ms,) * len(told.values)
    kept = [at_ms if value and is_known(at_ms) else -1 for at_ms, value in zip(times, told.values, strict=True)]
    newest_ms = max(kept)
    if newest_ms < 0:
        return None
    values = tuple(value if at_ms >= 0 else "" for at_ms, value in zip(kept, told.values, strict=True))
    return Told(newest_ms, values, () if set(kept) <= {newest_ms, -1} else tuple(kept))


@lru_cache(maxsize=16_384)
def fields_of(values: Values) -> Mapping[Field, int]:
    """What one thing of these values adds beside what it adds anyway: the fields of its values.

    The field of a value is the place of its segment and the value.
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

    Unless `all_values` are asked for, of each segment those with the most users, and the rest as `other`.
    """
    users: Users = {segment: {} for segment in segments}
    lengths = sorted(windows)
    for window in lengths:
        for field, amount in sums[window].items():
            if isinstance(field, str) and field[0].isdigit():
                users[SEGMENTS[int(field[0])]].setdefault(field[1:], {})[window] = amount
    if all_values:
        return {segment: of_value for segment, of_value in users.items() if of_value}
    return {segment: _most(of_value, lengths[-1], _TOLD_VALUES) for segment, of_value in users.items() if of_value}


def named(of_value: Mapping[str, Tally], window: int) -> dict[str, Tally]:
    """The values that are shown by name, largest first, and `other` if there are more."""
    return _most({value: users for value, users in of_value.items() if users.get(window)}, window, NAMED_VALUES)


def _most(of_value: Mapping[str, Tally], window: int, count: int) -> dict[str, Tally]:
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
    """The users of several partitions."""
    result: Users = {}
    for segment in sorted({*one, *other}):
        result[segment] = {value: dict(users) for value, users in one.get(segment, {}).items()}
        for value, users in other.get(segment, {}).items():
            add(result[segment].setdefault(value, {}), users)
    return result
