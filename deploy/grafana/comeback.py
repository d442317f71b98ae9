"""Who comes back: lifecycle, retention and how often people come, all of closed days."""

from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import Steps, bars, trend
from deploy.grafana.queries import Query, interval, number

# From the axis upwards; who is dormant lies below it.
_STATES = ("returning", "resurrected", "new")
# The product shrinks below 1.
_QUICK_RATIO: Steps = ((None, "red"), (1, "green"))
_TENURES = ("new", "established")
# Of the days that are told: soon, after a week, after a month.
_DAYS = ("1", "7", "30")
_CURVE = ("1", "3", "7", "14", "30")
_WEEKS = ("1", "2", "4")
_OFTEN = (("1 day", "1"), ("2 days", "2"), ("4 days", "4"), ("8 days", "8"), ("16 days", "16"), ("28 days", "28"))


def comeback() -> Row:
    """The row of who comes back and who stays away."""
    lifecycle = [
        Query(number("engagement_lifecycle_users_closed", where=f'window="7d", state="{state}"'), state)
        for state in _STATES
    ]
    dormant = number("engagement_lifecycle_users_closed", where='window="7d", state="dormant"')
    lifecycle.append(Query(f"-{dormant}", "dormant"))
    quick = Query(number("engagement_quick_closed_ratio", where='window="7d"'), "came for each who went")
    curve = [
        Query(number("engagement_retention_closed_ratio", where=f'day="{day}", mode="exact"'), f"day {day}")
        for day in _CURVE
    ]
    tenures = [
        Query(number("engagement_tenure_active_users_closed", where=f'window="7d", tenure="{tenure}"'), tenure)
        for tenure in _TENURES
    ]
    retained = [
        Query(number("engagement_retention_closed_ratio", where=f'day="{day}", mode="on_or_after"'), f"day {day}")
        for day in _DAYS
    ]
    weekly = [
        Query(number("engagement_weekly_retention_closed_ratio", where=f'week="{week}"'), f"week {week}")
        for week in _WEEKS
    ]
    often = [Query(number("engagement_l28_users_closed", where=f'days="{days}"'), name) for name, days in _OFTEN]
    cohorts = [
        *(
            Query(number("engagement_retention_cohort_users_closed", where=f'day="{day}"'), f"day {day}")
            for day in _DAYS
        ),
        *(
            Query(
                number("engagement_retention_retained_users_closed", where=f'day="{day}", mode="on_or_after"'),
                f"back by day {day}",
            )
            for day in _DAYS
        ),
        *(
            Query(number(f"engagement_weekly_retention_{which}_users_closed", where='week="1"'), f"week 1, {which}")
            for which in ("cohort", "retained")
        ),
    ]
    back = interval("engagement_return_closed_ratio", "came again", where='window="7d"')
    return Row(
        "Who comes back",
        [
            trend(
                "Lifecycle over 7 days",
                lifecycle,
                unit=units.Short,
                width=8,
                closed=True,
                stacked=True,
                signed=True,
                note="Who is dormant is below 0.",
            ),
            trend(
                "Quick ratio over 7 days",
                [quick],
                unit=units.NoUnit,
                width=8,
                closed=True,
                steps=_QUICK_RATIO,
                alerts=["EngagementQuickRatioLow"],
            ),
            trend(
                "Of those of the week before, who came again",
                back,
                unit=units.PercentUnit,
                width=8,
                bands=(("came again", "blue"),),
                closed=True,
                alerts=["EngagementChurnRise"],
            ),
            trend("How many came on so many of 28 days (L28)", often, unit=units.Short, width=8, closed=True),
            trend(
                "Retention, on the day or after",
                retained,
                unit=units.PercentUnit,
                width=8,
                closed=True,
                alerts=["EngagementRetentionDrop"],
            ),
            bars("Retention curve, on the day itself", curve, unit=units.PercentUnit, width=8),
            trend("Retention by week", weekly, unit=units.PercentUnit, width=8, closed=True),
            trend("Cohorts that retention is taken from", cohorts, unit=units.Short, width=8, closed=True),
            trend("Active users of 7 days, by tenure", tenures, unit=units.Short, width=8, closed=True, stacked=True),
        ],
    )
