"""The row of customer health: users by the band of their score, and the means."""

from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, number


def health() -> Row:
    """What health scores tell. The panels are empty where the setting health.enabled is false."""
    users = "engagement_health_users_closed"
    at_risk, all_users = number(users, where='band="at_risk"'), f"sum({number(users, by='band')})"
    return Row(
        "Health of customers",
        [
            trend(
                "Users by health",
                [Query(number(users, by="band"), "{{band}}")],
                unit=units.Short,
                width=12,
                closed=True,
                stacked=True,
            ),
            trend(
                "Share of users at risk",
                [Query(f"{at_risk} / ({all_users} > 0)", "at risk")],
                unit=units.PercentUnit,
                width=12,
                sample=Query(all_users, "users with a score"),
                closed=True,
            ),
            trend(
                "Mean health score",
                [Query(number("engagement_health_score_mean_closed"), "score")],
                unit=units.NoUnit,
                width=12,
                before=Query(number("engagement_health_score_mean_closed", ago="28d"), "a month before"),
                closed=True,
            ),
            trend(
                "Coverage: share of all weights that belongs to what is known",
                [Query(number("engagement_health_coverage_mean_closed"), "coverage")],
                unit=units.PercentUnit,
                width=12,
                closed=True,
            ),
        ],
        folded=True,
    )
