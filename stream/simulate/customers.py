"""Simulate what customers do: sign up, onboard, subscribe, pay, get money back, and leave.

What happens to accounts on a day is the difference between the state in the morning and in the evening
(`subscriptions`). Subscriptions are paid each month at the same time of day; what else is bought is bought on a visit.
People pay in the currency of their region: among them are the yen, which has no decimals, and the Kuwaiti dinar, which
has three.
"""

from collections.abc import Iterator
from itertools import starmap
from typing import NamedTuple

import numpy as np

from stream.core.money import DECIMALS
from stream.simulate.habits import COUNTRIES, PRO, TEAM, Flags, Ints
from stream.simulate.messages import SimulatedEvent, Visit, common_fields, time_text
from stream.simulate.population import DAY_MS, UsersOfDay, hash_trait
from stream.simulate.steps import VISIT, Visits
from stream.simulate.subscriptions import (
    ACTIVE,
    BILLED_EVERY_DAYS,
    GONE,
    PAUSED,
    STEPS,
    TRIAL,
    Accounts,
    billing_ms,
)

ACCOUNTS, ORDERS = "accounts", "orders"

MINUTE_MS = 60_000


class _Kind(NamedTuple):
    """What can happen to an account: the type of the event, with its step, and whether a month is paid."""

    type: str
    step: str = ""
    is_paid: bool = False
    refunds: float = 0.0  # the share of the month's payment that is paid back


KINDS = (
    _Kind("signed_up"),
    *(_Kind("onboarding_step", step) for step in STEPS),
    _Kind("onboarded"),
    _Kind("trial_started"),
    _Kind("subscribed", is_paid=True),
    _Kind("renewed", is_paid=True),
    _Kind("resumed", is_paid=True),
    _Kind("resumed"),  # takes a cancellation back, so nothing is paid
    _Kind("paused"),
    _Kind("cancelled"),
    _Kind("newsletter_joined"),
    _Kind("newsletter_left"),
    _Kind("loyalty_joined"),
    _Kind("loyalty_left"),
    _Kind("refunded", refunds=1.0),
    _Kind("refunded", refunds=0.5),
    _Kind("refunded", refunds=0.25),
    _Kind("subscribed"),  # long ago: of an export
)
(
    _SIGNED_UP,
    _FIRST_STEP,
    *_OTHER_STEPS,
    _ONBOARDED,
    _TRIAL_STARTED,
    _SUBSCRIBED,
    _RENEWED,
    _RESUMED,
    _CHANGED_MIND,
    _PAUSED,
    _CANCELLED,
    _NEWSLETTER_JOINED,
    _NEWSLETTER_LEFT,
    _LOYALTY_JOINED,
    _LOYALTY_LEFT,
    _REFUNDED,
    _PARTLY_REFUNDED,
    _REFUNDED_MORE,
    _HAS_SUBSCRIBED,
) = range(len(KINDS))

REFUNDS_SHARE, PARTLY_REFUNDS_SHARE = 0.02, 0.02  # of the months paid: all of it, or a half and then a quarter
_REFUNDED_DAYS_LATER, _REFUNDED_MORE_DAYS_LATER = 3, 6

# A row of what happens: who, when and how, as of a visit.
CHANGE = np.dtype([*VISIT.descr, ("kind", np.int64), ("until_ms", np.int64), ("month", np.int64)])
_VISIT_FIELDS = len(VISIT.descr)

# The prices of a month, in minor units of the currency.
_PRICES = {
    "USD": {PRO: 19_00, TEAM: 49_00},
    "EUR": {PRO: 18_00, TEAM: 47_00},
    "GBP": {PRO: 15_00, TEAM: 41_00},
    "JPY": {PRO: 2_900, TEAM: 7_400},
    "INR": {PRO: 999_00, TEAM: 2_499_00},
    "KWD": {PRO: 5_900, TEAM: 15_250},
}
_CURRENCIES = {"DE": "EUR", "FR": "EUR", "GB": "GBP", "JP": "JPY", "IN": "INR"}  # of countries; others pay in dollars
_GULF_SHARE = 3  # every third user in India works for a firm in Kuwait, which pays in dinars

BUYS_SHARES = np.array([0.012, 0.06, 0.05])  # of the visits, by plan
BROKEN_CHECKOUT_SHARE = 0.1  # in the scenario 'checkout': so few of those who want to buy something can
_BOUGHT_AFTER_MS = 4 * MINUTE_MS  # from the beginning of the visit
_REFUNDED_WITHIN_MS = 5 * 60 * MINUTE_MS
_MARGINS = {"subscription": "0.82", "addon": "0.55", "template": "0.7"}


