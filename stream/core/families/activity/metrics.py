"""The metrics of active users and stickiness."""

from stream.core.metrics import WINDOW, Metric, by_segment

# What is counted by segment too, by the names of the setting `segments.metrics`.
NAMES_BY_SEGMENT = ("active_users", "stickiness_ratio")

_METRICS = (
    Metric(
        "engagement_active_users",
        "Distinct users with at least one activity in the rolling window: a successful login, a session step that is"
        " neither interactive:false nor an end, or a session summary. Exact. 1d is DAU, 7d WAU, 30d MAU.",
        WINDOW,
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
    Metric(
        "engagement_l28_users_closed",
        "Users by the number of their active days in the 28 days that end with the last closed day (L28).",
        ("days",),
        unit="users",
    ),
    Metric(
        "engagement_lifecycle_users_closed",
        "Users by state, the closed window compared with the one before it. new: first ever active in the window;"
        " returning: active in both; resurrected: active in this one, not in the one before, first active earlier;"
        " dormant: active in the one before, not in this one. Absent until all is known of both.",
        ("window", "state"),
        unit="users",
    ),
    Metric(
        "engagement_previous_active_users_closed",
        "Users active in the closed window before the one that ends with the last closed day.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_quick_closed_ratio",
        "New and resurrected users over dormant ones: below 1 more stay away than come.",
        WINDOW,
        unit="ratio",
        parts=("engagement_lifecycle_users_closed", "engagement_lifecycle_users_closed"),
        sample_labels=(("state", "dormant"),),
    ),
    Metric(
        "engagement_return_closed_ratio",
        "Of the users active in the closed window before, the share that was active in this one too. Headline: 7d.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_lifecycle_users_closed", "engagement_previous_active_users_closed"),
    ),
    Metric(
        "engagement_inactivity_churn_closed_ratio",
        "Of the users active in the closed window before, the share that was not active in this one. Headline: 30d.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_lifecycle_users_closed", "engagement_previous_active_users_closed"),
    ),
    Metric(
        "engagement_retention_closed_ratio",
        "Of the users first active so many days before (day), the share that was active again. exact: on that local"
        " day after the first; on_or_after: on it or on any later one. Of the cohorts of the 28 newest days whose day"
        " is over, weighted by size. Days are calendar days: who comes at 23:59 and again at 00:01 is retained on day"
        " 1. Cohorts before all was known are left out.",
        ("day", "mode"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_retention_retained_users_closed", "engagement_retention_cohort_users_closed"),
    ),
    Metric(
        "engagement_retention_retained_users_closed",
        "Users of the pooled cohorts who were active again.",
        ("day", "mode"),
        unit="users",
    ),
    Metric(
        "engagement_retention_cohort_users_closed",
        "Users of the 28 newest cohorts, by first active day, for which so many days after it are over.",
        ("day",),
        unit="users",
    ),
    Metric(
        "engagement_weekly_retention_closed_ratio",
        "Of the users first active so many weeks before, the share that was active on one of the days 7k to 7k+6 after"
        " the first (week k). Of the cohorts of the 28 newest days for which all of these are over.",
        ("week",),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_weekly_retention_retained_users_closed", "engagement_weekly_retention_cohort_users_closed"),
    ),
    Metric(
        "engagement_weekly_retention_retained_users_closed",
        "Users of the pooled cohorts who were active in that week of theirs.",
        ("week",),
        unit="users",
    ),
    Metric(
        "engagement_weekly_retention_cohort_users_closed",
        "Users of the 28 newest cohorts, by first active day, for which that week is over.",
        ("week",),
        unit="users",
    ),
    Metric(
        "engagement_tenure_active_users_closed",
        "Users active in the closed window by tenure. new: first active less than 28 days before the last closed day;"
        " established: all others.",
        ("window", "tenure"),
        unit="users",
    ),
    Metric(
        "engagement_tenure_stickiness_closed_ratio",
        "Users of a tenure active on the last closed day over those active in the closed window.",
        ("window", "tenure"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_tenure_active_users_closed", "engagement_tenure_active_users_closed"),
    ),
    Metric(
        "engagement_user_tenure_closed_seconds",
        "Quantiles of how long the users active in the closed window have been known: whole days from the first active"
        " one to the last closed day; nearest rank, within 1 %. Who was first active before all was known is left out.",
        ("window", "quantile"),
        "summary",
        "seconds",
        parts=("engagement_user_tenure_users_closed",),
    ),
    Metric(
        "engagement_user_tenure_users_closed",
        "Users active in the closed window whose first active day is known.",
        WINDOW,
        unit="users",
    ),
)

_RULE = (
    "A user counts once in a segment, under the value of the newest activity event (by event time) that told one, else"
    " as unknown, as whoever comes back when the setting memory is over: the values add up to all. The 20 values with"
    " the most users in the longest window have a name, the rest is other."
)
METRICS = (*_METRICS, *by_segment(_METRICS, NAMES_BY_SEGMENT, rule=_RULE))
