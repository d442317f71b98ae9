"""Messages of every size, one by one and many at once: none stops a partition, and none is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream.core.partition.rows import Delta
from stream.core.rejections import Reason
from stream.kafka.outbox import Outbox
from stream.partitioning import partition_of
from stream.simulate.recording import ReplayEvent
from tests.bench.processes import memory_mib
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, StoredRecord, login
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.redis_server import RedisServer, RedisUnavailable, skip_without_redis

KIB = 1024
MIB = 1024 * KIB


class Sent(NamedTuple):
    """A message for a topic of ours, and why it must be refused, if it must."""

    value: bytes
    reason: Reason | None
    key: bytes = b"ann"
    headers: Sequence[tuple[str, bytes]] = ()


def good(number: int, *, user: str = "ann", room: int = 0) -> bytes:
    """A login whose message takes some room."""
    told = {"user_id": user, "event_time": LOAD_STARTS_MS + number, "event_id": str(number), "note": "x" * room}
    return json.dumps(told).encode()


def test_a_message_larger_than_a_fetch_does_not_hold_up_its_partition(deploy: Deploy, kafka: RunningKafka) -> None:
    deployment = deploy(kafka.address, **{"kafka.fetch_bytes": 64 * KIB, "topics.partitions": 1})
    deployment.create_topics(max_message_bytes=str(32 * MIB))
    worker = deployment.start()
    worker.wait_until_ready()

    sizes = (100, 64 * KIB, 900_000, 100, 999_800, 100)
    sent = [Sent(good(number, room=room), None) for number, room in enumerate(sizes)]
    sent[2:2] = [Sent(b"x" * size, Reason.TOO_LARGE) for size in (1_000_001, 3 * MIB, 30 * MIB)]
    send(deployment, sent)

    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert worker.outcomes() == {"applied": len(sizes), "invalid": 3}
    assert {letter.value for letter in letters(deployment, 3)} == {None}


def test_many_refused_at_once_are_more_than_one_record_batch_may_hold(deploy: Deploy, kafka: RunningKafka) -> None:
    deployment = deploy(kafka.address, **{"topics.partitions": 1})
    sent = [Sent(b"no json %d " % number + b"x" * 5 * KIB, Reason.NOT_JSON) for number in range(3_000)]
    deployment.create_topics()
    send(deployment, sent)
    worker = deployment.start()

    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert sorted(letter.value or b"" for letter in letters(deployment, 3_000)) == sorted(one.value for one in sent)


def test_many_misplaced_at_once_are_more_than_one_record_batch_may_hold(deployment: Deployment) -> None:
    users = deployment.user_of_each_partition
    sent = [Sent(good(number, user=users[0], room=5 * KIB), None, key=users[1].encode()) for number in range(3_000)]
    deployment.create_topics()
    send(deployment, sent)
    worker = deployment.start()

    deployment.wait_until_every_gauge_equals_the_recount(worker)
    assert worker.outcomes()["rekeyed"] == 3_000


def test_the_largest_messages_that_are_read_can_be_refused_and_forwarded(deploy: Deploy, kafka: RunningKafka) -> None:
    largest = 5 * MIB
    deployment = deploy(
        kafka.address,
        **{"max_message_bytes": largest, "state.max_delta_bytes": 1_000_000, "state.max_user_bytes": 10_000},
    )
    deployment.create_topics(max_message_bytes=str(32 * MIB))
    worker = deployment.start()
    worker.wait_until_ready()

    key = b"k" * 24 * KIB
    headers = [("trace", b"t" * (24 * KIB - 5))]
    broken = b"x" * largest
    misplaced = good(1, user=deployment.user_of_each_partition[0])
    misplaced = good(1, user=deployment.user_of_each_partition[0], room=largest - len(misplaced))
    sent = [
        Sent(broken, Reason.NOT_JSON, key=key, headers=headers),
        Sent(broken, Reason.NOT_JSON, key=key + b"k", headers=headers),
        Sent(broken + b"x", Reason.TOO_LARGE, key=key, headers=headers),
        Sent(misplaced, None, key=deployment.user_of_each_partition[1].encode(), headers=headers),
    ]
    send(deployment, sent)

    worker.wait_until(lambda: worker.read() == len(sent), "all messages are dealt with")
    assert worker.outcomes() == {"applied": 1, "rekeyed": 1, "invalid": 3}
    kept = sorted((len(letter.key or b""), len(letter.value or b"")) for letter in letters(deployment, 3))
    assert kept == [(0, 0), (24 * KIB, 0), (24 * KIB, largest)]


def test_a_dead_letter_topic_that_takes_less_than_it_should_gets_references(deployment: Deployment) -> None:
    deployment.create_topics()
    worker = deployment.start()
    worker.wait_until_ready()
    topic = deployment.settings.dead_letter_topic(deployment.settings.topics.logins)
    set_largest(deployment, topic, 10_000)

    sent = [Sent(b"no json %d" % size + b"x" * size, Reason.NOT_JSON) for size in (100, 20_000, 200, 500_000, 300)]
    send(deployment, sent)

    deployment.wait_until_every_gauge_equals_the_recount(worker)
    kept = letters(deployment, 5)
    assert sorted(len(letter.value or b"") for letter in kept) == [0, 0, 111, 211, 311]
    assert len({letter.origin for letter in kept}) == 5
    assert {letter.key for letter in kept} == {b"ann"}


def test_a_backlog_waits_in_kafka_while_the_store_is_away(deploy: Deploy, kafka: RunningKafka) -> None:
    backlog = 20_000
    with running_redis() as redis:
        limits = {"kafka.fetch_bytes": 64 * KIB, "kafka.batch_records": 100, "kafka.batches_in_flight": 1}
        deployment = deploy(kafka.address, **{"state.url": redis.url, **limits})
        deployment.create_topics()
        worker = deployment.start()
        worker.wait_until_ready()
        redis.pause()
        before = memory_mib(worker.pid)[1]
        deployment.send(_padded(login(f"user-{n}", LOAD_STARTS_MS + n), 5 * KIB) for n in range(backlog))

        time.sleep(8)
        grown_mib = memory_mib(worker.pid)[1] - before
        read = worker.read()
        redis.resume()

        assert read < backlog
        # A third of the backlog; of what it has read of each topic are 64 KiB, and Python needs some room too.
        assert grown_mib < backlog * 5 * KIB / MIB / 3
        deployment.wait_until_every_gauge_equals_the_recount(worker)


def _padded(event: ReplayEvent, room: int) -> ReplayEvent:
    return event._replace(value=event.value[:-1] + b',"note":"' + b"x" * room + b'"}')


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    try:
        server = RedisServer()
    except RedisUnavailable as error:
        skip_without_redis(error)
    server.start()
    try:
        yield server
    finally:
        server.discard()


def set_largest(deployment: Deployment, topic: str, size: int) -> None:
    admin = KafkaAdminClient(**deployment.client)
    told = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})
    admin.alter_configs([told])
    admin.close()


def letters(deployment: Deployment, count: int) -> list[StoredRecord]:
    found = deployment.dead_letters(at_least=count)
    assert len(found) == count
    return found


def send(deployment: Deployment, sent: Sequence[Sent]) -> None:
    """Produce messages to the logins, in batches: clients refuse to send some of these one by one."""
    asyncio.run(_send(deployment, sent))
    deployment.expect(("logins", one.value) for one in sent if one.reason is not Reason.TOO_LARGE)
    deployment.expect_refused(Reason.TOO_LARGE, sum(one.reason is Reason.TOO_LARGE for one in sent))


async def _send(deployment: Deployment, sent: Sequence[Sent]) -> None:
    topic = deployment.settings.topics.logins
    async with AIOKafkaProducer(**deployment.client, max_batch_size=64 * MIB, max_request_size=64 * MIB) as producer:
        for one in sent:
            batch = producer.create_batch()
            batch.append(key=one.key, value=one.value, timestamp=None, headers=list(one.headers))
            batch.close()
            await producer.send_batch(batch, topic, partition=partition_of(one.key, len(deployment.all_partitions)))
        await producer.flush()


def test_many_large_checkpoints_at_once_are_more_than_one_request_may_hold(deployment: Deployment) -> None:
    deployment.create_topics()
    delta: Delta = [(b"user/%d" % number, b"x" * MIB) for number in range(30)]

    async def write_all() -> list[int]:
        outbox = Outbox(deployment.settings)
        await outbox.start()
        try:
            written = (outbox.write_delta(partition, delta) for partition in deployment.all_partitions)
            return await asyncio.wait_for(asyncio.gather(*written), 60)
        finally:
            await asyncio.wait_for(outbox.stop(), 10)

    assert asyncio.run(write_all()) == [29] * len(deployment.all_partitions)
