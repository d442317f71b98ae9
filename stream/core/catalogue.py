"""Every metric: its name, what it means, and which others belong to it.

/metrics, its help texts, /api/v1/definitions, the README's table and the dashboards are made from this list; a test
holds them to it.
"""

from dataclasses import dataclass
from typing import Literal

Type = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `labels` are label names in order; `interval` says which 95 % interval `_lower` and `_upper` hold. The last of
    `parts` counts what the number was taken from, its sample; where that counts more, `sample_labels` narrow it.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Type = "gauge"
    unit: str = ""
    interval: Literal["", "Wilson", "adjusted-Wald"] = ""
    parts: tuple[str, ...] = ()  # numerator and denominator
    sample_labels: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The metric's name, and those of the ends of its interval."""
        return (self.name, f"{self.name}_lower", f"{self.name}_upper") if self.interval else (self.name,)


_WINDOW = ("window",)

_ACTIVITY = (
    Metric(
        "engagement_active_users",
        "Distinct users with at least one activity in the rolling window: a successful login, a session step that is"
        " not interactive:false, or a session summary. Exact. 1d is DAU, 7d WAU, 30d MAU.",
        _WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_segment_active_users",
        "Active users by segment: platform, plan, country, app_version. Each counts once in a segment, under the value"
        " of the newest activity event (by event time) that told one, else as unknown: the values add up to"
        " engagement_active_users. The 20 values with the most users in the longest window have a name, the rest is"
        " other; what producers call other counts there, what they call unknown is no value.",
        ("window", "segment", "value"),
        unit="users",
    ),
    Metric(
        "engagement_stickiness_ratio",
        "Users active in the last day over users active in the rolling window. 30d is DAU/MAU.",
        _WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_active_users", "engagement_active_users"),
    ),
    Metric(
        "engagement_active_users_closed",
        "Distinct users active in the window of complete local calendar days that ends with the last closed day.",
        _WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_stickiness_closed_ratio",
        "Users active on the last closed day over users active in the closed window that ends with it.",
        _WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_active_users_closed", "engagement_active_users_closed"),
    ),
    Metric(
        "engagement_stickiness_smoothed_closed_ratio",
        "Mean of the daily active users of the closed window over the users active in it: the share of its days on"
        " which an active user was active. 28d holds four of each weekday; alerts use it.",
        _WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_active_user_days_closed", "engagement_active_users_closed"),
    ),
    Metric(
        "engagement_active_user_days_closed",
        "Sum of the daily active users over the days of the closed window.",
        _WINDOW,
        unit="user days",
    ),
    Metric("engagement_closed_day_timestamp_seconds", "When the last closed day began.", unit="seconds"),
)

_SESSIONS = (
    Metric("engagement_open_sessions", "Sessions that have not closed.", unit="sessions"),
    Metric("engagement_sessions", "Sessions whose closing time lies in the window.", _WINDOW, unit="sessions"),
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
        _WINDOW,
        unit="seconds",
        parts=("engagement_session_time_seconds", "engagement_sessions"),
    ),
    Metric("engagement_session_time_seconds", "Sum of the duration of closed sessions.", _WINDOW, unit="seconds"),
    Metric(
        "engagement_session_engaged_mean_seconds",
        "Mean engaged (foreground) time of closed sessions whose producer sends it.",
        _WINDOW,
        unit="seconds",
        parts=("engagement_session_engaged_time_seconds", "engagement_sessions_with_engaged_time"),
    ),
    Metric(
        "engagement_session_engaged_time_seconds",
        "Sum of the engaged time of closed sessions.",
        _WINDOW,
        unit="seconds",
    ),
    Metric("engagement_sessions_with_engaged_time", "Closed sessions with engaged time.", _WINDOW, unit="sessions"),
    Metric(
        "engagement_page_views_per_session",
        "Page and screen views over closed sessions with at least one.",
        _WINDOW,
        unit="views",
        parts=("engagement_page_views", "engagement_sessions_with_views"),
    ),
    Metric("engagement_page_views", "Page and screen views of closed sessions.", _WINDOW, unit="views"),
    Metric("engagement_sessions_with_views", "Closed sessions with at least one view.", _WINDOW, unit="sessions"),
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
        _WINDOW,
        unit="seconds",
        parts=("engagement_session_time_seconds", "engagement_visitors"),
    ),
    Metric("engagement_visitors", "Distinct users with a closed session in the window.", _WINDOW, unit="users"),
    Metric("engagement_logins", "Successful logins.", _WINDOW, unit="logins"),
    Metric("engagement_login_failures", "Failed logins.", _WINDOW, unit="logins"),
)

