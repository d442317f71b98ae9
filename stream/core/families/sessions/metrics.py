"""The metrics of sessions."""

from stream.core.metrics import WINDOW, Metric

METRICS = (
    Metric("engagement_open_sessions", "Sessions that have not closed.", unit="sessions"),
    Metric("engagement_sessions", "Sessions whose closing time lies in the window.", WINDOW, unit="sessions"),
    Metric(
        "engagement_session_duration_seconds",
        "Quantiles of the duration of closed sessions, last minus first step, capped at 24 h; within 1 %.",
        ("window", "quantile"),
        unit="seconds",
        parts=("engagement_sessions",),
    ),
    Metric(
        "engagement_session_duration_mean_seconds",
        "Mean duration of closed sessions, those of zero length included.",
        WINDOW,
        unit="seconds",
        parts=("engagement_session_time_seconds", "engagement_sessions"),
    ),
    Metric("engagement_session_time_seconds", "Sum of the duration of closed sessions.", WINDOW, unit="seconds"),
    Metric(
        "engagement_session_engaged_mean_seconds",
        "Mean engaged (foreground) time of closed sessions whose producer sends it.",
        WINDOW,
        unit="seconds",
        parts=("engagement_session_engaged_time_seconds", "engagement_sessions_with_engaged_time"),
    ),
    Metric(
        "engagement_session_engaged_time_seconds",
        "Sum of the engaged time of closed sessions.",
        WINDOW,
        unit="seconds",
    ),
    Metric("engagement_sessions_with_engaged_time", "Closed sessions with engaged time.", WINDOW, unit="sessions"),
    Metric(
        "engagement_page_views_per_session",
        "Page and screen views over closed sessions with at least one.",
        WINDOW,
        unit="views",
        parts=("engagement_page_views", "engagement_sessions_with_views"),
    ),
    Metric("engagement_page_views", "Page and screen views of closed sessions.", WINDOW, unit="views"),
    Metric("engagement_sessions_with_views", "Closed sessions with at least one view.", WINDOW, unit="sessions"),
    Metric(
        "engagement_bounce_ratio",
        "Share of closed sessions with a view that bounced. single_page: exactly one view and no key event. ga4: not"
        " engaged, where engaged is 10 s or longer, two views, or one key event.",
        ("window", "rule"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_bounced_sessions", "engagement_sessions_with_views"),
    ),
    Metric("engagement_bounced_sessions", "Closed sessions that bounced.", ("window", "rule"), unit="sessions"),
    Metric(
        "engagement_time_on_site_seconds",
        "Duration of the closed sessions over the distinct visitors with a closed session in the window.",
        WINDOW,
        unit="seconds",
        parts=("engagement_session_time_seconds", "engagement_visitors"),
    ),
    Metric("engagement_visitors", "Distinct users with a closed session in the window.", WINDOW, unit="users"),
)
