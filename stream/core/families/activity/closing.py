"""What a closed day says of active users, made of the active days that the book of days holds (`calendar`).

A user counts once in a window: on the first day of it that was active, which is the one whose gap reaches back beyond
the window's begin. If the gap ends within the window before, the user was active in both.

Who was first active before all was known is in no cohort. Which day that is depends on all partitions: those who came
on the day of a partition's own first event are told apart, under fields with their day (`of_first_day`). A summary may
tell that they had come the day before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stream.core.days import Amounts, OfWindows
from stream.core.families.activity.calendar import (
    ACTIVE_USERS,
    FOLLOWED_DAYS,
    NEW_USERS,
    WEEKS_DAYS,
    Day,
    rounded_first_day,
)
from stream.core.segments import is_of_value
from stream.core.tally import Field, add

# The windows of what follows from users' days, in days.
WINDOWS = (1, 7, 28, 30)
RETENTION_DAYS = (1, 3, 7, 14, 30)
RETENTION_WEEKS = tuple(range(1, 9))
# Cohorts of so many days are pooled.
POOLED_DAYS = 28
# Whoever was first active less than so many days ago is new.
TENURE_DAYS = 28

# What is told of a closed day, beside ACTIVE_USERS and NEW_USERS. By window:
USER_DAYS = 3  # the sum of the daily active users
BEFORE = 4  # active in the window before
RETURNING = 5  # active in both
OF_NEW_TENURE = 6
FIRST_TENURE = 20_000  # and so many whole days since the first active one; from 10,000 on there were bins of them
# With the window of four weeks:
FIRST_L28 = 100  # and so many active days
EXACTLY, ON_OR_AFTER, COHORT = 200, 300, 400  # and so many days
WEEKLY, WEEKLY_COHORT = 500, 600  # and so many weeks

# Of the day alone, told as a window of no days: of the users active on it how many were first active so many days
# before, and of those first active so many weeks and six days before how many came in the last week.
CELLS = 0
CELL_DAYS, CELL_WEEKS = FOLLOWED_DAYS, 12
FIRST_CELL, FIRST_WEEK_CELL = 1_000, 2_000
# And by age: who had not come back since a younger one, that one or -1.
_FIRST_COMEBACK = 1 << 20


def of_first_day(field: int, day: int) -> str:
    """The field of those who were first active on the day of a partition's first event, or before it."""
    return f"{field}@{day}"


def whole(amounts: Mapping[Field, int], whole_since: int) -> Amounts:
    """The amounts, with those of whole cohorts that were told apart."""
    sums: Amounts = {field: amount for field, amount in amounts.items() if isinstance(field, int)}
    for field, amount in amounts.items():
        if isinstance(field, str) and not is_of_value(field):
            number, _, day = field.partition("@")
            if int(day) >= whole_since:
                add(sums, {int(number): amount})
    return sums


def comebacks_in(amounts: Mapping[Field, int]) -> Iterator[tuple[int, int, int]]:
    """Of those who came back: how many days after the first, how many the last time before, and how many users."""
    for field, users in amounts.items():
        if isinstance(field, int) and field >= _FIRST_COMEBACK:
            yield field - _FIRST_COMEBACK >> 6, (field & 63) - 1, users


def closed_sums(
    days: Iterable[tuple[int, Day]], day: int, lengths: Sequence[int], *, first_known: int, cohorts_from: int | None
) -> OfWindows:
    """What the windows that end with a closed day hold, and what the cohorts did until its end.

    `days` are those that the day reaches, as they are at its end.
    """
    counting = _Counting(day, sorted({*lengths, *WINDOWS}), first_known, cohorts_from)
    for number, held in days:
        counting.take(number, held)
    return counting.sums


def reach(lengths: Iterable[int]) -> int:
    """How many days back from a closed day its numbers reach."""
    return max(*lengths, 2 * max(WINDOWS), _cohorts_reach())


def _cohorts_reach() -> int:
    """To the oldest cohort of those that are pooled for the last week."""
    return 7 * max(RETENTION_WEEKS) + 6 + POOLED_DAYS


