"""Names with several addresses: each is tried, by both Kafka libraries, and a slow look-up holds up nothing else."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import SaslAuthenticateResponse_v1
from kafka.net import NetworkSelector

from stream.kafka import connections
from stream.kafka.connections import NotConnected, connection_problems, open_socket, split_server
from stream.kafka.options import client_options
from stream.kafka.topics import BrokerUnreachable, admin_client
from stream.settings import load
from tests.kafka.addresses import Broker, Names, mute, silent
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

NAME, OTHER_NAME = "kafka.test", "other.test"
STALE, LIVE = "127.0.0.9", "127.0.0.1"

AtAddress = Callable[[str, int], AbstractContextManager[None]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name server, and a process that remembers nothing."""
    monkeypatch.setattr(connections, "_names", connections._Names())
    return Names(monkeypatch)


def options(port: int, host: str = NAME) -> dict[str, Any]:
    """The options of a client of the broker with this name."""
    return client_options(load(None, {"ENGAGEMENT_KAFKA_SERVERS": f"{host}:{port}"}))


def brokers_by_aiokafka(port: int) -> set[tuple[str, int]]:
    """Whom an aiokafka client finds, by a connection to the name and one to the broker that it finds."""

    async def scenario() -> set[tuple[str, int]]:
        client = AIOKafkaClient(**options(port))
        await client.bootstrap()
        found = {(broker.host, broker.port) for broker in client.cluster.brokers() if await client.ready(broker.nodeId)}
        await client.close()
        return found

    return asyncio.run(scenario())


def brokers_by_kafka_python(port: int) -> set[tuple[str, int]]:
    """Whom an admin client of kafka-python finds."""
    with admin_client(options(port)) as admin:
        return {(broker["host"], broker["port"]) for broker in admin.describe_cluster()["brokers"]}


BY = [brokers_by_aiokafka, brokers_by_kafka_python]


@pytest.mark.parametrize("brokers", BY)
@pytest.mark.parametrize("stale", [silent, mute])
def test_an_address_at_which_no_broker_answers_does_not_keep_from_the_next(
    names: Names, brokers: Callable[[int], set[tuple[str, int]]], stale: AtAddress
) -> None:
    names.addresses[NAME] = [STALE, LIVE]
    with Broker(host=NAME) as broker, stale(STALE, broker.port):
        assert brokers(broker.port) == {(NAME, broker.port)}

        connected = broker.connections
        assert brokers(broker.port) == {(NAME, broker.port)}
        assert broker.connections > connected


@pytest.mark.parametrize("brokers", BY)
def test_a_name_is_looked_up_anew_for_each_connection(
    names: Names, brokers: Callable[[int], set[tuple[str, int]]]
) -> None:
    with Broker(host=NAME) as broker:
        names.addresses[NAME] = [LIVE]
        brokers(broker.port)
        asked = names.asked[NAME]
        assert asked >= 2
        names.addresses[NAME] = ["127.0.0.2"]
        with Broker("127.0.0.2", broker.port, host=NAME) as moved:
            brokers(broker.port)
            assert names.asked[NAME] == 2 * asked
            assert moved.connections == broker.connections


def test_what_happened_at_each_address_is_said(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.2)
    port = free_port()
    names.addresses[NAME] = [STALE, LIVE]
    names.addresses[OTHER_NAME] = [LIVE]
    with silent(STALE, port), pytest.raises(NotConnected) as raised:
        open_socket(NAME, port).result()

    assert str(raised.value) == f"{STALE}: no answer, {LIVE}: connection refused"
    assert connection_problems(f"{NAME}:{port},{OTHER_NAME}:{port}") == str(raised.value)
    with pytest.raises(NotConnected, match=rf"^connection refused \({LIVE}\)$"):
        open_socket(OTHER_NAME, port).result()
    with Broker(port=port) as broker:
        open_socket(NAME, broker.port).result().close()
    assert connection_problems(f"{NAME}:{port}") == ""


