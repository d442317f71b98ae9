"""The cohort triangle: of those first active on a day, how many came back so many days or weeks later.

A row is a first active day, or the seven of a week from Monday to Sunday. Column k of days is k days after each user's
own first day, of weeks the days 7k to 7k + 6 after it. A cell that is not complete is absent. One that counts who came
exactly on the day, or in the week, is that of the day that completed it; one that counts who came on the day or later
is as of the last closed day, and may grow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from stream.core.families.activity.closing import (
    CELL_DAYS,
    CELL_WEEKS,
    FIRST_CELL,
    FIRST_WEEK_CELL,
    comebacks_in,
)
from stream.core.time import date_of

Mode = Literal["exact", "on_or_after", "weekly"]
MODES: tuple[Mode, ...] = get_args(Mode)

# What the window `CELLS` of the activity of one closed day holds, of all partitions.
OfDay = Callable[[int], Mapping[Any, int]]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Those who were first active on one of some days."""

    first_day: int
    last_day: int
    users: int
    cells: tuple[int | None, ...]  # by column: how many came back; None where that is not complete


def cohorts(of_day: OfDay, first: int, last: int, *, through: int, mode: Mode) -> list[Cohort]:
    """The cohorts of the days from `first` to `last`. Days have closed up to `through`."""
    held = {day: of_day(day) for day in days_of(first, last, through=through, mode=mode)}
    later = _later(held, first, last) if mode == "on_or_after" else {}
    return [
        Cohort(day, day, held[day].get(FIRST_CELL, 0), _cells(held, later.get(day, {}), day, through, mode))
        for day in range(first, min(last, through) + 1)
    ]


def days_of(first: int, last: int, *, through: int, mode: Mode) -> range:
    """The days that tell of the cohorts of the days from `first` to `last`."""
    after = {"exact": CELL_DAYS, "weekly": 7 * CELL_WEEKS + 6, "on_or_after": max(0, through - last)}[mode]
    return range(first, min(through, last + after) + 1)


def _cells(
    held: Mapping[int, Mapping[Any, int]], later: Mapping[int, int], day: int, through: int, mode: Mode
) -> tuple[int | None, ...]:
    if mode == "weekly":
        complete = ((week, day + 7 * week + 6) for week in range(CELL_WEEKS + 1))
        return tuple(held[at].get(FIRST_WEEK_CELL + week, 0) if at <= through else None for week, at in complete)
    columns = range(CELL_DAYS + 1)
    if mode == "exact":
        return tuple(held[day + k].get(FIRST_CELL + k, 0) if day + k <= through else None for k in columns)
    users = held[day].get(FIRST_CELL, 0)
    return tuple((later.get(k, 0) if k else users) if day + k <= through else None for k in columns)


def _later(held: Mapping[int, Mapping[Any, int]], first: int, last: int) -> dict[int, dict[int, int]]:
    """By first day and column: how many came on that day of theirs or later."""
    found: dict[int, dict[int, int]] = {}
    for day, amounts in held.items():
        for age, last_age, users in comebacks_in(amounts):
            if first <= day - age <= last:
                of_cohort = found.setdefault(day - age, {})
                # Counted for each column that the user had not come back for before.
                for column in range(last_age + 1, min(age, CELL_DAYS) + 1):
                    of_cohort[column] = of_cohort.get(column, 0) + users
    return found


def by_week(rows: Iterable[Cohort]) -> list[Cohort]:
    """Seven days in one, from Monday to Sunday, where all of them are told."""
    weeks: dict[int, list[Cohort]] = {}
    for row in rows:
        weeks.setdefault(row.first_day - date_of(row.first_day).weekday(), []).append(row)
    return [_united(monday, days) for monday, days in sorted(weeks.items()) if len(days) == 7]


def _united(monday: int, days: Sequence[Cohort]) -> Cohort:
    columns = zip(*(day.cells for day in days), strict=True)
    cells = (None if None in column else sum(cell or 0 for cell in column) for column in columns)
    return Cohort(monday, monday + 6, sum(day.users for day in days), tuple(cells))
