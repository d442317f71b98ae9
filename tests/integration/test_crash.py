"""A worker or a broker that dies under load loses nothing and counts nothing twice."""

from __future__ import annotations

import shutil
import time
from functools import partial

import msgspec
import pytest

from stream.core.partition.progress import Progress
from stream.state.rocksdb import RocksStore
from tests.chaos.world import ProxiedKafka
from tests.integration.deployment import ALL_KINDS, Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}


def has_read(program: Program, events: int) -> int:
    """Wait until a worker, with those before it, has read so many events; returns how many it were then."""
    program.wait_until(lambda: program.read() >= events, f"{events} events read")
    return program.read()


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("state", "kills_after"),
    [
        ("kept", (2_000, 200, 5_000)),  # the second time as soon as it has begun to read
        ("deleted", (1_000, 5_000)),
        ("in memory", (1_000, 5_000)),
    ],
)
def test_a_worker_killed_under_load_continues_as_if_nothing_had_been(
    kafka: RunningKafka, deploy: Deploy, state: str, kills_after: tuple[int, ...]
) -> None:
    deployment = deploy(kafka.address, all_kinds=True)
    settings = {"ENGAGEMENT_STATE_URL": "memory://"} if state == "in memory" else {}
    deployment.create_topics()

    with deployment.load(simulated(users=600, days=28, **ALL_KINDS, **FAULTS), rate=1_500):
        read = 0
        for more in kills_after:
            worker = deployment.start(**settings)
            read = has_read(worker, read + more)
            worker.kill()
            if state == "deleted":
                shutil.rmtree(deployment.disk())
        worker = deployment.start(**settings)
        worker.wait_until_ready()

    deployment.wait_until_every_gauge_equals_the_recount(worker)
    print(f"\nstate {state}: recovered in {recovery_seconds(worker):.2f} s")  # noqa: T201  a figure, for people


@pytest.mark.chaos
def test_a_worker_killed_while_it_recovers_recovers_the_next_time(ways: ProxiedKafka, deploy: Deploy) -> None:
    way, deployment = ways.proxies[0], deploy(ways.kafka.address)
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send(simulated(users=300, days=10, **FAULTS))
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    # So slow that each is seen; told every two seconds.
    way.slow(bytes_per_second=20_000, latency_seconds=0.0)
    slowly = {"ENGAGEMENT_KAFKA_SERVERS": way.address, "ENGAGEMENT_KAFKA_FETCH_BYTES": "5000"}
    for told in (0, 1, 2):
        worker.kill()
        shutil.rmtree(deployment.disk(), ignore_errors=True)
        worker = deployment.start(**slowly)
        worker.wait_until(partial(has_told, worker, told), "it recovers")
    worker.kill()

    deployment.wait_until_every_gauge_equals_the_recount(deployment.start())


@pytest.mark.chaos
def test_a_worker_asked_to_stop_under_load_hands_over_what_it_has(deployment: Deployment) -> None:
    deployment.create_topics()

    with deployment.load(simulated(users=600, days=14, **FAULTS), rate=2_000):
        worker = deployment.start()
        has_read(worker, 3_000)
        worker.terminate()
        asked = time.monotonic()
        assert worker.wait_for_exit() == 0
        print(f"\nstopped in {time.monotonic() - asked:.2f} s")  # noqa: T201  a figure, for people
        held = offsets_in_state(deployment)
        assert sum(held.values()) >= 3_000
        assert deployment.committed() == held
        worker = deployment.start()
        print(f"\nready again in {worker.wait_until_ready():.2f} s")  # noqa: T201  a figure, for people

    deployment.wait_until_every_gauge_equals_the_recount(worker)


@pytest.mark.chaos
def test_a_broker_that_restarts_and_one_that_is_killed_cost_no_event(own_kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(own_kafka.address)
    worker = deployment.start()
    worker.wait_until_ready()

    with deployment.load(simulated(users=600, days=28, **FAULTS), rate=1_500):
        for outage in (own_kafka.stop, own_kafka.kill):
            has_read(worker, worker.read() + 2_000)
            outage()
            time.sleep(1)
            own_kafka.restart()
            worker = running(deployment, worker)
    worker = running(deployment, worker)

    deployment.wait_until_every_gauge_equals_the_recount(worker)


def has_told(worker: Program, times: int) -> bool:
    """Whether a worker has said so often, from never on, how far its recovery is."""
    return worker.log.count("recovering the state: ") >= times


def running(deployment: Deployment, worker: Program) -> Program:
    """The worker, or the next one when it has given up; then it must have said so."""
    if worker.status is None:
        return worker
    assert worker.status == 1, worker.log
    assert "the worker stops" in worker.log
    return deployment.start()


def recovery_seconds(program: Program) -> float:
    return max(value for name, value in program.metrics().items() if name.startswith("engagement_recovery_seconds"))


def offsets_in_state(deployment: Deployment) -> dict[tuple[str, int], int]:
    """The next offset to apply by Kafka topic and partition, as the disk of a stopped worker has it."""
    held = {}
    for number in deployment.all_partitions:
        store = RocksStore(deployment.disk() / deployment.settings.app_id / f"partition-{number}")
        for _, value in store.scan(b"progress"):
            progress = msgspec.msgpack.decode(value, type=Progress)
            held.update({(topic, number): offset for topic, offset in progress.offsets.items() if offset > 0})
        store.close()
    return held
