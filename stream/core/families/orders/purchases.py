"""The purchases of one user in one currency: frequency, recency, T and monetary value, as models of buyers take them.

The definitions are those of the libraries lifetimes and PyMC-Marketing. All orders that a customer pays on one local
day are one purchase, for what they cost together. Frequency is the number of purchases after the first one. Recency
and T are the days from the first purchase to the last one, and to the end of what was observed. Monetary value is the
mean of what the purchases after the first one cost; 0 if there are none. Amounts are before refunds, as in the average
order value.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from stream.core.money import in_units


class Purchases(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Purchases in one currency. Two of them can be added if they have no day in common."""

    currency: str
    first_day: int
    last_day: int
    days: int  # the number of days with a purchase
    amount: int  # of all of them together, in the minor unit of the currency
    first_amount: int  # of the first day

    def __add__(self, other: "Purchases") -> "Purchases":
        first = min(self, other, key=lambda one: one.first_day)
        return Purchases(
            self.currency,
            first.first_day,
            max(self.last_day, other.last_day),
            self.days + other.days,
            self.amount + other.amount,
            first.first_amount,
        )


class Customer(NamedTuple):
    """One customer in one currency, as `engagement rfm` writes it."""

    customer_id: str
    currency: str
    frequency: int
    recency: int
    T: int
    monetary_value: float


def purchases_of(paid: Iterable[tuple[int, str, int]], day_of: Callable[[int], int]) -> Iterator[Purchases]:
    """The purchases that payments make, by currency. Each payment is its time, its currency and its amount."""
    by_currency: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for at_ms, currency, amount in paid:
        by_currency[currency][day_of(at_ms)] += amount
    for currency, by_day in sorted(by_currency.items()):
        first_day = min(by_day)
        yield Purchases(currency, first_day, max(by_day), len(by_day), sum(by_day.values()), by_day[first_day])


def added(several: Iterable[Purchases]) -> tuple[Purchases, ...]:
    """The purchases by currency, which have no day in common; in order of the currencies."""
    by_currency: dict[str, Purchases] = {}
    for one in several:
        known = by_currency.get(one.currency)
        by_currency[one.currency] = one if known is None else known + one
    return tuple(one for _, one in sorted(by_currency.items()))


def customer(customer_id: str, one: Purchases, *, last_day: int) -> Customer:
    """A customer whose purchases were observed up to the end of a day, which is not before the last one."""
    repeated = one.days - 1
    spent = in_units(one.amount - one.first_amount, one.currency)
    return Customer(
        customer_id,
        one.currency,
        repeated,
        one.last_day - one.first_day,
        last_day - one.first_day,
        spent / repeated if repeated else 0.0,
    )
