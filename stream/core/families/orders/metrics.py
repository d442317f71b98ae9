"""The metrics of orders."""

from stream.core.metrics import WINDOW, Metric, closed_twins

_IN_CURRENCY = ("window", "currency")
_MONEY = "units of the currency"
_MEMORY = (
    " An order is known to its refunds for 400 days (setting memory) after the last that was told of it, and a buyer"
    " who orders nothing for as long begins anew."
)

_LIVE = (
    Metric(
        "engagement_orders",
        "Paid orders, by type of transaction: the 20 that are most frequent, other, and unknown. An order counts once,"
        " at the earliest time told of it, with the content of its newest version; one that was paid back too.",
        ("window", "transaction_type"),
        unit="orders",
    ),
    Metric("engagement_paid_orders", "Paid orders, by currency.", _IN_CURRENCY, unit="orders"),
    Metric("engagement_paid_amount", "What was paid, before refunds.", _IN_CURRENCY, unit=_MONEY),
    Metric(
        "engagement_refunded_amount",
        "What was paid back, at the time of the refund: of an order at most what was paid of it in the refund's"
        f" currency, and all of it while the order is not known.{_MEMORY}",
        _IN_CURRENCY,
        unit=_MONEY,
    ),
    Metric(
        "engagement_revenue",
        "Net revenue: what was paid minus what was paid back in the window. Currencies are never converted.",
        _IN_CURRENCY,
        unit=_MONEY,
        parts=("engagement_paid_amount", "engagement_refunded_amount"),
    ),
    Metric(
        "engagement_average_order_value",
        "Average order value: paid amount over paid orders, before refunds.",
        _IN_CURRENCY,
        unit=_MONEY,
        parts=("engagement_paid_amount", "engagement_paid_orders"),
    ),
    Metric("engagement_buyers", "Users who paid at least one order in the window.", WINDOW, unit="users"),
    Metric("engagement_repeat_buyers", "Users who paid two or more orders in the window.", WINDOW, unit="users"),
    Metric(
        "engagement_repeat_purchase_ratio",
        "Share of the buyers of the window who paid two or more orders in it.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_repeat_buyers", "engagement_buyers"),
    ),
    Metric(
        "engagement_orders_per_buyer",
        "Paid orders over buyers of the window.",
        WINDOW,
        unit="orders",
        parts=("engagement_orders", "engagement_buyers"),
    ),
    Metric(
        "engagement_order_conflicts",
        "Orders of which more was to be paid back than was paid (over_refunded), and refunds whose order has not come"
        " within allowed_lateness (refund_without_order). Neither is refused; they count while the order is known.",
        ("kind",),
        unit="orders",
    ),
    Metric(
        "engagement_revenue_ever",
        "Net revenue of all times, of users whose rows are not kept any more too.",
        ("currency",),
        unit=_MONEY,
    ),
    Metric(
        "engagement_payers_ever",
        f"Users who ever paid an order in the currency.{_MEMORY}",
        ("currency",),
        unit="users",
    ),
    Metric(
        "engagement_ltv_historic",
        "Historic lifetime value: net revenue of all times over the users who ever paid, both in the currency.",
        ("currency",),
        unit=_MONEY,
        parts=("engagement_revenue_ever", "engagement_payers_ever"),
    ),
    Metric(
        "engagement_capex_amount",
        "The capital spent in a period, as the setting capex says.",
        ("period", "currency"),
        unit=_MONEY,
    ),
    Metric(
        "engagement_capex_cohort_revenue",
        "Net revenue of all times, in the currency of the period's capital, of the users who first paid in the period;"
        " without refunds of orders that are not known.",
        ("period", "currency"),
        unit=_MONEY,
    ),
    Metric(
        "engagement_clv_per_capex_ratio",
        "Customer lifetime value per capital spent: net revenue of the users who first paid in the period, times their"
        " margin (of the orders that tell it, else the setting gross_margin), over the capital. This definition is our"
        " own. Absent where no capital was spent or no margin is known.",
        ("period",),
        unit="ratio",
        parts=("engagement_capex_cohort_revenue", "engagement_capex_amount"),
    ),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))
