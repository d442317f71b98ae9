"""`engagement rfm`: customers as models of buyers take them, of files and of the state that a deployment stores."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from stream.cli import main
from stream.core.customers import customers_of_rows
from stream.core.families.orders.family import OrdersFamily
from stream.core.families.orders.purchases import Customer
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.live import Worker, message

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z


def paid(order: str, day: float, amount: object, user: str = "ann", **told: Any) -> dict[str, Any]:
    event = {"topic": "orders", "user_id": user, "event_time": int(NOON_MS + day * DAY_MS), "type": "paid"}
    return {**event, "order_id": order, "amount": amount, "currency": "EUR", **told}


# Two orders of one day are one purchase; a refund changes nothing; bob has bought once, and in another currency too.
EVENTS = [
    paid("1", 0, 50),
    paid("2", 10, "10.50"),
    paid("3", 10.1, 9),
    paid("4", 30, 0.5),
    {**paid("4", 31, 0.5), "type": "refunded"},
    paid("5", 12, 7, "bob"),
    paid("6", 12, 700, "bob", currency="JPY"),
    {**paid("7", 3, 1), "user_id": None, "anonymous_id": "bob"},
    {"topic": "logins", "user_id": "eve", "event_time": NOON_MS + 40 * DAY_MS},
]
CUSTOMERS = [
    Customer("ann", "EUR", 2, 30, 40, 10.0),
    Customer("anonymous:bob", "EUR", 0, 0, 37, 0.0),
    Customer("bob", "EUR", 0, 0, 28, 0.0),
    Customer("bob", "JPY", 0, 0, 28, 0.0),
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in EVENTS))
    return str(path)


def rfm(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rfm", *arguments])


def rows_of(text: str) -> Iterator[tuple[object, ...]]:
    for row in csv.DictReader(io.StringIO(text)):
        numbers = int(row["frequency"]), int(row["recency"]), int(row["T"]), float(row["monetary_value"])
        yield (row["customer_id"], row["currency"], *numbers)


def test_a_customer_has_frequency_recency_T_and_monetary_value_in_each_currency(file: str) -> None:  # noqa: N802
    done = rfm(file)

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "customer_id,currency,frequency,recency,T,monetary_value"
    assert list(rows_of(done.stdout)) == CUSTOMERS


def test_what_comes_after_the_end_of_the_observation_does_not_count(file: str) -> None:
    found = list(rows_of(rfm(file, "--at", "2024-01-13T23:00:00Z", "--currency", "EUR").stdout))

    assert found[0] == ("ann", "EUR", 1, 10, 12, 19.5)
    assert found[-1] == ("bob", "EUR", 0, 0, 0, 0.0)
    assert len(found) == 3


def test_parquet_has_the_same_rows(file: str, tmp_path: Path) -> None:
    output = tmp_path / "customers.parquet"

    assert rfm(file, "-o", str(output)).exit_code == 0
    assert [Customer(**row) for row in parquet.read_table(output).to_pylist()] == CUSTOMERS


def test_days_are_those_of_the_time_zone(file: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('timezone = "Pacific/Kiritimati"\n')  # 14 hours ahead: noon in London is the next day

    found = list(rows_of(rfm(file, "--settings", str(settings)).stdout))
    assert found == CUSTOMERS  # all of them are at noon
    late = rfm(file, "--settings", str(settings), "--at", "2024-01-13T09:00:00Z")  # before 24:00 of the 13th there
    assert next(rows_of(late.stdout))[4] == 11


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--currency", "XAU"), "--currency: 'XAU' is no ISO 4217 currency"),
        (("--currency", "USD"), "nobody has paid anything in USD"),
    ],
)
def test_a_mistake_is_named(file: str, arguments: tuple[str, ...], told: str) -> None:
    done = rfm(file, *arguments)

    assert done.exit_code != 0
    assert told in done.stderr


def test_options_of_files_need_a_file() -> None:
    done = rfm("--at", "2024-01-13T23:00:00Z")

    assert (done.exit_code, "--at, --format and --mapping are for files" in done.stderr) == (2, True)


def test_lines_that_can_not_be_used_are_named(file: str) -> None:
    with Path(file).open("a") as more:
        more.write(json.dumps(paid("8", 5, "1.999")) + "\n")

    done = rfm(file)
    assert done.exit_code == 3
    assert "1.999 at `$.amount`: EUR has 2 decimals, not more" in done.stderr


# -- the state ---------------------------------------------------------------------------------------------------------


class Shop:
    """A worker that receives orders, and keeps as little of them as it may."""

    def __init__(self) -> None:
        self.worker = Worker(Rules())

    def pay(self, order: str, day: int, amount: int, user: str = "ann") -> None:
        at_ms = NOON_MS + day * DAY_MS
        event = paid(order, day, amount, user)
        assert self.worker.apply("orders", [message(event)], not_after_ms=at_ms + HOUR_MS) == ([], [])
        self.worker.partition.tick(at_ms, behind=())
        self.worker.restart()
        self.worker.partition.sweep(self.worker.store.pages(b"user/"))
        self.worker.restart()

    def customers(self) -> list[Customer]:
        at_ms = self.worker.partition.progress.now_ms
        return list(customers_of_rows(self.worker.rules, self.worker.store.pages(b"user/"), at_ms=at_ms))


def test_the_state_knows_purchases_whose_orders_it_has_dropped() -> None:
    shop = Shop()
    for number in range(8):
        shop.pay(str(number), number * 200, 10 + number)

    orders, _ = msgspec.msgpack.decode(shop.worker.store[b"user/ann"])[OrdersFamily.number]
    assert len(orders) < 8
    assert shop.customers() == [Customer("ann", "EUR", 7, 1_400, 1_400, sum(range(11, 18)) / 7)]


def test_who_comes_back_after_more_than_memory_is_another_customer_in_the_state() -> None:
    shop = Shop()
    shop.pay("1", 0, 10)
    shop.pay("2", 1, 20)
    shop.pay("3", 402, 30)

    assert shop.customers() == [Customer("ann", "EUR", 0, 0, 0, 0.0)]