class _Counting:
    """Counts what a closed day says, one active day after the other."""

    def __init__(self, day: int, lengths: list[int], first_known: int, cohorts_from: int | None) -> None:
        self.day = day
        self.lengths = lengths
        self.sums: OfWindows = {length: {} for length in (CELLS, *lengths)}
        self._first_known = first_known
        self._cohorts_from = cohorts_from

    def take(self, number: int, held: Day) -> None:
        """Count what one day holds."""
        ago = self.day - number
        for length in self.lengths:
            if ago < length:
                self._put(length, USER_DAYS, held.users)
                self._put(length, NEW_USERS, held.new)
        if held.new:
            self._take_cohort(number, held.new)
        self._take_gaps(ago, held.gaps)
        if ago < max(WINDOWS):
            self._take_tenures(number, ago, held.ages)
        if ago <= POOLED_DAYS + 6:
            self._take_retained(number, ago, held.young)
        if ago < WEEKS_DAYS:
            self._take_earlier(ago, held.users, held.earlier)
        if ago < 7:
            self._take_cells(ago, held)

    def _put(self, length: int, field: Field, amount: int) -> None:
        if amount:
            sums = self.sums[length]
            sums[field] = sums.get(field, 0) + amount

    def _put_of_cohort(self, length: int, field: int, first_day: int, amount: int) -> None:
        """Count what is told of users by their first day, unless that is before all was known."""
        if self._cohorts_from is not None:
            if first_day >= self._cohorts_from:
                self._put(length, field, amount)
        elif first_day > self._first_known:
            self._put(length, field, amount)
        else:
            self._put(length, of_first_day(field, first_day), amount)

    def _take_gaps(self, ago: int, of_gaps: Sequence[tuple[int, int]]) -> None:
        """Count users once in each window, and in the window before it."""
        for length in self.lengths:
            if ago >= 2 * length:
                continue
            field, begins = (ACTIVE_USERS, length - ago) if ago < length else (BEFORE, 2 * length - ago)
            for gap, users in of_gaps:
                if gap == 0 or gap >= begins:
                    self._put(length, field, users)
                    if field == ACTIVE_USERS and 0 < gap < begins + length:
                        self._put(length, RETURNING, users)

    def _take_tenures(self, number: int, ago: int, ages: Sequence[tuple[int, int, int]]) -> None:
        """Count the users of each window by how long ago they were first active."""
        for length in WINDOWS:
            begins = length - ago
            if begins <= 0:
                continue
            for gap, age, users in ages:
                if 0 < gap < begins:
                    break
                first_day = number - age
                tenure = self.day - rounded_first_day(first_day, number)
                self._put_of_cohort(length, FIRST_TENURE + tenure, first_day, users)
                if tenure < TENURE_DAYS:
                    self._put_of_cohort(length, OF_NEW_TENURE, first_day, users)

    def _take_cohort(self, number: int, users: int) -> None:
        """Count the users who were first active on a day in the cohorts that are pooled."""
        ago = self.day - number
        for days in RETENTION_DAYS:
            if days <= ago < days + POOLED_DAYS:
                self._put_of_cohort(WEEKS_DAYS, COHORT + days, number, users)
        for weeks in RETENTION_WEEKS:
            if 7 * weeks + 6 <= ago < 7 * weeks + 6 + POOLED_DAYS:
                self._put_of_cohort(WEEKS_DAYS, WEEKLY_COHORT + weeks, number, users)

    def _take_retained(self, number: int, ago: int, young: Sequence[tuple[int, int, int]]) -> None:
        """Count the users of these cohorts on the day on which they come back."""
        for age, last_age, users in young:
            first_day, cohort_ago = number - age, ago + age
            for days in RETENTION_DAYS:
                if last_age < days <= age and cohort_ago < days + POOLED_DAYS:
                    self._put_of_cohort(WEEKS_DAYS, ON_OR_AFTER + days, first_day, users)
                    if age == days:
                        self._put_of_cohort(WEEKS_DAYS, EXACTLY + days, first_day, users)
            weeks = age // 7
            if last_age < 7 * weeks and weeks in RETENTION_WEEKS and 0 <= cohort_ago - 7 * weeks - 6 < POOLED_DAYS:
                self._put_of_cohort(WEEKS_DAYS, WEEKLY + weeks, first_day, users)

    def _take_cells(self, ago: int, held: Day) -> None:
        """Count who came back by how long after the first day that was."""
        if ago == 0:
            self._put(CELLS, FIRST_CELL, held.new)
        for age, last_age, users in held.young:
            if ago == 0 and age <= CELL_DAYS:
                self._put(CELLS, FIRST_CELL + age, users)
            if ago == 0 and last_age < CELL_DAYS:
                self._put(CELLS, _FIRST_COMEBACK + (age << 6) + last_age + 1, users)
            weeks, days = divmod(age + ago, 7)
            if days == 6 and last_age < 7 * weeks and weeks <= CELL_WEEKS:
                self._put(CELLS, FIRST_WEEK_CELL + weeks, users)
        if ago == 6:
            self._put(CELLS, FIRST_WEEK_CELL, held.new)

    def _take_earlier(self, ago: int, users: int, earlier: Sequence[tuple[int, int, int]]) -> None:
        """Count users by how many of their active days lie within the four weeks: each day is one of them."""
        # So many users have an active day here that is at least the n-th of the four weeks.
        at_least = {1: users}
        for number, gap, count in earlier:
            if gap < WEEKS_DAYS - ago:
                at_least[number + 1] = at_least.get(number + 1, 0) + count
        for number, count in at_least.items():
            # The n-th of some, and a later one of others.
            self._put(WEEKS_DAYS, FIRST_L28 + number, count - at_least.get(number + 1, 0))
            if number > 1:
                self._put(WEEKS_DAYS, FIRST_L28 + number - 1, at_least.get(number + 1, 0) - count)