class Opened:
    """What an attempt to connect has opened."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


def test_of_addresses_that_answer_at_once_one_is_kept_and_the_others_are_closed(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_NEXT_ADDRESS_SECONDS", 0.0)
    names.addresses[NAME] = [STALE, "127.0.0.2", LIVE]
    opened: list[Opened] = []

    async def scenario() -> Opened:
        may_answer = asyncio.Event()

        async def attempt(address: object) -> Opened:
            mine = Opened()
            opened.append(mine)
            if len(opened) == 3:
                may_answer.set()
            await may_answer.wait()
            return mine

        return await connections.first_to_answer(NAME, 9092, attempt, seconds=TIMEOUT_SECONDS)

    kept = asyncio.run(scenario())
    assert len(opened) == 3
    assert [one for one in opened if one.is_open] == [kept]


def test_an_admin_client_says_which_addresses_it_has_tried(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.2)
    port = free_port()
    names.addresses[NAME] = [STALE, "127.0.0.2"]
    with silent(STALE, port), silent("127.0.0.2", port), pytest.raises(BrokerUnreachable) as raised:
        brokers_by_kafka_python(port)

    problem = f"no answer ({STALE}, 127.0.0.2)"
    assert str(raised.value) == f"cannot reach a Kafka broker at {NAME}:{port}: {problem}"


def test_a_broker_that_names_itself_by_a_name_without_address_is_told_by_that_name(names: Names) -> None:
    names.addresses[NAME] = [LIVE]
    with (
        Broker(host="no-such-host.invalid") as broker,
        pytest.raises(BrokerUnreachable) as raised,
        admin_client({**options(broker.port), "request_timeout_ms": 1_000}) as admin,
    ):
        admin.describe_topics([])

    told = f"lost the Kafka broker at {NAME}:{broker.port}: the cluster names the broker no-such-host.invalid:"
    assert str(raised.value).startswith(told)
    assert "the name 'no-such-host.invalid' has no address" in str(raised.value)


def test_a_slow_look_up_holds_up_no_other_connection_of_the_client(names: Names) -> None:
    names.addresses |= {NAME: [LIVE], OTHER_NAME: [LIVE]}
    names.slow[OTHER_NAME] = threading.Event()

    async def scenario() -> None:
        with Broker(host=NAME) as broker, Broker(host=OTHER_NAME) as other:
            client = AIOKafkaClient(**options(broker.port))
            await client.bootstrap()
            (known,) = client.cluster.brokers()
            client.cluster._brokers[2] = known._replace(nodeId=2, host=OTHER_NAME, port=other.port)
            slow = asyncio.ensure_future(client.ready(2))
            while not names.asked[OTHER_NAME]:  # noqa: ASYNC110  another thread counts
                await asyncio.sleep(0.01)

            assert await client.ready(1)
            assert not slow.done()
            names.slow[OTHER_NAME].set()
            assert await slow
            assert other.connections == 1
            await client.close()

    asyncio.run(scenario())


def test_a_slow_look_up_does_not_stop_the_thread_of_a_kafka_python_client(names: Names) -> None:
    names.addresses[NAME] = [LIVE]
    names.slow[NAME] = threading.Event()
    net = NetworkSelector()
    manager = connections._Connections(net, bootstrap_servers=f"{NAME}:1")
    net.start()
    try:
        bootstrap = manager.bootstrap_async(timeout_ms=60_000)
        while not names.asked[NAME]:
            time.sleep(0.01)

        ran = threading.Event()
        net.call_soon_threadsafe(ran.set)
        assert ran.wait(30)
        assert not bootstrap.is_done
    finally:
        names.slow[NAME].set()
        manager.close()
        net.stop()
        net.close()


def test_the_same_connection_is_opened_once(names: Names) -> None:
    names.addresses[NAME] = [LIVE]

    async def scenario() -> int:
        with Broker(host=NAME) as broker:
            client = AIOKafkaClient(**options(broker.port))
            await client.bootstrap()
            (known,) = client.cluster.brokers()
            connected = broker.connections
            assert all(await asyncio.gather(*(client.ready(known.nodeId) for _ in range(5))))
            await client.close()
            return broker.connections - connected

    assert asyncio.run(scenario()) == 1


def test_a_connection_whose_session_ends_soon_is_replaced_and_closed_after_its_last_answer(names: Names) -> None:
    names.addresses[NAME] = [LIVE]

    async def scenario() -> None:
        with Broker(host=NAME) as broker:
            client = AIOKafkaClient(**options(broker.port))
            await client.bootstrap()
            (known,) = client.cluster.brokers()
            assert await client.ready(known.nodeId)
            place = known.nodeId, ConnectionGroup.DEFAULT
            old, answer = client._conns[place], asyncio.get_running_loop().create_future()
            old._requests.append((0, None, answer))
            old._replaced_at = time.monotonic()
            assert await client.ready(known.nodeId)
            new = client._conns[place]
            await asyncio.sleep(0)

            assert new is not old
            assert not new.must_be_replaced
            assert old.connected()
            old._requests.clear()
            answer.set_result(None)
            await asyncio.wait(connections._closing, timeout=TIMEOUT_SECONDS)
            assert not old.connected()
            assert client._conns[place] is new
            await client.close()

    asyncio.run(scenario())


def test_the_session_of_a_connection_is_what_the_broker_says_of_it() -> None:
    async def told(lifetime_ms: int) -> connections._Connection:
        connection = connections._Connection("127.0.0.1", 9_092)
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(SaslAuthenticateResponse_v1(0, None, b"", lifetime_ms))
        await connection._note_session(answer)
        return connection

    before = time.monotonic()
    assert 8.5 <= asyncio.run(told(10_000))._replaced_at - before < 8.5 + TIMEOUT_SECONDS
    assert asyncio.run(told(0))._replaced_at == math.inf


def test_a_client_of_aiokafka_has_the_reason_too(names: Names) -> None:
    port = free_port()
    names.addresses[NAME] = [LIVE]

    async def scenario() -> None:
        with pytest.raises(KafkaConnectionError):
            await AIOKafkaClient(**options(port)).bootstrap()

    asyncio.run(scenario())
    assert connection_problems(f"{NAME}:{port}") == f"connection refused ({LIVE})"


def test_a_server_may_have_no_port_a_scheme_or_brackets() -> None:
    assert split_server("kafka") == ("kafka", 9092)
    assert split_server("kafkabatch://kafka:9093") == ("kafka", 9093)
    assert split_server(" [::1]:9094") == ("::1", 9094)
    with pytest.raises(ValueError, match="'kafka' is no port"):
        split_server("127.0.0.1:kafka")
