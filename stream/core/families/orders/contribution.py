"""What the orders of one user contribute to each number.

A window holds payments and refunds at their own times. What was ever paid is a ledger: each change counts from its day
on. Refunds of an order count, in order of their times, up to what was paid of it in their currency, and all of them
while the order is not known.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from stream.core.contribution import Contribution
from stream.core.days import Amounts
from stream.core.families.orders.part import Life, Order, Thing, as_of
from stream.core.money import MEANINGS, currency_of, field_of
from stream.core.tally import Field, add
from stream.core.time import MINUTE_MS, Days

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
BUYERS, REPEAT_BUYERS = 1, 2
# In the ledger:
KNOWN_ORDERS, OVER_REFUNDED, REFUND_WITHOUT_ORDER = 3, 4, 5
# By currency:
PAID_ORDERS, PAID, REFUNDED, PAID_WITH_MARGIN, MARGIN = range(5)
EVER_REVENUE, PAYERS = 8, 9  # in the ledger

# Orders by type of transaction are text fields, because anything may be a type.
KIND = "t"

# So are the sums of those who first paid on a day: that day, the currency, and one of these.
COHORT = "c"
NET, WITH_MARGIN, MARGIN_OF = "nwm"


def cohort_field(day: int, currency: str, what: str) -> str:
    """The field of what users have paid in a currency whose first payment was on a day."""
    return f"{COHORT}{what}{currency}{day}"


def parsed_cohort_field(field: str) -> tuple[int, str, str]:
    """The day, the currency, and what it is."""
    return int(field[5:]), field[2:5], field[1]


class Entry(NamedTuple):
    """What a payment or a refund adds at its time."""

    at_ms: int
    amounts: Mapping[Field, int]


def entries(order: Order) -> Iterator[Entry]:
    """What an order adds, as it is known."""
    left: dict[str, int] = {}
    if order.paid is not None:
        version = order.paid.versions[-1]
        left[version.currency] = version.amount
        amounts = _paid_amounts(version.currency, version.amount, version.margin)
        if version.kind:
            amounts[f"{KIND}{version.kind}"] = 1
        yield Entry(order.paid.first_ms, amounts)
    for refund in _in_order_of_time(order):
        version = refund.versions[-1]
        amount, currency = version.amount, version.currency
        if order.paid is not None:
            amount = min(amount, left.get(currency, 0))
            left[currency] = left.get(currency, 0) - amount
        if amount:
            yield Entry(refund.first_ms, {field_of(currency, REFUNDED): amount})


def _paid_amounts(currency: str, amount: int, margin: int) -> dict[Field, int]:
    amounts: dict[Field, int] = {field_of(currency, PAID_ORDERS): 1}
    if amount:
        amounts[field_of(currency, PAID)] = amount
    if margin >= 0 and amount:
        amounts[field_of(currency, PAID_WITH_MARGIN)] = amount
        if margin:
            amounts[field_of(currency, MARGIN)] = margin
    return amounts


def _in_order_of_time(order: Order) -> list[Thing]:
    return [refund for _, refund in sorted(order.refunds, key=lambda told: (told[1].first_ms, told[0]))]


def over_refunded_ms(order: Order) -> int | None:
    """Since when more was to be paid back of an order than was paid; None if that is not so."""
    if order.paid is None:
        return None
    left = {order.paid.versions[-1].currency: order.paid.versions[-1].amount}
    for refund in _in_order_of_time(order):
        version = refund.versions[-1]
        left[version.currency] = left.get(version.currency, 0) - version.amount
        if left[version.currency] < 0:
            return max(refund.first_ms, order.paid.first_ms)
    return None


class Contributions:
    """Calculates contributions by the rules of a deployment."""

    def __init__(self, days: Days, *, memory_days: int, wait_ms: int) -> None:
        self._days = days
        self._day_of: Callable[[int], int] = days.day_of
        self._memory_days = memory_days
        self._wait_ms = wait_ms

    def add_order(self, to: Contribution, order: Order, cohort: int | None, times: int) -> None:  # noqa: C901  one thing after the other
        """Add what one order contributes. `cohort` is the day on which its buyer first paid, if she ever did."""
        told = order.days_told(self._day_of)
        before: dict[int, Amounts] = {}
        of_cohort: Amounts = {}
        for day in told:
            known = as_of(order, day, self._day_of)
            assert known is not None
            after, ever = self._by_day(known), self._ever(known)
            changed: Amounts = {}
            for place in {*before, *after}:
                difference = dict(after.get(place, {}))
                add(difference, before.get(place, {}), -1)
                if difference:
                    add(to.by_day[day, place], difference, times)
                    add(changed, _revenue(difference))
            if changed:
                add(to.changes[day], changed, times)
            cohort_sums = _of_cohort(cohort, ever) if cohort is not None and known.paid is not None else {}
            difference = dict(cohort_sums)
            add(difference, of_cohort, -1)
            if difference:
                add(to.changes[day], difference, times)
            before, of_cohort = after, cohort_sums
        for at_ms, amounts in entries(order):
            minute = at_ms // MINUTE_MS
            add(to.by_minute[minute, minute], amounts, times)
            of_ledger = _revenue(amounts)
            if cohort is not None and order.paid is not None:
                add(of_ledger, _of_cohort(cohort, amounts))
            add(to.ahead[minute], of_ledger, times)
        first_ms = order.first_ms
        add(to.changes[self._day_of(first_ms)], {KNOWN_ORDERS: 1}, times)
        add(to.ahead[first_ms // MINUTE_MS], {KNOWN_ORDERS: 1}, times)
        if order.refunds:
            self._add_conflicts(to, order, told, times)

    def _by_day(self, order: Order) -> dict[int, Amounts]:
        by_day: dict[int, Amounts] = defaultdict(dict)
        for at_ms, amounts in entries(order):
            add(by_day[self._day_of(at_ms)], amounts)
        return by_day

    def _ever(self, order: Order) -> Amounts:
        ever: Amounts = {}
        for _, amounts in entries(order):
            add(ever, amounts)
        return ever

    def _add_conflicts(self, to: Contribution, order: Order, told: list[int], times: int) -> None:
        """An order is a conflict as long as it is known."""
        forgotten_ms = self._days.starts_ms(self._day_of(order.last_ms) + self._memory_days + 1)
        was_over = 0
        for day in told:
            known = as_of(order, day, self._day_of)
            is_over = int(known is not None and over_refunded_ms(known) is not None)
            if is_over != was_over:
                add(to.changes[day], {OVER_REFUNDED: is_over - was_over}, times)
                was_over = is_over
        over_ms = over_refunded_ms(order)
        if over_ms is not None:
            add(to.ahead[over_ms // MINUTE_MS], {OVER_REFUNDED: 1}, times)
            self._add_moment(to, forgotten_ms, {OVER_REFUNDED: -1}, times)
        # An order that is not known may still come, as long as it would not be late.
        begins_ms = min(refund.first_ms for _, refund in order.refunds) + self._wait_ms
        ends_ms = forgotten_ms if order.paid is None else order.paid.first_ms
        if begins_ms < ends_ms:
            self._add_moment(to, begins_ms, {REFUND_WITHOUT_ORDER: 1}, times)
            self._add_moment(to, ends_ms, {REFUND_WITHOUT_ORDER: -1}, times)

    def _add_moment(self, to: Contribution, at_ms: int, amounts: Mapping[Field, int], times: int) -> None:
        add(to.changes[self._day_of(at_ms)], amounts, times)
        add(to.ahead[at_ms // MINUTE_MS], amounts, times)

    def add_payers(self, to: Contribution, life: Life, orders: Iterable[Order], times: int) -> None:  # noqa: C901  one thing after the other
        """Add a buyer to those who ever paid, for each currency."""
        spans: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
        first_ms: dict[str, int] = {}
        for currency in (one.currency for one in life.bought):
            spans[currency].append((life.first_day, None))
            first_ms[currency] = -1
        for order in orders:
            if order.paid is not None:
                for currency, since, until in _currencies(order.paid, self._day_of):
                    spans[currency].append((since, until))
                currency = order.paid.versions[-1].currency
                first_ms[currency] = min(order.paid.first_ms, first_ms.get(currency, order.paid.first_ms))
        for currency, its in spans.items():
            payer = {field_of(currency, PAYERS): 1}
            for since, until in _united(its):
                add(to.changes[since], payer, times)
                if until is not None:
                    add(to.changes[until], payer, -times)
            if first_ms.get(currency, -1) >= 0:
                add(to.ahead[first_ms[currency] // MINUTE_MS], payer, times)


def _currencies(paid: Thing, day_of: Callable[[int], int]) -> Iterator[tuple[str, int, int | None]]:
    """In which currency something was paid, by what was known from one day on until another."""
    days = [day_of(paid.first_ms), *(day_of(version.at_ms) for version in paid.versions[1:])]
    for version, (since, until) in zip(paid.versions, pairwise([*days, None]), strict=True):
        assert since is not None
        yield version.currency, since, until


def _united(spans: Iterable[tuple[int, int | None]]) -> Iterator[tuple[int, int | None]]:
    """The days that any of these spans holds, as spans that don't touch."""
    held: tuple[int, int | None] | None = None
    for since, until in sorted(spans, key=lambda span: span[0]):
        if held is None:
            held = since, until
        elif held[1] is None or since <= held[1]:
            held = held[0], None if held[1] is None or until is None else max(held[1], until)
        else:
            yield held
            held = since, until
    if held is not None:
        yield held


def _revenue(amounts: Mapping[Field, int]) -> Amounts:
    """What payments and refunds change of what was ever earned."""
    changed: Amounts = {}
    for name, amount in amounts.items():
        if isinstance(name, int) and name >= MEANINGS and name % MEANINGS in (PAID, REFUNDED):
            add(changed, {name - name % MEANINGS + EVER_REVENUE: amount if name % MEANINGS == PAID else -amount})
    return changed


_OF_COHORT = {PAID: (NET, 1), REFUNDED: (NET, -1), PAID_WITH_MARGIN: (WITH_MARGIN, 1), MARGIN: (MARGIN_OF, 1)}


def _of_cohort(cohort: int, amounts: Mapping[Field, int]) -> Amounts:
    sums: Amounts = {}
    for name, amount in amounts.items():
        told = _OF_COHORT.get(name % MEANINGS) if isinstance(name, int) else None
        if told is not None and isinstance(name, int):
            currency = currency_of(name)
            if currency is not None:
                add(sums, {cohort_field(cohort, currency, told[0]): amount * told[1]})
    return sums
