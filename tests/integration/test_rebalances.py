"""Workers share their partitions out when one of them comes or goes, and at no other time."""

from __future__ import annotations

import time

from tests.integration.deployment import Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

# Twice the session timeout of the tests: whoever joins again and again does so every few seconds.
_CALM_SECONDS = 12.0


def test_workers_without_names_are_calm_again_after_a_broker_and_then_a_worker_were_lost(
    own_kafka: RunningKafka, deploy: Deploy
) -> None:
    deployment = deploy(own_kafka.address)
    deployment.create_topics()
    workers = {name: deployment.start("worker", name=name) for name in ("ada", "grace")}
    server = deployment.start("serve")
    server.wait_until_ready()

    with deployment.load(simulated(users=600, days=28), rate=1_000):
        for name in ("ada", "grace"):  # so that the one who leads the group survives once
            read_more(server)
            own_kafka.kill()
            own_kafka.restart()
            read_more(server)
            workers[name].kill()
            workers[name] = deployment.start("worker", name=name)
            server.wait_until(lambda: server.get("/readyz")[0] == 200, "the server is ready again")
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)

    before = takeovers(workers)
    time.sleep(_CALM_SECONDS)
    assert takeovers(workers) == before


def read_more(server: Program) -> None:
    """Wait until some more events are counted."""
    before = server.read()
    server.wait_until(lambda: server.read() > before + 1_000, "some more events are read")


def takeovers(workers: dict[str, Program]) -> dict[str, int]:
    """How often each worker has taken partitions over."""
    return {name: worker.takeovers for name, worker in workers.items()}
