"""Several workers of one command: they share the partitions, one that dies comes back, and all end together."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, Program, simulated

pytestmark = pytest.mark.kafka


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def workers_of(program: Program) -> dict[str, int]:
    """The workers of a command by the folder of their state, which is in their environment."""
    found = {}
    for child in children_of(program.pid):
        environment = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        (url,) = (line for line in environment if line.startswith("ENGAGEMENT_STATE_URL="))
        name = url.rpartition("/")[2]
        if name.startswith("worker-"):
            found[name] = child
    return found


def test_workers_of_one_command_share_the_partitions_and_end_together(deployment: Deployment) -> None:
    program = deployment.start("run", "--workers", "2")
    program.wait_until_ready()
    events = simulated(users=200, days=5)
    deployment.send(events[::2])
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(program)
    workers = workers_of(program)
    assert sorted(workers) == ["worker-1", "worker-2"]
    assert sorted(folder.name for folder in deployment.disk("run").iterdir()) == ["worker-1", "worker-2"]

    os.kill(workers["worker-2"], signal.SIGKILL)
    deployment.send(events[1::2])
    deployment.send_to_every_partition()
    program.wait_until(lambda: workers_of(program).get("worker-2") not in (None, workers["worker-2"]), "it is back")
    deployment.wait_until_every_gauge_equals_the_recount(program)
    assert "a process has ended and is started again" in program.log

    left = children_of(program.pid)
    program.terminate()
    assert program.wait_for_exit() == 0
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []
