"""Producers with transactions: what they commit counts once, what they abort never, and what hangs open is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec

from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import LOAD_STARTS_MS, Deployment, Program, login
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.integration.processes import PROGRAM

# Kafka aborts what is open for longer: more than a test takes, however slow its machine is.
_OPEN_SECONDS = 600

Unique = Callable[[str], str]


class Producer:
    """A producer that writes logins in transactions of its own."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self._deployment = deployment
        self._topic = deployment.settings.topics.logins
        self._producer = KafkaProducer(
            **deployment.client, transactional_id=name, transaction_timeout_ms=_OPEN_SECONDS * 1_000, linger_ms=0
        )
        self._producer.init_transactions()
        self._sent: list[ReplayEvent] = []

    def begin(self, events: Sequence[ReplayEvent] = ()) -> None:
        self._producer.begin_transaction()
        self.send(events)

    def send(self, events: Sequence[ReplayEvent]) -> None:
        """Write some more; returns when Kafka has them."""
        for event in events:
            self._producer.send(self._topic, key=event.key.encode(), value=event.value)
        self._producer.flush()
        self._sent += events

    def commit(self) -> None:
        self._producer.commit_transaction()
        self.expect()

    def abort(self) -> None:
        self._producer.abort_transaction()
        self._sent.clear()

    def expect(self) -> None:
        """Take what this transaction wrote so far into the recount."""
        self._deployment.expect((event.topic, event.value) for event in self._sent)
        self._sent.clear()

    def close(self) -> None:
        self._producer.close(timeout=5)


class Logins:
    """Logins of the users of each partition, each a second after the one before."""

    def __init__(self, deployment: Deployment) -> None:
        self._users = deployment.user_of_each_partition
        self._moments = count(LOAD_STARTS_MS, 1_000)

    def of(self, partition: int, number: int) -> list[ReplayEvent]:
        return [login(self._users[partition], next(self._moments)) for _ in range(number)]


@contextmanager
def producers(deployment: Deployment, *names: str) -> Iterator[list[Producer]]:
    """Some producers; a transaction that one has left open then is aborted by Kafka."""
    made = [Producer(deployment, name) for name in names]
    try:
        yield made
    finally:
        for producer in made:
            producer.close()


def taken_over(deployment: Deployment, server: Program, *, name: str = "worker") -> Program:
    """A new worker, which has taken over all partitions."""
    worker = deployment.start("worker", name=name)
    server.wait_until(lambda: worker.partitions == set(deployment.all_partitions), "the partitions are taken over")
    return worker


def lag(server: Program) -> set[float]:
    return set(server.metrics("engagement_lag_events").values())


def ends(deployment: Deployment) -> dict[tuple[str, int], int]:
    """The ends of the partitions of the logins that are not empty."""
    topic = deployment.settings.topics.logins
    admin = KafkaAdminClient(**deployment.client)
    places = {TopicPartition(topic, number): OffsetSpec.LATEST for number in deployment.all_partitions}
    told = admin.list_partition_offsets(places)
    admin.close()
    return {(place.topic, place.partition): end.offset for place, end in told.items() if end.offset > 0}


def open_seconds(server: Program, partition: int) -> float:
    name = "engagement_open_transaction_seconds"
    return server.metrics(name)[f'{name}{{partition="{partition}",topic="logins"}}']


