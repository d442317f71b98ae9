"""The network of the chaos tests fails as it is told, and is whole again afterwards."""

from __future__ import annotations

import gc
import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.chaos.proxy import Network, TcpProxy


class Server(threading.Thread):
    """Answers every piece with the same one, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.received = b""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # whoever asks may be gone before it is answered
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while piece := connection.recv(65_536):
            self.received += piece
            connection.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    echo = Server()
    echo.start()
    yield echo
    echo.close()
    echo.join()


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def proxy(network: Network, server: Server) -> TcpProxy:
    return network.proxy(server.address)


def connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def answer(client: socket.socket, asked: bytes) -> bytes:
    """What comes back for it; nothing when the connection ends first."""
    client.sendall(asked)
    told = b""
    while len(told) < len(asked) and (piece := client.recv(65_536)):
        told += piece
    return told


def test_everything_passes_in_both_directions(proxy: TcpProxy) -> None:
    piece = bytes(range(256)) * 4_000

    with connected(proxy) as client:
        assert answer(client, piece) == piece


def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_healed(proxy: TcpProxy) -> None:
    with connected(proxy) as client:
        assert answer(client, b"a") == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)

    proxy.heal()
    with connected(proxy) as client:
        assert answer(client, b"b") == b"b"


def test_what_is_sent_during_a_stall_arrives_when_it_is_over(proxy: TcpProxy, server: Server) -> None:
    with connected(proxy) as client:
        assert answer(client, b"a") == b"a"
        proxy.stall()
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert server.received == b"a"

        proxy.heal()
        client.settimeout(20)
        assert client.recv(1) == b"b"


def test_a_connection_that_was_forgotten_is_silent_for_ever_and_a_new_one_is_carried(proxy: TcpProxy) -> None:
    with connected(proxy) as client:
        assert answer(client, b"a") == b"a"
        proxy.forget()
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        with pytest.raises(TimeoutError):
            client.recv(1)

        with connected(proxy) as another:
            assert answer(another, b"c") == b"c"


def test_what_a_sender_sent_before_it_died_arrives_after_the_stall(proxy: TcpProxy, server: Server) -> None:
    client = connected(proxy)
    assert answer(client, b"a") == b"a"
    proxy.stall()
    client.sendall(b"b" * 200_000)
    client.close()
    time.sleep(0.3)
    assert server.received == b"a"

    proxy.heal()
    until_equal(lambda: server.received, b"a" + b"b" * 200_000)


def until_equal(told: Callable[[], bytes], wanted: bytes) -> None:
    deadline = time.monotonic() + 20
    while told() != wanted:
        assert time.monotonic() < deadline, told()[-100:]
        time.sleep(0.02)


def test_a_slow_connection_takes_its_time_until_it_is_healed(proxy: TcpProxy) -> None:
    proxy.slow(bytes_per_second=1_000, latency_seconds=0.1)
    with connected(proxy) as client:
        started = time.monotonic()
        assert answer(client, b"x" * 200) == b"x" * 200
        assert time.monotonic() - started >= 2 * (0.1 + 0.2)

        proxy.slow(bytes_per_second=1, latency_seconds=0)
        client.sendall(b"y" * 300)
        proxy.heal()
        assert client.recv(1) == b"y"


def request(api: int, correlation: int) -> bytes:
    return struct.pack(">ihhi", 8, api, 9, correlation)


PRODUCE, FETCH = 0, 1


def sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


class Broker(Server):
    """Answers each request with its correlation id."""

    def _answer(self, connection: socket.socket) -> None:
        while asked := connection.recv(12, socket.MSG_WAITALL):
            self.received += asked
            connection.sendall(sized(asked[8:12]))


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    made.start()
    yield made
    made.close()
    made.join()


def test_the_answer_to_a_produce_request_is_lost_after_the_broker_got_it(network: Network, broker: Broker) -> None:
    proxy = network.proxy(broker.address, speaks_kafka=True)
    with connected(proxy) as client:
        client.sendall(request(PRODUCE, 1))
        assert client.recv(8, socket.MSG_WAITALL) == sized(struct.pack(">i", 1))

        proxy.lose_produce_answers(1)
        client.sendall(request(FETCH, 2))
        assert client.recv(8, socket.MSG_WAITALL) == sized(struct.pack(">i", 2))
        client.sendall(request(PRODUCE, 3))
        assert client.recv(8) == b""
    assert broker.received.endswith(request(PRODUCE, 3))
    assert proxy.answers_lost == 1

    with connected(proxy) as client:
        client.sendall(request(PRODUCE, 3))
        assert client.recv(8, socket.MSG_WAITALL) == sized(struct.pack(">i", 3))


def test_clients_are_told_when_the_server_is_not_there(network: Network) -> None:
    proxy = network.proxy("127.0.0.1:1")

    try:
        with connected(proxy) as client:
            told = client.recv(1)
    except ConnectionResetError:
        told = b""
    assert told == b""


def test_a_network_that_ends_leaves_nothing_open(server: Server) -> None:
    """Whoever connects at the last moment is cut off too; Python would tell of what was left open."""
    gc.collect()  # what others have left open is not of this test
    unraisable: list[object] = []
    with warnings.catch_warnings(record=True) as told, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        patch.setattr(sys, "unraisablehook", unraisable.append)
        for _ in range(20):
            with ExitStack() as clients, Network() as network:
                proxy = network.proxy(server.address)
                for _ in range(10):
                    clients.enter_context(connected(proxy))
        gc.collect()
    assert [str(one.message) for one in told] == []
    assert unraisable == []
