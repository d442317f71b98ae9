"""The metrics of accounts."""

from stream.core.metrics import WINDOW, Metric, closed_twins

_COHORTS = (
    " Cohorts: who signed up on the 28 newest local days that ended a week before the end of the last closed day."
)
_MEMORY = (
    " An account without subscription, trial and membership begins anew when nothing was told of it for more than 400"
    " days (setting memory)."
)

_LIVE = (
    Metric("engagement_signups", f"Users by their first sign-up.{_MEMORY}", WINDOW, unit="users"),
    Metric("engagement_onboarded_users", "Users by the first time that they were onboarded.", WINDOW, unit="users"),
    Metric("engagement_onboarded_users_with_signup", "Those of them whose sign-up is known.", WINDOW, unit="users"),
    Metric(
        "engagement_onboarded_users_without_signup",
        "Those of them whose sign-up is not known, because it was before the stream began: they are in no cohort.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_onboarded_without_signup_ratio",
        "Share of the users onboarded in the window whose sign-up is not known.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_onboarded_users_without_signup", "engagement_onboarded_users"),
    ),
    Metric(
        "engagement_time_to_onboard_seconds",
        "Quantiles of the time from the first sign-up to the first time onboarded, 0 if that was before; of those"
        " onboarded in the window whose sign-up is known. By nearest rank, within 1 %.",
        ("window", "quantile"),
        "summary",
        "seconds",
        parts=("engagement_onboarded_users_with_signup",),
    ),
    Metric(
        "engagement_time_to_onboard_mean_seconds",
        "Mean of the time from the first sign-up to the first time onboarded.",
        WINDOW,
        unit="seconds",
        parts=("engagement_onboarded_users_with_signup",),
    ),
    Metric(
        "engagement_subscribers",
        "Users by the status of their subscription: trialing, active, paused, cancelled. A cancellation counts from its"
        " effective_at on, and for 400 days (setting memory) after the last that was told of the account.",
        ("status",),
        unit="users",
    ),
    Metric("engagement_newsletter_subscribers", "Users who joined the newsletter and have not left it.", unit="users"),
    Metric("engagement_loyalty_members", "Users who joined the loyalty programme and have not left it.", unit="users"),
)

_CLOSED = (
    Metric(
        "engagement_customers_at_start_closed",
        "Customers, active or paused, at the end of the day before the window. A trial is no customer.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_customers_lost_closed",
        "Of the customers at the start of the window, those who are none at the end of the last closed day.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_customers_retained_closed",
        "Of the customers at the start of the window, those who are customers at the end of the last closed day, also"
        " those who left and came back.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_customers_short_lived_closed",
        "Users who became customers and left within the window: they are in neither part of churn.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_customer_churn_closed_ratio",
        "Share of the customers at the start of the window who are none at the end of the last closed day. Who came"
        " within the window is in neither part.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_customers_lost_closed", "engagement_customers_at_start_closed"),
    ),
    Metric(
        "engagement_customer_retention_closed_ratio",
        "The complement of churn: share of the customers at the start of the window who are customers at its end.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_customers_retained_closed", "engagement_customers_at_start_closed"),
    ),
    Metric("engagement_first_week_signups_closed", f"Users in the cohorts of the first week.{_COHORTS}", unit="users"),
    Metric(
        "engagement_first_week_onboarded_users_closed",
        "Of these cohorts, users who were onboarded no later than 7 times 24 h after they signed up, or before.",
        unit="users",
    ),
    Metric(
        "engagement_first_week_onboarded_closed_ratio",
        "Share of the users of the cohorts who were onboarded no later than 7 times 24 h after they signed up, or"
        " before."
        f" Who never signed up, as far as is known, is in no cohort.{_COHORTS}",
        unit="ratio",
        interval="Wilson",
        parts=("engagement_first_week_onboarded_users_closed", "engagement_first_week_signups_closed"),
    ),
    Metric(
        "engagement_onboarding_step_users_closed",
        "Of the same cohorts, users who completed a step of onboarding in the first week. The setting onboarding_steps"
        " names the steps in their order; all others are one, other.",
        ("step",),
        unit="users",
    ),
)
METRICS = (*_LIVE, *closed_twins(_LIVE), *_CLOSED)
