"""Workers whose state lies in Redis: it is away, hangs, comes back older or empty; and a worker that was frozen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.deployment import ALL_KINDS, Deployment, Program, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.redis_server import RedisServer

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
FAULTS = {"duplicate": 0.02, "shuffled": 0.02, "late": 0.02, "misrouted": 0.02, "bot": 0.02, "broken": 0.01}

RunRedis = Callable[..., RedisServer]


@pytest.fixture
def redis(run_redis: RunRedis) -> RedisServer:
    return run_redis(options=DURABLE)


@pytest.fixture
def deployment(kafka: RunningKafka, deploy: Deploy, redis: RedisServer) -> Deployment:
    """A deployment on a real Kafka that reads every kind of messages, with its state in a Redis of its own."""
    return deploy(kafka.address, all_kinds=True, **{"state.url": redis.url})


@pytest.mark.chaos
def test_a_worker_waits_for_its_redis_says_so_and_misses_nothing(deployment: Deployment, redis: RedisServer) -> None:
    worker = deployment.start()
    worker.wait_until_ready()
    events = simulated(users=200, days=10, **ALL_KINDS, **FAULTS)
    parts = [events[part::4] for part in range(4)]
    deployment.send(parts[0])
    deployment.wait_until_every_gauge_equals_the_recount(worker)

    for away, back, more in ((redis.kill, redis.start, parts[1]), (redis.pause, redis.resume, parts[2])):
        away()
        deployment.send(more)
        worker.wait_until(lambda: redis_is_missed(worker, redis), "it says that Redis is away")
        assert 0.0 in {value for name, value in worker.metrics().items() if "store_available" in name}
        back()
        worker.wait_until(lambda: worker.get("/readyz")[0] == 200, "it is ready again")
        deployment.wait_until_every_gauge_equals_the_recount(worker)

    assert worker.takeovers == 1
    # Asked to stop while nothing can be saved, it leaves what it has read to who comes next.
    deployment.send(parts[3])
    redis.pause()
    worker.terminate()
    assert worker.wait_for_exit() == 0
    redis.resume()
    worker = deployment.start()
    deployment.wait_until_every_gauge_equals_the_recount(worker)


@pytest.mark.chaos
def test_a_worker_started_while_redis_is_away_waits_for_it_and_can_be_stopped(
    deployment: Deployment, redis: RedisServer
) -> None:
    redis.kill()
    worker = deployment.start()
    worker.wait_until(lambda: redis_is_missed(worker, redis), "it says that Redis is away")
    worker.terminate()
    assert worker.wait_for_exit() == 0

    worker = deployment.start()
    worker.wait_until(lambda: redis_is_missed(worker, redis), "it says that Redis is away")
    redis.start()
    worker.wait_until_ready()


@pytest.mark.chaos
def test_a_redis_that_comes_back_with_less_than_was_written_is_refused(
    deployment: Deployment, redis: RedisServer, tmp_path: Path
) -> None:
    events = simulated(users=100, days=10)
    worker = deployment.start()
    worker.wait_until_ready()
    deployment.send(events[::2])
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    redis.stop()
    shutil.copytree(redis.folder, tmp_path / "older")
    redis.start()
    deployment.send(events[1::2])
    deployment.wait_until_every_gauge_equals_the_recount(worker)
    worker.wait_until(lambda: sum(deployment.committed().values()) == len(events), "all is committed")

    redis.kill()
    shutil.rmtree(redis.folder)
    shutil.copytree(tmp_path / "older", redis.folder)
    redis.start()
    deployment.send_to_every_partition()

    assert worker.wait_for_exit() == 1
    assert "is not what was written to it" in worker.log.splitlines()[-1]
    assert "was it set back to an older copy?" in worker.log.splitlines()[-1]
    told = refusal(deployment)
    assert "was committed, but the state has only read up to" in told[0]
    assert "engagement state reset --partition" in told[-1]

    redis.ask("FLUSHALL")
    assert "was committed, but the state has only read up to 0" in refusal(deployment)[0]


@pytest.mark.chaos
def test_a_worker_that_was_frozen_ends_without_writing_what_another_has_taken_over(
    deployment: Deployment, redis: RedisServer
) -> None:
    everything = set(deployment.all_partitions)
    ada, grace = (deployment.start("worker", name=name) for name in ("ada", "grace"))
    server = deployment.start("serve")
    server.wait_until_ready()
    ada.wait_until(lambda: len(ada.partitions) == len(grace.partitions) == len(everything) / 2, "both have partitions")
    events = iter(simulated(users=600, days=28, **FAULTS))

    with deployment.load(events, rate=1_500):
        server.wait_until(lambda: server.read() > 2_000, "some events read")
        ada.freeze()
        grace.wait_until(lambda: grace.partitions == everything, "the other has all partitions")
        read = server.read()
        server.wait_until(lambda: server.read() > read + 2_000, "some more events read")
        ada.resume()

        assert ada.wait_for_exit() == 1
        assert "kafka.session_timeout is 6s" in ada.log.splitlines()[-1]
    # Who was replaced says nothing of partitions that are another's now.
    assert not [standing for standing in server.standings() if "stopped" in standing["reason"]]
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(server)
    assert grace.status is None


def test_a_redis_that_may_evict_state_is_refused(kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis) -> None:
    redis = run_redis(options={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    worker = deploy(kafka.address, **{"state.url": redis.url}).start("worker")

    assert worker.wait_for_exit() == 1
    told = worker.log.splitlines()[-1]
    assert told.startswith(f"engagement: redis at {redis.url} evicts state when memory is short")
    assert told.endswith("CONFIG SET maxmemory-policy noeviction")


def redis_is_missed(program: Program, redis: RedisServer) -> bool:
    status, body = program.get("/readyz")
    return status == 503 and f"redis at {redis.url}: " in body


def refusal(deployment: Deployment) -> list[str]:
    """The lines that tell why a worker ends right after its start."""
    worker = deployment.start()
    assert worker.wait_for_exit() == 1
    lines = worker.log.splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.startswith("engagement: "))
    return lines[first:]
