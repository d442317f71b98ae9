"""A network that fails on command: a TCP proxy on 127.0.0.1 for each client of a server.

What a network does to a connection, it does here when it is asked: cut it, hold what was sent and deliver it much
later, carry it slowly. One thing only a program can do that reads along: let the answer to a Kafka produce request
get lost, after the broker has done what was asked. The client then sends the request again.

Kafka's clients come back to the address that the broker advertises. So the port of a proxy is known before its target,
and the broker gets a listener for each proxy that advertises it (`tests/integration/kafka_server.py`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

from tests.open_loop import end_all

_READ_BYTES = 64 * 1024

# https://kafka.apache.org/protocol: a request is its size, then its API key, version and correlation id; the answer
# its size and the same correlation id.
_SIZE = struct.Struct(">i")
_REQUEST = struct.Struct(">ihhi")
_RESPONSE = struct.Struct(">ii")
_PRODUCE = 0

# Takes a piece of what one side sent; False when the connection ends with it.
_Look = Callable[[bytes], bool]


class Network:
    """The proxies of a test, all in one thread. They are closed with it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._proxies: list[TcpProxy] = []

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for proxy in self._proxies:
            proxy.close()
        self.do(end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def proxy(
        self, target: str | None = None, *, host: str = "127.0.0.1", port: int = 0, speaks_kafka: bool = False
    ) -> TcpProxy:
        """A new proxy, to an address that may also be given later, at a port or at any that is free."""
        made = TcpProxy(self, host=host, port=port, speaks_kafka=speaks_kafka)
        made.target = target
        self._proxies.append(made)
        made.heal()
        return made

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the thread of the network do something, and wait until it is done."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


class TcpProxy:
    """One way to a server. It carries everything at once until it is told otherwise; `heal` ends whatever it was told.

    With `speaks_kafka` it carries whole requests and answers.
    """

    def __init__(self, network: Network, *, host: str, port: int, speaks_kafka: bool) -> None:
        self._network = network
        self._host = host
        self._speaks_kafka = speaks_kafka
        # It holds the port while nobody listens: connections are then refused, and no other program takes it.
        self._reservation = _bound(host, port)
        self.port: int = self._reservation.getsockname()[1]
        self.target: str | None = None
        self.answers_lost = 0
        self._to_lose = 0
        self._listener: socket.socket | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._is_slow = asyncio.Event()
        self._is_fast = asyncio.Event()
        self._bytes_per_second = self._latency_seconds = 0.0

    @property
    def address(self) -> str:
        """Where clients connect to."""
        return f"{self._host}:{self.port}"

    # -- what can be asked of it -----------------------------------------------------------------------------------

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self._network.do(self._cut())

    def stall(self) -> None:
        """Accept everything and deliver nothing; `heal` delivers it, however late."""
        self._network.do(self._set(flows=False))

    def forget(self) -> None:
        """Deliver nothing more on connections that are open, ever; new ones are carried. Firewalls do it."""
        self._network.do(self._forget())

    def slow(self, *, bytes_per_second: float, latency_seconds: float) -> None:
        """Carry so much in each direction of a connection, each piece so much later."""
        self._bytes_per_second, self._latency_seconds = bytes_per_second, latency_seconds
        self._network.do(self._set(flows=True, slow=True))

    def lose_produce_answers(self, count: int = 1) -> None:
        """Close the connection instead of delivering the next answers to a produce request."""
        assert self._speaks_kafka, "only of Kafka's connections is it known what a request is"
        self._to_lose = count

    def heal(self) -> None:
        """Carry everything at once again, what was held back included."""
        self._to_lose = 0
        self._network.do(self._heal())

    def close(self) -> None:
        """Cut everything for good and free the port."""
        self.cut()
        self._reservation.close()

    # -- in the network's thread -----------------------------------------------------------------------------------

    async def _cut(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for writer in self._open:
            # At once, whatever is still to be sent: both sides get a reset.
            with suppress(OSError):  # it is closed already
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _set(self, *, flows: bool, slow: bool = False) -> None:
        for event, is_set in ((self._flows, flows), (self._is_slow, slow), (self._is_fast, not slow)):
            event.set() if is_set else event.clear()

    async def _forget(self) -> None:
        self._forgotten |= self._open

    async def _heal(self) -> None:
        await self._set(flows=True)
        if self._listener is None:
            self._listener = _bound(self._host, self.port)
            self._listener.setblocking(False)
            self._listener.listen(100)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take a connection. A server of asyncio's that is closed meanwhile would leave it open."""
        with suppress(OSError):  # it is gone again
            connection, _ = listener.accept()
            carrying = asyncio.create_task(self._connect(connection))
            self._carrying.add(carrying)
            carrying.add_done_callback(self._carrying.discard)
            carrying.add_done_callback(lambda _: connection.close())  # also of a task that never began

    async def _connect(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_READ_BYTES)
        self._open.add(writer)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the server is not there, or the network ends: the client is told by the end of its connection
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            self._forgotten.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.target is not None, "a proxy needs a target before it is used"
        host, _, port = self.target.rpartition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        self._open.add(server_writer)
        produced: set[int] = set()
        try:
            await asyncio.gather(
                self._pump(reader, server_writer, lambda piece: self._look_at_request(piece, produced)),
                self._pump(server_reader, writer, lambda piece: self._look_at_answer(piece, produced)),
            )
        finally:
            server_writer.transport.abort()
            self._open.discard(server_writer)
            self._forgotten.discard(server_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: _Look) -> None:
        """Carry one direction. What was sent is read at once: a sender that dies meanwhile has sent it all the same."""
        pieces: asyncio.Queue[bytes] = asyncio.Queue()
        reading = asyncio.create_task(self._read_into(pieces, reader))
        delivers = True
        try:
            while piece := await pieces.get():
                await self._let_through(len(piece))
                # Who sends to somebody who is gone is read to the end: only then has it sent all it had to.
                delivers = delivers and look(piece) and (writer in self._forgotten or await _delivered(piece, writer))
                if not delivers:
                    writer.close()
            writer.write_eof()
        finally:
            reading.cancel()

    async def _read_into(self, pieces: asyncio.Queue[bytes], reader: asyncio.StreamReader) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while piece := await self._read(reader):
                pieces.put_nowait(piece)
        pieces.put_nowait(b"")

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        if not self._speaks_kafka:
            return await reader.read(_READ_BYTES)
        size = await reader.readexactly(_SIZE.size)
        return size + await reader.readexactly(_SIZE.unpack(size)[0])

    async def _let_through(self, size: int) -> None:
        if self._is_slow.is_set():
            with suppress(asyncio.TimeoutError):
                needed = self._latency_seconds + size / self._bytes_per_second
                await asyncio.wait_for(self._is_fast.wait(), needed)
        await self._flows.wait()

    # -- Kafka -----------------------------------------------------------------------------------------------------

    def _look_at_request(self, piece: bytes, produced: set[int]) -> bool:
        if self._speaks_kafka and self._to_lose:
            _, api, _, correlation = _REQUEST.unpack_from(piece)
            if api == _PRODUCE:
                produced.add(correlation)
        return True

    def _look_at_answer(self, piece: bytes, produced: set[int]) -> bool:
        if not self._to_lose or not produced:
            return True
        _, correlation = _RESPONSE.unpack_from(piece)
        if correlation not in produced:
            return True
        self._to_lose -= 1
        self.answers_lost += 1
        return False


async def _delivered(piece: bytes, writer: asyncio.StreamWriter) -> bool:
    try:
        writer.write(piece)
        await writer.drain()
    except OSError:
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound
