"""The row of adoption: how many of the active users use which features, and the score that is made of it."""

from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, number

_MONTH = 'window="28d"'


def adoption() -> Row:
    """What the use of features tells. The panels are empty where the topic is not read."""
    score = "engagement_product_adoption_score"
    adopted, closed = "engagement_feature_adoption_ratio", "engagement_feature_adoption_closed_ratio"
    return Row(
        "Adoption over 28 days",
        [
            trend(
                "Product adoption score",
                [Query(number(score, where=_MONTH), "score")],
                unit=units.NoUnit,
                sample=Query(number("engagement_active_users", where=_MONTH), "active users"),
            ),
            trend(
                "Product adoption score, closed days",
                [Query(number(f"{score}_closed", where=_MONTH), "score")],
                unit=units.NoUnit,
                before=Query(number(f"{score}_closed", where=_MONTH, ago="7d"), "a week before"),
                closed=True,
            ),
            trend(
                "Users by feature",
                [Query(number("engagement_feature_users", by="feature", where=_MONTH), "{{feature}}")],
                unit=units.Short,
            ),
            trend(
                "Adoption by feature",
                [Query(number(adopted, by="feature", where=_MONTH), "{{feature}}")],
                unit=units.PercentUnit,
                width=12,
            ),
            trend(
                "Adoption by feature, closed days",
                [Query(number(closed, by="feature", where=_MONTH), "{{feature}}")],
                unit=units.PercentUnit,
                width=12,
                closed=True,
            ),
        ],
        folded=True,
    )
