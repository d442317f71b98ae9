"""What Faust is told: by our settings, and by nobody else."""

import asyncio
from typing import Any

import pytest

from stream.agents.app import Worker
from stream.settings import load
from stream.state.memory import MemoryStore
from stream.telemetry import AnyReport, Idle

A_MONTH_SECONDS = 30 * 86_400


def worker(**overrides: object) -> Worker:
    return Worker(load(None, {}, overrides), open_store=lambda partition: MemoryStore())


def test_variables_that_others_set_for_purposes_of_their_own_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = worker().app.conf
    told = (before.id, before.timezone, before.web_port, before.producer_acks, before.processing_guarantee)
    # Kubernetes sets the second for a service named `web`.
    monkeypatch.setenv("APP_VERSION", "7")
    monkeypatch.setenv("WEB_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("PRODUCER_ACKS", "0")
    monkeypatch.setenv("PROCESSING_GUARANTEE", "exactly_once")

    after = worker().app.conf
    assert (after.id, after.timezone, after.web_port, after.producer_acks, after.processing_guarantee) == told


def test_a_worker_that_reads_nothing_while_its_store_is_away_stays_in_the_group() -> None:
    assert worker().app.conf.broker_max_poll_interval > A_MONTH_SECONDS


def test_a_worker_comes_back_to_its_partitions_on_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    before = worker(**{"kafka.instance_id": "ada"}).app.conf
    monkeypatch.setattr("socket.gethostname", lambda: "another-host")

    after = worker(**{"kafka.instance_id": "ada"}).app.conf
    # Faust refuses an assignment that was made for another address than its own.
    assert after.canonical_url == before.canonical_url
    assert after.consumer_group_instance_id == before.consumer_group_instance_id == "ada"


class Outbox:
    """Keeps what the servers are told."""

    def __init__(self) -> None:
        self.told: list[AnyReport] = []

    async def report(self, told: AnyReport) -> None:
        self.told.append(told)


@pytest.mark.parametrize(("assigned", "is_told"), [(set(), True), ({3}, False), (None, False)])
def test_a_worker_that_was_given_no_partition_says_that_it_is_there(
    monkeypatch: pytest.MonkeyPatch, assigned: set[int] | None, *, is_told: bool
) -> None:
    monkeypatch.setattr("stream.agents.app._PROGRESS_SECONDS", 0.0)

    async def told() -> list[AnyReport]:
        one, outbox = worker(**{"state.url": "memory://"}), Outbox()
        kept: Any = outbox
        one.tasks._outbox, one._assigned = kept, assigned
        telling = asyncio.ensure_future(one._report_progress())
        for _ in range(10):
            await asyncio.sleep(0)
        telling.cancel()
        return outbox.told

    heard = asyncio.run(told())
    assert {(type(one), one.worker) for one in heard} == ({(Idle, worker().tasks.worker)} if is_told else set())
