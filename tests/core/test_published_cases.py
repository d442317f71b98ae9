"""The same users as in the published tests of other product analytics systems: the same numbers, but where we say why.

PostHog: `posthog/hogql_queries/insights/test/test_lifecycle_query_runner.py` and `test_retention_query_runner.py`.
Mozilla: `sql/mozfun/bits28` of bigquery-etl, by which Firefox counts active days of four weeks.
"""

from tests.core.test_cohorts import FIRST, triangle
from tests.core.test_comeback import Found, closed, lifecycle, login


def told(days_of: dict[str, list[int]], through: int) -> dict[int, Found]:
    """What closed days say of users with these active days, when all is known from day 0 on."""
    return closed([login(user, day + 0.5) for user, days in days_of.items() for day in days], through + 1.1)


def test_lifecycle_is_that_of_posthog() -> None:
    """PostHog's `whole_range`, of 9 to 19 January. It shows dormant users as negative numbers."""
    found = told({"p1": [11, 12, 13, 15, 17, 19], "p2": [9, 12], "p3": [12], "p4": [15]}, 19)

    by_day = {day: lifecycle(found[day], "1d") for day in range(9, 20)}
    expected = {
        "new": [1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0],
        "returning": [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
        "resurrected": [0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1],
        "dormant": [0, 1, 0, 0, 2, 1, 0, 2, 0, 1, 0],
    }
    assert {state: [by_day[day].get(state, 0) for day in by_day] for state in expected} == expected


def test_a_cohort_is_of_those_who_came_for_the_first_time_and_else_retention_is_that_of_posthog() -> None:
    """PostHog's `retention_default`: by default it has users in the cohort of each day on which they came.

    So the rows are the same but for person 1, who is in the cohort of day 0 alone, as in PostHog's retention of those
    who do something for the first time.
    """
    person_1, person_2 = [0, 1, 2, 5, 6], [1, 2, 3, 6]
    users = [[FIRST + day for day in days] for days in (person_1, person_2)]
    rows = triangle(users, FIRST + 6, "exact", first=FIRST, last=FIRST + 6)

    posthog = [[1, 1, 1, 0, 0, 1, 1], [2, 2, 1, 0, 1, 2], [2, 1, 0, 1, 2], [1, 0, 0, 1], [0, 0, 0], [1, 1], [2]]
    recurring = [[sum(first in days and first + k in days for days in (person_1, person_2)) for k in range(7 - first)]
                 for first in range(7)]  # fmt: skip
    assert recurring == posthog
    assert list(rows[0].cells[:7]) == posthog[0]
    assert list(rows[1].cells[:6]) == [1, 1, 1, 0, 0, 1]
    assert all(row.users == 0 for row in rows[2:])


def test_active_days_of_four_weeks_are_those_of_mozilla() -> None:
    """The pattern of bits in the tests of `bits28.retention`: active on day 0, 3 and 13 of 14 days.

    The new profile is active in week 1 after its first day, and so is retained in it; the twentieth day before the end
    has no week, so nothing is told of it.
    """
    bits = 1 << 13 | 1 << 10 | 1
    last = 27
    days = [last - bit for bit in reversed(range(28)) if bits >> bit & 1]
    by_day = told({"profile": days, "daily": list(range(28))}, last)
    found = by_day[last]

    assert days == [14, 17, 27]
    assert found["l28_users_closed", str(len(days))] == 1
    assert found["l28_users_closed", "28"] == 1
    assert found["active_users_closed", "1d"] == 2  # active_in_range(bits, 0, 1)
    assert found["active_users_closed", "7d"] == 2  # active_in_range(bits, -6, 7)
    assert found["weekly_retention_closed_ratio", "1"] == 1  # day_13.active_in_week_1
    assert by_day[20]["active_users_closed", "7d"] == 2  # active_in_range(bits, -13, 7)
    assert by_day[26]["active_users_closed", "7d"] == 1
