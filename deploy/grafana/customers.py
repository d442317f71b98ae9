"""The row of customers: who signs up and stays, what they pay, and what their lifetime values are made of.

Amounts of different currencies have no axis in common. So all panels of money show one currency, which is chosen.
"""

from collections.abc import Collection, Iterable

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, chosen_most
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, interval, number
from stream.core.account_changes import Status

_MONTH = 'window="30d"'
_CURRENCY = 'currency="$currency"'


def currency_variable() -> dashboard.QueryVariable:
    """The currency of the panels of money. At first it is the one in which most users have paid."""
    return chosen_most("currency", "Money in", "engagement_payers_ever", "currency")


def customers() -> Row:
    """What accounts and orders tell. The panels are empty where neither topic is read."""

    def money(
        title: str, *names: str, by: str = "currency", where: str = "", alerts: Iterable[str] = ()
    ) -> timeseries.Panel:
        labels = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
        selected = ", ".join(filter(None, (where, _CURRENCY)))
        queries = [Query(number(name, by=by, where=selected), f"{labels}{_told(name, names)}") for name in names]
        return trend(title, queries, unit=units.Short, closed=_are_closed(names), alerts=alerts)

    def counts(title: str, *names: str, by: str = "") -> timeseries.Panel:
        queries = [
            Query(number(name, by=by), f"{{{{{by}}}}}{_told(name, names)}" if by else _told(name)) for name in names
        ]
        return trend(title, queries, unit=units.Short, closed=_are_closed(names))

    subscribers = [
        Query(number("engagement_subscribers", where=f'status="{status.value}"'), status.value) for status in Status
    ]
    return Row(
        "Customers",
        [
            trend(
                "Customer churn over 30 days",
                interval("engagement_customer_churn_closed_ratio", "churn", where=_MONTH),
                unit=units.PercentUnit,
                bands=(("churn", "red"),),
                sample=Query(number("engagement_customers_at_start_closed", where=_MONTH), "customers at the start"),
                closed=True,
                alerts=["EngagementCustomerChurnRise"],
            ),
            trend("Subscribers by status", subscribers, unit=units.Short, stacked=True),
            trend(
                "Onboarded in the first week",
                interval("engagement_first_week_onboarded_closed_ratio", "onboarded", where=""),
                unit=units.PercentUnit,
                bands=(("onboarded", "blue"),),
                sample=Query(number("engagement_first_week_signups_closed"), "signed up"),
                closed=True,
                alerts=["EngagementOnboardingDrop"],
            ),
            counts("Steps of onboarding in the first week", "engagement_onboarding_step_users_closed", by="step"),
            counts("Onboarded in the first week, users", "engagement_first_week_onboarded_users_closed"),
            trend(
                "Active on a later day of the first week",
                interval("engagement_first_week_active_closed_ratio", "active", where=""),
                unit=units.PercentUnit,
                bands=(("active", "blue"),),
                sample=Query(number("engagement_first_week_signups_closed"), "signed up"),
                closed=True,
            ),
            counts("Active days in the first week, mean", "engagement_first_week_active_days_mean_closed"),
            counts(
                "Active in the first week, users and their days",
                "engagement_first_week_active_users_closed",
                "engagement_first_week_user_days_closed",
            ),
            counts("Subscribers, closed days", "engagement_subscribers_closed", by="status"),
            counts(
                "Newsletter and loyalty programme",
                *("engagement_newsletter_subscribers", "engagement_newsletter_subscribers_closed"),
                *("engagement_loyalty_members", "engagement_loyalty_members_closed"),
            ),
            money("Revenue over 30 days", "engagement_revenue", where=_MONTH),
            money(
                "Revenue per active user over 28 days",
                "engagement_revenue_per_active_user_closed",
                where='window="28d"',
                alerts=["EngagementRevenuePerUserDrop"],
            ),
            trend(
                "Repeat purchases over 30 days",
                interval("engagement_repeat_purchase_ratio", "repeat", where=_MONTH),
                unit=units.PercentUnit,
                bands=(("repeat", "blue"),),
                sample=Query(number("engagement_buyers", where=_MONTH), "buyers"),
            ),
            # A week too: a customer of 30 days ago is not known before a month has been read.
            money(
                "Revenue per customer over 7 and 30 days (ARPA)",
                "engagement_revenue_per_customer_closed",
                by="currency, window",
                where='window=~"7d|30d"',
            ),
            money(
                "Lifetime value",
                "engagement_ltv_historic",
                "engagement_ltv_historic_closed",
                "engagement_ltv_simple_closed",
            ),
            money("Revenue of all times", "engagement_revenue_ever", "engagement_revenue_ever_closed"),
            money("Users who ever paid", "engagement_payers_ever", "engagement_payers_ever_closed"),
            counts(
                "Lifetime value per capital",
                *("engagement_clv_per_capex_ratio", "engagement_clv_per_capex_closed_ratio"),
                by="period",
            ),
            money(
                "Capital, and what those it won have paid",
                *("engagement_capex_amount", "engagement_capex_cohort_revenue"),
                *("engagement_capex_amount_closed", "engagement_capex_cohort_revenue_closed"),
                by="period, currency",
            ),
            counts(
                "Orders with conflicts",
                *("engagement_order_conflicts", "engagement_order_conflicts_closed"),
                by="kind",
            ),
        ],
    )


def _told(name: str, among: Collection[str] = ()) -> str:
    """What a metric is called in a legend; nothing where it is the only one of its panel."""
    own = name.removeprefix("engagement_")
    if not among:
        return own
    return f" {own}" if len(among) > 1 else ""


def _are_closed(names: Iterable[str]) -> bool:
    """Whether all these metrics are of closed days, which change once a day."""
    return all("_closed" in name for name in names)
