"""Who leads a group, as the broker has written it down."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.chaos.group import Generation, GroupLog, generation_of, group_of, is_of
from tests.integration.deployment import Program
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

UUID = "0d1f6c3e-8f4b-4b6e-9c55-6c2b8a1a7d10"


def text(told: str | None) -> bytes:
    return struct.pack(">h", -1) if told is None else struct.pack(">h", len(told)) + told.encode()


def group_key(group: str) -> bytes:
    return struct.pack(">h", 2) + text(group)


def metadata(generation: int, protocol: str | None, leader: str | None) -> bytes:
    """A record as version 3 of Kafka's format has it, without members."""
    told = text("consumer") + struct.pack(">i", generation) + text(protocol) + text(leader)
    return struct.pack(">h", 3) + told + struct.pack(">qi", 1_700_000_000_000, 0)


def test_a_record_of_a_group_is_told_from_one_of_an_offset() -> None:
    offset_key = struct.pack(">h", 1) + text("app") + text("logins") + struct.pack(">i", 0)

    assert group_of(group_key("app")) == "app"
    assert group_of(offset_key) is None


def test_it_tells_generation_and_leader() -> None:
    assert generation_of(metadata(7, "faust", f"host-12-{UUID}")) == Generation(7, f"host-12-{UUID}")


def test_a_group_without_members_has_no_leader() -> None:
    assert generation_of(metadata(8, None, None)) == Generation(8, "")


def test_a_member_id_begins_with_the_whole_name_of_its_client() -> None:
    assert is_of(f"host-12-{UUID}", "host-12")
    assert not is_of(f"host-123-{UUID}", "host-12")
    assert not is_of(f"host-12-{UUID}", "host")
    assert not is_of("", "host-12")


@pytest.mark.kafka
def test_the_leader_of_real_workers_is_found_and_another_when_it_is_gone(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address)
    log = GroupLog(kafka.address, deployment.settings.app_id)
    assert log.newest() == Generation(0, "")
    workers = [deployment.start("worker", name=name) for name in ("ada", "grace")]
    workers[0].wait_until(lambda: all(len(worker.partitions) == 2 for worker in workers), "both have partitions")

    (leader,) = (worker for worker in workers if leads(worker, log))
    (follower,) = (worker for worker in workers if worker is not leader)
    generation = log.newest().number
    leader.kill()

    follower.wait_until(lambda: leads(follower, log), "the other one leads")
    assert log.newest().number > generation


def leads(worker: Program, log: GroupLog) -> bool:
    return is_of(log.newest().leader, f"{socket.gethostname()}-{worker.pid}")
