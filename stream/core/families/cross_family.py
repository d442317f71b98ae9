"""Numbers that can't be calculated from the sums of one family alone.

They need the sums of several families, which store nothing of one another, or the time of the first event of the whole
stream.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from stream.core.days import OfWindows
from stream.core.families.accounts import contribution as accounts
from stream.core.families.accounts import samples as account_samples
from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.activity.samples import FIRST_WEEKS
from stream.core.families.contacts import samples as contact_samples
from stream.core.families.contacts.contribution import CONTACTS as CONTACTS_BEGUN
from stream.core.families.contacts.metrics import OLDEST_WAITING, WAITING
from stream.core.families.features.family import field_of
from stream.core.families.features.metrics import FEATURE_LABELS, FEATURE_USERS
from stream.core.families.orders import samples as orders
from stream.core.families.sessions.numbers import STEPS
from stream.core.first_week import ACTIVE_DAYS, CAME_BACK
from stream.core.metrics import WINDOW, Metric, closed_name, closed_twins
from stream.core.rules import Rules
from stream.core.samples import Sample, mean, share
from stream.core.segments import OTHER
from stream.core.snapshot import Snapshot
from stream.core.tally import Field
from stream.core.time import SECOND_MS, minutes_of
from stream.core.windows import ACCOUNTS, ACTIVITY, CONTACTS, FEATURES, ORDERS, SESSIONS, Windows, whole_days

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
_CONTACTS_PER_USER = Metric(
    "engagement_contacts_per_active_user",
    "Conversations over active users, for the windows that both have.",
    WINDOW,
    unit="conversations",
    parts=("engagement_contacts", "engagement_active_users"),
)
_ADOPTION = Metric(
    "engagement_feature_adoption_ratio",
    "Share of the active users who used a feature, for the windows that both have.",
    FEATURE_LABELS,
    unit="ratio",
    interval="Wilson",
    parts=(FEATURE_USERS, "engagement_active_users"),
)
_ADOPTION_SCORE = Metric(
    "engagement_product_adoption_score",
    "Product adoption score, 0 to 100: the mean adoption of the vital features, which are those that the setting"
    " features gives a weight above 0, by these weights. Absent where there is none.",
    WINDOW,
    unit="score",
    parts=(_ADOPTION.name, "engagement_active_users"),
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
    _ADOPTION,
    _ADOPTION_SCORE,
    _CONTACTS_PER_USER,
    *closed_twins((_STEPS_PER_USER, _PER_ACTIVE_USER, _ADOPTION, _ADOPTION_SCORE, _CONTACTS_PER_USER)),
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
    yield from _new_users(snapshot, rules)
    sums = {name: of_family.live for name, of_family in snapshot.families.items()}
    yield from _numbers(_OfFamilies(sums, minutes_of, rules.windows_of), snapshot.now_ms, rules)


def closed(snapshot: Snapshot, rules: Rules, day: int) -> Iterator[Sample]:
    """The numbers of a closed day."""
    yield from _per_customer(snapshot, rules, day)
    yield from _first_weeks(snapshot, day)
    sums = {name: of_family.closed.get(day, {}) for name, of_family in snapshot.families.items()}
    of_families = _OfFamilies(sums, _days_of, lambda windows: _whole_days(rules, windows))
    for name, labels, value in _numbers(of_families, rules.days.starts_ms(day + 1), rules):
        yield Sample(closed_name(name), labels, value)


class _OfFamilies(NamedTuple):
    """The sums of all families, live or of a closed day."""

    sums: Mapping[str, OfWindows]
    length_of: Callable[[str], int]  # by which the sums of a window are stored
    windows_of: Callable[[Windows], Sequence[str]]

    def of(self, family: str, windows: Windows) -> dict[str, Mapping[Field, int]]:
        """What each window of a family holds."""
        held = self.sums.get(family, {})
        return {window: held.get(self.length_of(window), {}) for window in self.windows_of(windows)}

    def longest(self, family: str, windows: Windows) -> Mapping[Field, int]:
        """What the longest window of a family holds, which knows all labels."""
        return self.sums.get(family, {}).get(max(map(self.length_of, self.windows_of(windows))), {})


def _days_of(window: str) -> int:
    return int(window.removesuffix("d"))


def _whole_days(rules: Rules, windows: Windows) -> list[str]:
    return [f"{length}d" for length in whole_days(rules.windows_of(windows))]


def _numbers(families: _OfFamilies, at_ms: int, rules: Rules) -> Iterator[Sample]:
    """The numbers that are told live and of closed days, by live names. `at_ms` is the end of all windows."""
    activity = families.of("activity", ACTIVITY)
    users = {window: tally.get(ACTIVE_USERS, 0) for window, tally in activity.items()}
    for window, tally in families.of("sessions", SESSIONS).items():
        if window in users:
            yield from mean(_STEPS_PER_USER.name, {"window": window}, tally.get(STEPS, 0), users[window])
    currencies = orders.currencies_in(families.longest("orders", ORDERS))
    for window, tally in families.of("orders", ORDERS).items():
        for currency in currencies if window in users else ():
            labels = {"window": window, "currency": currency}
            yield from mean(_PER_ACTIVE_USER.name, labels, orders.revenue(tally, currency), users[window])
    yield from _of_contacts(families, users, at_ms, rules)
    if families.longest("features", FEATURES):
        for window, tally in families.of("features", FEATURES).items():
            if window in users:
                yield from _adoption(window, tally, users[window], rules)


def _of_contacts(families: _OfFamilies, users: Mapping[str, int], at_ms: int, rules: Rules) -> Iterator[Sample]:
    """Who waits, and how many conversations there are for each active user."""
    held = families.sums.get("contacts", {})
    if contact_samples.is_empty(held):
        return
    count, since = contact_samples.waiting(held.get(contact_samples.NOW, {}))
    yield Sample(WAITING, {}, count)
    if since is not None:
        hours, since_ms = rules.contact_hours, since * SECOND_MS
        waited_ms = at_ms - since_ms if hours is None else hours.between(since_ms, at_ms)
        yield Sample(OLDEST_WAITING, {}, max(0, waited_ms) // SECOND_MS)
    for window, tally in families.of("contacts", CONTACTS).items():
        if window in users:
            begun = tally.get(CONTACTS_BEGUN, 0)
            yield from mean(_CONTACTS_PER_USER.name, {"window": window}, begun, users[window])


def _adoption(window: str, used: Mapping[Field, int], users: int, rules: Rules) -> Iterator[Sample]:
    """How many of so many active users of a window used each feature."""
    for name in (*rules.features, OTHER):
        labels = {"window": window, "feature": name}
        yield from share(_ADOPTION.name, labels, used.get(field_of(name), 0), users)
    vital = {name: weight for name, weight in rules.features.items() if weight}
    if users and vital:
        adopted = sum(weight * used.get(field_of(name), 0) / users for name, weight in vital.items())
        yield Sample(_ADOPTION_SCORE.name, {"window": window}, 100 * adopted / sum(vital.values()))


def _new_users(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    first_whole_day = rules.whole_since(snapshot.first_ms)
    new = snapshot.family("activity").by_day
    for window in rules.windows_of(ACTIVITY):
        by_day = new.get(minutes_of(window), {})
        users = sum(users for day, users in by_day.items() if day >= first_whole_day)
        yield Sample("engagement_new_users", {"window": window}, users)


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


def _per_customer(snapshot: Snapshot, rules: Rules, day: int) -> Iterator[Sample]:
    """What is earned of each customer."""
    paid, customers = (snapshot.family(name).closed.get(day, {}) for name in ("orders", "accounts"))
    lengths = whole_days(rules.windows_of(ORDERS))
    currencies = orders.currencies_in(paid.get(max(lengths), {}))
    standing = customers.get(accounts.NOW, {})
    for length in lengths:
        if length not in whole_days(rules.windows_of(ACCOUNTS)):
            continue
        at_start = standing.get(accounts.AT_START + length, 0)
        lost = standing.get(accounts.CHURNED + length, 0)
        for currency in currencies:
            earned = orders.revenue(paid.get(length, {}), currency)
            yield from mean(_PER_CUSTOMER, {"window": f"{length}d", "currency": currency}, earned, at_start)
            margin = orders.margin(paid.get(length, {}), currency, rules)
            if length == _LTV_DAYS and lost and margin is not None:
                value = earned / at_start * margin / (lost / at_start)
                yield Sample(_LTV_SIMPLE, {"currency": currency}, value)
