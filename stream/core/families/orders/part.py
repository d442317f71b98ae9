"""The orders of one user, with their refunds.

An order and each of its refunds may be sent again with other content. Each counts at the earliest time told of it, with
the content of its newest version. A closed day says what was known at its end, so what a thing was at the end of
earlier days is kept with it.

An order is known for as many days as the setting `memory` says after the last that was told of it. What is told later
under the same id is another order. In the same way a buyer begins anew (`lives`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from stream.core.families.orders.purchases import Purchases, added, purchases_of

DayOf = Callable[[int], int]


class Version(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """What one event says of an order or a refund. Of two versions the greater one counts."""

    at_ms: int
    amount: int  # of the minor unit
    currency: str
    margin: int = -1  # of the minor unit, -1 if it is not told; of refunds too
    kind: str = ""  # the type of transaction; empty if there is none


class Thing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payment of an order, or one of its refunds."""

    first_ms: int  # the earliest time told of it, at which it counts
    versions: tuple[Version, ...]  # the newest, and those that were the newest at the end of earlier days; in order

    @property
    def last_ms(self) -> int:
        """The time of the newest version."""
        return self.versions[-1].at_ms


class Order(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One order."""

    paid: Thing | None = None  # None as long as only refunds are known
    refunds: tuple[tuple[str, Thing], ...] = ()  # by id, in order of the ids

    def things(self) -> Iterator[Thing]:
        """The payment and the refunds."""
        if self.paid is not None:
            yield self.paid
        for _, refund in self.refunds:
            yield refund

    @property
    def first_ms(self) -> int:
        """The earliest time of anything told of it."""
        return min(thing.first_ms for thing in self.things())

    @property
    def last_ms(self) -> int:
        """The latest time of anything told of it."""
        return max(thing.last_ms for thing in self.things())

    def days_told(self, day_of: DayOf) -> list[int]:
        """The days on which something was told of it, as far as it made a difference; in order."""
        days = {day_of(version.at_ms) for thing in self.things() for version in thing.versions}
        return sorted(days | {day_of(thing.first_ms) for thing in self.things()})


class Life(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The time in which somebody is one buyer: no two neighbouring events lie further apart than is remembered."""

    first_day: int
    last_day: int
    first_paid_ms: int | None  # None before the first payment
    bought: tuple[Purchases, ...] = ()  # with orders that are not kept any more, by currency


class UserOrders(msgspec.Struct, gc=False):
    """The orders of one user."""

    by_id: dict[str, tuple[Order, ...]] = {}  # several of one id if they lie further apart than is remembered
    past: tuple[Life, ...] = ()  # of orders that are not kept any more
    booked: dict[str, tuple[Order, ...]] | None = None  # what the totals hold, if it has changed; never stored


# -- events ------------------------------------------------------------------------------------------------------------


def order_of(version: Version, refund_id: str | None) -> Order:
    """An order of which one event tells; `refund_id` is None for a payment."""
    thing = Thing(version.at_ms, (version,))
    return Order(thing) if refund_id is None else Order(None, ((refund_id, thing),))


def merged(orders: Iterable[Order], is_same_day: Callable[[int, int], bool]) -> Order:
    """One order of which all of these tell. In whatever order they come, the result is the same."""
    paid: Thing | None = None
    refunds: dict[str, Thing] = {}
    for order in orders:
        if order.paid is not None:
            paid = order.paid if paid is None else _merged_things(paid, order.paid, is_same_day)
        for refund_id, refund in order.refunds:
            known = refunds.get(refund_id)
            refunds[refund_id] = refund if known is None else _merged_things(known, refund, is_same_day)
    return Order(paid, tuple(sorted(refunds.items())))


def _merged_things(one: Thing, other: Thing, is_same_day: Callable[[int, int], bool]) -> Thing:
    ranked = sorted({*one.versions, *other.versions})
    kept = [ranked[-1]]
    for version in reversed(ranked[:-1]):
        if not is_same_day(version.at_ms, kept[-1].at_ms):
            kept.append(version)
    return Thing(min(one.first_ms, other.first_ms), tuple(reversed(kept)))


def put(
    known: tuple[Order, ...], new: Order, *, memory_days: int, day_of: DayOf, is_same_day: Callable[[int, int], bool]
) -> tuple[Order, ...]:
    """The orders of one id after one more event; `known` itself if that changes nothing."""
    first, last = day_of(new.first_ms) - memory_days, day_of(new.last_ms) + memory_days
    near = [order for order in known if first <= day_of(order.last_ms) and day_of(order.first_ms) <= last]
    after = merged((*near, new), is_same_day)
    if near == [after]:
        return known
    return tuple(sorted((*(order for order in known if order not in near), after), key=lambda order: order.first_ms))


def as_of(order: Order, day: int, day_of: DayOf) -> Order | None:
    """What was known of an order at the end of a day; None if nothing was."""
    paid = None if order.paid is None else _thing_as_of(order.paid, day, day_of)
    refunds = ((refund_id, _thing_as_of(refund, day, day_of)) for refund_id, refund in order.refunds)
    known = tuple((refund_id, refund) for refund_id, refund in refunds if refund is not None)
    return None if paid is None and not known else Order(paid, known)


def _thing_as_of(thing: Thing, day: int, day_of: DayOf) -> Thing | None:
    if day_of(thing.first_ms) > day:
        return None
    # A version that is older than what is kept was another one of the same day, or of a day that is final.
    known = [version for version in thing.versions if day_of(version.at_ms) <= day] or thing.versions[:1]
    return Thing(thing.first_ms, tuple(known))


# -- buyers ------------------------------------------------------------------------------------------------------------


def lives(
    by_id: Mapping[str, tuple[Order, ...]], past: Iterable[Life], *, memory_days: int, day_of: DayOf
) -> list[Life]:
    """When somebody was one buyer, in order of time."""
    told = [*past, *(_life_of(order, day_of) for orders in by_id.values() for order in orders)]
    found: list[Life] = []
    for life in sorted(told, key=lambda life: life.first_day):
        if found and life.first_day - found[-1].last_day <= memory_days:
            found[-1] = _joined(found[-1], life)
        else:
            found.append(life)
    return found


def _life_of(order: Order, day_of: DayOf) -> Life:
    paid_ms = None if order.paid is None else order.paid.first_ms
    return Life(day_of(order.first_ms), day_of(order.last_ms), paid_ms)


def _joined(one: Life, other: Life) -> Life:
    paid = [at_ms for at_ms in (one.first_paid_ms, other.first_paid_ms) if at_ms is not None]
    bought = added((*one.bought, *other.bought)) if one.bought and other.bought else one.bought or other.bought
    return Life(min(one.first_day, other.first_day), max(one.last_day, other.last_day), min(paid, default=None), bought)


# -- keeping -----------------------------------------------------------------------------------------------------------


def forget(part: UserOrders, *, before_day: int, memory_days: int, kept_days: int, day_of: DayOf) -> None:
    """Drop what no event of `before_day` or later can change or reach; of orders remain the lives of their buyer.

    Orders that were paid on one day are dropped together, because they are one purchase.
    """
    whole = lives(part.by_id, part.past, memory_days=memory_days, day_of=day_of)
    all_orders = [order for orders in part.by_id.values() for order in orders]
    needed = [order for order in all_orders if day_of(order.last_ms) >= before_day - kept_days]
    kept_days_of_payment = {day_of(order.paid.first_ms) for order in needed if order.paid is not None}

    def is_kept(order: Order) -> bool:
        is_old = day_of(order.last_ms) < before_day - kept_days
        return not is_old or (order.paid is not None and day_of(order.paid.first_ms) in kept_days_of_payment)

    past = list(part.past)
    if len(needed) < len(all_orders):
        past += _remembered([order for order in all_orders if not is_kept(order)], day_of)
    for order_id, orders in list(part.by_id.items()):
        kept = tuple(_without_old_versions(order, before_day, day_of) for order in orders if is_kept(order))
        if kept:
            part.by_id[order_id] = kept
        else:
            del part.by_id[order_id]
    if past:
        reached = [life for life in whole if life.last_day >= before_day - memory_days]
        remembered = lives({}, past, memory_days=memory_days, day_of=day_of)
        part.past = tuple(
            life for life in remembered if any(one.first_day <= life.first_day <= one.last_day for one in reached)
        )


def _without_old_versions(order: Order, before_day: int, day_of: DayOf) -> Order:
    if all(len(thing.versions) == 1 for thing in order.things()):  # nearly always
        return order
    paid = None if order.paid is None else _newest_and_since(order.paid, before_day, day_of)
    refunds = ((refund_id, _newest_and_since(refund, before_day, day_of)) for refund_id, refund in order.refunds)
    return Order(paid, tuple(refunds))


def _newest_and_since(thing: Thing, before_day: int, day_of: DayOf) -> Thing:
    """The versions since that day, and the newest one before."""
    old = sum(day_of(version.at_ms) < before_day for version in thing.versions)
    return Thing(thing.first_ms, thing.versions[max(0, old - 1) :])


def _remembered(orders: Iterable[Order], day_of: DayOf) -> Iterator[Life]:
    """The lives of these orders, with what was bought."""
    by_day: dict[int, list[Order]] = defaultdict(list)
    for order in orders:
        if order.paid is None:
            yield _life_of(order, day_of)
        else:
            by_day[day_of(order.paid.first_ms)].append(order)
    for of_one_day in by_day.values():
        first, *others = (_life_of(order, day_of) for order in of_one_day)
        yield msgspec.structs.replace(first, bought=tuple(purchases_of(_payments(of_one_day), day_of)))
        yield from others


def _payments(orders: Iterable[Order]) -> Iterator[tuple[int, str, int]]:
    for order in orders:
        if order.paid is not None:
            version = order.paid.versions[-1]
            yield order.paid.first_ms, version.currency, version.amount


# -- what was bought ---------------------------------------------------------------------------------------------------


def purchases(part: UserOrders, day_of: DayOf) -> tuple[Purchases, ...]:
    """What a user has bought, by currency, as far as it is kept."""
    kept = _payments(order for orders in part.by_id.values() for order in orders)
    return added((*(one for life in part.past for one in life.bought), *purchases_of(kept, day_of)))


def purchases_of_newest_life(part: UserOrders, *, memory_days: int, day_of: DayOf) -> tuple[Purchases, ...]:
    """The same since the user is one buyer, which does not depend on when earlier lives were dropped."""
    *_, newest = lives(part.by_id, part.past, memory_days=memory_days, day_of=day_of)
    by_id = {
        order_id: kept
        for order_id, orders in part.by_id.items()
        if (kept := tuple(order for order in orders if day_of(order.first_ms) >= newest.first_day))
    }
    return purchases(UserOrders(by_id, tuple(life for life in part.past if life.first_day >= newest.first_day)), day_of)
