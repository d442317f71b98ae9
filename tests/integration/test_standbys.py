"""Standbys: what follows a partition holds what its owner has saved, through rebalances, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from stream.core.changelog import Replay
from stream.state.rocksdb import RocksStore
from tests.integration.deployment import Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}


@pytest.mark.chaos
def test_a_standby_misses_nothing_and_takes_over(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **{"state.standbys": "1"})
    everything = set(deployment.all_partitions)
    ada, grace = (deployment.start("worker", name=name) for name in ("ada", "grace"))
    server = deployment.start("serve")
    server.wait_until_ready()
    ada.wait_until(lambda: own(ada, grace) == everything, "both have partitions")

    with deployment.load(simulated(users=800, days=28, **FAULTS), rate=2_500):
        server.wait_until(lambda: server.read() > 3_000, "some events read")
        for _ in range(2):
            join_and_leave(deployment)
            ada.wait_until(lambda: own(ada, grace) == everything, "the two have all partitions")
        server.wait_until(lambda: followed(server) == everything, "each partition has a standby")
        assert len(lags(server)) == len(everything)

        ada.kill()
        grace.wait_until(lambda: grace.partitions == everything, "the other has all partitions")
        read = server.read()
        server.wait_until(lambda: server.read() > read + 2_000, "some more events read")
        ada = deployment.start("worker", name="ada")
        ada.wait_until(lambda: own(ada, grace) == everything, "both have partitions again")
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)

    server.wait_until(lambda: followed(server) == everything and not any(lags(server)), "standbys have caught up")
    for worker in (ada, grace):
        worker.terminate()
        assert worker.wait_for_exit() == 0
    for number in everything:
        for name in ("ada", "grace"):
            held, items = stored(deployment.disk(name) / deployment.settings.app_id / f"partition-{number}")
            assert items == saved(deployment, number, upto=held)


@pytest.mark.chaos
def test_who_gave_a_partition_up_follows_it_to_its_end(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, **{"state.standbys": "1", "state.url": "memory://"})
    everything = set(deployment.all_partitions)
    ada, server = deployment.start("worker"), deployment.start("serve")
    server.wait_until_ready()
    deployment.send(simulated(users=50, days=5))
    deployment.wait_until_every_gauge_equals_the_recount(server)
    ada.terminate()
    assert ada.wait_for_exit() == 0

    ada = deployment.start("worker")  # it reads all partitions from the changelog
    ada.wait_until(lambda: ada.partitions == everything, "it has all partitions")
    grace = deployment.start("worker")
    grace.wait_until(lambda: own(ada, grace) == everything, "both have partitions")
    server.wait_until(lambda: followed(server) == everything and not any(lags(server)), "standbys have caught up")


def join_and_leave(deployment: Deployment) -> None:
    """Another worker comes and goes: each time all partitions are assigned anew."""
    carol = deployment.start("worker", name="carol")
    carol.wait_until(lambda: carol.takeovers, "partitions, or none, are taken over")
    carol.terminate()
    assert carol.wait_for_exit() == 0


def own(*workers: Program) -> set[int]:
    """The partitions of some workers that have some each, and none of them twice; else none."""
    taken = [number for worker in workers for number in worker.partitions]
    return set(taken) if all(worker.partitions for worker in workers) and len(set(taken)) == len(taken) else set()


def followed(server: Program) -> set[int]:
    """The partitions that a standby follows."""
    return {standing["partition"] for standing in server.standings() if standing["standbys"]}


def lags(server: Program) -> list[float]:
    return list(server.metrics("engagement_standby_lag_rows").values())


def stored(directory: Path) -> tuple[int, dict[bytes, bytes]]:
    """What the disk of a stopped worker holds of a partition, and up to which offset of its changelog."""
    store = RocksStore(directory)
    held, items = store.offset(), dict(store.scan(b""))
    store.close()
    assert held is not None
    return held, items


def saved(deployment: Deployment, number: int, *, upto: int) -> dict[bytes, bytes]:
    """What the changelog of a partition says up to an offset, read from its beginning."""
    place = TopicPartition(deployment.settings.changelog_topic, number)
    consumer = KafkaConsumer(**deployment.client, enable_auto_commit=False, check_crcs=False)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end = min(consumer.end_offsets([place])[place], upto + 1)
    replay, items = Replay(), dict[bytes, bytes]()
    while consumer.position(place) < end:
        records = [record for record in consumer.poll(1_000).get(place, []) if record.offset < end]
        counted = replay.read(records)
        for key, value in counted.items if counted is not None else ():
            if value is None:
                items.pop(key, None)
            else:
                items[key] = value
    consumer.close()
    return items
