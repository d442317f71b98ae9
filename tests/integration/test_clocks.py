"""Wrong clocks: whatever the clock of one machine shows, every number is that of the brokers' time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream.clock import TOLD_SECONDS
from stream.core.time import MINUTE_MS
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import TopicSpec, create_topics
from tests.faked_clock import RIGHT, faked_clock
from tests.integration.deployment import Deployment, Program, login
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.state.conftest import RunRedis

pytestmark = pytest.mark.kafka

DAY_SECONDS = 86_400


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def skew(server: Program, worker: Program) -> float | None:
    """How far the clock of a worker is ahead, as the server tells."""
    told = server.metrics("engagement_clock_skew_seconds")
    assert len(told) <= 2, told
    return told.get(f'engagement_clock_skew_seconds{{worker="{name_of(worker)}"}}')


def name_of(worker: Program) -> str:
    """By which name a worker reports."""
    return f"{socket.gethostname()}-{worker.pid}"


def wait_until_skewed(server: Program, worker: Program, holds: Callable[[float], bool], what: str) -> None:
    """Wait until the server tells a skew of the worker for which something holds."""

    def skewed() -> bool:
        seconds = skew(server, worker)
        return seconds is not None and holds(seconds)

    server.wait_until(skewed, what)


def notes(program: Program) -> str:
    """What /readyz says beside whether it is ready, which it must be."""
    status, text = program.get("/readyz")
    assert (status, text.splitlines()[0]) == (200, "ok"), text
    return "\n".join(text.splitlines()[1:])


class Users:
    """New users who log in, in every partition; all of them must be active, and none of their logins refused."""

    def __init__(self, deployment: Deployment, server: Program) -> None:
        self._deployment, self._server = deployment, server
        self._sent = 0

    def log_in(self, when: str) -> None:
        """Let ten users of each partition log in now, and wait until they are active, by the clock of this machine."""
        partitions = self._deployment.all_partitions
        names = [f"user-{number}" for number in range(self._sent, self._sent + 10 * len(partitions))]
        self._sent += len(names)
        self._deployment.send(login(name, wall_ms()) for name in names)
        self._server.wait_until(lambda: self._server.read() >= self._sent, f"all logins are read {when}")
        outcomes = self._server.outcomes()
        assert outcomes["applied"] == self._sent, f"{when}: {outcomes}"
        expected = {f'engagement_active_users{{window="{window}"}}': self._sent for window in ("1h", "1d", "30d")}
        self._server.wait_until(
            lambda: expected.items() <= self._server.metrics("engagement_active_users").items(),
            f"all are active {when}",
        )
        assert notes(self._server) is not None
        shown_ms = self._server.metrics("engagement_clock_seconds")["engagement_clock_seconds"] * 1_000
        # Reports come once a second, on a busy machine less often.
        assert wall_ms() - MINUTE_MS <= shown_ms <= wall_ms() + 1_000, f"{when}: {shown_ms - wall_ms()} ms"


def test_one_wrong_machine_changes_no_number_whatever_its_clock_does(
    kafka: RunningKafka, deploy: Deploy, tmp_path: Path
) -> None:
    deployment = deploy(kafka.address, clock="wall", **{"server.stale_after": "60s"})
    deployment.create_topics()
    clock = deployment.clocks["wrong"] = faked_clock(tmp_path, "wrong")
    servers_clock = deployment.clocks["serve"] = faked_clock(tmp_path, "serve")
    clock.set("+50m")
    server = deployment.start("serve")
    ports = {"ENGAGEMENT_WORKER_PORT": "0"}
    right, wrong = deployment.start("worker", name="right"), deployment.start("worker", name="wrong", **ports)
    server.wait_until_ready()
    server.wait_until(lambda: wrong.partitions and right.partitions, "both have partitions")
    server.wait_until_ready()
    users = Users(deployment, server)

    wait_until_skewed(
        server, wrong, lambda seconds: 2_990 < seconds < 3_010, "it is known to be ahead from its start on"
    )
    wait_until_skewed(server, right, lambda seconds: abs(seconds) < TOLD_SECONDS, "the other one is right")
    users.log_in("while one clock is 50 minutes ahead")
    assert (
        notes(server)
        == f"the clock of worker {name_of(wrong)} is 50 min ahead of the brokers' time, by which numbers go"
    )

    clock.set(RIGHT)
    wait_until_skewed(server, wrong, lambda seconds: abs(seconds) < TOLD_SECONDS, "it is right again")
    users.log_in("when it went back by 50 minutes")
    assert notes(server) == ""

    clock.set("-2d")
    wait_until_skewed(server, wrong, lambda seconds: -1.01 < seconds / (2 * DAY_SECONDS) < -0.99, "it is behind")
    users.log_in("while one clock is two days behind")

    clock.set("+40d")
    wait_until_skewed(server, wrong, lambda seconds: seconds > 39 * DAY_SECONDS, "it is ahead by 40 days")
    users.log_in("while one clock is 40 days ahead")
    deployment.send([login("", wall_ms())])
    deployment.dead_letters(at_least=1)

    clock.set(RIGHT, speed=1.5)
    wait_until_skewed(server, wrong, lambda seconds: TOLD_SECONDS < seconds < DAY_SECONDS, "it runs too fast")
    users.log_in("while one clock drifts")

    clock.set(RIGHT)
    wait_until_skewed(server, wrong, lambda seconds: abs(seconds) < TOLD_SECONDS, "it does not drift any more")
    servers_clock.set("+50m")
    server.wait_until(lambda: "the clock of this server is 50 min ahead" in notes(server), "the server knows its clock")
    users.log_in("while the server's clock is ahead")
    assert server.metrics()['engagement_snapshot_age_seconds{partition="0"}'] < 60

    events = [json.loads(line) for line in wrong.log.splitlines() if line.startswith("{")]
    told = [event["event"] for event in events if "clock" in event["event"]]
    is_wrong, is_right = (
        "this machine's clock is wrong: numbers go by the brokers' time",
        "this machine's clock is right again",
    )
    assert told[:3] == [is_wrong, is_right, is_wrong], told
    assert told[-1] == is_right
    assert wrong.status is None


# -- where others have made the topics ---------------------------------------------------------------------------------


def create_topics_of_create_time(deployment: Deployment) -> None:
    """Create the topics as somebody does who knows nothing of their settings but those without which nothing runs."""
    create_time = {"message.timestamp.type": "CreateTime"}
    specs = [
        TopicSpec(spec.name, spec.partitions, {**spec.config, **create_time})
        for spec in topic_specs(deployment.settings)
    ]
    create_topics(specs, client_options=deployment.client, replication=1)


def test_where_no_broker_tells_its_time_that_is_said_with_the_remedy_and_no_clock_ends_a_worker(
    kafka: RunningKafka, deploy: Deploy, tmp_path: Path
) -> None:
    deployment = deploy(kafka.address, clock="wall", **{"topics.partitions": "1", "server.stale_after": "60s"})
    create_topics_of_create_time(deployment)
    clock = deployment.clocks["run"] = faked_clock(tmp_path, "run")
    clock.set("+40d")
    program = deployment.start("run")
    program.wait_until_ready()
    snapshots = deployment.settings.snapshots_topic
    why = f"topic {snapshots!r} has message.timestamp.type=CreateTime (see `engagement topics check`)"
    told = f"numbers of worker {name_of(program)} go by its own clock, for the brokers' time is not told: {why}"
    program.wait_until(lambda: notes(program) == told, "it says by which clock its numbers go")

    deployment.send([login("ada", wall_ms()), login("", wall_ms())])
    assert len(deployment.dead_letters(at_least=1)) == 1
    program.wait_until(lambda: program.outcomes()["applied"] == 1, "the login is counted")
    program.wait_until(lambda: deployment.committed() != {}, "a checkpoint is written")
    assert not any(name.startswith("engagement_clock_skew_seconds") for name in program.metrics())
    assert why in program.log
    assert "a topic refuses this machine's time: messages are sent one by one, without it" in program.log

    checked = deployment.command("topics", "check")
    remedy = f"kafka-configs --bootstrap-server {kafka.address} --alter --entity-type topics --entity-name {snapshots}"
    assert checked.returncode == 1
    assert f"{remedy} --add-config message.timestamp.type=LogAppendTime" in checked.stderr

    clock.set(RIGHT)
    stands_still = "partition 0: its clock has gone by a wrong time, 40 days ahead"
    program.wait_until(lambda: program.get("/readyz")[1].startswith(stands_still), "it says that it stands still")
    assert program.get("/readyz")[0] == 503
    assert program.api()["state"] == "ahead"

    admin = KafkaAdminClient(**deployment.client)
    wanted = {"message.timestamp.type": "LogAppendTime"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, snapshots, wanted)])
    admin.close()
    wait_until_skewed(program, program, lambda seconds: abs(seconds) < TOLD_SECONDS, "the broker tells its time now")
    assert program.get("/readyz")[1].count("\n") == 1
    assert program.status is None


def test_redis_tells_the_time_where_no_broker_does(
    kafka: RunningKafka, deploy: Deploy, run_redis: RunRedis, tmp_path: Path
) -> None:
    url = f"redis://127.0.0.1:{run_redis().port}"
    settings = {"topics.partitions": "1", "server.stale_after": "60s", "state.url": url}
    deployment = deploy(kafka.address, clock="wall", **settings)
    create_topics_of_create_time(deployment)
    deployment.clocks["run"] = faked_clock(tmp_path, "run")
    deployment.clocks["run"].set("-2d")
    program = deployment.start("run")
    program.wait_until_ready()

    wait_until_skewed(program, program, lambda seconds: -1.01 < seconds / (2 * DAY_SECONDS) < -0.99, "it is behind")
    Users(deployment, program).log_in("by the time of Redis")
    assert "behind the brokers' time" in notes(program)
