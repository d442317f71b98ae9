"""The metrics of customer health."""

from stream.core.metrics import Metric

USERS = "engagement_health_users_closed"
SCORE = "engagement_health_score_mean_closed"
COVERAGE = "engagement_health_coverage_mean_closed"
BANDS = ("at_risk", "neutral", "healthy")

_WHO = (
    " Scored is who was active in the 90 days to the end of the last closed day, or is a customer then: trialing,"
    " active or paused."
)

METRICS = (
    Metric(
        USERS,
        "Users by their health score at the end of the last closed day: at risk below the setting health.at_risk_below"
        f" (40), healthy from health.healthy_from (70) on.{_WHO} Absent unless the setting health.enabled is true.",
        ("band",),
        unit="users",
    ),
    Metric(
        SCORE,
        "Mean health score, 0 to 100, at the end of the last closed day. A score is the mean of what is known of a user"
        " by the weights of the settings: activity, adoption, satisfaction, support and subscription."
        " `engagement health USER` tells what one is made of.",
        unit="score",
        parts=(USERS,),
    ),
    Metric(
        COVERAGE,
        "Mean coverage of the health scores: the share of all weights that belongs to what is known of a user.",
        unit="share",
        parts=(USERS,),
    ),
)
