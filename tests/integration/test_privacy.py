"""A person is erased from a running deployment by a command: what was held of her is nowhere any more."""

from __future__ import annotations

import json
import uuid
from typing import Any

from stream.core.time import DAY_MS, iso
from tests.integration.deployment import LOAD_STARTS_MS, Deployment
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.integration.test_health_scores import event, scores
from tests.state.conftest import RunRedis


def test_whoever_is_erased_is_nowhere_any_more(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **{"topics.privacy": f"privacy-{uuid.uuid4().hex}"})
    erased(deployment)

    rows = [record for record in deployment.stored([deployment.settings.changelog_topic]) if record.key == b"user/ada"]
    assert rows[-1].value is None
    assert find(deployment, "ada")["changelog_deleted"]


def test_so_it_is_where_the_workers_share_a_redis(kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis) -> None:
    redis = run_redis(options={"appendonly": "yes"})
    erased(deploy(kafka.address, **{"topics.privacy": f"privacy-{uuid.uuid4().hex}", "state.url": redis.url}))


def erased(deployment: Deployment) -> None:
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send([event("logins", user, day) for user in ("ada", "ben") for day in range(3)])
    deployment.send([event("surveys", "ada", 2, response_id="r", kind="nps", score=99)])  # a dead letter
    deployment.send(event("logins", user, 4) for user in deployment.user_of_each_partition)
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    worker.wait_until(lambda: set(scores(deployment)) >= {"ada", "ben"}, "the topic has both scores")
    worker.wait_until(lambda: find(deployment, "ada")["row_bytes"] > 0, "the state has her row")

    before = find(deployment, "ada")
    assert {"activity", "logins"} <= set(before["parts"])
    assert (before["score"], len(before["dead_letters"]), before["erased_until"]) == (True, 1, None)
    copy = json.loads(deployment.command("privacy", "export", "ada", "--json").stdout)
    assert [login["at"][:10] for login in copy["held"]["logins"]] == ["2025-03-01", "2025-03-02", "2025-03-03"]

    asked = deployment.command("privacy", "erase", "ada", "--yes", "--at", iso(LOAD_STARTS_MS + 4 * DAY_MS))
    assert asked.returncode == 0, asked.stderr
    worker.wait_until(lambda: find(deployment, "ada")["row_bytes"] == 0, "the state has her row no more")
    worker.wait_until(lambda: find(deployment, "ada")["score"] is False, "her score is deleted")
    after = find(deployment, "ada")
    assert (after["parts"], after["references"], after["erased_until"] is not None) == ([], 0, True)
    assert after["dead_letters"] == before["dead_letters"]  # Kafka keeps them until their retention ends
    assert find(deployment, "ben")["row_bytes"] > 0

    deployment.send([event("logins", "ada", 3)])
    worker.wait_until(lambda: worker.outcomes().get("erased") == 1, "what she did before is dropped")
    assert find(deployment, "ada")["row_bytes"] == 0
    nothing = deployment.command("privacy", "export", "ada")
    assert (nothing.returncode, nothing.stderr) == (1, "engagement: nothing is held of a user 'ada'\n")
    audits = [json.loads(one.value or b"{}") for one in deployment.stored([deployment.settings.privacy_audit_topic])]
    assert [(audit["type"], audit["was_known"]) for audit in audits] == [("erase", True)]
    assert not any("ada" in json.dumps(audit) for audit in audits)


def find(deployment: Deployment, user: str) -> dict[str, Any]:
    """What the command tells."""
    told = deployment.command("privacy", "find", user, "--json")
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found
