"""Fits models of buyers to customers: BG/NBD for purchases, Gamma-Gamma for what they cost, by PyMC-Marketing (`clv`).

Both are fitted by sampling, so each number of a customer is a distribution: its mean is written, and the 95 % interval
between the quantiles 0.025 and 0.975. The lifetime value is that of the days ahead, without a discount: expected
purchases times expected cost of one.

Source: Fader, Hardie and Lee, "Counting Your Customers the Easy Way" (2005), and Fader and Hardie, "The Gamma-Gamma
Model of Monetary Value" (2013), as PyMC-Marketing implements them.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from stream.core.families.orders.purchases import Customer
from stream.terminal import Failure, OperatorMistake

_SAMPLING = {"draws": 1_000, "tune": 1_000, "chains": 2, "random_seed": 1, "progressbar": False}

# Each customer has a value for each of some thousand draws, so memory is needed for these customers at a time.
_CUSTOMERS_AT_A_TIME = 1_000

_LOWER, _UPPER = 0.025, 0.975


def require_library() -> None:
    """Raise OperatorMistake if the library is not installed."""
    try:
        import_module("pymc_marketing")
    except ImportError as error:
        raise OperatorMistake(f"--fit needs PyMC-Marketing: pip install 'engagement-stream[clv]' ({error})") from None


def fitted(customers: Sequence[Customer], *, horizon_days: int) -> Iterator[dict[str, float]]:
    """Yield what each customer will buy in the days ahead, and what that is worth, in the same order.

    All of them paid in one currency. Raises Failure where nothing can be fitted.
    """
    clv, pandas = import_module("pymc_marketing.clv"), import_module("pandas")
    table = pandas.DataFrame(customers)
    repeated = table[(table.frequency > 0) & (table.monetary_value > 0)]
    if repeated.empty:
        raise Failure(f"--fit: nobody has bought on two days in {customers[0].currency}")
    purchases = clv.BetaGeoModel(data=table[["customer_id", "frequency", "recency", "T"]])
    purchases.fit(**_SAMPLING)
    costs = clv.GammaGammaModel(data=repeated[["customer_id", "frequency", "monetary_value"]])
    costs.fit(**_SAMPLING)
    for first in range(0, len(table), _CUSTOMERS_AT_A_TIME):
        some = table.iloc[first : first + _CUSTOMERS_AT_A_TIME]
        bought = _draws(purchases.expected_purchases(data=some, future_t=horizon_days))
        spent = bought * _draws(costs.expected_customer_spend(data=some))
        columns = [*_summary("expected_purchases", bought), *_summary("expected_clv", spent)]
        for values in zip(*(values for _, values in columns), strict=True):
            yield {name: float(value) for (name, _), value in zip(columns, values, strict=True)}


def _draws(estimated: Any) -> Any:
    """All draws of some customers: an array with a column for each of them."""
    return estimated.stack(draws=("chain", "draw")).transpose("draws", "customer_id").to_numpy()


def _summary(name: str, draws: Any) -> Iterator[tuple[str, Any]]:
    numpy = import_module("numpy")
    yield name, draws.mean(axis=0)
    yield f"{name}_lower", numpy.quantile(draws, _LOWER, axis=0)
    yield f"{name}_upper", numpy.quantile(draws, _UPPER, axis=0)
