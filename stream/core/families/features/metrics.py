"""The metrics of features that need nothing of another family."""

from stream.core.metrics import Metric, closed_twins

FEATURE_USERS = "engagement_feature_users"
FEATURE_LABELS = ("window", "feature")

_LIVE = (
    Metric(
        FEATURE_USERS,
        "Users who used a feature in the window. The setting features names the features; of all others together the"
        " users are counted as other.",
        FEATURE_LABELS,
        unit="users",
    ),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))
