"""The naive recount of orders, live and of closed days: stream/METRICS.md, from the raw events.

Nothing here knows of versions that replace one another, of ledgers or of rows: of each moment all is counted anew.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

from stream.core.rules import Rules
from tests.core.oracle_events import EventFields, Person, id_of, of_topic, value_told, who
from tests.core.oracle_numbers import AnyWindow, Samples, day_of, key, share

DECIMALS = {"EUR": 2, "USD": 2, "JPY": 0, "BHD": 3}


class Thing(NamedTuple):
    """A payment or a refund, once: its earliest time, and its newest version."""

    at: int
    event: EventFields

    @property
    def amount(self) -> Decimal:
        return Decimal(str(self.event["amount"]))

    @property
    def currency(self) -> str:
        return str(self.event["currency"])


class Order(NamedTuple):
    """One order, and which buyer's it is."""

    who: Person
    life: int  # of her several lives the one in which this was
    last: int  # when something was told of it last
    paid: Thing | None
    refunds: list[Thing]  # in order of their times

    def counting(self) -> list[tuple[Thing, Decimal]]:
        """The refunds with that of their amounts that counts."""
        if self.paid is None:
            return [(refund, refund.amount) for refund in self.refunds]
        left, counting = self.paid.amount, []
        for refund in self.refunds:
            amount = min(left, refund.amount) if refund.currency == self.paid.currency else Decimal(0)
            left -= amount
            counting.append((refund, amount))
        return counting

    def over_refunded(self) -> int | None:
        """Since when more was to be paid back than was paid."""
        for refund, amount in self.counting():
            if self.paid is not None and amount < refund.amount:
                return max(refund.at, self.paid.at)
        return None


def orders_of(events: Iterable[EventFields], rules: Rules) -> list[Order]:
    """All orders."""
    mine: dict[Person, list[EventFields]] = defaultdict(list)
    for event in of_topic(events, "orders"):
        mine[who(event)].append(event)
    found = []
    for person, told in mine.items():
        for number, life in enumerate(_pieces(told, rules)):
            by_id: dict[str | None, list[EventFields]] = defaultdict(list)
            for event in life:
                by_id[id_of(event, "order_id")].append(event)
            for of_id in by_id.values():
                found += [_order(person, number, piece) for piece in _pieces(of_id, rules)]
    return found


def _pieces(told: list[EventFields], rules: Rules) -> list[list[EventFields]]:
    """Events in order of time, divided where two lie further apart than is remembered."""
    pieces: list[list[EventFields]] = []
    zone = rules.days.zone
    for event in sorted(told, key=lambda event: event["event_time"]):
        if (
            pieces
            and day_of(event["event_time"], zone) - day_of(pieces[-1][-1]["event_time"], zone) <= rules.memory_days
        ):
            pieces[-1].append(event)
        else:
            pieces.append([event])
    return pieces


def _order(person: Person, life: int, told: list[EventFields]) -> Order:
    things: dict[tuple[str, str], list[EventFields]] = defaultdict(list)
    for event in told:
        refund = (id_of(event, "refund_id") or "") if event["type"] == "refunded" else ""
        things[event["type"], refund].append(event)
    paid = things.pop(("paid", ""), None)
    refunds = sorted(
        ((_thing(versions), refund) for (_, refund), versions in things.items()), key=lambda x: (x[0].at, x[1])
    )
    last = max(event["event_time"] for event in told)
    return Order(person, life, last, None if paid is None else _thing(paid), [refund for refund, _ in refunds])


def _thing(versions: list[EventFields]) -> Thing:
    return Thing(min(event["event_time"] for event in versions), max(versions, key=_rank))


def _rank(event: EventFields) -> tuple[object, ...]:
    amount = Decimal(str(event["amount"])) * 10 ** DECIMALS[event["currency"]]
    paid = event["type"] == "paid"
    margin = _margin(event) * 10 ** DECIMALS[event["currency"]] if paid and event.get("margin") is not None else -1
    return event["event_time"], amount, event["currency"], margin, value_told(event, "transaction_type") if paid else ""


