"""How fast a file of events becomes numbers, as a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from stream.terminal import EXIT_LINES_SKIPPED
from tests.bench.figures import show
from tests.bench.processes import ENGAGEMENT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

ROUNDS = 3
PROCESSES = (1, 2)
EVENTS = 578_805
UNUSABLE = 530  # score 0, outside its scale

_DATA = Path(os.environ.get("ENGAGEMENT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
_REVIEWS = _DATA / "reviews.jsonl.gz"


@pytest.mark.skipif(not _REVIEWS.is_file(), reason="ENGAGEMENT_TEST_DATA names no folder with reviews.jsonl.gz")
def test_compute_a_file_of_579_thousand_survey_answers() -> None:
    seconds: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    cpu: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    said = set()
    for _ in range(ROUNDS):
        for processes in PROCESSES:
            before, started = os.times(), time.perf_counter()
            command = [*ENGAGEMENT, "compute", str(_REVIEWS), "--as", "json", "--processes", str(processes)]
            done = subprocess.run(command, capture_output=True, check=False)
            seconds[processes].append(time.perf_counter() - started)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            cpu[processes].append(used)
            assert done.returncode == EXIT_LINES_SKIPPED, done.stderr.decode()
            said.add(done.stdout)

    (one,) = said  # the numbers of two processes are those of one
    told = {outcome: count for outcome, count in json.loads(one)["events"].items() if count}
    assert told == {"applied": EVENTS - UNUSABLE, "invalid": UNUSABLE}
    for processes in PROCESSES:
        rates = [EVENTS / round_seconds for round_seconds in seconds[processes]]
        name = f"compute, 578,805 answers of 400,141 people, gzip, {processes} process{'es' if processes > 1 else ''}"
        show(name, "events/s", rates, against="target 200,000 events/s")
        show("  CPU of all", "us/event", [used / EVENTS * 1e6 for used in cpu[processes]], against="")
