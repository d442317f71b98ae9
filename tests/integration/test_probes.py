"""A worker's own pages, and `engagement health`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.deployment import Deployment, Program, simulated
from tests.ports import free_port


def worker(deployment: Deployment) -> Program:
    """A worker with pages."""
    port = free_port()
    program = deployment.start("worker", ENGAGEMENT_WORKER_PORT=str(port))
    program.port = port
    return program


def test_a_worker_is_ready_when_all_it_was_given_is_recovered(deployment: Deployment) -> None:
    program = worker(deployment)
    program.wait_until(lambda: program.get("/livez")[0] == 200, "it lives")
    seen = {program.get("/readyz")}

    def ready() -> bool:
        seen.add(program.get("/readyz"))
        return (200, "ok\n") in seen

    program.wait_until(ready, "it is ready")
    assert program.partitions == set(deployment.all_partitions)
    assert (503, "no partitions are assigned yet\n") in seen
    line = f"worker at http://127.0.0.1:{program.port}/readyz"
    program.wait_until(lambda: line in program.log.splitlines(), "it says where it listens")


def test_a_worker_that_reads_its_state_says_so(deployment: Deployment) -> None:
    """Killed with a large state and no disk, it tells how much is left to read."""
    first = deployment.start("run")
    first.wait_until_ready()
    events = simulated(users=3_000, days=3)
    deployment.send(events)
    first.wait_until(lambda: first.read() >= len(events), "all events read")
    first.terminate()
    first.wait_for_exit(seconds=15)

    program = worker(deployment)
    seen: set[str] = set()

    def ready() -> bool:
        status, told = program.get("/readyz")
        seen.add(told)
        return status == 200

    program.wait_until(ready, "it is ready")
    assert any(told.startswith("the state of partitions 0, 1, 2, 3 is being recovered") for told in seen), seen


@pytest.mark.parametrize(("of", "option"), [("run", ()), ("worker", ("--worker",))])
def test_health_says_what_readyz_says(deployment: Deployment, of: str, option: tuple[str, ...]) -> None:
    program = worker(deployment) if of == "worker" else deployment.start("run")
    place = "WORKER" if of == "worker" else "SERVER"
    environment = {**os.environ, f"ENGAGEMENT_{place}_PORT": str(program.port)}

    def health() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stream.cli", "health", *option]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    absent = health()
    program.wait_until(lambda: program.get("/readyz")[0] == 200, "ready")
    ready = health()

    assert (absent.returncode, absent.stdout) == (1, "")
    assert absent.stderr == f"engagement: nobody answers at 127.0.0.1:{program.port}: Connection refused\n"
    assert (ready.returncode, ready.stdout, ready.stderr) == (0, "ok\n", "")
