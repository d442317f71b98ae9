"""Fits models of buyers to customers: BG/NBD for purchases, Gamma-Gamma for what they cost, by PyMC-Marketing (`clv`).

Both are fitted by sampling, so each number of a customer is a distribution: its mean is written, and the 95 % interval
between the quantiles 0.025 and 0.975. The interval is that of the expected number, so it says how well the models are
known, not how far a single customer will be from what is expected. The lifetime value is that of the days ahead,
without a discount: expected purchases times expected cost of one.

Times are given to the model in weeks and amounts in units of the mean purchase, because priors are of a size: those of
the library for BG/NBD are meant for numbers of weeks, as in its own examples and in the literature. For Gamma-Gamma the
library has none that can be normalised, so a few customers would give no distribution at all. Ours are wide beside the
parameters that are published for CDNOW (p = 6.25, q = 3.74, v = 15.44, which is 0.44 of the mean purchase), and q is
above 1, below which no mean exists.

Source: Fader, Hardie and Lee, "Counting Your Customers the Easy Way" (2005), and Fader and Hardie, "The Gamma-Gamma
Model of Monetary Value" (2013), as PyMC-Marketing implements them.
"""

import logging
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from stream.core.families.orders.purchases import Customer
from stream.terminal import OperatorMistake

# Four chains, as the library recommends: what they agree on is settled (R-hat).
_SAMPLING = {"draws": 1_000, "tune": 1_000, "chains": 4, "random_seed": 1, "progressbar": False}

# Above it the chains have not settled on the same distribution: Vehtari et al., "Rank-normalization, folding, and
# localization: An improved R-hat" (2021).
_LARGEST_R_HAT = 1.01

_DAYS_A_WEEK = 7

# The models are fitted to no more customers. Twice as many would take twice as long, and say little more about a
# handful of parameters. What is expected is calculated for each customer.
FITTED_CUSTOMERS = 5_000

# Each customer has a value for each of some thousand draws, so memory is needed for these customers at a time.
_CUSTOMERS_AT_A_TIME = 1_000

_LOWER, _UPPER = 0.025, 0.975

Estimate = dict[str, float | None]

NO_ESTIMATE: Estimate = {
    f"expected_{name}{end}": None for name in ("purchases", "clv") for end in ("", "_lower", "_upper")
}


def require_library() -> None:
    """Raise OperatorMistake if the library is not installed."""
    try:
        with _quietly():
            import_module("pymc_marketing.clv")
    except ImportError as error:
        raise OperatorMistake(
            f"--fit needs PyMC-Marketing, on Python 3.11 or newer: pip install 'engagement-stream[clv]' ({error})"
        ) from None


def can_be_fitted(customers: Sequence[Customer]) -> bool:
    """Whether somebody has bought again, and paid for it: without that nothing is known of purchases to come."""
    return any(one.frequency > 0 and one.monetary_value > 0 for one in customers)


def fitted(customers: Sequence[Customer], *, horizon_days: int, tell: Callable[[str], None]) -> Iterator[Estimate]:
    """Yield what each customer will buy in the days ahead, and what that is worth, in the same order.

    All of them paid in one currency, and they can be fitted. `tell` gets a text for people.
    """
    currency = customers[0].currency
    some = customers
    if len(customers) > FITTED_CUSTOMERS:
        some = random.Random(1).sample(customers, FITTED_CUSTOMERS)  # noqa: S311  the same ones each time
    of_all = f" of {len(customers):,}" if len(some) < len(customers) else ""
    tell(f"fitting {currency}: {len(some):,}{of_all} customers; this may take minutes")
    repeated = [one for one in some if one.frequency > 0 and one.monetary_value > 0]
    if not repeated:
        repeated = [one for one in customers if one.frequency > 0 and one.monetary_value > 0]
    unit = sum(one.monetary_value * one.frequency for one in repeated) / sum(one.frequency for one in repeated)
    with _quietly():
        clv = import_module("pymc_marketing.clv")
        purchases = clv.BetaGeoModel(data=_table(some, unit))
        purchases.fit(**_SAMPLING)
        costs = clv.GammaGammaModel(data=_table(repeated, unit), model_config=_priors_of_costs())
        costs.fit(**_SAMPLING)
    for name, model in (("BG/NBD", purchases), ("Gamma-Gamma", costs)):
        if (r_hat := _r_hat(model)) > _LARGEST_R_HAT:
            tell(f"fitting {currency}: {name} has not settled (R-hat {r_hat:.3f}): its intervals may be too narrow")
    for first in range(0, len(customers), _CUSTOMERS_AT_A_TIME):
        table = _table(customers[first : first + _CUSTOMERS_AT_A_TIME], unit)
        with _quietly():
            bought = _draws(purchases.expected_purchases(data=table, future_t=horizon_days / _DAYS_A_WEEK))
            spent = bought * _draws(costs.expected_customer_spend(data=table)) * unit
        columns = [*_summary("expected_purchases", bought), *_summary("expected_clv", spent)]
        for values in zip(*(values for _, values in columns), strict=True):
            yield {name: float(value) for (name, _), value in zip(columns, values, strict=True)}


def _table(customers: Sequence[Customer], unit: float) -> Any:
    """The customers as the library takes them: times in weeks, amounts in units of the mean purchase."""
    table = import_module("pandas").DataFrame(customers, columns=Customer._fields)
    return table.assign(
        recency=table.recency / _DAYS_A_WEEK, T=table["T"] / _DAYS_A_WEEK, monetary_value=table.monetary_value / unit
    )


def _priors_of_costs() -> dict[str, Any]:
    prior = import_module("pymc_extras.prior").Prior
    return {
        "p": prior("HalfNormal", sigma=10),
        "q": prior("TruncatedNormal", mu=0, sigma=10, lower=1),
        "v": prior("HalfNormal", sigma=10),
    }


def _r_hat(model: Any) -> float:
    """How far the chains differ, in the parameter of which they differ most; 1 if they do not."""
    of_parameters = import_module("arviz").rhat(model.idata)
    return max(float(values.max()) for values in of_parameters.values())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the libraries log and warn of: it is about them, and what matters of it we say ourselves."""
    log = logging.getLogger("pymc")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _draws(estimated: Any) -> Any:
    """All draws of some customers: an array with a column for each of them."""
    return estimated.stack(draws=("chain", "draw")).transpose("draws", "customer_id").to_numpy()


def _summary(name: str, draws: Any) -> Iterator[tuple[str, Any]]:
    numpy = import_module("numpy")
    yield name, draws.mean(axis=0)
    yield f"{name}_lower", numpy.quantile(draws, _LOWER, axis=0)
    yield f"{name}_upper", numpy.quantile(draws, _UPPER, axis=0)