def test_what_is_committed_counts_once_and_an_open_transaction_holds_its_partition_back(
    kafka: RunningKafka, deploy: Deploy, unique: Unique
) -> None:
    deployment = deploy(kafka.address, **{"topics.partitions": 2, "kafka.open_transaction_after": "2s"})
    server, worker = deployment.start("serve"), deployment.start("worker")
    server.wait_until_ready()
    logins = Logins(deployment)
    with producers(deployment, unique("a"), unique("b")) as (first, second):
        # Two at a time in one partition; the log ends with what was aborted, and a marker.
        for partition in (0, 1):
            first.begin(logins.of(partition, 20))
            second.begin(logins.of(partition, 20))
            first.send(logins.of(partition, 5))
            second.send(logins.of(partition, 5))
            first.commit()
            second.abort()
        deployment.wait_until_every_gauge_equals_the_recount(server)

        assert server.outcomes() == {"applied": 50}
        assert lag(server) == {0}
        # The markers too are behind whoever watches the lag of the group.
        worker.wait_until(lambda: deployment.committed() == ends(deployment), "all offsets are committed")

        first.begin(logins.of(0, 10))
        behind_it, beside_it = logins.of(0, 3), logins.of(1, 4)
        deployment.send_unexpected(behind_it)
        deployment.send(beside_it)
        server.wait_until(lambda: server.outcomes()["applied"] == 54, "the other partition goes on")
        server.wait_until(lambda: open_seconds(server, 0) >= 2, "the open transaction is told")

        status, told = server.get("/readyz")
        assert status == 503
        assert told.startswith("partition 0: a producer's transaction in logins has been open for ")
        assert told.strip().endswith("13 records wait for its end")
        assert open_seconds(server, 1) == 0
        assert lag(server) == {0}
        assert server.metrics()["engagement_clock_seconds"] == beside_it[-1].at_ms / 1_000
        assert worker.log.count("a producer's transaction hangs open") == 1

        # Whoever takes over finds it still open, and counts nothing of it either.
        worker.kill()
        taken_over(deployment, server)
        server.wait_until(lambda: open_seconds(server, 0) >= 2, "the open transaction is told again")
        assert server.outcomes()["applied"] == 54

        first.commit()
        deployment.expect((event.topic, event.value) for event in behind_it)
        deployment.wait_until_every_gauge_equals_the_recount(server)
        assert open_seconds(server, 0) == 0

        first.begin(logins.of(1, 10))
        deployment.send(logins.of(1, 3))
        server.wait_until(lambda: open_seconds(server, 1) >= 2, "the open transaction is told")
        first.abort()
        deployment.wait_until_every_gauge_equals_the_recount(server)
        assert server.outcomes()["applied"] == 50 + 4 + 13 + 3


def test_a_worker_that_is_killed_in_the_middle_of_transactions_counts_each_committed_event_once(
    kafka: RunningKafka, deploy: Deploy, unique: Unique
) -> None:
    deployment = deploy(kafka.address, **{"topics.partitions": 2})
    server, worker = deployment.start("serve"), deployment.start("worker")
    server.wait_until_ready()
    logins = Logins(deployment)
    with producers(deployment, unique("a"), unique("b")) as (first, second):
        for turn in range(12):
            first.begin(logins.of(turn % 2, 20))
            second.begin(logins.of(turn % 2, 20))
            deployment.send(logins.of(turn % 2, 2))
            if turn in (4, 8):  # the second time its disk is gone too
                worker.kill()
                worker = taken_over(deployment, server, name="worker" if turn == 4 else "another")
            first.commit()
            second.abort()
    deployment.wait_until_every_gauge_equals_the_recount(server)

    assert server.outcomes() == {"applied": 12 * 22}
    assert lag(server) == {0}


def test_what_an_earlier_version_has_counted_is_not_counted_again(
    kafka: RunningKafka, deploy: Deploy, unique: Unique
) -> None:
    deployment = deploy(kafka.address, **{"topics.partitions": 2})
    deployment.module = "tests.uncommitted_engagement"  # what earlier versions did
    before = deployment.start()
    deployment.module = PROGRAM
    before.wait_until_ready()
    logins = Logins(deployment)
    with producers(deployment, unique("a"), unique("b"), unique("c")) as (committed, aborted, open_):
        committed.begin(logins.of(0, 50))
        aborted.begin(logins.of(0, 50))
        committed.commit()
        aborted.expect()  # it counts those too
        aborted.abort()
        open_.begin(logins.of(1, 5))
        open_.expect()
        deployment.wait_until_every_gauge_equals_the_recount(before)
        before.terminate()
        assert before.wait_for_exit() == 0

        # Its state is beyond the last stable offset, and in the midst of what will be aborted.
        open_.send(logins.of(1, 5))
        now = deployment.start(ENGAGEMENT_KAFKA_OPEN_TRANSACTION_AFTER="2s")
        now.wait_until(lambda: now.partitions == {0, 1}, "the partitions are taken over")
        now.wait_until(lambda: now.api() and open_seconds(now, 1) >= 2, "the open transaction is told")
        deployment.send(logins.of(1, 3))
        open_.abort()
        deployment.send(logins.of(0, 3))
        deployment.wait_until_every_gauge_equals_the_recount(now)

    assert now.outcomes()["applied"] == 50 + 50 + 5 + 3 + 3
    assert lag(now) == {0}
