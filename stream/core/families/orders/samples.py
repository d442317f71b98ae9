"""The numbers of orders, calculated from sums."""

from collections.abc import Iterable, Iterator, Mapping

from stream.core.families.orders.contribution import (
    BUYERS,
    EVER_REVENUE,
    KIND,
    KNOWN_ORDERS,
    MARGIN,
    MARGIN_OF,
    NET,
    OVER_REFUNDED,
    PAID,
    PAID_ORDERS,
    PAID_WITH_MARGIN,
    PAYERS,
    REFUND_WITHOUT_ORDER,
    REFUNDED,
    REPEAT_BUYERS,
    WITH_MARGIN,
)
from stream.core.label_texts import by_name, counts_of, names_in
from stream.core.metrics import closed_name
from stream.core.money import currency_of, field_of, in_units
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample, mean, share
from stream.core.tally import Field

# Among the windows: what was ever paid.
EVER = 0

# What users have paid who first paid in a period for which capital was spent; a letter, one more, and the period.
_PERIOD = "p"

_Tally = Mapping[Field, int]


def period_field(period: str, what: str) -> str:
    """The field of one of the sums over a period."""
    return f"{_PERIOD}{what}{period}"


def live(sums: Mapping[int, _Tally], lengths: Mapping[str, int], rules: Rules) -> Iterator[Sample]:
    """The live numbers. There are none before the first order."""
    ever = sums.get(EVER, {})
    if ever.get(KNOWN_ORDERS):
        yield from _of_windows({window: sums.get(length, {}) for window, length in lengths.items()})
        yield from _ever(ever, rules)


def closed(sums: Mapping[int, _Tally], lengths: Iterable[int], rules: Rules) -> Iterator[Sample]:
    """The same of a closed day."""
    ever = sums.get(EVER, {})
    if ever.get(KNOWN_ORDERS):
        of_windows = {f"{length}d": sums.get(length, {}) for length in lengths}
        for name, labels, value in (*_of_windows(of_windows), *_ever(ever, rules)):
            yield Sample(closed_name(name), labels, value)


def currencies_in(tally: _Tally) -> list[str]:
    """The currencies of which a tally holds anything."""
    return sorted({currency for field in tally if (currency := currency_of(field)) is not None})


def revenue(tally: _Tally, currency: str) -> float:
    """What was paid minus what was paid back."""
    minor = tally.get(field_of(currency, PAID), 0) - tally.get(field_of(currency, REFUNDED), 0)
    return in_units(minor, currency)


def margin(tally: _Tally, currency: str, rules: Rules) -> float | None:
    """The share of what is paid that is earned: of the orders that tell it, or as the setting says."""
    told = tally.get(field_of(currency, PAID_WITH_MARGIN), 0)
    return tally.get(field_of(currency, MARGIN), 0) / told if told else rules.gross_margin


def longest(of_windows: Mapping[str, _Tally]) -> _Tally:
    """What the longest window holds, which knows all labels."""
    days = {window: int(window[:-1]) * {"m": 1, "h": 60, "d": 1_440}[window[-1]] for window in of_windows}
    return of_windows[max(days, key=lambda window: days[window])]


def _of_windows(of_windows: Mapping[str, _Tally]) -> Iterator[Sample]:
    whole = longest(of_windows)
    currencies = currencies_in(whole)
    kinds = names_in(counts_of(KIND, whole), whole=_paid_orders(whole, currencies))
    for window, tally in of_windows.items():
        yield from _of_window({"window": window}, tally, currencies, kinds)


def _paid_orders(tally: _Tally, currencies: Iterable[str]) -> int:
    """The paid orders of all these currencies."""
    return sum(tally.get(field_of(currency, PAID_ORDERS), 0) for currency in currencies)


def _of_window(labels: Labels, tally: _Tally, currencies: Iterable[str], kinds: Iterable[str]) -> Iterator[Sample]:
    orders = _paid_orders(tally, currencies)
    for currency in currencies:
        of_currency = {**labels, "currency": currency}
        paid_orders = tally.get(field_of(currency, PAID_ORDERS), 0)
        paid = in_units(tally.get(field_of(currency, PAID), 0), currency)
        yield Sample("engagement_paid_orders", of_currency, paid_orders)
        yield Sample("engagement_paid_amount", of_currency, paid)
        refunded = in_units(tally.get(field_of(currency, REFUNDED), 0), currency)
        yield Sample("engagement_refunded_amount", of_currency, refunded)
        yield Sample("engagement_revenue", of_currency, revenue(tally, currency))
        yield from mean("engagement_average_order_value", of_currency, paid, paid_orders)
    for kind, count in by_name(counts_of(KIND, tally), kinds, whole=orders).items():
        yield Sample("engagement_orders", {**labels, "transaction_type": kind}, count)
    buyers, repeat = tally.get(BUYERS, 0), tally.get(REPEAT_BUYERS, 0)
    yield Sample("engagement_buyers", labels, buyers)
    yield Sample("engagement_repeat_buyers", labels, repeat)
    yield from share("engagement_repeat_purchase_ratio", labels, repeat, buyers)
    yield from mean("engagement_orders_per_buyer", labels, orders, buyers)


def _ever(ever: _Tally, rules: Rules) -> Iterator[Sample]:
    for kind, field in (("over_refunded", OVER_REFUNDED), ("refund_without_order", REFUND_WITHOUT_ORDER)):
        yield Sample("engagement_order_conflicts", {"kind": kind}, ever.get(field, 0))
    for currency in currencies_in(ever):
        labels = {"currency": currency}
        earned = in_units(ever.get(field_of(currency, EVER_REVENUE), 0), currency)
        payers = ever.get(field_of(currency, PAYERS), 0)
        yield Sample("engagement_revenue_ever", labels, earned)
        yield Sample("engagement_payers_ever", labels, payers)
        yield from mean("engagement_ltv_historic", labels, earned, payers)
    for capex in rules.capex:
        labels = {"period": capex.period}
        net, told, earned_of = (
            in_units(ever.get(period_field(capex.period, what), 0), capex.currency)
            for what in (NET, WITH_MARGIN, MARGIN_OF)
        )
        share_earned = earned_of / told if told else rules.gross_margin
        spent = in_units(capex.amount, capex.currency)
        yield Sample("engagement_capex_amount", {**labels, "currency": capex.currency}, spent)
        yield Sample("engagement_capex_cohort_revenue", {**labels, "currency": capex.currency}, net)
        if share_earned is not None and spent:
            yield Sample("engagement_clv_per_capex_ratio", labels, net * share_earned / spent)
