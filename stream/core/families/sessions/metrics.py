"""The metrics of sessions."""

from stream.core.metrics import WINDOW, Metric, by_segment, closed_twins

_LIVE = (
    Metric("engagement_open_sessions", "Sessions that have not closed.", unit="sessions"),
    Metric("engagement_sessions", "Sessions whose closing time lies in the window.", WINDOW, unit="sessions"),
    Metric(
        "engagement_session_duration_seconds",
        "Quantiles of the duration of closed sessions, last minus first step, capped at 24 h; within 1 %.",
        ("window", "quantile"),
        "summary",
        "seconds",
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
    Metric(
        "engagement_engaged_session_ratio",
        "Share of closed sessions with a view that were engaged: 10 s or longer, two views, or one key event. GA4's"
        " engagement rate; with engagement_bounce_ratio of the rule ga4 it adds up to 1.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_engaged_sessions", "engagement_sessions_with_views"),
    ),
    Metric("engagement_engaged_sessions", "Closed sessions with a view that were engaged.", WINDOW, unit="sessions"),
    Metric(
        "engagement_repeat_visit_ratio",
        "Share of visitors with two or more closed sessions in the window.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_repeat_visitors", "engagement_visitors"),
    ),
    Metric(
        "engagement_repeat_visitors",
        "Distinct users with two or more closed sessions in the window.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_unprompted_session_ratio",
        "Share of closed sessions whose first step does not say prompted:true: nobody was fetched by a push, a mail or"
        " an ad. Absent where no session of the window says prompted.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_unprompted_sessions", "engagement_sessions"),
    ),
    Metric(
        "engagement_unprompted_sessions",
        "Closed sessions whose first step does not say prompted:true.",
        WINDOW,
        unit="sessions",
    ),
    Metric(
        "engagement_steps",
        "Session steps at their own times, without those that are interactive:false and without ends. Of a session that"
        " a summary alone tells its page views, at its end.",
        WINDOW,
        unit="steps",
    ),
)

# Sessions that are open now: a closed day has none of them.
_WHOLE = (*_LIVE, *closed_twins(_LIVE, without=("engagement_open_sessions",)))

# What is counted by segment too, by the names of the setting `segments.metrics`.
NAMES_BY_SEGMENT = ("sessions", "session_duration_mean_seconds", "bounce_ratio")
_RULE = (
    "A session counts under the newest value that its own steps told, or its summary, else as unknown: the values add"
    " up to all. Which values have a name the users decide."
)
METRICS = (*_WHOLE, *by_segment(_WHOLE, NAMES_BY_SEGMENT, rule=_RULE))
