"""How long a first start takes: from the process to numbers that can be trusted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.bench.conftest import SetUp
from tests.bench.figures import show
from tests.bench.processes import ENGAGEMENT, answers, running, wait_until_answered
from tests.ports import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ROUNDS = 3


def test_start_to_ready_without_topics_and_without_state(set_up: SetUp, tmp_path: Path) -> None:
    seconds = []
    for number in range(ROUNDS):
        setup = set_up(f"start-{number}", topics=False)
        port = free_port()
        environment = {**setup.environment, "ENGAGEMENT_SERVER_PORT": str(port)}
        started = time.monotonic()
        with running([*ENGAGEMENT, "run"], tmp_path / "run.log", environment=environment) as process:
            wait_until_answered(f"http://127.0.0.1:{port}/readyz", process, timeout_seconds=60.0)
            seconds.append(time.monotonic() - started)

            assert answers(f"http://127.0.0.1:{port}/readyz") == b"ok\n"

    show("process start to /readyz, creating all topics", "s", seconds, against="target < 15 s")
