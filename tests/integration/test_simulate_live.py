"""`engagement simulate --live`: begun again, it goes on where it ended."""

from __future__ import annotations

import time

from stream.core.time import DAY_MS
from stream.simulate.live import resume_time_ms
from tests.integration.deployment import Deployment, Program

POPULATION = ("--users", "60", "--days", "4", "--live")


def test_begun_again_it_sends_what_was_missed_and_no_old_history(deployment: Deployment) -> None:
    deployment.create_topics()
    first = simulating(deployment)
    begun = deployment.stored(deployment.settings.input_topics.values(), at_least=1)
    assert stopped(first) >= len(begun) > 100
    inputs = deployment.settings.input_topics.values()
    # At night hours pass without an event; the history is four days long.
    assert now_ms() - resume_time_ms(deployment.client, inputs, otherwise_ms=0) < DAY_MS

    second = simulating(deployment)

    assert "now live" in second.log
    assert stopped(second) < len(begun) / 10


def simulating(deployment: Deployment) -> Program:
    """A simulator whose history is sent."""
    program = deployment.start("simulate", *POPULATION, "--kafka", deployment.address)
    program.wait_until(lambda: "now live" in program.log, "the history is sent")
    return program


def stopped(program: Program) -> int:
    """Ask it to end; returns how many events it says it sent."""
    program.terminate()
    assert program.wait_for_exit() == 0
    return int(program.log.splitlines()[-1].split()[0].replace(",", ""))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
