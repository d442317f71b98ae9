"""Rows of Google Analytics' export become steps with their engaged time."""

from typing import Any

import pytest

from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.users import ANONYMOUS_PREFIX
from tests.inputs.samples import GA4, NOON_MS, changed, changes_in, logins_in, orders_in, reads, steps_in, words_in

read = reads("ga4")


def with_parameter(key: str, value: dict[str, Any]) -> dict[str, Any]:
    others = [one for one in GA4["event_params"] if one["key"] != key]
    return changed(GA4, event_params=[*others, {"key": key, "value": value}])


def test_a_page_view_has_its_session_and_its_engaged_time() -> None:
    (step,) = steps_in(read(GA4))

    assert (step.user, step.at_ms, step.is_view, step.engaged_ms) == ("ada", NOON_MS, True, 2_150)
    assert step.session_id == "1234567890.1794000000/1795262390"
    assert step.segments == ("WEB", "pro", "Germany", "")


def test_whole_numbers_come_as_text_or_as_numbers() -> None:
    (step,) = steps_in(read(changed(with_parameter("ga_session_id", {"int_value": 7}), event_timestamp=NOON_MS * 1000)))

    assert (step.session_id, step.at_ms) == ("1234567890.1794000000/7", NOON_MS)


def test_what_is_not_set_is_nothing() -> None:
    (step,) = steps_in(read(changed(GA4, user_id="(not set)", geo__country="(not set)")))

    assert step.user == f"{ANONYMOUS_PREFIX}1234567890.1794000000"
    assert step.segments == ("WEB", "pro", "", "")


def test_a_row_without_any_id_is_refused() -> None:
    with pytest.raises(Rejected, match=r"needs `\$.user_id` or `\$.user_pseudo_id`"):
        read(changed(GA4, user_id=None, user_pseudo_id=None))


def test_events_of_one_upload_are_told_apart_and_the_same_row_is_not() -> None:
    again, other, before_2024 = (
        changed(GA4),
        changed(GA4, batch_event_index="3"),
        changed(GA4, batch_event_index=None, batch_page_id=None),
    )
    identity, same, different, old = (steps_in(read(row))[0].identity for row in (GA4, again, other, before_2024))

    assert identity == same
    assert len({identity, different, old}) == 3


@pytest.mark.parametrize(
    ("name", "is_view", "interactive"),
    [
        ("screen_view", True, True),
        ("session_start", False, True),
        ("user_engagement", False, True),
        ("scroll", False, True),
        ("os_update", False, False),
        ("notification_receive", False, False),
    ],
)
def test_what_an_event_is_follows_from_its_name(name: str, is_view: bool, interactive: bool) -> None:
    (step,) = steps_in(read(changed(GA4, event_name=name)))

    assert (step.is_view, step.is_interactive) == (is_view, interactive)


def test_a_login_is_one_in_its_session_and_a_purchase_is_an_order_too() -> None:
    login, purchase = read(changed(GA4, event_name="login")), read(changed(GA4, event_name="purchase"))

    assert (len(logins_in(login)), len(steps_in(login))) == (1, 1)
    assert ([step.is_key_event for step in steps_in(purchase)], words_in(purchase)) == ([True], [LeftOut.ORDER.value])


def of_shop(name: str, **told: dict[str, str | float]) -> dict[str, Any]:
    parameters = [*GA4["event_params"], *({"key": key, "value": value} for key, value in told.items())]
    return changed(GA4, event_name=name, event_params=parameters)


def test_purchases_and_refunds_are_orders_by_their_parameters() -> None:
    told: dict[str, dict[str, str | float]] = {
        "transaction_id": {"string_value": "T-1"},
        "currency": {"string_value": "EUR"},
    }
    (paid,) = orders_in(read(of_shop("purchase", **told, value={"double_value": 25.42})))
    (refund,) = orders_in(read(of_shop("refund", **told, value={"int_value": "5"})))
    without_id: dict[str, dict[str, str | float]] = {**told, "transaction_id": {"string_value": "(not set)"}}
    not_set = read(of_shop("purchase", **without_id, value={"double_value": 5.0}))

    assert (paid.order_id, paid.version.amount, paid.version.currency, paid.refund_id) == ("T-1", 2_542, "EUR", None)
    assert (refund.order_id, refund.version.amount, bool(refund.refund_id)) == ("T-1", 500, True)
    assert (orders_in(not_set), words_in(not_set)) == ([], ["order"])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sign_up", "signed_up"),
        ("app_store_subscription_convert", "subscribed"),
        ("app_store_subscription_renew", "renewed"),
        ("app_store_subscription_cancel", "cancelled"),
    ],
)
def test_sign_ups_and_subscriptions_of_app_stores_are_changes_of_the_account(name: str, change: str) -> None:
    assert changes_in(read(changed(GA4, event_name=name))) == [change]


def test_parameters_of_any_shape_cost_no_row_but_an_engaged_time_that_can_not_be_does() -> None:
    (step,) = steps_in(read(changed(GA4, event_params={"odd": 1})))
    (plain,) = steps_in(read(with_parameter("engagement_time_msec", {"double_value": 1500.4})))
    with pytest.raises(Rejected, match="of the parameter engagement_time_msec is no number"):
        read(with_parameter("engagement_time_msec", {"string_value": "a while"}))
    with pytest.raises(Rejected, match="is none of up to a day") as rejected:
        read(with_parameter("engagement_time_msec", {"int_value": "86400001"}))

    assert (step.session_id, plain.engaged_ms) == (None, 1_500)
    assert rejected.value.reason is Reason.OUT_OF_RANGE


def test_a_row_without_a_name_is_refused() -> None:
    with pytest.raises(Rejected, match=r"a row needs its event at `\$.event_name`"):
        read(changed(GA4, event_name=None))