class Change(NamedTuple):
    """What happens to accounts: to whom, when, and until when a cancelled subscription lasts."""

    kind: int
    who: Flags
    at_ms: Ints
    until_ms: Ints
    month: Ints  # of the subscription


def changes_of_day(users: UsersOfDay, before: Accounts, after: Accounts, visits_ms: Ints) -> Iterator[Change]:
    """What happens to the accounts on a day. `visits_ms` is when each user comes, or would come."""
    billed_ms = billing_ms(users)
    by_hand_ms = np.where(users.tenure_days == 0, visits_ms, np.maximum(visits_ms, billed_ms + 10 * MINUTE_MS))
    ends_ms = period_ends_ms(users, after)
    is_new = (users.tenure_days == 0) & ~users.anonymous

    def change(kind: int, who: Flags, at_ms: Ints, until_ms: Ints = ends_ms) -> Change:
        return Change(kind, who, at_ms, until_ms, after.month)

    yield change(_SIGNED_UP, is_new, by_hand_ms)
    for step in range(len(STEPS)):
        done = (before.steps <= step) & (after.steps > step)
        yield change(_FIRST_STEP + step, done, by_hand_ms + (3 + 4 * step) * MINUTE_MS)
    onboarded = (before.steps < len(STEPS)) & (after.steps == len(STEPS))
    yield change(_ONBOARDED, onboarded, by_hand_ms + 16 * MINUTE_MS)

    was, is_, pays_ms = before.status, after.status, np.where(is_new, by_hand_ms + 20 * MINUTE_MS, billed_ms)
    yield change(_TRIAL_STARTED, (was != TRIAL) & (is_ == TRIAL), by_hand_ms + 20 * MINUTE_MS)
    yield change(_SUBSCRIBED, (was != ACTIVE) & (was != PAUSED) & (is_ == ACTIVE), pays_ms)
    yield change(_RENEWED, (was == ACTIVE) & (is_ == ACTIVE) & (before.month != after.month), billed_ms)
    yield change(_RESUMED, (was == PAUSED) & (is_ == ACTIVE), billed_ms)
    yield change(_PAUSED, (was == ACTIVE) & (is_ == PAUSED), billed_ms)
    goes_on = (was == is_) & (before.month == after.month)
    yield change(_CANCELLED, after.is_pending & ~(before.is_pending & goes_on), by_hand_ms + 30 * MINUTE_MS)
    at_once = np.isin(was, (ACTIVE, PAUSED)) & (is_ == GONE) & ~before.is_pending
    yield change(_CANCELLED, at_once, by_hand_ms + 30 * MINUTE_MS, by_hand_ms + 30 * MINUTE_MS)
    yield change(_CHANGED_MIND, before.is_pending & ~after.is_pending & goes_on, by_hand_ms + 30 * MINUTE_MS)

    for kind, had, has in (
        (_NEWSLETTER_JOINED, before.has_newsletter, after.has_newsletter),
        (_LOYALTY_JOINED, before.is_member, after.is_member),
    ):
        yield change(kind, ~had & has, by_hand_ms + 40 * MINUTE_MS)
        yield change(kind + 1, had & ~has & (users.tenure_days > 0), by_hand_ms + 40 * MINUTE_MS)

    days_paid = BILLED_EVERY_DAYS - after.ends_in_days
    luck = hash_trait(users.number ^ after.month.astype(np.uint64), 70)
    is_paid = (is_ == ACTIVE) & (was == ACTIVE)
    whole, partly = luck < REFUNDS_SHARE, (luck >= REFUNDS_SHARE) & (luck < REFUNDS_SHARE + PARTLY_REFUNDS_SHARE)
    refunded, more = (is_paid & (days_paid == days) for days in (_REFUNDED_DAYS_LATER, _REFUNDED_MORE_DAYS_LATER))
    yield change(_REFUNDED, refunded & whole, by_hand_ms + 50 * MINUTE_MS)
    yield change(_PARTLY_REFUNDED, refunded & partly, by_hand_ms + 50 * MINUTE_MS)
    yield change(_REFUNDED_MORE, more & partly, by_hand_ms + 50 * MINUTE_MS)


def export_of(users: UsersOfDay, state: Accounts, at_ms: int, whose: Flags) -> Iterator[Change]:
    """What a billing system tells of the accounts on the day on which a stream begins: each as it is then."""
    now_ms = np.full(len(users.number), at_ms, dtype=np.int64)
    ends_ms = period_ends_ms(users, state)
    for kind, who in (
        (_TRIAL_STARTED, state.status == TRIAL),
        (_HAS_SUBSCRIBED, state.status == ACTIVE),
        (_PAUSED, state.status == PAUSED),
        (_CANCELLED, state.is_pending),
        (_NEWSLETTER_JOINED, state.has_newsletter),
        (_LOYALTY_JOINED, state.is_member),
    ):
        yield Change(kind, whose & who, now_ms, np.maximum(ends_ms, at_ms), state.month)


