"""The metrics of social networks."""

from stream.core.metrics import Metric, closed_twins

INTERACTIONS = "engagement_social_interactions"
MENTIONS = "engagement_brand_mentions"
AUDIENCE = "engagement_social_audience"
ENGAGEMENT = "engagement_social_engagement_ratio"

_NETWORKS = " Of all networks together the 20 with the most interactions have a name, the rest is other."

_LIVE = (
    Metric(
        INTERACTIONS,
        "Likes, comments, shares, saves, mentions and follows that were not taken back. A like, share, save or follow"
        " stands once for each user, network and post, at its newest time; a comment or mention once for each"
        f" interaction_id, else for each event.{_NETWORKS}",
        ("window", "network", "type"),
        unit="interactions",
    ),
    Metric(
        MENTIONS,
        "Mentions of the brand by sentiment: positive, neutral, negative, or unknown where it is not told.",
        ("window", "network", "sentiment"),
        unit="mentions",
    ),
    Metric(
        AUDIENCE,
        "Followers, or people reached: the newest number that was told of each page, summed over the pages of a"
        " network. A number holds for 400 days (setting memory) if no newer one comes.",
        ("network", "base"),
        unit="people",
    ),
    Metric(
        ENGAGEMENT,
        "Likes, comments, shares and saves of the window over the followers, or over the people reached. Absent where"
        " their number is not known.",
        ("window", "network", "base"),
        unit="ratio",
        parts=(INTERACTIONS, AUDIENCE),
    ),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))
