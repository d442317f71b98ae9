"""Orders and refunds: examples counted by hand, exact amounts, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.families.orders.messages import Paid
from stream.core.money import DECIMALS, currency_of, field_of, in_units, minor_units
from stream.core.offline import Offline
from stream.core.rejections import Reason, Rejected
from stream.core.report import live_samples
from stream.core.rules import Capex, Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.live import Worker, line, message
from tests.native import READERS, Message

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
PAID: dict[str, Any] = {"topic": "orders", "user_id": "ann", "event_time": NOON_MS, "type": "paid"}
PAID |= {"order_id": "1", "amount": "20.00", "currency": "EUR"}
REFUNDED = {**PAID, "type": "refunded", "event_time": NOON_MS + HOUR_MS}


def decoded(**fields: object) -> Paid:
    event = READERS["orders"](Message(msgspec.json.encode({**PAID, **fields})))
    assert isinstance(event, Paid)
    return event


def refusal(**fields: object) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as raised:
        decoded(**fields)
    return raised.value.reason, str(raised.value)


def numbers(*events: dict[str, Any], at_ms: int = NOON_MS + DAY_MS, rules: Rules | None = None) -> dict[str, float]:
    """The live numbers of 7 days, and those without a window, by name and labels besides the window."""
    offline = Offline(rules or Rules(), READERS, at_ms=at_ms)
    assert not list(offline.apply(map(line, events)))
    return {
        " ".join((name.removeprefix("engagement_"), *(labels[label] for label in labels if label != "window"))): value
        for name, labels, value in offline.computed().live
        if labels.get("window", "7d") == "7d"
    }


# -- amounts -----------------------------------------------------------------------------------------------------------


def test_an_amount_is_whole_minor_units_of_its_currency() -> None:
    assert decoded(amount="20.00").version.amount == decoded(amount=20).version.amount == 2_000
    assert decoded(amount=9.99).version.amount == 999
    assert decoded(amount=500, currency="JPY").version.amount == 500
    assert decoded(amount="1.234", currency="BHD").version.amount == 1_234


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"amount": "9.999"}, Reason.OUT_OF_RANGE, "9.999 at `$.amount`: EUR has 2 decimals, not more"),
        ({"amount": 9.999}, Reason.OUT_OF_RANGE, "9.999 at `$.amount`: EUR has 2 decimals, not more"),
        ({"amount": "0.5", "currency": "JPY"}, Reason.OUT_OF_RANGE, "JPY has 0 decimals, not more"),
        ({"amount": -1}, Reason.OUT_OF_RANGE, "-1 at `$.amount` is not between 0 and"),
        ({"amount": "1e30"}, Reason.OUT_OF_RANGE, "1E+30 at `$.amount` is no amount of money"),
        ({"amount": "NaN"}, Reason.OUT_OF_RANGE, "NaN at `$.amount` is no amount of money"),
        ({"amount": "12,50"}, Reason.WRONG_TYPE, "Invalid decimal string - at `$.amount`"),
        ({"currency": "eur"}, Reason.UNKNOWN_VALUE, "'eur' at `$.currency` is no ISO 4217 currency"),
        ({"currency": "XAU"}, Reason.UNKNOWN_VALUE, "'XAU' at `$.currency` is no ISO 4217 currency"),
        ({"currency": None}, Reason.WRONG_TYPE, "`$.currency`"),
        ({"order_id": "null"}, Reason.MISSING_FIELD, "'null' at `$.order_id` names no order"),
        ({"type": "charged"}, Reason.UNKNOWN_VALUE, "'charged' - at `$.type`"),
        ({"margin": 1.5}, Reason.OUT_OF_RANGE, "1.5 at `$.margin` is no share between 0 and 1"),
    ],
)
def test_what_is_no_exact_amount_is_refused_with_its_place(fields: dict[str, Any], reason: Reason, told: str) -> None:
    refused = refusal(**fields)

    assert refused[0] is reason
    assert told in refused[1]


@given(st.sampled_from(sorted(DECIMALS)), st.integers(0, 10**15))
def test_an_amount_is_the_same_in_minor_units_and_as_it_is_shown(currency: str, minor: int) -> None:
    amount = Decimal(minor).scaleb(-DECIMALS[currency])

    assert minor_units(amount, currency) == minor
    assert in_units(minor, currency) == pytest.approx(float(amount), rel=1e-15)
    assert currency_of(field_of(currency, 31)) == currency


# -- orders and refunds ------------------------------------------------------------------------------------------------


def test_revenue_is_what_was_paid_minus_what_was_paid_back_and_order_values_are_before_refunds() -> None:
    found = numbers(PAID, {**PAID, "order_id": "2", "amount": 40}, {**REFUNDED, "amount": 5})

    assert (found["paid_amount EUR"], found["refunded_amount EUR"], found["revenue EUR"]) == (60, 5, 55)
    assert found["average_order_value EUR"] == 30
    assert (found["buyers"], found["repeat_buyers"], found["orders_per_buyer"]) == (1, 1, 2)
    assert found["ltv_historic EUR"] == 55


def test_currencies_stand_side_by_side() -> None:
    found = numbers(PAID, {**PAID, "user_id": "bob", "amount": 500, "currency": "JPY"})

    assert (found["revenue EUR"], found["revenue JPY"], found["buyers"]) == (20, 500, 2)
    assert (found["payers_ever EUR"], found["payers_ever JPY"]) == (1, 1)


def test_refunds_of_an_order_count_up_to_what_was_paid_in_whichever_order_they_come() -> None:
    first, second = {**REFUNDED, "refund_id": "a", "amount": 15}, {**REFUNDED, "refund_id": "b", "amount": 15}
    early = {**first, "event_time": NOON_MS - HOUR_MS}

    for events in ((PAID, first, second), (second, first, PAID), (early, PAID, second), (second, PAID, early)):
        found = numbers(*events)
        assert (found["refunded_amount EUR"], found["revenue EUR"]) == (20, 0)
        assert found["order_conflicts over_refunded"] == 1


def test_a_refund_in_another_currency_pays_nothing_back_of_an_order_that_is_known() -> None:
    found = numbers(PAID, {**REFUNDED, "amount": 5, "currency": "USD"})

    assert found["revenue EUR"] == 20
    assert "revenue USD" not in found
    assert found["order_conflicts over_refunded"] == 1


def test_a_refund_of_an_order_that_is_not_known_counts_and_is_a_conflict_once_the_order_would_be_late() -> None:
    day_3 = NOON_MS + HOUR_MS + 3 * DAY_MS

    assert numbers(REFUNDED, at_ms=day_3 - MINUTE_MS)["order_conflicts refund_without_order"] == 0
    found = numbers(REFUNDED, at_ms=day_3)
    assert (found["revenue EUR"], found["order_conflicts refund_without_order"]) == (-20, 1)
    assert numbers(REFUNDED, PAID, at_ms=day_3)["order_conflicts refund_without_order"] == 0


def test_an_order_counts_at_its_earliest_time_with_the_content_of_its_newest_version() -> None:
    newer = {**PAID, "event_time": NOON_MS + 3 * HOUR_MS, "amount": 25, "transaction_type": "store"}

    found = numbers(newer, PAID, at_ms=NOON_MS + 2 * HOUR_MS + DAY_MS)
    assert (found["paid_amount EUR"], found["orders store"], found["paid_orders EUR"]) == (25, 1, 1)
    at_first = numbers(PAID, newer, at_ms=NOON_MS + 7 * DAY_MS)
    assert at_first["buyers"] == 0  # of the newer time it would be within the 7 days


def test_an_order_is_known_to_its_refunds_for_400_days_and_no_longer() -> None:
    within = {**REFUNDED, "event_time": NOON_MS + 400 * DAY_MS, "amount": 30}
    beyond = {**within, "event_time": NOON_MS + 401 * DAY_MS}

    assert numbers(PAID, within, at_ms=within["event_time"])["refunded_amount EUR"] == 20
    assert numbers(PAID, beyond, at_ms=beyond["event_time"])["refunded_amount EUR"] == 30


def test_the_lifetime_value_per_capital_is_that_of_the_users_who_first_paid_in_the_period() -> None:
    day = NOON_MS // DAY_MS
    rules = Rules(gross_margin=0.5, capex=(Capex("january", day, day, 4_000, "EUR"), Capex("none", day, day, 0, "EUR")))
    later = {**PAID, "user_id": "bob", "event_time": NOON_MS + DAY_MS}
    of_ann = {**PAID, "order_id": "2", "event_time": NOON_MS + 2 * DAY_MS, "amount": 60}

    found = numbers(PAID, later, of_ann, at_ms=NOON_MS + 3 * DAY_MS, rules=rules)
    assert found["capex_cohort_revenue january EUR"] == 80
    assert found["clv_per_capex_ratio january"] == 80 * 0.5 / 40
    assert "clv_per_capex_ratio none" not in found
    told = numbers({**PAID, "margin": 0.25}, at_ms=NOON_MS + DAY_MS, rules=rules)
    assert told["clv_per_capex_ratio january"] == 20 * 0.25 / 40


def test_there_is_no_number_of_orders_before_the_first_one() -> None:
    login = {"topic": "logins", "user_id": "ann", "event_time": NOON_MS}

    assert not {name for name in numbers(login) if "order" in name or "revenue" in name or "buyers" in name}


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_historic_values_keep_what_rows_that_are_not_kept_any_more_have_paid() -> None:
    worker = Worker(Rules())

    def pay(order: str, at_ms: int) -> dict[str, float]:
        event = {**PAID, "order_id": order, "event_time": at_ms}
        assert worker.apply("orders", [message(event)], not_after_ms=at_ms) == ([], [])
        worker.partition.tick(at_ms, behind=("orders",))
        worker.restart()
        worker.partition.sweep(worker.store.pages(b"user/"))
        worker.restart()
        return {name: value for name, _, value in live_samples(worker.partition.snapshot(), worker.rules)}

    assert pay("1", NOON_MS)["engagement_payers_ever"] == 1
    back = pay("2", NOON_MS + 400 * DAY_MS)  # still known
    assert (back["engagement_payers_ever"], back["engagement_revenue_ever"]) == (1, 40)
    pay_of_others = {**PAID, "user_id": "bob", "event_time": NOON_MS + 900 * DAY_MS}
    assert worker.apply("orders", [message(pay_of_others)], not_after_ms=pay_of_others["event_time"]) == ([], [])
    worker.partition.tick(NOON_MS + 900 * DAY_MS, behind=("orders",))
    worker.partition.sweep(worker.store.pages(b"user/"))
    worker.restart()
    assert worker.store.keys() >= {b"user/bob"}
    assert b"user/ann" not in worker.store
    found = {name: value for name, _, value in live_samples(worker.partition.snapshot(), worker.rules)}
    assert (found["engagement_payers_ever"], found["engagement_revenue_ever"]) == (2, 60)
    again = pay("3", NOON_MS + 900 * DAY_MS)  # a new buyer after so long
    assert (again["engagement_payers_ever"], again["engagement_revenue_ever"]) == (3, 80)