def _margin(event: EventFields) -> Decimal:
    """What an order earns, in whole minor units."""
    minor = Decimal(1).scaleb(-DECIMALS[event["currency"]])
    return (Decimal(str(event["margin"])) * Decimal(str(event["amount"]))).quantize(minor)


def count_orders(
    samples: Samples, events: list[EventFields], windows: list[AnyWindow], has_come: Callable[[int], bool], rules: Rules
) -> None:
    """All numbers of orders. `has_come` says whether something of a time counts yet."""
    orders = orders_of(events, rules)
    if not any(has_come(_first(order)) for order in orders):
        return
    longest = max(windows, key=lambda window: _minutes(window.name))
    currencies = {
        thing.currency
        for order in orders
        for thing, amount in _entries(order)
        if thing.at in longest and (thing is order.paid or amount)
    }
    kinds = {_kind(order) or "unknown" for order in orders if order.paid is not None and order.paid.at in longest}
    for window in windows:
        _count_window(samples, orders, window, currencies, kinds)
    _count_ever(samples, orders, has_come, rules)


def _minutes(name: str) -> int:
    return int(name[:-1]) * {"m": 1, "h": 60, "d": 1_440}[name[-1]]


def _first(order: Order) -> int:
    return min(thing.at for thing in ([order.paid] if order.paid else []) + order.refunds)


def _kind(order: Order) -> str:
    assert order.paid is not None
    return value_told(order.paid.event, "transaction_type")


def _entries(order: Order) -> list[tuple[Thing, Decimal]]:
    paid = [] if order.paid is None else [(order.paid, order.paid.amount)]
    return paid + [(refund, -amount) for refund, amount in order.counting()]


def _count_window(
    samples: Samples, orders: list[Order], window: AnyWindow, currencies: set[str], kinds: set[str]
) -> None:
    name = window.name
    paid = [order for order in orders if order.paid is not None and order.paid.at in window]
    back = [(refund, amount) for order in orders for refund, amount in order.counting() if refund.at in window]
    for currency in currencies:
        labels = {"window": name, "currency": currency}
        amounts = [order.paid.amount for order in paid if order.paid and order.paid.currency == currency]
        refunded = sum(amount for refund, amount in back if refund.currency == currency)
        samples[key("engagement_paid_orders", **labels)] = len(amounts)
        samples[key("engagement_paid_amount", **labels)] = float(sum(amounts))
        samples[key("engagement_refunded_amount", **labels)] = float(refunded)
        samples[key("engagement_revenue", **labels)] = float(sum(amounts) - refunded)
        if amounts:
            samples[key("engagement_average_order_value", **labels)] = float(sum(amounts) / len(amounts))
    for kind in kinds or {"unknown"}:
        count = sum((_kind(order) or "unknown") == kind for order in paid)
        samples[key("engagement_orders", window=name, transaction_type=kind)] = count
    bought: dict[Person, int] = defaultdict(int)
    for order in paid:
        bought[order.who] += 1
    repeat = sum(count >= 2 for count in bought.values())
    samples[key("engagement_buyers", window=name)] = len(bought)
    samples[key("engagement_repeat_buyers", window=name)] = repeat
    share(samples, "engagement_repeat_purchase_ratio", repeat, len(bought), window=name)
    if bought:
        samples[key("engagement_orders_per_buyer", window=name)] = len(paid) / len(bought)


