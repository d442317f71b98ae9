"""Customers with their purchases, as models of buyers take them: `engagement rfm` writes them.

They come from the rows of users, in a file or in the state of a deployment. Of a file all purchases count. Of a state
those count that are one buyer's by the setting `memory`, because earlier ones may have been dropped.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stream.core.families.orders.family import OrdersFamily
from stream.core.families.orders.part import UserOrders
from stream.core.families.orders.purchases import Customer, customer
from stream.core.families.registry import families
from stream.core.partition.rows import USER_PREFIX, Rows
from stream.core.rules import Rules
from stream.core.users import public_id

ROWS_PREFIX = USER_PREFIX.encode()


def customers_of_parts(
    rules: Rules, parts: Iterable[tuple[str, UserOrders]], *, at_ms: int, of_all_times: bool = True
) -> Iterator[Customer]:
    """The customers among users who are kept with all their orders, observed up to the day of a time."""
    return _customers(OrdersFamily(rules), parts, last_day=rules.days.day_of(at_ms), of_all_times=of_all_times)


def customers_of_rows(rules: Rules, rows: Iterable[tuple[bytes, bytes]], *, at_ms: int) -> Iterator[Customer]:
    """The customers among stored rows of users. Raises FormatChanged."""
    known = families(rules)
    stored = Rows(known, max_bytes=0)
    index, family = next((place, one) for place, one in enumerate(known) if isinstance(one, OrdersFamily))

    def parts() -> Iterator[tuple[str, Any]]:
        for key, value in rows:
            yield key.decode().removeprefix(USER_PREFIX), stored.part(stored.decode(value), index)

    return _customers(family, parts(), last_day=rules.days.day_of(at_ms), of_all_times=False)


def _customers(
    family: OrdersFamily, parts: Iterable[tuple[str, UserOrders]], *, last_day: int, of_all_times: bool
) -> Iterator[Customer]:
    for user, part in parts:
        for purchases in family.purchases(part, of_all_times=of_all_times):
            yield customer(public_id(user), purchases, last_day=max(last_day, purchases.last_day))


def in_order(customers: Iterable[Customer]) -> list[Customer]:
    """Customers in order of their ids, then of the currencies."""
    return sorted(customers, key=lambda one: (one.customer_id, one.currency))


def by_currency(customers: Iterable[Customer]) -> Mapping[str, list[Customer]]:
    """Customers by currency, because amounts of different currencies can't be compared."""
    found: dict[str, list[Customer]] = {}
    for one in customers:
        found.setdefault(one.currency, []).append(one)
    return found
