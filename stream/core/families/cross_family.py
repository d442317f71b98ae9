"""Numbers that can't be calculated from the sums of one family alone.

They need the sums of several families, which store nothing of one another, or the time of the first event of the whole
stream.
"""

from collections.abc import Iterator

from stream.core.families.accounts import contribution as accounts
from stream.core.families.accounts import samples as account_samples
from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.activity.samples import FIRST_WEEKS
from stream.core.families.orders import samples as orders
from stream.core.families.sessions.numbers import STEPS
from stream.core.first_week import ACTIVE_DAYS, CAME_BACK
from stream.core.metrics import WINDOW, Metric, closed_name, closed_twins
from stream.core.rules import Rules
from stream.core.samples import Sample, mean, share
from stream.core.snapshot import Snapshot
from stream.core.time import minutes_of
from stream.core.windows import ACCOUNTS, ACTIVITY, ORDERS, SESSIONS, whole_days

_STEPS_PER_USER = Metric(
    "engagement_steps_per_active_user",
    "Session steps over active users, for the windows that both have: how much those do who come.",
    WINDOW,
    unit="steps",
    parts=("engagement_steps", "engagement_active_users"),
)
_PER_ACTIVE_USER = Metric(
    "engagement_revenue_per_active_user",
    "Net revenue over active users, for the windows that both have. Who pays need not be active.",
    ("window", "currency"),
    unit="units of the currency",
    parts=("engagement_revenue", "engagement_active_users"),
)
_PER_CUSTOMER = "engagement_revenue_per_customer_closed"
_LTV_SIMPLE = "engagement_ltv_simple_closed"
# The window of the simple lifetime value, in days.
_LTV_DAYS = 30
METRICS = (
    Metric(
        "engagement_new_users",
        "Users whose first activity ever lies in the rolling window. Whoever was heard of in the 400 days (setting"
        " memory) before is not new. The day of the stream's first event is left out, for on it everybody seems new, or"
        " all days before the setting cohorts_from.",
        WINDOW,
        unit="users",
    ),
    _STEPS_PER_USER,
    _PER_ACTIVE_USER,
    *closed_twins((_STEPS_PER_USER, _PER_ACTIVE_USER)),
    Metric(
        _PER_CUSTOMER,
        "ARPA: net revenue of the window over the customers, active or paused, at its start.",
        ("window", "currency"),
        unit="units of the currency",
        parts=("engagement_revenue_closed", "engagement_customers_at_start_closed"),
    ),
    Metric(
        _LTV_SIMPLE,
        "Simple lifetime value: ARPA of 30 days times margin, over customer churn of 30 days. The margin is that of the"
        " orders paid in these days that tell one, weighted by amount, else the setting gross_margin. Absent where"
        " churn is 0 or no margin is known.",
        ("currency",),
        unit="units of the currency",
        parts=(_PER_CUSTOMER, "engagement_customer_churn_closed_ratio"),
    ),
    Metric(
        "engagement_first_week_active_users_closed",
        "Of the cohorts of the first week, users who were active on any of the 6 local days after the day on which they"
        " signed up.",
        unit="users",
    ),
    Metric(
        "engagement_first_week_active_closed_ratio",
        "Share of the users of the cohorts of the first week who were active on any of the 6 local days after the day"
        " on which they signed up. Who never signed up, as far as is known, is in no cohort.",
        unit="ratio",
        interval="Wilson",
        parts=("engagement_first_week_active_users_closed", "engagement_first_week_signups_closed"),
    ),
    Metric(
        "engagement_first_week_user_days_closed",
        "Of the cohorts of the first week, the sum of the active days of all users: of the day of signing up and the 6"
        " after it.",
        unit="days",
    ),
    Metric(
        "engagement_first_week_active_days_mean_closed",
        "Mean number of active days in the first week, the day of signing up included, so at most 7; who was never"
        " active counts with 0.",
        unit="days",
        parts=("engagement_first_week_user_days_closed", "engagement_first_week_signups_closed"),
    ),
)


