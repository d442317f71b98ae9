"""The row of voice: what people say of the product, in reviews, on social networks and in surveys."""

from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, interval, number

_WEEK, _MONTH = 'window="7d"', 'window="28d"'
_INTERACTIONS, _MENTIONS = "engagement_social_interactions", "engagement_brand_mentions"
_AUDIENCE = "engagement_social_audience"


def voice() -> Row:
    """What reviews and networks tell. The panels are empty where neither topic is read."""
    reviews = Query(f"sum({number('engagement_reviews', by='stars', where=_MONTH)})", "reviews")
    interactions = number(_INTERACTIONS, by="network, type", where=_WEEK)
    mentions = number(_MENTIONS, by="network, sentiment", where=_MONTH)
    engagement = "engagement_social_engagement_ratio"
    shares = [
        Query(number(name, where=_MONTH), legend)
        for name, legend in (
            ("engagement_review_positive_ratio", "positive reviews"),
            ("engagement_csat_ratio", "CSAT"),
            ("engagement_ces_ratio", "CES"),
        )
    ]
    return Row(
        "Voice",
        [
            trend("What people say over 28 days", shares, unit=units.PercentUnit),
            trend(
                "Positive reviews over 28 days",
                interval("engagement_review_positive_ratio", "4 or 5 stars", where=_MONTH),
                unit=units.PercentUnit,
                bands=(("4 or 5 stars", "blue"),),
                sample=reviews,
            ),
            trend(
                "Mean stars over 28 days",
                [Query(number("engagement_review_stars_mean", where=_MONTH), "stars")],
                unit=units.NoUnit,
                sample=reviews,
            ),
            trend(
                "Reviews by stars over 28 days",
                [Query(number("engagement_reviews", by="stars", where=_MONTH), "{{stars}}")],
                unit=units.Short,
                stacked=True,
            ),
            trend(
                "Positive reviews for each negative one over 28 days",
                [Query(number("engagement_review_positive_to_negative_ratio", where=_MONTH), "positive to negative")],
                unit=units.Short,
            ),
            trend(
                "Positive reviews, closed days",
                interval("engagement_review_positive_closed_ratio", "4 or 5 stars", where=_MONTH),
                unit=units.PercentUnit,
                bands=(("4 or 5 stars", "blue"),),
                closed=True,
            ),
            trend(
                "Interactions by network over 7 days",
                [Query(f"sum by (network) ({interactions})", "{{network}}")],
                unit=units.Short,
                stacked=True,
            ),
            trend(
                "Interactions by type over 7 days",
                [Query(f"sum by (type) ({interactions})", "{{type}}")],
                unit=units.Short,
                stacked=True,
            ),
            trend(
                "Mentions by sentiment over 28 days",
                [Query(f"sum by (sentiment) ({mentions})", "{{sentiment}}")],
                unit=units.Short,
                stacked=True,
            ),
            trend(
                "Engagement by followers over 28 days",
                [Query(number(engagement, by="network", where=f'{_MONTH}, base="followers"'), "{{network}}")],
                unit=units.PercentUnit,
            ),
            trend(
                "Engagement by reach over 28 days",
                [Query(number(engagement, by="network", where=f'{_MONTH}, base="reach"'), "{{network}}")],
                unit=units.PercentUnit,
            ),
            trend(
                "Audience by network",
                [
                    Query(number(_AUDIENCE, by="network", where='base="followers"'), "{{network}} followers"),
                    Query(number(f"{_AUDIENCE}_closed", by="network", where='base="reach"'), "{{network}} reach"),
                ],
                unit=units.Short,
            ),
        ],
        folded=True,
    )
