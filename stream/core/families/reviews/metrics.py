"""The metrics of reviews."""

from stream.core.metrics import WINDOW, Metric, closed_twins

REVIEWS = "engagement_reviews"
POSITIVE, NEGATIVE = "engagement_positive_reviews", "engagement_negative_reviews"
MEAN = "engagement_review_stars_mean"
POSITIVE_RATIO = "engagement_review_positive_ratio"
POSITIVE_TO_NEGATIVE = "engagement_review_positive_to_negative_ratio"

_LIVE = (
    Metric(
        REVIEWS,
        "Reviews by stars. A review counts once, at its newest edit and with the stars of that; one that was removed"
        " does not count.",
        ("window", "stars"),
        unit="reviews",
    ),
    Metric(POSITIVE, "Reviews with 4 or 5 stars.", WINDOW, unit="reviews"),
    Metric(NEGATIVE, "Reviews with 1 or 2 stars.", WINDOW, unit="reviews"),
    Metric(MEAN, "Mean stars of the reviews, 1 to 5.", WINDOW, unit="stars", parts=(REVIEWS,)),
    Metric(
        POSITIVE_RATIO,
        "Share of the reviews that have 4 or 5 stars.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=(POSITIVE, REVIEWS),
    ),
    Metric(
        POSITIVE_TO_NEGATIVE,
        "Reviews with 4 or 5 stars for each one with 1 or 2. Absent where there is none of these.",
        WINDOW,
        unit="ratio",
        parts=(POSITIVE, NEGATIVE),
    ),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))
