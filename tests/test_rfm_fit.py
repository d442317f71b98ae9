"""`engagement rfm --fit`: what customers are expected to buy and what it is worth, beside what is published of CDNOW.

PyMC-Marketing is large and no requirement of the tests: those that fit run where it is installed.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from stream import lifetime_value
from stream.cli import main
from stream.core.families.orders.purchases import Customer
from stream.lifetime_value import NO_ESTIMATE, Estimate, can_be_fitted
from tests.test_cdnow import cdnow, events_of, purchases_in
from tests.test_rfm import file, paid

__all__ = ["cdnow", "file"]

fits = pytest.mark.skipif(
    find_spec("pymc_marketing") is None,
    reason="needs PyMC-Marketing, some 700 MB: .venv/bin/pip install -e '.[clv]'",
)

COLUMNS = [*NO_ESTIMATE]
HEAD = ["customer_id", "currency", "frequency", "recency", "T", "monetary_value"]


def rfm(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rfm", *arguments])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def numbers_of(row: dict[str, str]) -> dict[str, float]:
    return {name: float(row[name]) for name in COLUMNS}


# -- without the library -----------------------------------------------------------------------------------------------


@pytest.fixture
def fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that expect what a customer has bought so far."""

    def fitted(customers: Sequence[Customer], *, horizon_days: int, tell: Callable[[str], None]) -> Iterator[Estimate]:
        tell(f"fitting {customers[0].currency} for {horizon_days} days")
        for one in customers:
            yield {name: one.frequency + place / 10 for place, name in enumerate(COLUMNS)}

    monkeypatch.setattr(lifetime_value, "require_library", lambda: None)
    monkeypatch.setattr(lifetime_value, "fitted", fitted)


@pytest.mark.usefixtures("fake_models")
def test_what_is_expected_stands_in_the_row_of_its_customer_and_currency(file: str, tmp_path: Path) -> None:
    done = rfm(file, "--fit", "--horizon", "90")
    packed = rfm(file, "--fit", "--horizon", "90", "-o", str(tmp_path / "customers.parquet"))

    assert (done.exit_code, packed.exit_code) == (0, 0)
    rows = rows_of(done.stdout)
    assert [*rows[0]] == [*HEAD, *COLUMNS]
    assert [(row["customer_id"], row["currency"], row["expected_clv"]) for row in rows] == [
        ("ann", "EUR", "2.3"),
        ("anonymous:bob", "EUR", "0.3"),
        ("bob", "EUR", "0.3"),
        ("bob", "JPY", ""),
    ]
    assert "engagement: --fit: nobody has bought on two days in JPY: nothing is expected there" in done.stderr
    assert "engagement: fitting EUR for 90 days" in done.stderr
    found = parquet.read_table(tmp_path / "customers.parquet").to_pylist()
    assert [{name: str("" if value is None else value) for name, value in row.items()} for row in found] == rows


@pytest.mark.usefixtures("fake_models")
def test_where_nobody_has_bought_again_nothing_can_be_fitted(file: str) -> None:
    done = rfm(file, "--fit", "--currency", "JPY")

    assert (done.exit_code, done.stderr) == (1, "engagement: --fit: nobody has bought on two days in JPY\n")


