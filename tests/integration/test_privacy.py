"""A person is erased from a running deployment by a command: what was held of her is nowhere any more."""

from __future__ import annotations

import json
import uuid
from typing import Any

from stream.core.time import DAY_MS, iso
from stream.partitioning import partition_of
from stream.settings import load
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.integration.test_health_scores import event, scores
from tests.state.conftest import RunRedis


def test_whoever_is_erased_is_nowhere_any_more(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **{"topics.privacy": f"privacy-{uuid.uuid4().hex}"})
    deployment.create_topics(changelog=SOON_COMPACTED)
    worker = erased(deployment)

    assert find(deployment, "ada")["changelog_deleted"]
    # A segment ends with the first record after its time. Then Kafka removes what a tombstone comes after.
    deployment.send_unexpected([event("logins", "ada", 3)])
    worker.wait_until(lambda: find(deployment, "ada")["changelog_records"] == 0, "Kafka has compacted her row")
    records = deployment.stored([deployment.settings.changelog_topic])
    assert [record.value for record in records if record.key == b"user/ada"] in ([None], [])
    assert not any(b"ada" in (record.value or b"") for record in records)


def test_so_it_is_where_the_workers_share_a_redis(kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis) -> None:
    redis = run_redis(options={"appendonly": "yes"})
    erased(deploy(kafka.address, **{"topics.privacy": f"privacy-{uuid.uuid4().hex}", "state.url": redis.url}))


# What Kafka may compact within seconds; otherwise ten minutes pass, and a segment is a week or a gigabyte.
SOON_COMPACTED = {"min.compaction.lag.ms": "0", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001"}


def erased(deployment: Deployment) -> Program:
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
    return worker


def test_an_anonymous_and_an_erased_person_stay_so_when_partitions_are_added(
    kafka: RunningKafka, deploy: Deploy
) -> None:
    deployment = deploy(kafka.address, **{"topics.privacy": f"privacy-{uuid.uuid4().hex}"})
    partitions = deployment.settings.topics.partitions
    (ada, adas_later), (ben, _) = moving(partitions, 7)[:2]
    hers = partition_of(ada.encode(), partitions)
    elsewhere = next(name for name in map(str, range(99)) if partition_of(name.encode(), partitions) != hers)
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send([event("logins", user, day) for user in (ada, ben) for day in range(3)])
    answer = event("surveys", ada, 2, response_id=elsewhere, kind="nps", score=9)
    deployment.send([answer._replace(key=elsewhere)])  # so that it can be removed by its id alone
    deployment.send(event("logins", user, 4) for user in deployment.user_of_each_partition)
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    deployment.send([event("privacy", ben, 4, type="anonymise")])
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    deployment.send([event("privacy", ada, 4, type="erase")])
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    worker.wait_until(lambda: find(deployment, ada)["row_bytes"] == 0, "her row is deleted")
    worker.wait_until(lambda: find(deployment, ben)["row_bytes"] == 0, "his row has another id")
    rows = {record.key for record in deployment.stored([deployment.settings.changelog_topic]) if record.value}
    assert sum(b"user/anonymised-" in (key or b"") for key in rows) == 1
    worker.terminate()
    assert worker.wait_for_exit() == 0

    grown = deployment.command("topics", "grow", "--partitions", "7")
    assert grown.returncode == 0, grown.stderr
    deployment.variables["ENGAGEMENT_TOPICS_PARTITIONS"] = "7"
    deployment.settings = load(None, deployment.variables)
    assert find(deployment, ada)["partition"] == adas_later
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    deployment.send([event("logins", user, 3) for user in (ada, ben)])  # they are dropped
    worker.wait_until(lambda: worker.outcomes()["erased"] == 2, "what both did before is dropped")
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    told = find(deployment, ada, "--everywhere")
    assert (told["row_bytes"], told["references"], told["erased_until"] is not None) == (0, 0, True)


def moving(partitions: int, later: int) -> list[tuple[str, int]]:
    """Users of other partitions when there are more of them, and in which they are then."""
    places = [(f"u{n}", partition_of(f"u{n}".encode(), later)) for n in range(99)]
    return [(user, place) for user, place in places if place >= partitions]


def find(deployment: Deployment, user: str, *options: str) -> dict[str, Any]:
    """What the command tells."""
    told = deployment.command("privacy", "find", user, "--json", *options)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found
