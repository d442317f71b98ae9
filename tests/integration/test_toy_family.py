"""A family that `stream/` knows nothing of goes through Kafka, a crash and a recovery, to /metrics and the API."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.core.families.registry import FAMILIES
from stream.core.time import DAY_MS, HOUR_MS
from stream.settings import load
from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import Deployment, Program
from tests.toy_family import ToysFamily

NOON_MS = 1_704_110_400_000
USERS = 40

_INPUTS = """
[[inputs]]
topic = "{logins}"
kind = "logins"
name = "logins"

[[inputs]]
topic = "{toys}"
kind = "toys"
name = "toys"
"""


@pytest.fixture
def _with_toys() -> Iterator[None]:
    FAMILIES.append(ToysFamily)
    yield
    FAMILIES.remove(ToysFamily)


def play(number: int, *, key: str = "", after_ms: int = 0) -> ReplayEvent:
    """The play of a user, of whom every fourth breaks the toy; `key` is another one than the user's."""
    user, at_ms = f"user-{number}", NOON_MS + number + after_ms
    value = json.dumps({"user_id": user, "event_time": at_ms, "toy": "ball", "broke": number % 4 == 0}).encode()
    return ReplayEvent(at_ms, "toys", key or user, value)


def toys(program: Program) -> dict[str, float]:
    """The numbers of the family for a day."""
    of_a_day = '{window="1d"}'
    return {
        name.removesuffix(of_a_day): value
        for name, value in program.metrics().items()
        if "_toy" in name and name.endswith(of_a_day)
    }


@pytest.mark.chaos
@pytest.mark.usefixtures("_with_toys")
def test_a_toy_family_counts_exactly_once_across_a_crash_and_a_recovery_from_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    topics = {kind: f"{deployment.settings.app_id}.{kind}" for kind in ("logins", "toys")}
    file.write_text(_INPUTS.format(**topics))
    for kind in ("SESSIONS", "LOGINS", "SURVEYS"):
        del deployment.variables[f"ENGAGEMENT_TOPICS_{kind}"]
    deployment.module, deployment.variables["ENGAGEMENT_SETTINGS"] = "tests.toy_engagement", str(file)
    deployment.settings = load(file, deployment.variables)
    deployment.create_topics()
    plays = [play(number) for number in range(USERS)]

    deployment.send_unexpected(plays[: USERS // 2])
    worker = deployment.start()
    worker.wait_until(lambda: worker.read() >= USERS // 2, "half of the plays read")
    worker.kill()
    deployment.send_unexpected([play(number, key="gateway") for number in range(USERS // 2, USERS)])
    worker = deployment.start()
    worker.wait_until(lambda: worker.read() >= USERS, "all plays read")
    worker.kill()
    shutil.rmtree(deployment.disk())
    deployment.send_unexpected(plays)  # once more
    worker = deployment.start()
    worker.wait_until(lambda: worker.read() >= 2 * USERS, "all plays read again")

    worker.wait_until(lambda: toys(worker).get("engagement_toys_played") == USERS, "every play counted once")
    live = toys(worker)
    assert live["engagement_toys_broken"] == USERS / 4
    assert live["engagement_toys_broken_ratio"] == 0.25
    assert live["engagement_toys_broken_ratio_lower"] < 0.25
    assert worker.outcomes()["duplicate"] == USERS

    deployment.send_unexpected([play(number, after_ms=DAY_MS + 2 * HOUR_MS) for number in range(USERS)])
    closed = "engagement_toy_players_closed"
    worker.wait_until(lambda: toys(worker).get(closed) == USERS, "the day closed with every player")
    definitions = json.loads(worker.get("/api/v1/definitions")[1])
    assert "engagement_toys_broken_ratio" in {metric["name"] for metric in definitions}
    told = {sample["name"]: sample for sample in worker.api()["live"] if sample["labels"].get("window") == "7d"}
    assert told["engagement_toys_broken_ratio"]["sample_size"] == 2 * USERS
