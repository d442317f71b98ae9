"""Names with several addresses for tests: what a name server would tell, and what is found at each address.

All addresses are of 127.0.0.0/8. At some nobody answers, at others something that is no broker, at one a broker that
knows two requests: which versions it has, and which brokers there are.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from tests.missing import missing
from tests.timeouts import TIMEOUT_SECONDS

_NO_ANSWER_SECONDS = 0.3
_API_VERSIONS, _METADATA = 18, 3
_UNSUPPORTED_VERSION = 35


class Names:
    """A name server: knows names with their addresses, and answers when it is allowed to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.slow: dict[str, threading.Event] = {}  # by name: what an answer waits for
        self._ask: Any = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, *args: Any, flags: int = 0, **named: Any) -> list[Any]:
        if host not in self.addresses or flags & socket.AI_NUMERICHOST:
            found: list[Any] = self._ask(host, port, *args, flags=flags, **named)
            return found
        self.asked[host] += 1
        if host in self.slow:
            assert self.slow[host].wait(TIMEOUT_SECONDS)
        kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
        return [(socket.AF_INET, kind, protocol, "", (address, port)) for address in self.addresses[host]]


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """An address at which packets are dropped: the queue of its port is full, so Linux answers no connection."""
    with ExitStack() as closing, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(20):
            waiting = closing.enter_context(socket.socket())
            waiting.settimeout(_NO_ANSWER_SECONDS)
            try:
                waiting.connect((address, port))
            except TimeoutError:
                yield
                return
        missing("a kernel that drops connections when the queue of a port is full")


@contextmanager
def mute(address: str, port: int) -> Iterator[None]:
    """An address that accepts connections and never says anything."""
    with socket.create_server((address, port)):
        yield


class Broker:
    """A broker at an address, which names itself `host`, and counts its connections."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, *, host: str = "") -> None:
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        self.host = host or address
        self.connections = 0
        self._open: list[socket.socket] = []

    def __enter__(self) -> Broker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Close all connections."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, struct.error), connection.makefile("rb") as requests:
            while True:
                (size,) = struct.unpack(">i", requests.read(4))
                key, version, correlation = struct.unpack_from(">hhi", requests.read(size))
                answer = struct.pack(">i", correlation) + self._answer(key, version)
                connection.sendall(struct.pack(">i", len(answer)) + answer)

    def _answer(self, key: int, version: int) -> bytes:
        """Answer as of version 0 for the versions, and as of version 1 for the brokers; it has no others."""
        if key == _API_VERSIONS:
            error = 0 if version == 0 else _UNSUPPORTED_VERSION
            return struct.pack(">hi", error, 2) + struct.pack(">6h", _API_VERSIONS, 0, 0, _METADATA, 1, 1)
        assert (key, version) == (_METADATA, 1)
        host = self.host.encode()
        told = struct.pack(">iih", 1, 1, len(host)) + host + struct.pack(">ih", self.port, -1)
        return told + struct.pack(">ii", 1, 0)
