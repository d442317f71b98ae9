"""The metrics of active users and stickiness."""

from stream.core.metrics import WINDOW, Metric

METRICS = (
    Metric(
        "engagement_active_users",
        "Distinct users with at least one activity in the rolling window: a successful login, a session step that is"
        " neither interactive:false nor an end, or a session summary. Exact. 1d is DAU, 7d WAU, 30d MAU.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_segment_active_users",
        "Active users by segment: platform, plan, country, app_version. Each counts once in a segment, under the value"
        " of the newest activity event (by event time) that told one, else as unknown, as whoever comes back when the"
        " setting memory is over: the values add up to"
        " engagement_active_users. The 20 values with the most users in the longest window have a name, the rest is"
        " other; what producers call other counts there, what they call unknown is no value.",
        ("window", "segment", "value"),
        unit="users",
    ),
    Metric(
        "engagement_stickiness_ratio",
        "Users active in the last day over users active in the rolling window. 30d is DAU/MAU.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_active_users", "engagement_active_users"),
    ),
    Metric(
        "engagement_active_users_closed",
        "Distinct users active in the window of complete local calendar days that ends with the last closed day.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_stickiness_closed_ratio",
        "Users active on the last closed day over users active in the closed window that ends with it.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_active_users_closed", "engagement_active_users_closed"),
    ),
    Metric(
        "engagement_stickiness_smoothed_closed_ratio",
        "Mean of the daily active users of the closed window over the users active in it: the share of its days on"
        " which an active user was active. 28d holds four of each weekday; alerts use it.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_daily_active_users_summed_closed", "engagement_active_users_closed"),
    ),
    Metric(
        "engagement_daily_active_users_summed_closed",
        "Sum of the daily active users over the days of the closed window.",
        WINDOW,
        unit="user days",
    ),
    Metric("engagement_closed_day_timestamp_seconds", "When the last closed day began.", unit="seconds"),
)
