"""The cohort triangle against counting users one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.cohorts import MODES, Cohort, Mode, by_week, cohorts
from stream.core.days import DayBook
from stream.core.families.activity.calendar import amounts_of
from stream.core.families.activity.closing import CELLS
from stream.core.families.activity.family import ActivityFamily
from stream.core.rules import Rules
from stream.core.time import date_of
from tests.core.test_activity import kept

FIRST = 19_723  # 2024-01-01, a Monday


def triangle(users: list[list[int]], through: int, mode: Mode, *, first: int, last: int) -> list[Cohort]:
    """The cohorts as the closed days tell them, of users by their active days."""
    family = ActivityFamily(Rules(cohorts_from=0))
    family.days = DayBook("activity")
    for days in users:
        for day, age, gap, window in kept(days).facts(0):
            family.days.count(day, amounts_of(day, age, gap, window, whole_since=0))
    return cohorts(lambda day: family.closed_sums(day, 0)[CELLS], first, last, through=through, mode=mode)


def by_hand(users: list[list[int]], day: int, through: int, mode: Mode) -> list[int | None]:
    came = [[one - day for one in days if one <= through] for days in users if days and days[0] == day]
    if mode == "weekly":
        weeks = [(week, 7 * week + 6) for week in range(13)]
        return [sum(any(one // 7 == week for one in days) for days in came) if day + over <= through else None
                for week, over in weeks]  # fmt: skip
    counts = {
        k: sum(k in days if mode == "exact" else max(days) >= k for days in came)
        for k in range(61)
        if day + k <= through
    }
    return [counts.get(k) for k in range(61)]


histories = st.lists(
    st.tuples(st.integers(FIRST, FIRST + 20), st.sets(st.integers(0, 120), max_size=6)).map(
        lambda told: sorted({told[0] + after for after in {0, *told[1]}})
    ),
    max_size=5,
)


@settings(max_examples=settings().max_examples // 2)
@given(histories, st.integers(FIRST, FIRST + 130), st.sampled_from(MODES))
def test_a_cell_counts_who_came_back_and_is_absent_until_it_is_complete(
    users: list[list[int]], through: int, mode: Mode
) -> None:
    found = triangle(users, through, mode, first=FIRST, last=FIRST + 20)

    assert [row.first_day for row in found] == list(range(FIRST, min(FIRST + 20, through) + 1))
    for row in found:
        assert row.users == sum(bool(days) and days[0] == row.first_day for days in users)
        assert list(row.cells) == by_hand(users, row.first_day, through, mode)


def test_days_are_united_by_weeks_from_monday_to_sunday() -> None:
    users = [[FIRST, FIRST + 1], [FIRST + 6, FIRST + 7], [FIRST + 7]]
    rows = triangle(users, FIRST + 14, "exact", first=FIRST - 1, last=FIRST + 12)
    (week,) = by_week(rows)

    assert date_of(week.first_day).isoformat() == "2024-01-01"
    assert date_of(week.last_day).isoformat() == "2024-01-07"
    assert (week.users, week.cells[:3]) == (2, (2, 2, 0))
    assert week.cells[8] == 0
    assert week.cells[9] is None, "Sunday's ninth day has not come"
