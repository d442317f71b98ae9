"""State and topics that do not fit: named when a worker starts, and decided with a command. More partitions."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import BrokerResponseError

from stream.core.partition.progress import FORMAT, FormatChanged
from stream.simulate.recording import ReplayEvent
from stream.wiring import open_maintenance
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program, login, simulated
from tests.state.redis_server import RedisServer
from tests.timeouts import TIMEOUT_SECONDS

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}
HOUR_MS = 3_600_000


def counted(deployment: Deployment, *, users: int = 200, days: int = 5, **settings: str) -> Program:
    """A worker that has counted some events, all of them right."""
    worker = deployment.start(**settings)
    worker.wait_until_ready()
    deployment.send(simulated(users=users, days=days, **FAULTS))
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    return worker


def stopped(worker: Program) -> None:
    worker.terminate()
    assert worker.wait_for_exit() == 0


def logins_of(deployment: Deployment, number: int, *, hours: int) -> list[ReplayEvent]:
    """Logins of users of each partition, some days after the simulated ones."""
    at_ms = LOAD_STARTS_MS + 10 * 24 * HOUR_MS + hours * HOUR_MS
    return [login(user, at_ms + n) for user in deployment.user_of_each_partition for n in range(number)]


def refused(deployment: Deployment, **settings: str) -> str:
    """What a worker that is started says before it ends."""
    worker = deployment.start(**settings)
    assert worker.wait_for_exit() == 1
    return "\n".join(line for line in worker.log.splitlines() if not line.startswith(("{", "serving")))


def admin(deployment: Deployment) -> KafkaAdminClient:
    return KafkaAdminClient(**deployment.client)


def test_records_deleted_before_they_were_read_are_named_and_accepting_goes_on_without_them(
    deployment: Deployment,
) -> None:
    stopped(counted(deployment))
    topic = deployment.settings.topics.logins
    lost = logins_of(deployment, 3, hours=0)
    deployment.send_unexpected(lost)
    client = admin(deployment)
    ends = client.list_partition_offsets({TopicPartition(topic, n): -1 for n in deployment.all_partitions})
    client.delete_records({place: end.offset for place, end in ends.items()})
    client.close()
    deployment.send(logins_of(deployment, 2, hours=1))

    told = refused(deployment)
    assert f"the state has read '{topic}' up to offset" in told
    assert "3 records were deleted before they were read" in told
    assert "engagement state accept --partition" in told

    looked = deployment.command("state", "inspect")
    assert looked.returncode == 1
    assert looked.stderr.count("were deleted before they were read") == len(deployment.all_partitions)
    accepted = deployment.command("state", "accept", *deployment.each_partition)
    assert accepted.returncode == 0, accepted.stderr
    assert "accepted: partition 0" in accepted.stderr

    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


def test_a_topic_that_was_created_again_is_named_and_accepting_reads_it_from_its_beginning(
    deployment: Deployment,
) -> None:
    stopped(counted(deployment))
    topic = deployment.settings.topics.logins
    deployment.recreate_topic(topic)
    deployment.send(logins_of(deployment, 700, hours=0))  # so many that every offset lies past what was read

    told = refused(deployment)
    assert f"'{topic}' was deleted and created again since the state read it" in told
    assert deployment.command("state", "accept", *deployment.each_partition).returncode == 0

    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


def test_a_changelog_whose_start_was_deleted_is_named_and_reset_counts_again(deployment: Deployment) -> None:
    stopped(counted(deployment))
    shutil.rmtree(deployment.disk())
    topic = deployment.settings.changelog_topic
    client = admin(deployment)
    set_policy(client, topic, "delete")  # Kafka deletes no records of a topic that is compacted only
    ends = client.list_partition_offsets({TopicPartition(topic, n): -1 for n in deployment.all_partitions})
    delete_up_to(client, {place: end.offset - 3 for place, end in ends.items()})
    set_policy(client, topic, "compact")
    client.close()

    told = refused(deployment)
    assert "what lay before was deleted, and no local state has it" in told
    assert "engagement state reset --partition" in told

    assert deployment.command("state", "reset", "--partition", "0").returncode != 0  # it asks, and nobody answers
    reset = deployment.command("state", "reset", "--yes", *deployment.each_partition)
    assert reset.returncode == 0, reset.stderr
    worker = deployment.start()
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    # And again from the changelog alone: what lies before the reset does not count.
    stopped(worker)
    shutil.rmtree(deployment.disk())
    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


def test_state_of_another_version_is_never_taken_for_ours(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(counted(deployment))
    for limit in ("FORMAT", "OLDEST_FORMAT"):  # as if the next version were here, which reads its own format alone
        monkeypatch.setattr(f"stream.core.partition.progress.{limit}", FORMAT + 1)

    async def refused_and_given_up() -> str:
        with open_maintenance(deployment.settings) as opened:
            async with opened as commands:
                with pytest.raises(FormatChanged) as raised:
                    await commands.accept(0, lambda read, left: None)
                for number in deployment.all_partitions:
                    await commands.reset(number, lambda read, left: None)
                return str(raised.value)

    assert f"written in format {FORMAT} by another version" in asyncio.run(refused_and_given_up())
    monkeypatch.undo()
    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


def delete_up_to(client: KafkaAdminClient, offsets: dict[TopicPartition, int]) -> None:
    """Delete records of a topic whose policy was just changed: a busy broker still follows the old one for a while."""
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not is_deleted(client, offsets):
        assert time.monotonic() < give_up_at, "the broker does not follow the new policy"
        time.sleep(0.2)


def is_deleted(client: KafkaAdminClient, offsets: dict[TopicPartition, int]) -> bool:
    try:
        client.delete_records(offsets)
    except BrokerResponseError as error:
        if "PolicyViolation" in str(error):
            return False
        raise
    return True


def set_policy(client: KafkaAdminClient, topic: str, policy: str) -> None:
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"cleanup.policy": policy})])


def test_state_that_is_older_than_what_was_committed_is_refused(deployment: Deployment) -> None:
    stopped(counted(deployment))
    shutil.rmtree(deployment.disk())
    deployment.delete_topic(deployment.settings.changelog_topic)

    told = refused(deployment)
    assert "was committed, but the state has only read up to 0: it was lost or set back" in told

    assert deployment.command("state", "reset", "--yes", *deployment.each_partition).returncode == 0
    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


def test_state_is_not_touched_while_workers_run(deployment: Deployment) -> None:
    worker = counted(deployment, days=1)

    for command in (("state", "reset", "--yes", "--partition", "0"), ("topics", "grow", "--partitions", "6")):
        done = deployment.command(*command)
        assert done.returncode == 1
        assert "are running" in done.stderr
    assert deployment.command("state", "inspect").returncode == 0
    deployment.wait_until_every_gauge_equals_the_recount(worker)


@pytest.mark.parametrize("store", ["rocksdb", "redis"])
def test_a_deployment_grows_to_more_partitions_and_no_number_changes(deployment: Deployment, store: str) -> None:
    more = {"ENGAGEMENT_TOPICS_PARTITIONS": "7"}
    redis = RedisServer(options={"appendonly": "yes"})
    at = {}
    if store == "redis":
        redis.start()
        at = {"ENGAGEMENT_STATE_URL": redis.url}
    try:
        stopped(counted(deployment, users=400, days=20, **at))
        # Producers go on: into the old partitions, and into the new ones as soon as they know them.
        deployment.send(logins_of(deployment, 5, hours=0))

        grown = deployment.command("topics", "grow", "--partitions", "7", **at)
        assert grown.returncode == 0, grown.stderr
        assert "users moved" in grown.stderr
        again = deployment.command("topics", "grow", "--partitions", "7", **at)
        assert "\n0 users moved" in again.stderr
        assert "has 7 partitions, 4 are configured" in refused_settings(deployment, **at)

        worker = deployment.start(**at, **more)
        deployment.send(logins_of(deployment, 5, hours=2))
        deployment.wait_until_every_gauge_equals_the_recount(worker)
        if store == "rocksdb":  # the changelogs tell the same
            stopped(worker)
            shutil.rmtree(deployment.disk())
            worker = deployment.start(**more)
        # Users that moved go on with what they were: sessions and answers of later days change what was counted.
        deployment.send(simulated(users=400, days=26, **FAULTS))
        deployment.wait_until_every_gauge_equals_the_recount(worker)
    finally:
        redis.discard()


def refused_settings(deployment: Deployment, **settings: str) -> str:
    """What a worker that still has the old number of partitions says."""
    worker = deployment.start(**settings)
    assert worker.wait_for_exit() == 2
    return worker.log