def _count_ever(samples: Samples, orders: list[Order], has_come: Callable[[int], bool], rules: Rules) -> None:  # noqa: C901  one naive count after the other
    def is_known(order: Order) -> bool:
        forgotten = rules.days.starts_ms(day_of(order.last, rules.days.zone) + rules.memory_days + 1)
        return not has_come(forgotten)

    over = [order for order in orders if (at := order.over_refunded()) is not None and has_come(at) and is_known(order)]
    waiting = []
    for order in orders:
        if order.refunds:
            waited = min(refund.at for refund in order.refunds) + rules.refund_wait_ms
            was_paid = order.paid is not None and (order.paid.at <= waited or has_come(order.paid.at))
            if has_come(waited) and not was_paid and is_known(order):
                waiting.append(order)
    samples[key("engagement_order_conflicts", kind="over_refunded")] = len(over)
    samples[key("engagement_order_conflicts", kind="refund_without_order")] = len(waiting)
    come = [(order, thing, amount) for order in orders for thing, amount in _entries(order) if has_come(thing.at)]
    payers: dict[str, set[tuple[Person, int]]] = defaultdict(set)
    earned: dict[str, Decimal] = defaultdict(Decimal)
    for order, thing, amount in come:
        earned[thing.currency] += amount
        if thing is order.paid:
            payers[thing.currency].add((order.who, order.life))
    for currency in {*payers, *(currency for currency, amount in earned.items() if amount)}:
        samples[key("engagement_revenue_ever", currency=currency)] = float(earned[currency])
        samples[key("engagement_payers_ever", currency=currency)] = len(payers[currency])
        if payers[currency]:
            mean = float(earned[currency] / len(payers[currency]))
            samples[key("engagement_ltv_historic", currency=currency)] = mean
    _count_capex(samples, orders, come, rules)


def _count_capex(samples: Samples, orders: list[Order], come: list[tuple[Order, Thing, Decimal]], rules: Rules) -> None:  # noqa: C901  one naive count after the other
    first: dict[tuple[Person, int], int] = {}
    for order in orders:
        if order.paid is not None:
            buyer = order.who, order.life
            first[buyer] = min(order.paid.at, first.get(buyer, order.paid.at))
    for capex in rules.capex:
        net, told, earned = Decimal(0), Decimal(0), Decimal(0)
        for order, thing, amount in come:
            if order.paid is None or thing.currency != capex.currency:
                continue
            if capex.first_day <= day_of(first[order.who, order.life], rules.days.zone) <= capex.last_day:
                net += amount
                if thing is order.paid and thing.event.get("margin") is not None:
                    told += amount
                    earned += _margin(thing.event)
        margin = float(earned / told) if told else rules.gross_margin
        spent = capex.amount / 10 ** DECIMALS[capex.currency]
        labels = {"period": capex.period, "currency": capex.currency}
        samples[key("engagement_capex_amount", **labels)] = spent
        samples[key("engagement_capex_cohort_revenue", **labels)] = float(net)
        if margin is not None and spent:
            samples[key("engagement_clv_per_capex_ratio", period=capex.period)] = float(net) * margin / spent


def count_revenue_per_user(samples: Samples, name: str, users: dict[str, int]) -> None:
    """Revenue over active users, for the windows that both have. `name` is that of revenue."""
    for (metric, labels), value in list(samples.items()):
        told = dict(labels)
        if metric == name and users.get(told["window"]):
            of_users = name.replace("_revenue", "_revenue_per_active_user")
            samples[key(of_users, **told)] = value / users[told["window"]]


def count_revenue_per_customer(
    samples: Samples, known: list[EventFields], window_of_30_days: AnyWindow, rules: Rules
) -> None:
    """Revenue of closed days over the customers at the start, and the lifetime value that follows."""
    paid = [order.paid for order in orders_of(known, rules) if order.paid is not None]
    for (metric, labels), value in list(samples.items()):
        told = dict(labels)
        if metric != "engagement_revenue_closed":
            continue
        window, currency = told["window"], told["currency"]
        at_start = samples.get(key("engagement_customers_at_start_closed", window=window))
        if not at_start:
            continue
        samples[key("engagement_revenue_per_customer_closed", **told)] = arpa = value / at_start
        churn = samples[key("engagement_customer_churn_closed_ratio", window=window)]
        telling = [
            thing
            for thing in paid
            if thing.at in window_of_30_days and thing.currency == currency and thing.event.get("margin") is not None
        ]
        amount = sum(thing.amount for thing in telling)
        margin = float(sum(_margin(thing.event) for thing in telling) / amount) if amount else rules.gross_margin
        if window == window_of_30_days.name and churn and margin is not None:
            samples[key("engagement_ltv_simple_closed", currency=currency)] = arpa * margin / churn