_SURVEYS = (
    Metric(
        "engagement_csat_ratio",
        "Share of CSAT answers in the top two boxes of their scale; one answer an interaction.",
        _WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_csat_satisfied", "engagement_csat_answers"),
    ),
    Metric("engagement_csat_satisfied", "CSAT answers in the top two boxes.", _WINDOW, unit="answers"),
    Metric("engagement_csat_answers", "CSAT answers that count.", _WINDOW, unit="answers"),
    Metric(
        "engagement_csat_score_mean",
        "Mean CSAT score, other scales rescaled to 1-5.",
        _WINDOW,
        unit="score",
        parts=("engagement_csat_answers",),
    ),
    Metric(
        "engagement_nps",
        "Net Promoter Score: share of 9-10 minus share of 0-6, times 100; the latest answer of each user counts.",
        _WINDOW,
        unit="score",
        interval="adjusted-Wald",
        parts=("engagement_nps_answers",),
    ),
    Metric(
        "engagement_nps_answers",
        "NPS answers that count, by group: promoter (9-10), passive (7-8), detractor (0-6).",
        ("window", "group"),
        unit="answers",
    ),
    Metric(
        "engagement_ces_ratio",
        "Share of CES answers that call it easy: 5-7 of 7, 4-5 of 5; one answer an interaction.",
        _WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_ces_easy", "engagement_ces_answers"),
    ),
    Metric("engagement_ces_easy", "CES answers that call it easy.", _WINDOW, unit="answers"),
    Metric("engagement_ces_answers", "CES answers that count.", _WINDOW, unit="answers"),
    Metric(
        "engagement_ces_score_mean",
        "Mean CES score on 1-7 where 7 is easy, other scales rescaled.",
        _WINDOW,
        unit="score",
        parts=("engagement_ces_answers",),
    ),
    Metric(
        "engagement_cxi",
        "Customer Experience Index: mean of its four dimensions.",
        _WINDOW,
        unit="score",
        parts=("engagement_cxi_answers",),
        sample_labels=(("dimension", "effort"),),
    ),
    Metric(
        "engagement_cxi_dimension",
        "Share of answers 4-5 minus share of 1-2, times 100.",
        ("window", "dimension"),
        unit="score",
        interval="adjusted-Wald",
        parts=("engagement_cxi_answers",),
    ),
    Metric(
        "engagement_cxi_answers",
        "CXI answers, by dimension and group: positive (4-5), neutral (3), negative (1-2).",
        ("window", "dimension", "group"),
        unit="answers",
    ),
    Metric(
        "engagement_survey_responses",
        "Survey responses by kind and status; shown counts each response that was shown, whatever became of it.",
        ("window", "kind", "status"),
        unit="responses",
    ),
    Metric(
        "engagement_survey_response_ratio",
        "Of the responses shown in the window, the share that was completed. Absent where shown is not sent.",
        ("window", "kind"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_survey_shown_completed", "engagement_survey_responses"),
        sample_labels=(("status", "shown"),),
    ),
    Metric(
        "engagement_survey_shown_completed",
        "Of the responses shown in the window, those that were completed.",
        ("window", "kind"),
        unit="responses",
    ),
)

_HEALTH = (
    Metric(
        "engagement_events_total",
        "Events read, by what became of them.",
        ("topic", "outcome"),
        "counter",
        "events",
    ),
    Metric(
        "engagement_dead_letters_total",
        "Messages sent to the dead-letter topic, by reason.",
        ("topic", "reason"),
        "counter",
        "messages",
    ),
    Metric("engagement_event_time_seconds", "Newest event time applied.", ("topic",), unit="seconds"),
    Metric("engagement_clock_seconds", "The moment the live windows end with.", unit="seconds"),
    Metric(
        "engagement_lag_events",
        "Records that can be read from Kafka and are not yet applied.",
        ("topic", "partition"),
        unit="events",
    ),
    Metric(
        "engagement_open_transaction_seconds",
        "How long an open transaction of a producer has held its partition back. 0 below kafka.open_transaction_after.",
        ("topic", "partition"),
        unit="seconds",
    ),
    Metric(
        "engagement_event_to_gauge_seconds",
        "From an event's arrival in Kafka to the snapshot that holds it.",
        (),
        "histogram",
        "seconds",
    ),
    Metric(
        "engagement_checkpoint_seconds",
        "Time a checkpoint takes, from the first row encoded to the last store written.",
        (),
        "histogram",
        "seconds",
    ),
    Metric(
        "engagement_takeovers_total",
        "How often a partition was taken over by a worker, which happens to all of them at each rebalance. Counted with"
        " the partition's state, so it goes on over restarts of workers and servers.",
        ("partition",),
        "counter",
        "takeovers",
    ),
    Metric(
        "engagement_rebalances_total",
        "How often Kafka has dealt the partitions out among the workers anew, which it does when one comes or goes: the"
        " generation of their consumer group.",
        (),
        "counter",
        "rebalances",
    ),
    Metric("engagement_partitions_owned", "Partitions with a live snapshot of the worker that owns them."),
    Metric("engagement_partitions", "Partitions of the input topics."),
    Metric(
        "engagement_snapshot_age_seconds",
        "Age of the newest snapshot of each partition.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_seconds",
        "How long the last recovery of a partition's state took.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_remaining_seconds",
        "How long the recovery that is under way will take, judged by its pace. Absent when none is.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_rows_remaining",
        "Records of the changelog that the recovery under way has still to read. Absent when none is.",
        ("partition",),
        unit="rows",
    ),
    Metric(
        "engagement_standby_lag_rows",
        "Records of the changelog of a partition that a worker, standing by to take it over, has not in its store yet.",
        ("partition", "worker"),
        unit="rows",
    ),
    Metric(
        "engagement_store_available",
        "1 while the owner of a partition can reach its state store, 0 while it waits for it and consumes nothing.",
        ("partition",),
    ),
    Metric(
        "engagement_partition_owner_info",
        "Which worker owns a partition; always 1, absent where nobody does.",
        ("partition", "worker"),
    ),
    Metric("engagement_state_rows", "Rows of state, by kind.", ("kind",), unit="rows"),
    Metric("engagement_build_info", "The version that runs; always 1.", ("version",)),
)

CATALOGUE: tuple[Metric, ...] = (*_ACTIVITY, *_SESSIONS, *_SURVEYS, *_HEALTH)

BY_NAME: dict[str, Metric] = {name: metric for metric in CATALOGUE for name in metric.names}

# Metrics that are computed from events, and not about the pipeline.
BUSINESS: tuple[Metric, ...] = (*_ACTIVITY, *_SESSIONS, *_SURVEYS)