def test_a_library_that_is_missing_is_named_with_what_brings_it(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymc_marketing", None)
    done = rfm(file, "--fit")

    assert done.exit_code == 2
    assert "--fit needs PyMC-Marketing, on Python 3.11 or newer: pip install 'engagement-stream[clv]'" in done.stderr


def test_somebody_has_to_have_bought_again_and_paid_for_it() -> None:
    once, gifts = Customer("ann", "EUR", 0, 0, 9, 0.0), Customer("bob", "EUR", 2, 5, 9, 0.0)

    assert not can_be_fitted([once, gifts])
    assert can_be_fitted([once, gifts, Customer("eve", "EUR", 1, 5, 9, 0.01)])


# -- with the library --------------------------------------------------------------------------------------------------

# Fader, Hardie and Lee, "Implementing the BG/NBD Model for Customer Base Analysis in Excel" (2005), and Fader and
# Hardie, "The Gamma-Gamma Model of Monetary Value" (2013): fitted to the sample of CDNOW, in weeks.
R, ALPHA, A, B = 0.243, 4.414, 0.793, 2.426
P, Q, V = 6.25, 3.74, 15.44


def published_purchases(x: int, t_x: float, age: float, weeks: float) -> float:
    """The expected purchases of a customer by the published parameters: formula (10) of Fader, Hardie and Lee."""
    grown = import_module("scipy.special").hyp2f1(R + x, B + x, A + B + x - 1, weeks / (ALPHA + age + weeks))
    share = 1 - ((ALPHA + age) / (ALPHA + age + weeks)) ** (R + x) * grown
    died = A / (B + x - 1) * ((ALPHA + age) / (ALPHA + t_x)) ** (R + x) if x else 0
    return float((A + B + x - 1) / (A - 1) * share / (1 + died))


def published_spend(x: int, mean: float) -> float:
    """The expected amount of a purchase by the published parameters."""
    return P * (V + x * mean) / (P * x + Q - 1)


@fits
@pytest.mark.slow
def test_what_is_expected_of_each_customer_of_cdnow_is_as_published(cdnow: dict[str, str], tmp_path: Path) -> None:
    source = events_of(purchases_in(cdnow["CDNOW_sample.txt"]), tmp_path / "sample.jsonl")
    output = tmp_path / "fitted.csv"

    done = rfm(source, "--at", "1997-09-30T23:59:59Z", "--fit", "--horizon", str(39 * 7), "-o", str(output))
    rows = rows_of(output.read_text())
    total, ratios = [0.0, 0.0], []
    for row in rows:
        x, t_x, age, mean = (
            int(row["frequency"]),
            int(row["recency"]) / 7,
            int(row["T"]) / 7,
            float(row["monetary_value"]),
        )
        found = numbers_of(row)
        purchases = published_purchases(x, t_x, age, 39)
        assert found["expected_purchases_lower"] <= purchases <= found["expected_purchases_upper"], row
        total = [total[0] + found["expected_purchases"], total[1] + purchases]
        if not x or mean:  # the published model has nobody who has bought again for nothing
            value = purchases * published_spend(x, mean)
            assert found["expected_clv_lower"] <= value <= found["expected_clv_upper"], row
            ratios.append(found["expected_clv"] / value)

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "engagement: fitting USD: 2,357 customers; this may take minutes\n"
    assert len(rows) == 2_357
    assert total[0] == pytest.approx(total[1], rel=0.02)
    assert statistics.quantiles(ratios, n=100)[1:-1] == pytest.approx([1] * 97, abs=0.05)
    # The customer of the example in the paper: x = 2, t_x = 30.43, T = 38.86.
    assert published_purchases(2, 30.43, 38.86, 39) == pytest.approx(1.226, abs=0.0005)
    assert float(rows[0]["expected_purchases"]) == pytest.approx(1.226, abs=0.03)


@fits
@pytest.mark.slow
def test_a_handful_of_customers_has_estimates_with_wide_intervals(file: str) -> None:
    with Path(file).open("a") as more:
        more.write(json.dumps(paid("8", 20, 900, "bob", currency="JPY")) + "\n")

    done = rfm(file, "--fit", "--horizon", "30")
    assert done.exit_code == 0, done.stderr
    rows = rows_of(done.stdout)
    assert len(rows) == 4
    for row in rows:
        found = numbers_of(row)
        for name in ("expected_purchases", "expected_clv"):
            assert 0 < found[f"{name}_lower"] < found[name] < found[f"{name}_upper"]
    values = {(row["customer_id"], row["currency"]): float(row["expected_clv"]) for row in rows}
    assert values["bob", "JPY"] > 10 * values["bob", "EUR"]


@fits
@pytest.mark.slow
def test_of_many_customers_some_are_fitted_and_all_have_estimates(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime_value, "FITTED_CUSTOMERS", 2)

    done = rfm(file, "--fit", "--currency", "EUR")
    assert done.exit_code == 0, done.stderr
    assert "fitting EUR: 2 of 3 customers" in done.stderr
    assert all(numbers_of(row)["expected_purchases"] > 0 for row in rows_of(done.stdout))
