"""`engagement rfm` of a running deployment: what the state says, without its worker noticing."""

from __future__ import annotations

import csv
import io
import json
import uuid
from pathlib import Path

from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import LOAD_STARTS_MS, Deployment
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.conftest import RunRedis
from tests.test_rfm_fit import fits

DAY_MS = 86_400_000


def orders(first: int, count: int) -> list[ReplayEvent]:
    """Some orders of a few users, each on a day of its own."""
    found = []
    for number in range(first, first + count):
        user, at_ms = f"user-{number % 7}", LOAD_STARTS_MS + number * DAY_MS
        event = {"user_id": user, "event_time": at_ms, "type": "paid", "order_id": str(number)}
        value = json.dumps({**event, "amount": number + 1, "currency": "EUR"}).encode()
        found.append(ReplayEvent(at_ms, "orders", user, value))
    return found


def test_a_running_deployment_is_asked_for_its_customers_and_goes_on(
    kafka: RunningKafka, deploy: Deploy, tmp_path: Path
) -> None:
    asked(deploy(kafka.address, **{"topics.orders": f"orders-{uuid.uuid4().hex}"}), tmp_path)


def test_so_is_one_whose_workers_share_a_redis(
    kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis, tmp_path: Path
) -> None:
    redis = run_redis(options={"appendonly": "yes"})
    settings = {"topics.orders": f"orders-{uuid.uuid4().hex}", "state.url": redis.url}
    asked(deploy(kafka.address, **settings), tmp_path)


@fits
def test_what_its_customers_will_buy_is_fitted_to_its_state(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **{"topics.orders": f"orders-{uuid.uuid4().hex}"})
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send(orders(0, 30))
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    worker.wait_until(lambda: len(customers(deployment.command("rfm").stdout)) == 7, "the state has all customers")

    done = deployment.command("rfm", "--fit", "--horizon", "30")
    assert "engagement: fitting EUR: 7 customers; this may take minutes" in done.stderr.splitlines()
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    assert len(rows) == 7
    assert all(float(row["expected_clv_lower"]) < float(row["expected_clv"]) for row in rows)
    assert worker.takeovers == 1


def asked(deployment: Deployment, tmp_path: Path) -> None:
    worker = deployment.start()
    worker.wait_until_ready()
    sent = orders(0, 30)
    deployment.send(sent)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    file = tmp_path / "sent.jsonl"
    file.write_bytes(b"".join(b'{"topic":"orders",' + event.value[1:] + b"\n" for event in sent))
    expected = customers(deployment.command("rfm", str(file)).stdout)
    assert len(expected) == 7

    # The state has what was read once it has been checkpointed.
    worker.wait_until(lambda: customers(deployment.command("rfm").stdout) == expected, "the state has all customers")
    assert worker.takeovers == 1
    deployment.send(orders(30, 5))
    deployment.wait_until_every_gauge_equals_the_recount(worker)


def customers(text: str) -> set[tuple[str, ...]]:
    return {tuple(row.values()) for row in csv.DictReader(io.StringIO(text))}
