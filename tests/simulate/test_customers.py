"""What simulated customers do, measured the naive way on six weeks of 1,500 users."""

import json
from collections import Counter, defaultdict
from decimal import Decimal
from statistics import mean
from typing import Any, NamedTuple

import pytest

from stream.core.money import minor_units
from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.time import epoch_ms, parse_time
from stream.simulate.behaviour import Behaviour, Changes
from stream.simulate.population import DAY_MS, Population
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from stream.simulate.subscriptions import STEPS
from tests.native import DECODERS, READERS

END_MS = 20_777 * DAY_MS + DAY_MS // 2
START_MS = END_MS - 42 * DAY_MS
USERS = 1_500


class Told(NamedTuple):
    """An event and its fields."""

    event: SimulatedEvent
    fields: dict[str, Any]


class History(NamedTuple):
    """A history of customers, and on how many days each user was active in it."""

    accounts: list[Told]
    orders: list[Told]
    active_days: Counter[str]

    def of_type(self, *types: str) -> list[Told]:
        return [told for told in (*self.accounts, *self.orders) if told.fields["type"] in types]

    def users(self, *types: str) -> set[str]:
        return {told.event.key for told in self.of_type(*types)}


def history(scenario: str = "steady") -> History:
    told: defaultdict[str, list[Told]] = defaultdict(list)
    days: set[tuple[str, int]] = set()
    world = SimulatorSettings(users=USERS, scenario=scenario, customers=True)
    for event in simulate(world, start_ms=START_MS, end_ms=END_MS):
        if event.topic in ("accounts", "orders"):
            told[event.topic].append(Told(event, json.loads(event.value, parse_float=Decimal)))
        elif event.topic == "sessions":
            days.add((event.key, event.at_ms // DAY_MS))
    return History(told["accounts"], told["orders"], Counter(user for user, _ in days))


@pytest.fixture(scope="module")
def steady() -> History:
    return history()


def effective_ms(told: Told) -> int:
    effective = told.fields["effective_at"]
    at_ms = parse_time(effective) if isinstance(effective, str) else epoch_ms(effective)
    assert at_ms is not None
    return at_ms


def minor(told: Told) -> int:
    return minor_units(Decimal(told.fields["amount"]), told.fields["currency"])


def test_every_event_can_be_used_and_is_that_of_its_user(steady: History) -> None:
    for event, fields in (*steady.accounts, *steady.orders):
        decoded = DECODERS[event.topic](event.value)
        assert (decoded.user, decoded.at_ms) == (event.key, event.at_ms)
        assert fields["user_id"] == event.key
    assert len({fields["event_id"] + event.topic for event, fields in (*steady.accounts, *steady.orders)}) == len(
        steady.accounts
    ) + len(steady.orders)


def test_all_that_can_happen_to_an_account_happens(steady: History) -> None:
    seen = Counter(told.fields["type"] for told in steady.accounts)

    assert set(seen) == {
        *("signed_up", "onboarding_step", "onboarded", "trial_started", "subscribed", "renewed", "paused", "resumed"),
        *("cancelled", "newsletter_joined", "newsletter_left", "loyalty_joined", "loyalty_left"),
    }
    assert seen["renewed"] > 300


def test_steps_of_onboarding_come_in_their_order_after_the_sign_up_and_fewer_do_each(steady: History) -> None:
    done: defaultdict[str, list[str]] = defaultdict(list)
    for event, fields in steady.accounts:
        if fields["type"] in ("signed_up", "onboarding_step", "onboarded"):
            done[event.key].append(fields.get("step", fields["type"]))
    whole = ["signed_up", *STEPS, "onboarded"]
    signed_up = [steps for steps in done.values() if steps[0] == "signed_up"]

    assert all(steps == whole[: len(steps)] for steps in signed_up)
    reached = [sum(len(steps) > place for steps in signed_up) for place in range(len(STEPS) + 1)]
    assert reached == sorted(reached, reverse=True)
    assert 0.15 < reached[-1] / reached[0] < 0.5


def test_who_is_more_engaged_pays_more_often_and_who_is_onboarded_comes_more_often(steady: History) -> None:
    paid = Counter(told.event.key for told in steady.of_type("paid"))
    often, seldom = (
        [user for user, days in steady.active_days.items() if low <= days < high] for low, high in ((20, 99), (1, 6))
    )

    assert mean(paid[user] for user in often) > 3 * mean(paid[user] for user in seldom)
    onboarded, signed_up = steady.users("onboarded"), steady.users("signed_up")
    days = {
        true: mean(steady.active_days[user] for user in signed_up if (user in onboarded) == true)
        for true in (True, False)
    }
    assert days[True] > 1.15 * days[False]


def test_a_cancellation_lies_in_the_future_and_some_are_taken_back_in_time(steady: History) -> None:
    cancelled = [told for told in steady.of_type("cancelled") if told.event.at_ms > START_MS]
    ahead = [told for told in cancelled if effective_ms(told) > told.event.at_ms]
    resumed = {told.event.key: told.event.at_ms for told in steady.of_type("resumed")}
    taken_back = [told for told in ahead if told.event.at_ms < resumed.get(told.event.key, 0) < effective_ms(told)]

    assert all(effective_ms(told) >= told.event.at_ms for told in cancelled)
    assert 0.6 * len(cancelled) < len(ahead)
    assert 5 < len(taken_back) < 0.5 * len(ahead)
    # Who took it back pays for the next month, and who did not pays nothing any more.
    paid_ms = {told.event.key: told.event.at_ms for told in steady.of_type("paid") if "-" in told.fields["order_id"]}
    over = [told for told in ahead if effective_ms(told) < END_MS - DAY_MS]
    assert {paid_ms.get(told.event.key, 0) > effective_ms(told) - 60_000 for told in over if told in taken_back} == {
        True
    }
    assert mean(paid_ms.get(told.event.key, 0) < effective_ms(told) for told in over if told not in taken_back) > 0.9


def test_who_pays_in_which_currency_and_with_how_many_decimals(steady: History) -> None:
    decimals = {"USD": 2, "EUR": 2, "GBP": 2, "INR": 2, "JPY": 0, "KWD": 3}
    paid: defaultdict[str, list[str]] = defaultdict(list)
    for told in steady.of_type("paid"):
        paid[told.fields["currency"]].append(str(told.fields["amount"]))

    assert set(paid) == set(decimals)
    for currency, amounts in paid.items():
        assert {len(amount.partition(".")[2]) for amount in amounts} <= {decimals[currency]}
    assert any(isinstance(told.fields["amount"], str) for told in steady.orders)
    assert any(not isinstance(told.fields["amount"], str) for told in steady.orders)


def test_orders_are_paid_back_whole_and_in_parts_and_never_more_than_was_paid(steady: History) -> None:
    paid = {told.fields["order_id"]: minor(told) for told in steady.of_type("paid")}
    back: defaultdict[str, list[int]] = defaultdict(list)
    for told in steady.of_type("refunded"):
        back[told.fields["order_id"]].append(minor(told))
    known = {order: amounts for order, amounts in back.items() if order in paid}

    assert all(sum(amounts) <= paid[order] for order, amounts in known.items())
    assert any(sum(amounts) == paid[order] for order, amounts in known.items())
    assert any(len(amounts) == 1 and amounts[0] < paid[order] for order, amounts in known.items())
    assert any(len(amounts) == 2 for amounts in back.values())


def test_the_core_finds_the_accounts_that_the_population_has(steady: History) -> None:
    """A history told from its beginning ends with the same subscribers as the accounts told at its end."""
    counted = []
    export = Behaviour(Population(seed=1, users=USERS), seed=1, changes=Changes()).export(END_MS)
    for events in ([told.event for told in steady.accounts], export):
        offline = Offline(Rules(), READERS)
        refused = list(offline.apply(b'{"topic":"accounts",' + event.value[1:] for event in events))
        assert refused == []
        counted.append(
            {
                sample.labels["status"]: sample.value
                for sample in offline.computed().live
                if sample.name == "engagement_subscribers"
            }
        )

    told, planted = counted
    # Some of those who begin or end something on the last day do so before noon, and some after it.
    for status in ("trialing", "active", "paused"):
        assert abs(told[status] - planted[status]) <= 3, status
    assert planted["active"] > 200


@pytest.mark.parametrize("scenario", ["churn", "onboarding", "checkout"])
def test_a_scenario_changes_what_it_is_named_after_and_nothing_before(scenario: str, steady: History) -> None:
    changed = history(scenario)
    begins_ms = SimulatorSettings(scenario=scenario).of_history(START_MS, END_MS).scenario_at_ms
    assert begins_ms is not None
    # Days of the scenario are those of users, which begin up to half a day before.
    before, after = (
        [
            {told.event.value for told in (*one.accounts, *one.orders) if told.event.at_ms < begins_ms - DAY_MS}
            for one in (steady, changed)
        ],
        [[told for told in (*one.accounts, *one.orders) if told.event.at_ms >= begins_ms] for one in (steady, changed)],
    )
    counts = [
        Counter(
            (told.fields["type"], told.fields.get("step") or told.fields.get("transaction_type")) for told in events
        )
        for events in after
    ]

    assert before[0] == before[1]
    usual, now = counts
    match scenario:
        case "churn":
            assert now["cancelled", None] > 1.7 * usual["cancelled", None]
            assert now["renewed", None] < 0.95 * usual["renewed", None]
        case "onboarding":
            assert now["onboarding_step", "create_project"] == usual["onboarding_step", "create_project"]
            assert now["onboarding_step", "connect_data"] < 0.6 * usual["onboarding_step", "connect_data"]
        case "checkout":
            assert now["paid", "addon"] < 0.2 * usual["paid", "addon"]
            assert now["paid", "subscription"] == usual["paid", "subscription"]
