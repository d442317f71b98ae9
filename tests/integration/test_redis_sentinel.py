"""A worker whose state lies in a Redis that three sentinels watch over: its server is lost under load, twice."""

from __future__ import annotations

import pytest

from tests.integration.deployment import simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.conftest import RunWatchedRedis

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}


@pytest.mark.chaos
def test_a_worker_goes_on_with_all_it_has_written_when_a_replica_becomes_the_master(
    kafka: RunningKafka, deploy: Deploy, run_watched_redis: RunWatchedRedis
) -> None:
    redis = run_watched_redis()
    deployment = deploy(kafka.address, **{"state.url": redis.url})
    worker = deployment.start()
    worker.wait_until_ready()
    events = iter(simulated(users=600, days=28, **FAULTS))

    with deployment.load(events, rate=500):
        for lose, bring_back in (("kill", "start"), ("pause", "resume")):
            read = worker.read()
            worker.wait_until(lambda read=read: worker.read() > read + 500, "some events read")  # type: ignore[misc]
            old = redis.master
            getattr(old, lose)()
            redis.wait_for_another_master(old)
            read = worker.read()
            worker.wait_until(lambda read=read: worker.read() > read + 500, "it goes on at the new master")  # type: ignore[misc]
            getattr(old, bring_back)()
            redis.wait_until_replicated()

    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    # It is the same process, which has waited: nothing that it had written was missing.
    assert worker.status is None
    assert worker.takeovers == 1
    assert "is not what was written to it" not in worker.log