def live(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    """The live numbers."""
    first_whole_day = rules.whole_since(snapshot.first_ms)
    new = snapshot.family("activity").by_day
    for window in rules.windows_of(ACTIVITY):
        by_day = new.get(minutes_of(window), {})
        users = sum(users for day, users in by_day.items() if day >= first_whole_day)
        yield Sample("engagement_new_users", {"window": window}, users)
    sessions, activity = snapshot.family("sessions").live, snapshot.family("activity").live
    windows_of_activity = rules.windows_of(ACTIVITY)
    for window in rules.windows_of(SESSIONS):
        if window in windows_of_activity:
            minutes = minutes_of(window)
            steps = sessions.get(minutes, {}).get(STEPS, 0)
            users = activity.get(minutes, {}).get(ACTIVE_USERS, 0)
            yield from mean("engagement_steps_per_active_user", {"window": window}, steps, users)

    money = {length: tally for length, tally in snapshot.family("orders").live.items() if length != orders.EVER}
    longest = money.get(max(money), {}) if money else {}
    for window in rules.windows_of(ORDERS):
        minutes = minutes_of(window)
        if window in windows_of_activity:
            users = activity.get(minutes, {}).get(ACTIVE_USERS, 0)
            for currency in orders.currencies_in(longest):
                labels = {"window": window, "currency": currency}
                yield from mean(_PER_ACTIVE_USER.name, labels, orders.revenue(money.get(minutes, {}), currency), users)


def closed(snapshot: Snapshot, rules: Rules, day: int) -> Iterator[Sample]:
    """The numbers of a closed day."""
    yield from _money(snapshot, rules, day)
    yield from _first_weeks(snapshot, day)
    sessions, activity = (snapshot.family(name).closed.get(day, {}) for name in ("sessions", "activity"))
    of_activity = whole_days(rules.windows_of(ACTIVITY))
    for length in whole_days(rules.windows_of(SESSIONS)):
        if length in of_activity:
            steps, users = sessions.get(length, {}).get(STEPS, 0), activity.get(length, {}).get(ACTIVE_USERS, 0)
            name = closed_name("engagement_steps_per_active_user")
            yield from mean(name, {"window": f"{length}d"}, steps, users)


def _first_weeks(snapshot: Snapshot, day: int) -> Iterator[Sample]:
    """How active those were who signed up, in their first week."""
    activity, of_accounts = (snapshot.family(name).closed.get(day, {}) for name in ("activity", "accounts"))
    if not of_accounts.get(accounts.NOW, {}).get(accounts.KNOWN):
        return
    signed_up = of_accounts.get(account_samples.COHORTS, {}).get(accounts.SIGNUPS, 0)
    active = activity.get(FIRST_WEEKS, {})
    came_back, days = active.get(CAME_BACK, 0), active.get(ACTIVE_DAYS, 0)
    yield Sample("engagement_first_week_active_users_closed", {}, came_back)
    yield from share("engagement_first_week_active_closed_ratio", {}, came_back, signed_up)
    yield Sample("engagement_first_week_user_days_closed", {}, days)
    yield from mean("engagement_first_week_active_days_mean_closed", {}, days, signed_up)


def _money(snapshot: Snapshot, rules: Rules, day: int) -> Iterator[Sample]:
    """What is earned of each active user and of each customer."""
    activity, paid, customers = (
        snapshot.family(name).closed.get(day, {}) for name in ("activity", "orders", "accounts")
    )
    lengths = whole_days(rules.windows_of(ORDERS))
    currencies = orders.currencies_in(paid.get(max(lengths), {}))
    standing = customers.get(accounts.NOW, {})
    for length in lengths:
        for currency in currencies:
            labels = {"window": f"{length}d", "currency": currency}
            earned = orders.revenue(paid.get(length, {}), currency)
            if length in whole_days(rules.windows_of(ACTIVITY)):
                users = activity.get(length, {}).get(ACTIVE_USERS, 0)
                yield from mean(closed_name(_PER_ACTIVE_USER.name), labels, earned, users)
            if length in whole_days(rules.windows_of(ACCOUNTS)):
                at_start = standing.get(accounts.AT_START + length, 0)
                yield from mean(_PER_CUSTOMER, labels, earned, at_start)
                lost = standing.get(accounts.CHURNED + length, 0)
                margin = orders.margin(paid.get(length, {}), currency, rules)
                if length == _LTV_DAYS and lost and margin is not None:
                    value = earned / at_start * margin / (lost / at_start)
                    yield Sample(_LTV_SIMPLE, {"currency": currency}, value)