def period_ends_ms(users: UsersOfDay, state: Accounts) -> Ints:
    """When the month that is paid, or the trial, ends."""
    ends: Ints = billing_ms(users) + state.ends_in_days * DAY_MS
    return ends


def events_of_changes(rows: Visits) -> list[SimulatedEvent]:
    """The events of what happens to accounts, and what is paid and paid back for subscriptions."""
    events: list[SimulatedEvent] = []
    for row in rows.tolist():
        visit, (number, until_ms, month) = Visit(*row[:_VISIT_FIELDS]), row[_VISIT_FIELDS:]
        kind = KINDS[number]
        order = f"{visit.number:016x}-{month}"
        if kind.refunds:
            amount = int(kind.refunds * _price(visit))
            events.append(_refunded(visit, visit.start_ms, order, number, amount))
            continue
        until = f'"effective_at":{time_text(visit, until_ms)},' if kind.type == "cancelled" else ""
        step = f'"step":"{kind.step}",' if kind.step else ""
        events.append(_event(visit, visit.start_ms, ACCOUNTS, f'"type":"{kind.type}",{step}{until}', "account"))
        if kind.is_paid:
            events.append(_paid(visit, visit.start_ms + 2_000, order, _price(visit), "subscription"))
    return events


def events_of_purchases(rows: Visits, *, broken_since_ms: int | None) -> list[SimulatedEvent]:
    """What is bought on visits, and what of it is paid back on the same day."""
    luck = hash_trait(rows["ref"], 71)
    chance = BUYS_SHARES[rows["plan"]] * ~rows["anonymous"]
    if broken_since_ms is not None:
        chance = chance * np.where(rows["start_ms"] >= broken_since_ms, BROKEN_CHECKOUT_SHARE, 1)
    bought = rows[luck < chance]
    much, soon, unhappy = (hash_trait(bought["ref"], trait) for trait in (72, 73, 74))
    events: list[SimulatedEvent] = []
    columns = (much.tolist(), soon.tolist(), unhappy.tolist())
    for visit, size, wait, mood in zip(starmap(Visit, bought.tolist()), *columns, strict=True):
        amount = max(1, int((0.4 + 3 * size**2) * _PRICES[currency_of(visit)][PRO]))
        paid_ms = visit.start_ms + _BOUGHT_AFTER_MS
        events.append(_paid(visit, paid_ms, visit.session_id, amount, "template" if visit.ref % 4 == 0 else "addon"))
        if mood < 2 * REFUNDS_SHARE:
            back_ms = paid_ms + MINUTE_MS + int(wait * _REFUNDED_WITHIN_MS)
            events.append(
                _refunded(visit, back_ms, visit.session_id, 0, amount if mood < REFUNDS_SHARE else amount // 2)
            )
    return events


def currency_of(visit: Visit) -> str:
    """The currency in which a user pays."""
    country = COUNTRIES[visit.country]
    if country == "IN" and visit.number % _GULF_SHARE == 0:
        return "KWD"
    return _CURRENCIES.get(country, "USD")


def _price(visit: Visit) -> int:
    return _PRICES[currency_of(visit)][visit.plan]


def _paid(visit: Visit, at_ms: int, order: str, amount: int, kind: str) -> SimulatedEvent:
    # Every third producer tells what is earned of an order.
    margin = f'"margin":{_MARGINS[kind]},' if visit.number % 3 == 0 else ""
    told = f'"type":"paid","order_id":"{order}",{_money(visit, amount)}{margin}"transaction_type":"{kind}",'
    return _event(visit, at_ms, ORDERS, told, "paid")


def _refunded(visit: Visit, at_ms: int, order: str, number: int, amount: int) -> SimulatedEvent:
    told = f'"type":"refunded","order_id":"{order}","refund_id":"r{number}",{_money(visit, amount)}'
    return _event(visit, at_ms, ORDERS, told, "refunded")


def _money(visit: Visit, amount: int) -> str:
    """An amount in minor units as producers write it: half as a text, half as a number."""
    currency = currency_of(visit)
    decimals = DECIMALS[currency]
    whole, rest = divmod(amount, 10**decimals)
    text = f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)
    quote = '"' if visit.number % 2 else ""
    return f'"amount":{quote}{text}{quote},"currency":"{currency}",'


def _event(visit: Visit, at_ms: int, topic: str, told: str, of: str) -> SimulatedEvent:
    value = (
        f'{{{told}{common_fields(visit)}"event_time":{time_text(visit, at_ms)},"event_id":"{visit.session_id}-{of}"}}'
    )
    return SimulatedEvent(at_ms, at_ms + visit.delay_ms, topic, visit.key, value.encode(), "")
