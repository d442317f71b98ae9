"""A worker's own pages, and `engagement health`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos.world import ProxiedKafka
from tests.integration.deployment import Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.ports import free_port


def worker(deployment: Deployment, **settings: str) -> Program:
    """A worker with pages."""
    port = free_port()
    program = deployment.start("worker", ENGAGEMENT_WORKER_PORT=str(port), **settings)
    program.port = port
    return program


def test_a_worker_is_ready_when_all_it_was_given_is_recovered(ways: ProxiedKafka, deploy: Deploy) -> None:
    way, deployment = ways.proxies[0], deploy(ways.kafka.address)
    way.slow(bytes_per_second=1_000_000, latency_seconds=0.5)  # until it was seen waiting
    program = worker(deployment, ENGAGEMENT_KAFKA_SERVERS=way.address)
    program.wait_until(lambda: program.get("/livez")[0] == 200, "it lives")
    assert program.get("/readyz") == (503, "no partitions are assigned yet\n")

    way.heal()
    program.wait_until(lambda: program.get("/readyz") == (200, "ok\n"), "it is ready")
    assert program.partitions == set(deployment.all_partitions)
    line = f"worker at http://127.0.0.1:{program.port}/readyz"
    program.wait_until(lambda: line in program.log.splitlines(), "it says where it listens")


def test_a_worker_that_reads_its_state_says_so(ways: ProxiedKafka, deploy: Deploy) -> None:
    """Killed with a large state and no disk, it tells how much is left to read."""
    way, deployment = ways.proxies[0], deploy(ways.kafka.address)
    first = deployment.start("run")
    first.wait_until_ready()
    events = simulated(users=1_000, days=3)
    deployment.send(events)
    first.wait_until(lambda: first.read() >= len(events), "all events read")
    first.terminate()
    first.wait_for_exit()

    way.slow(bytes_per_second=20_000, latency_seconds=0.0)  # until it was seen reading
    program = worker(deployment, ENGAGEMENT_KAFKA_SERVERS=way.address, ENGAGEMENT_KAFKA_FETCH_BYTES="5000")
    says = "the state of partitions 0, 1, 2, 3 is being recovered"
    program.wait_until(lambda: program.get("/readyz")[1].startswith(says), "it says that it reads its state")

    way.heal()
    program.wait_until(lambda: program.get("/readyz")[0] == 200, "it is ready")


@pytest.mark.parametrize(("of", "option"), [("run", ()), ("worker", ("--worker",))])
def test_health_says_what_readyz_says(deployment: Deployment, of: str, option: tuple[str, ...]) -> None:
    place, port = "WORKER" if of == "worker" else "SERVER", free_port()
    told = {f"ENGAGEMENT_{place}_PORT": str(port)}
    environment = {**os.environ, **told}

    def health() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stream.cli", "health", *option]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    absent = health()
    program = deployment.start(of, **told)
    program.port = port
    program.wait_until(lambda: program.get("/readyz")[0] == 200, "ready")
    ready = health()

    assert (absent.returncode, absent.stdout) == (1, "")
    assert absent.stderr == f"engagement: nobody answers at 127.0.0.1:{port}: Connection refused\n"
    assert (ready.returncode, ready.stdout, ready.stderr) == (0, "ok\n", "")
