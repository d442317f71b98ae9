"""Health scores of a running deployment: the topic has each user's, and a command tells what one is made of."""

from __future__ import annotations

import json
from typing import Any

from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import LOAD_STARTS_MS, Deployment
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.conftest import RunRedis

DAY_MS = 86_400_000


def event(topic: str, user: str, day: int, **told: object) -> ReplayEvent:
    at_ms = LOAD_STARTS_MS + day * DAY_MS + DAY_MS // 2
    return ReplayEvent(at_ms, topic, user, json.dumps({"user_id": user, "event_time": at_ms, **told}).encode())


def test_the_topic_has_the_score_of_each_user_and_a_command_explains_it(kafka: RunningKafka, deploy: Deploy) -> None:
    scored(deploy(kafka.address, **{"health.target_days": "4"}))


def test_so_it_is_where_the_workers_share_a_redis(kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis) -> None:
    redis = run_redis(options={"appendonly": "yes"})
    scored(deploy(kafka.address, **{"health.target_days": "4", "state.url": redis.url}))


def scored(deployment: Deployment) -> None:
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send([event("logins", "ada", day) for day in range(3)])
    deployment.send([event("logins", "ben", 2), event("surveys", "ada", 2, response_id="r", kind="nps", score=9)])
    deployment.send(event("logins", user, 4) for user in deployment.user_of_each_partition)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    worker.wait_until(lambda: set(scores(deployment)) >= {"ada", "ben"}, "the topic has both scores")

    found = scores(deployment)
    day = found["ada"]["day"]
    assert found["ada"] == {
        "day": day,
        "score": 81.0,  # (3 x 75 + 2 x 90) / 5
        "band": "healthy",
        "coverage": 0.5,
        "parts": {
            "activity": {"points": 75.0, "weight": 3.0},
            "adoption": {"points": None, "weight": 2.0},
            "satisfaction": {"points": 90.0, "weight": 2.0},
            "support": {"points": None, "weight": 1.0},
            "subscription": {"points": None, "weight": 2.0},
        },
        "user_id": "ada",
    }
    assert (found["ben"]["score"], found["ben"]["band"], found["ben"]["coverage"]) == (25.0, "at_risk", 0.3)

    told = deployment.command("health", "ada")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"ada: 81.0 of 100 at the end of {day}, healthy; coverage 50%\n")
    assert "\nactivity         75.0       3\nadoption      unknown       2  the table [features] of" in told.stdout
    assert json.loads(deployment.command("health", "ada", "--json").stdout) == found["ada"]
    unknown = deployment.command("health", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "engagement: nothing is known of a user 'nobody'\n")


def scores(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """The newest record of each user in the topic."""
    found = {}
    for record in deployment.stored([deployment.settings.health_topic]):
        assert record.key is not None
        if record.value is not None:
            found[record.key.decode()] = json.loads(record.value)
    return found
