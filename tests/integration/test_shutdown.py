"""Asked to stop, a worker is gone within ten seconds, whatever it is doing and whoever is away."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.integration.conftest import Deploy
from tests.integration.deployment import Deployment, simulated
from tests.integration.kafka_server import RunningKafka

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}

WITHIN_SECONDS = 10


@pytest.mark.chaos
def test_in_the_middle_of_a_recovery(deployment: Deployment) -> None:
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    deployment.send(simulated(users=400, days=28, **FAULTS))
    deployment.wait_until_every_gauge_equals_the_recount(server)
    worker.terminate()
    assert worker.wait_for_exit(seconds=WITHIN_SECONDS) == 0
    shutil.rmtree(deployment.disk("worker"))

    # A row at a time, so that it takes long enough.
    worker = deployment.start("worker", ENGAGEMENT_KAFKA_BATCH_RECORDS="1")
    worker.wait_until(lambda: " records to go" in server.get("/readyz")[1], "it reads its state")
    assert any(name.startswith("engagement_recovery_rows_remaining") for name in server.metrics())
    assert "recovering the state: " in worker.log
    worker.terminate()
    assert worker.wait_for_exit(seconds=WITHIN_SECONDS) == 0
    server.wait_until(lambda: "has stopped" in server.get("/readyz")[1], "the server knows that nobody reads it now")
    assert worker.takeovers == 0

    deployment.start("worker")
    deployment.wait_until_every_gauge_equals_the_recount(server)


@pytest.mark.chaos
def test_while_kafka_is_away_which_by_itself_ends_no_worker(own_kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(own_kafka.address)
    worker, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    events = simulated(users=200, days=10, **FAULTS)
    parts = [events[part::3] for part in range(3)]
    deployment.send(parts[0])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    deployment.send(parts[1])
    own_kafka.kill()
    time.sleep(9)  # longer than the session timeout
    assert worker.status is None
    assert server.get("/readyz")[0] == 503
    own_kafka.restart()
    server.wait_until(lambda: server.get("/readyz")[0] == 200, "the server is ready again")
    deployment.wait_until_every_gauge_equals_the_recount(server)
    assert worker.status is None

    deployment.send(parts[2])
    own_kafka.kill()
    worker.terminate()
    assert worker.wait_for_exit(seconds=WITHIN_SECONDS) == 0
    own_kafka.restart()
    deployment.start("worker")
    deployment.wait_until_every_gauge_equals_the_recount(server)
