"""How fast a file of events becomes numbers, as a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.bench.figures import show
from tests.bench.processes import ENGAGEMENT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

ROUNDS = 3
EVENTS = 578_805
UNUSABLE = 530  # score 0, outside its scale

_DATA = Path(os.environ.get("ENGAGEMENT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
_REVIEWS = _DATA / "reviews.jsonl.gz"


@pytest.mark.skipif(not _REVIEWS.is_file(), reason="ENGAGEMENT_TEST_DATA names no folder with reviews.jsonl.gz")
def test_compute_a_file_of_579_thousand_survey_answers() -> None:
    seconds, cpu = [], []
    for _ in range(ROUNDS):
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(
            [*ENGAGEMENT, "compute", str(_REVIEWS), "--format", "json"], capture_output=True, check=True
        )
        seconds.append(time.perf_counter() - started)
        after = os.times()
        cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
        told = json.loads(done.stdout)["events"]

        assert {outcome: count for outcome, count in told.items() if count} == {
            "applied": EVENTS - UNUSABLE,
            "invalid": UNUSABLE,
        }

    rates = [EVENTS / round_seconds for round_seconds in seconds]
    show("compute, 578,805 answers of 400,141 people, gzip", "events/s", rates, against="target 100,000 events/s")
    show("  CPU of the process", "us/event", [used / EVENTS * 1e6 for used in cpu], against="target 10 us/event")
