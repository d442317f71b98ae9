"""Two workers and a server: partitions are shared, and what one leaves the other takes over."""

from __future__ import annotations

import socket

import pytest

from tests.chaos.world import ProxiedKafka
from tests.integration.deployment import STALE_AFTER_SECONDS, Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}


@pytest.mark.chaos
def test_what_a_killed_worker_leaves_the_other_takes_over(deployment: Deployment) -> None:
    everything = set(deployment.all_partitions)
    ada, grace = (deployment.start("worker", name=name) for name in ("ada", "grace"))
    server = deployment.start("serve")
    server.wait_until_ready()
    ada.wait_until(lambda: shared(ada, grace, everything), "both have partitions")
    assert len(ada.partitions) == len(grace.partitions) == len(everything) / 2

    events = iter(simulated(users=600, days=28, **FAULTS))
    with deployment.load(events, rate=1_500):
        server.wait_until(lambda: server.read() > 4_000, "some events read")
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)

    lost = ada.partitions
    with deployment.load(events, rate=1_500):
        server.wait_until(lambda: server.read() > 8_000, "some more events read")
        ada.kill()
        server.wait_until(lambda: server.get("/readyz")[0] == 503, "the server says that it is not ready")
        assert server.get("/readyz")[1] == stale_partitions(lost)
        assert server.metrics()["engagement_partitions_owned"] == len(everything - lost)
        grace.wait_until(lambda: grace.partitions == everything, "the other has all partitions")
        server.wait_until(lambda: server.get("/readyz")[0] == 200, "the server is ready again")
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)

    # And back: who comes again continues from its old disk with what it has missed.
    ada = deployment.start("worker", name="ada")
    ada.wait_until(lambda: shared(ada, grace, everything), "both have partitions again")
    with deployment.load(events, rate=1_500):
        server.wait_until(lambda: server.read() > 20_000, "even more events read")
        grace.terminate()
        assert grace.wait_for_exit() == 0
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)


def test_a_server_started_anew_knows_all_numbers_at_once(deployment: Deployment) -> None:
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    deployment.send(simulated(users=100, days=10))
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)
    server.kill()
    worker.kill()  # no new report comes: the last ones are enough, as long as they are not stale

    server = deployment.start("serve", ENGAGEMENT_SERVER_STALE_AFTER="10m")
    deployment.wait_until_every_gauge_equals_the_recount(server)

    server.kill()
    server = deployment.start("serve")
    told = 503, stale_partitions(set(deployment.all_partitions))  # one after the other
    server.wait_until(lambda: server.get("/readyz") == told, "the server says that it is not ready")


def test_a_partition_is_told_with_its_worker_and_is_stale_as_soon_as_that_has_left(
    kafka: RunningKafka, deploy: Deploy
) -> None:
    # So long that nothing is found to be stale by its age.
    deployment = deploy(kafka.address, **{"server.stale_after": "10m"})
    ada, server = deployment.start("worker", name="ada"), deployment.start("serve")
    server.wait_until_ready()

    worker = name_of(ada)
    assert {standing["worker"] for standing in server.standings()} == {worker}
    assert [standing["partition"] for standing in server.standings()] == list(deployment.all_partitions)
    assert {(standing["stale"], standing["reason"]) for standing in server.standings()} == {(False, "")}
    assert max(standing["age_seconds"] for standing in server.standings()) < 60

    ada.terminate()
    assert ada.wait_for_exit() == 0
    server.wait_until(lambda: server.get("/readyz")[0] == 503, "the server says that it is not ready")
    reason = f"worker {worker} has stopped"
    server.wait_until(lambda: all(standing["stale"] for standing in server.standings()), "all partitions are stale")
    assert {standing["reason"] for standing in server.standings()} == {reason}
    assert server.metrics()["engagement_partitions_owned"] == 0
    assert server.get("/readyz")[1] == "".join(f"partition {n}: {reason}\n" for n in deployment.all_partitions)


def test_takeovers_and_rebalances_are_counted_on_over_restarts_of_workers_and_servers(deployment: Deployment) -> None:
    ada, server = deployment.start("worker", name="ada"), deployment.start("serve")
    server.wait_until_ready()
    takeovers, rebalances = changes_of_hands(server)
    assert len(takeovers) == len(deployment.all_partitions)
    assert min(*takeovers, rebalances) >= 1

    server.kill()
    ada.terminate()
    assert ada.wait_for_exit() == 0
    deployment.start("worker", name="grace")
    server = deployment.start("serve")
    server.wait_until_ready()
    more_takeovers, more_rebalances = changes_of_hands(server)
    assert [more > before for more, before in zip(more_takeovers, takeovers, strict=True)] == [True] * len(takeovers)
    assert more_rebalances > rebalances
    # A group of one has no reason to rebalance again and again, and whose partitions don't move is not named.
    assert max(more_takeovers) <= more_rebalances


def changes_of_hands(server: Program) -> tuple[list[float], float]:
    """How often each partition was taken over, and how often the group was rebalanced."""
    told = server.metrics()
    takeovers = [value for name, value in sorted(told.items()) if name.startswith("engagement_takeovers_total{")]
    return takeovers, told["engagement_rebalances_total"]


def test_a_backlog_does_not_hold_up_who_takes_over(ways: ProxiedKafka, deploy: Deploy) -> None:
    deployment = deploy(ways.kafka.address, **{"kafka.fetch_bytes": 65_536})
    everything = set(deployment.all_partitions)
    ada, grace = (
        deployment.start("worker", name=name, ENGAGEMENT_KAFKA_SERVERS=way.address)
        for name, way in zip(("ada", "grace"), ways.proxies, strict=True)
    )
    server = deployment.start("serve")
    server.wait_until_ready()
    ada.wait_until(lambda: shared(ada, grace, everything), "both have partitions")

    left, events = grace.partitions, simulated(users=600, days=28)
    for way in ways.proxies:
        way.slow(bytes_per_second=200_000, latency_seconds=0.0)  # the backlog lasts until it was seen
    deployment.send(events)
    grace.terminate()
    ada.wait_until(lambda: ada.partitions == everything, "the other has all partitions")

    # It had them before it had read its own backlog, and reports them before it has read theirs.
    assert server.read() < len(events)
    server.wait_until(lambda: is_reading(server, name_of(ada), left), "it reports what it has taken over")
    for way in ways.proxies:
        way.heal()
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)


def is_reading(server: Program, worker: str, partitions: set[int]) -> bool:
    """Whether a worker says of some of these partitions that it has not read all yet."""
    mine = [standing for standing in server.standings() if standing["worker"] == worker]
    return any(told["partition"] in partitions and told["reason"].startswith("still reading") for told in mine)


def name_of(worker: Program) -> str:
    return f"{socket.gethostname()}-{worker.pid}"


def shared(one: Program, other: Program, everything: set[int]) -> bool:
    return bool(one.partitions and other.partitions) and one.partitions ^ other.partitions == everything


def stale_partitions(partitions: set[int]) -> str:
    return f"no report for {STALE_AFTER_SECONDS}s of partitions {', '.join(map(str, sorted(partitions)))}\n"
