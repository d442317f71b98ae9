"""Accounts: examples counted by hand, the status of a subscription at any time, and what is refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from stream.core.events import AccountChange
from stream.core.offline import Offline
from stream.core.rejections import Reason, Rejected
from stream.core.rules import Rules
from stream.core.time import DAY_MS
from tests.core.live import line
from tests.native import READERS, Message

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
RULES = Rules(onboarding_steps=("profile", "invite"))


def account(kind: str, day: float, user: str = "ann", **fields: Any) -> dict[str, Any]:
    """What happened to an account some days after noon of the first day."""
    return {"topic": "accounts", "user_id": user, "event_time": int(NOON_MS + day * DAY_MS), "type": kind, **fields}


def numbers(*events: dict[str, Any], day: int) -> dict[str, float]:
    """The live numbers at noon of a day, and the closed ones of the day before; of a window those of 28 days."""
    offline = Offline(RULES, READERS, at_ms=NOON_MS + day * DAY_MS)
    assert not list(offline.apply(map(line, events)))
    computed = offline.computed(days=1)
    return {
        " ".join((name.removeprefix("engagement_"), *(labels[label] for label in labels if label != "window"))): value
        for name, labels, value in [*computed.live, *(sample for _, samples in computed.closed for sample in samples)]
        if labels.get("window", "28d") == "28d"
    }


def status(*events: dict[str, Any], day: int) -> str | None:
    found = numbers(*events, day=day)
    names = [name for name in ("trialing", "active", "paused", "cancelled") if found.get(f"subscribers {name}")]
    return names[0] if names else None


def test_churn_is_of_those_who_were_customers_at_the_start() -> None:
    events = [account("subscribed", 0, user) for user in "abcd"]
    events += [account("cancelled", 10, user) for user in "ab"]
    events += [account("subscribed", 12, "b"), account("subscribed", 12, "e")]

    found = numbers(*events, day=29)  # closed is the day before, and the window begins with the first day's end
    assert found["customers_at_start_closed"] == 4
    assert found["customer_churn_closed_ratio"] == 0.25
    assert found["customer_retention_closed_ratio"] == 0.75
    assert found["customer_churn_closed_ratio_lower"] < 0.25 < found["customer_churn_closed_ratio_upper"]


def test_churn_is_as_chartmogul_documents_it() -> None:
    """Its help, "Metric: Customer Churn rate", B2B formula: 100 customers, 11 cancel, one of them new."""
    events = [account("subscribed", 0, str(number)) for number in range(100)]
    events += [account("cancelled", 10, str(number)) for number in range(10)]
    events += [account("subscribed", 5, "new"), account("cancelled", 15, "new")]

    found = numbers(*events, day=29)
    assert found["customer_churn_closed_ratio"] == 0.1
    assert found["customers_short_lived_closed"] == 1


def test_churn_is_what_its_common_definition_says() -> None:
    """(At the beginning - at the end) / at the beginning, new customers left out: 500 and 450 are 10 %."""
    events = [account("subscribed", 0, str(number)) for number in range(500)]
    events += [account("cancelled", 10, str(number)) for number in range(50)]
    events += [account("subscribed", 12, f"new {number}") for number in range(30)]

    assert numbers(*events, day=29)["customer_churn_closed_ratio"] == 0.1


def test_who_came_and_left_within_the_window_is_in_neither_part_and_a_trial_is_no_customer() -> None:
    found = numbers(
        *(account("subscribed", 5, "a"), account("cancelled", 5.1, "a")),
        *(account("trial_started", 0, "b"), account("cancelled", 10, "b")),
        day=29,
    )

    assert (found["customers_at_start_closed"], found["customers_lost_closed"]) == (0, 0)
    assert found["customers_short_lived_closed"] == 1
    assert "customer_churn_closed_ratio" not in found


def test_a_cancellation_counts_from_its_effective_time_and_may_be_taken_back() -> None:
    subscribed = account("subscribed", 0)
    cancelled = account("cancelled", 1, effective_at=NOON_MS + 10 * DAY_MS)

    assert status(subscribed, cancelled, day=9) == "active"
    assert status(subscribed, cancelled, day=10) == "cancelled"
    assert status(subscribed, cancelled, account("resumed", 2), day=11) == "active"
    assert status(subscribed, cancelled, account("paused", 2), day=9) == "paused"
    assert status(subscribed, cancelled, account("paused", 2), day=11) == "cancelled"
    early = account("cancelled", 1, effective_at=NOON_MS - DAY_MS)
    assert status(subscribed, early, day=2) == "cancelled"
    assert numbers(subscribed, early, day=2)["subscribers_closed cancelled"] == 1


def test_of_changes_at_one_time_the_later_one_of_the_list_decides_in_whatever_order_they_come() -> None:
    events = [account("trial_started", 0), account("subscribed", 0), account("cancelled", 0)]

    assert {status(*order, day=1) for order in permutations(events)} == {"cancelled"}


def test_a_cancelled_account_counts_for_400_days_and_a_subscription_for_ever() -> None:
    cancelled = (account("subscribed", 0), account("cancelled", 0.1))

    assert status(*cancelled, day=400) == "cancelled"
    assert status(*cancelled, day=401) is None
    assert status(account("subscribed", 0), day=2_000) == "active"


def test_the_first_week_counts_who_was_onboarded_within_168_hours_of_signing_up() -> None:
    in_time = (
        account("signed_up", 0, "a"),
        account("onboarded", 7, "a"),
        account("onboarding_step", 1, "a", step="profile"),
    )
    before = (account("onboarded", -1, "b"), account("signed_up", 0, "b"), account("onboarding_step", 2, "b", step="x"))
    too_late = (account("signed_up", 0, "c"), {**account("onboarded", 7, "c"), "event_time": NOON_MS + 7 * DAY_MS + 1})
    never_signed_up = account("onboarded", 1, "d")

    found = numbers(*in_time, *before, *too_late, never_signed_up, day=8)
    assert (found["first_week_signups_closed"], found["first_week_onboarded_users_closed"]) == (3, 2)
    assert found["first_week_onboarded_closed_ratio"] == 2 / 3
    steps = {name: found[f"onboarding_step_users_closed {name}"] for name in ("profile", "invite", "other")}
    assert steps == {"profile": 1, "invite": 0, "other": 1}
    assert found["onboarded_users_without_signup"] == 1
    assert "first_week_onboarded_closed_ratio" not in numbers(*in_time, day=7)  # its cohort has not had a week


def test_the_first_week_counts_active_days_after_the_day_of_signing_up_whenever_the_sign_up_is_told() -> None:
    def login(day: float, user: str) -> dict[str, Any]:
        return {"topic": "logins", "user_id": user, "event_time": int(NOON_MS + day * DAY_MS)}

    last_day = 6.4  # 21:36 of the sixth day after it
    came_back = (account("signed_up", 0, "a"), login(0.1, "a"), login(0.2, "a"), login(last_day, "a"))
    not_again = (login(0, "b"), login(7, "b"), login(-1, "b"), account("signed_up", 0, "b"))
    never_active, never_signed_up = account("signed_up", 0, "c"), (login(0, "d"), login(1, "d"))

    found = numbers(*came_back, *not_again, never_active, *never_signed_up, day=8)
    assert (found["first_week_signups_closed"], found["first_week_active_users_closed"]) == (3, 1)
    assert found["first_week_active_closed_ratio"] == 1 / 3
    assert found["first_week_active_days_mean_closed"] == (2 + 1 + 0) / 3
    earlier = numbers(*came_back, *not_again, account("signed_up", -3, "b"), never_active, day=8)
    assert earlier["first_week_active_users_closed"] == 2  # the week of b begins three days before: it has two days
    assert earlier["first_week_user_days_closed"] == 2 + 2


def test_the_time_to_onboard_is_0_where_that_came_before_the_sign_up() -> None:
    found = numbers(
        *(account("signed_up", 0, "a"), account("onboarded", 1, "a")),
        *(account("onboarded", 0, "b"), account("signed_up", 1, "b")),
        day=2,
    )

    assert found["time_to_onboard_mean_seconds"] == DAY_MS / 1_000 / 2
    assert found["time_to_onboard_seconds 0.5"] == 0
    assert found["signups"] == 2


def test_memberships_go_by_their_own_newest_event() -> None:
    joined = (account("newsletter_joined", 0), account("loyalty_joined", 0), account("newsletter_left", 1))

    found = numbers(*joined, day=2)
    assert (found["newsletter_subscribers"], found["loyalty_members"], found["loyalty_members_closed"]) == (0, 1, 1)


def lifetime_value(*events: dict[str, Any], rules: Rules) -> dict[str, float]:
    """The closed numbers of 30 days after those on which everything happened."""
    offline = Offline(rules, READERS, at_ms=NOON_MS + 31 * DAY_MS)
    assert not list(offline.apply(map(line, events)))
    samples = offline.computed().closed[0][1]
    return {name: value for name, labels, value in samples if labels.get("window", "30d") == "30d"}


def test_the_simple_lifetime_value_is_as_chartmogul_documents_it() -> None:
    """Its help, "Metric: Customer Lifetime Value (LTV)": an ARPA of $100 and a churn of 5 % a month make $2,000."""
    events = [account("subscribed", 0, str(number)) for number in range(20)]
    events += [account("cancelled", 20, "0")]
    events += [
        {"topic": "orders", "user_id": str(number), "event_time": NOON_MS + 10 * DAY_MS, "type": "paid"}
        | {"order_id": "1", "amount": 100, "currency": "USD"}
        for number in range(20)
    ]

    found = lifetime_value(*events, rules=Rules(gross_margin=1.0))
    assert found["engagement_revenue_per_customer_closed"] == 100
    assert found["engagement_customer_churn_closed_ratio"] == 0.05
    assert found["engagement_ltv_simple_closed"] == pytest.approx(2_000)
    assert "engagement_ltv_simple_closed" not in lifetime_value(*events, rules=Rules())  # no margin is known
    assert "engagement_ltv_simple_closed" not in lifetime_value(*events[:20], *events[21:], rules=Rules(gross_margin=1))


def test_the_simple_lifetime_value_is_arpa_times_margin_over_churn() -> None:
    events = [account("subscribed", 0, str(number)) for number in range(40)]
    events += [account("cancelled", 20, str(number)) for number in range(2)]
    events += [
        {"topic": "orders", "user_id": str(number), "event_time": NOON_MS + 10 * DAY_MS, "type": "paid"}
        | {"order_id": "1", "amount": "20.00", "currency": "EUR", "margin": 0.8}
        for number in range(40)
    ]
    offline = Offline(Rules(), READERS, at_ms=NOON_MS + 31 * DAY_MS)
    assert not list(offline.apply(map(line, events)))

    found = {name: value for name, _, value in offline.computed().closed[0][1]}
    assert found["engagement_ltv_simple_closed"] == pytest.approx(320)


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"type": "onboarding_step"}, Reason.MISSING_FIELD, "an onboarding step needs a name at `$.step`, not None"),
        ({"type": "onboarding_step", "step": " "}, Reason.MISSING_FIELD, "needs a name at `$.step`, not ' '"),
        ({"type": "joined"}, Reason.UNKNOWN_VALUE, "'joined' - at `$.type`"),
        ({"type": "cancelled", "effective_at": 17}, Reason.BAD_TIME, "17 at `$.effective_at`"),
    ],
)
def test_what_can_not_be_used_is_refused_with_its_place(fields: dict[str, Any], reason: Reason, told: str) -> None:
    with pytest.raises(Rejected) as raised:
        READERS["accounts"](Message(msgspec.json.encode({**account("signed_up", 0), **fields})))

    assert raised.value.reason is reason
    assert told in str(raised.value)


def test_what_stands_in_a_field_that_a_change_has_no_use_for_costs_no_event() -> None:
    event = READERS["accounts"](Message(msgspec.json.encode(account("subscribed", 0, effective_at="soon", step=[1]))))

    assert isinstance(event, AccountChange)
    assert event.effective_ms == NOON_MS
