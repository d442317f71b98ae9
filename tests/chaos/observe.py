"""What can be seen of a deployment from outside at one moment."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.chaos.progress import Sample
from tests.chaos.world import World

Answer = dict[str, Any]


def observe(world: World) -> Sample:
    """What each server says of the whole, and how often each worker has taken partitions over."""
    told = {server.name: _asked(server.program.get("/api/v1/metrics")) for server in world.servers}
    lags = [_lag(answer) for answer in told.values() if answer]
    return Sample(
        at_seconds=time.monotonic(),
        unready=tuple(f"{name}: {reason}" for name, answer in told.items() for reason in _reasons(answer)),
        lag=max(lags, default=None),
        takeovers=tuple(worker.takeovers for worker in world.workers),
    )


def _asked(page: tuple[int, str]) -> Answer:
    """What a server answers; nothing where it does not."""
    status, body = page
    answer: Answer = json.loads(body) if status == 200 else {}
    return answer


def _reasons(answer: Answer) -> list[str]:
    """Why a server says that its numbers can't be trusted."""
    return list(answer["unready"]) if answer else ["does not answer"]


def _lag(answer: Answer) -> float:
    """How many events wait."""
    return sum(float(sample["value"]) for sample in answer["health"] if sample["name"] == "engagement_lag_events")
