"""Starting: what is wrong is told in a line or two, and nothing is opened that nobody asked for."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

import pytest

from stream.kafka.topics import TopicSpec, create_topics
from tests.integration.deployment import Deployment, Program
from tests.integration.fixtures import Deploy
from tests.ports import free_port

pytestmark = pytest.mark.executed

LISTENING = "0A"


def test_it_is_ready_soon_and_listens_at_one_address_only(deployment: Deployment) -> None:
    program = deployment.start("run")
    seconds = program.wait_until_ready()
    print(f"\nready {seconds:.1f} s after its start, with no state")  # noqa: T201  a figure, for people

    if sys.platform == "linux":
        assert listening(program) == {f"127.0.0.1:{program.port}"}


def test_a_worker_listens_nowhere(deployment: Deployment) -> None:
    program = deployment.start("worker")
    program.wait_until(lambda: program.partitions, "partitions taken over")

    if sys.platform == "linux":
        assert listening(program) == set()


@pytest.mark.parametrize("command", ["run", "worker"])
def test_topics_of_different_size_are_an_operators_mistake_with_a_remedy(deployment: Deployment, command: str) -> None:
    sessions, logins = deployment.settings.topics.sessions, deployment.settings.topics.logins
    create_topics([TopicSpec(sessions, 4), TopicSpec(logins, 3)], client_options=deployment.client, replication=1)

    program = deployment.start(command)

    assert program.wait_for_exit() == 2
    address = deployment.address
    assert program.log.splitlines()[-2:] == [
        f"engagement: topic '{logins}' has 3 partitions, '{sessions}' has 4: they must be equal",
        f"  mend it with: kafka-topics --bootstrap-server {address} --alter --topic {logins} --partitions 4",
    ]


@pytest.mark.parametrize("command", ["run", "worker"])
def test_a_broker_that_does_not_answer_is_one_line(deploy: Deploy, command: str) -> None:
    address = f"127.0.0.1:{free_port()}"

    program = deploy(address).start(command)

    assert program.wait_for_exit() == 1
    told = program.log.splitlines()
    assert told[-1].startswith(f"engagement: cannot reach a Kafka broker at {address}")
    assert not any("Traceback" in line for line in told)


def test_a_server_waits_for_kafka_and_says_that_nothing_is_known(deploy: Deploy) -> None:
    server = deploy(f"127.0.0.1:{free_port()}").start("serve")

    server.wait_until(lambda: server.get("/livez")[0] == 200, "the server answers")
    assert server.get("/readyz")[0] == 503


def test_a_server_may_be_started_before_the_first_worker(deployment: Deployment) -> None:
    server = deployment.start("serve")
    server.wait_until(lambda: server.get("/livez")[0] == 200, "the server answers")
    assert server.get("/readyz")[0] == 503

    deployment.start("worker")

    server.wait_until_ready()


def test_an_address_in_use_is_one_line(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = deployment.start("run", ENGAGEMENT_SERVER_PORT=str(port))

        assert program.wait_for_exit() == 1
        (told,) = [line for line in program.log.splitlines() if line.startswith("engagement: ")]
        assert "address already in use" in told
        assert str(port) in told
        assert "Traceback" not in program.log


def listening(program: Program) -> set[str]:
    """The addresses at which a process accepts connections, as Linux tells them."""
    links = []
    for link in Path(f"/proc/{program.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in between
            links.append(str(link.readlink()))
    own = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{program.pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and inode in own:
                found.add(_readable(local))
    return found


def _readable(local: str) -> str:
    """`0100007F:1F90` is 127.0.0.1:8080: words of four bytes, the last one first."""
    words, port = local.split(":")
    address = b"".join(bytes.fromhex(words[place : place + 8])[::-1] for place in range(0, len(words), 8))
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, address)}:{int(port, 16)}"
