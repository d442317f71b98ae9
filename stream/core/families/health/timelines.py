"""Values that change from day to day: since which day each holds, so that a window needs no look at every day of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")

# By day, in order: the value that holds at its end and at the end of the days after it.
Timeline = list[tuple[int, Value]]

# From one day on until before another one.
DaySpan = tuple[int, int]

FOREVER = 1 << 40


def timeline(since: int, days: Iterable[int], value_at: Callable[[int], Value]) -> Timeline[Value]:
    """The values from a day on. `days` are all on which the value may change; `value_at` returns that of a day."""
    found: Timeline[Value] = [(since, value_at(since))]
    for day in sorted({day for day in days if day > since}):
        value = value_at(day)
        if value != found[-1][1]:
            found.append((day, value))
    return found


def counts(spans: Iterable[DaySpan], since: int) -> Timeline[int]:
    """How many of the spans hold at the end of each day."""
    steps: dict[int, int] = {since: 0}
    for begin, end in spans:
        if begin < end:
            steps[max(begin, since)] = steps.get(max(begin, since), 0) + 1
            steps[max(end, since)] = steps.get(max(end, since), 0) - 1
    found: Timeline[int] = []
    count = 0
    for day in sorted(steps):
        count += steps[day]
        if not found or count != found[-1][1]:
            found.append((day, count))
    return found


def united(spans: Iterable[DaySpan]) -> list[DaySpan]:
    """The same days as spans that don't overlap, in order."""
    found: list[DaySpan] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def days_of(timelines: Iterable[Timeline[Value]]) -> list[int]:
    """All days on which any of them changes, in order."""
    return sorted({day for one in timelines for day, _ in one})


def at_days(days: Iterable[int], timelines: Mapping[str, Timeline[Value]]) -> Iterable[tuple[int, dict[str, Value]]]:
    """The values of all timelines at the end of each of the days, which are in order. Each has begun by the first."""
    places = dict.fromkeys(timelines, 0)
    for day in days:
        values = {}
        for name, values_of in timelines.items():
            place = places[name]
            while place + 1 < len(values_of) and values_of[place + 1][0] <= day:
                place += 1
            places[name] = place
            values[name] = values_of[place][1]
        yield day, values
