"""Workers with names: a short restart moves no partition, and two of one name don't take it from each other."""

from __future__ import annotations

from functools import partial

import pytest

from tests.integration.deployment import Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

# A restart takes three seconds, and longer where others work too.
SESSION = {"kafka.session_timeout": "25s"}


def named(deployment: Deployment, name: str, *, disk: str = "") -> Program:
    return deployment.start("worker", name=disk or name, ENGAGEMENT_KAFKA_INSTANCE_ID=name)


def is_owner(worker: Program, server: Program, partitions: set[int]) -> bool:
    """Whether a worker reports these partitions."""
    mine = [standing for standing in server.standings() if standing["worker"].endswith(f"-{worker.pid}")]
    return {standing["partition"] for standing in mine} == partitions


@pytest.mark.chaos
def test_who_comes_back_in_time_has_its_partitions_again_and_nobody_else_notices(
    kafka: RunningKafka, deploy: Deploy
) -> None:
    deployment = deploy(kafka.address, **SESSION)
    ada, grace = (named(deployment, name) for name in ("ada", "grace"))
    server = deployment.start("serve")
    server.wait_until_ready()
    ada.wait_until(lambda: len(ada.partitions) == len(grace.partitions) == 2, "both have partitions")
    events = simulated(users=100, days=10)
    first, then, last = (events[part::3] for part in range(3))
    deployment.send(first)

    for end, more in ((Program.terminate, then), (Program.kill, last)):
        before, takeovers = ada.partitions, grace.takeovers
        end(ada)
        ada.wait_for_exit()
        deployment.send(more)
        ada = named(deployment, "ada")
        server.wait_until(partial(is_owner, ada, server, before), "it reports its partitions again")

        assert ada.partitions == before
        assert grace.takeovers == takeovers
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)


@pytest.mark.chaos
def test_of_two_with_one_name_the_older_ends_and_says_why(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **SESSION)
    server, older = deployment.start("serve"), named(deployment, "ada")
    server.wait_until_ready()

    newer = named(deployment, "ada", disk="another")

    assert older.wait_for_exit() == 1
    told = "engagement: another worker has joined with kafka.instance_id 'ada': each needs one of its own"
    assert older.log.splitlines()[-1] == told
    deployment.send(simulated(users=100, days=5))
    deployment.wait_until_every_gauge_equals_the_recount(server)
    assert newer.takeovers == 1
    assert is_owner(newer, server, set(deployment.all_partitions))
