"""How connections to Kafka are opened: every address of a broker's name is tried, whichever Kafka library asks.

A name may have several addresses, and one of them may be stale: in container networks and Kubernetes a record often
outlives its container. Nobody answers at such an address, or something answers that is not this broker. aiokafka tries
the addresses one after the other and waits for each until the operating system gives up, which takes two minutes.
kafka-python gives up with the first. Both hold up their other connections meanwhile, kafka-python already while it
looks a name up.

Here the next address is tried as soon as one has not answered for a moment, and the first that answers is taken, as in
RFC 8305 (Happy Eyeballs). An answer is that of a broker, not just an open port. A name is looked up anew for each
connection, in a thread of its own. An address that has failed is tried last for a while.

aiokafka has no option for any of this, so `adapt_aiokafka` replaces what it connects with. kafka-python has one:
`EachAddressClient` is a value for `kafka_client`.
"""

import asyncio
import math
import os
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from contextlib import nullcontext, suppress
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

from aiokafka import client as aiokafka_client
from aiokafka import errors as aiokafka_errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.metadata import MetadataRequest
from kafka.errors import KafkaConnectionError
from kafka.future import Future
from kafka.net import (
    KafkaConnectionManager,
    KafkaNetClient,
    KafkaSSLTransport,
    KafkaTCPTransport,
    NetworkSelector,
)

# Without an answer for this long, the next address is tried too. RFC 8305 recommends 0.25 s for TCP; ours includes the
# first request to the broker.
_NEXT_ADDRESS_SECONDS = 0.5
# An address that has not accepted a connection by then has failed. Between two continents it takes 0.3 s.
_CONNECT_SECONDS = 5.0
# kafka-python has connected before it asks the broker, so here it can't ask several at the same time.
_FIRST_ANSWER_SECONDS = 3.0
# The resolver of the C library asks each name server twice for 5 s, and that for each search domain.
_LOOK_UP_SECONDS = 30.0
# For how long an address that has failed is tried after the others.
_TRIED_LAST_SECONDS = 60.0

DEFAULT_PORT = 9092

# How much of a session is used before its connection is replaced, as kafka-python and the Java client log in again.
_SESSION_USED = 0.85

# Connections that have been replaced and wait for their last answers. A task that nobody holds may be collected.
_closing: "set[asyncio.Future[None]]" = set()

_AddressInfo = tuple[int, int, int, str, Any]


class _CanBeClosed(Protocol):
    def close(self) -> None: ...


_Closable = TypeVar("_Closable", bound=_CanBeClosed)


class NotConnected(ConnectionError):
    """No address of a name has answered. The text says what happened at each."""


class _Names:
    """What is remembered of names and addresses, for all clients of the process."""

    def __init__(self) -> None:
        self.problems: dict[tuple[str, int], str] = {}  # by name and port: why the last connection failed
        self._failed_at: dict[Any, float] = {}  # by address: when it last failed
        self._addresses: dict[tuple[str, int], list[Any]] = {}  # by name and port: what the last look-up has found

    def in_order(self, host: str, port: int, found: Sequence[_AddressInfo]) -> list[_AddressInfo]:
        """Take in what was found for a name, and return it with those addresses last that have failed lately."""
        self._addresses[host, port] = [address[4] for address in found]
        return sorted(found, key=lambda address: self._has_failed(address[4]))

    def has_another(self, host: str, port: int, address: Any) -> bool:
        """Whether a name has another address than this one that has not failed lately."""
        known = self._addresses.get((host, port), ())
        return any(other != address and not self._has_failed(other) for other in known)

    def _has_failed(self, address: Any) -> bool:
        return time.monotonic() - self._failed_at.get(address, -_TRIED_LAST_SECONDS) < _TRIED_LAST_SECONDS

    def fail(self, address: Any) -> None:
        """Remember that an address has failed."""
        if len(self._failed_at) > 1_000:
            self._failed_at.clear()
        self._failed_at[address] = time.monotonic()

    def succeed(self, host: str, port: int, address: Any) -> None:
        """Remember that an address of a name has answered."""
        self._failed_at.pop(address, None)
        self.problems.pop((host, port), None)


_names = _Names()


def split_server(server: str) -> tuple[str, int]:
    """Return name and port of an entry of `kafka.servers`. Raises ValueError if the port is not a number."""
    host, _, port = server.rpartition("://")[2].strip().rpartition(":")
    if not host:
        return port, DEFAULT_PORT
    if not port.isdecimal():
        raise ValueError(f"{port!r} is no port")
    return host.strip("[]"), int(port)


def connection_problems(servers: str | Sequence[str]) -> str:
    """Return why the last connections to these servers failed; empty if none did."""
    found = []
    for server in servers.split(",") if isinstance(servers, str) else servers:
        with suppress(ValueError):
            found.append(_names.problems.get(split_server(server), ""))
    return "; ".join(problem for problem in dict.fromkeys(found) if problem)


# -- opening a connection ------------------------------------------------------------------------------------------


async def first_to_answer(
    host: str, port: int, attempt: Callable[[_AddressInfo], Awaitable[_Closable]], *, seconds: float
) -> _Closable:
    """Look a name up and try its addresses; returns the result of the first `attempt` that succeeds.

    An attempt has failed if it raises OSError, TimeoutError or KafkaConnectionError; any other error ends all. What
    another attempt has opened meanwhile is closed. Raises NotConnected when all have failed, or after `seconds`, in
    which the look-up does not count.
    """
    try:
        addresses = _names.in_order(host, port, await _look_up(host, port))
        return await _race(host, port, addresses, attempt, deadline=time.monotonic() + seconds)
    except NotConnected as error:
        _names.problems[host, port] = str(error)
        raise


async def _race(
    host: str,
    port: int,
    addresses: Sequence[_AddressInfo],
    attempt: Callable[[_AddressInfo], Awaitable[_Closable]],
    *,
    deadline: float,
) -> _Closable:
    waiting = list(addresses)
    running: dict[asyncio.Future[_Closable], _AddressInfo] = {}
    problems: dict[Any, str] = {}
    try:
        while (waiting or running) and time.monotonic() < deadline:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(attempt(address))] = address
            pause = _NEXT_ADDRESS_SECONDS if waiting else deadline - time.monotonic()
            ended, _ = await asyncio.wait(running, timeout=max(0.0, pause), return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                address = running.pop(one)
                try:
                    answer = one.result()
                except _FAILURES as error:
                    _names.fail(address[4])
                    problems[address[4]] = _reason(error)
                    continue
                for slower in running.values():
                    _names.fail(slower[4])
                _names.succeed(host, port, address[4])
                return answer
        for address in running.values():
            _names.fail(address[4])
            problems[address[4]] = "no answer"
        raise NotConnected(_told(host, problems))
    finally:
        for one in running:
            one.add_done_callback(_close_what_was_opened)
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _close_what_was_opened(attempt: "asyncio.Future[_Closable]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


_FAILURES = (OSError, asyncio.TimeoutError, aiokafka_errors.KafkaConnectionError, aiokafka_errors.RequestTimedOutError)


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError) or not str(error):
        return "no answer"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)


def _told(host: str, problems: dict[Any, str]) -> str:
    """Say what happened at each address: once if it was the same at all of them."""
    if len(set(problems.values())) == 1:
        (problem,) = set(problems.values())
        addresses = ", ".join(str(address[0]) for address in problems)
        return problem if addresses == host else f"{problem} ({addresses})"
    return ", ".join(f"{address[0]}: {problem}" for address, problem in problems.items())


async def _look_up(host: str, port: int) -> list[_AddressInfo]:
    """Return the addresses of a name. Raises NotConnected if it has none, or if no name server answers."""
    with suppress(socket.gaierror):  # a number needs no name server, and so no thread
        return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[_AddressInfo]] = loop.create_future()

    def look_up() -> None:
        result: list[_AddressInfo] | OSError
        try:
            result = [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            result = error if isinstance(error, OSError) else OSError(str(error))
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, found, result)

    # A thread of its own: the threads that asyncio shares also wait for stores, and Python waits for them at exit.
    Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        return await asyncio.wait_for(found, _LOOK_UP_SECONDS)
    except asyncio.TimeoutError:
        raise NotConnected(f"the name {host!r} could not be looked up within {_LOOK_UP_SECONDS:g} s") from None
    except OSError as error:
        raise NotConnected(f"the name {host!r} has no address: {(error.strerror or str(error)).lower()}") from None


def _resolve(found: "asyncio.Future[list[_AddressInfo]]", result: list[_AddressInfo] | OSError) -> None:
    if found.done():
        return
    if isinstance(result, OSError):
        found.set_exception(result)
    else:
        found.set_result(result)


async def _connected_socket(address: _AddressInfo) -> socket.socket:
    family, kind, protocol, _, place = address
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(opened, place), _CONNECT_SECONDS)
    except BaseException:
        opened.close()
        raise
    return opened


def open_socket(host: str, port: int) -> "ThreadFuture[socket.socket]":
    """Connect to the first address of a name that accepts it, in a thread. Raises NotConnected through the future."""
    result: ThreadFuture[socket.socket] = ThreadFuture()

    def connect() -> None:
        try:
            result.set_result(asyncio.run(first_to_answer(host, port, _connected_socket, seconds=2 * _CONNECT_SECONDS)))
        except Exception as error:  # noqa: BLE001  who waits for the future raises it
            result.set_exception(error)

    Thread(target=connect, name=f"connect to {host}", daemon=True).start()
    return result


# -- aiokafka ------------------------------------------------------------------------------------------------------


class _LoopForAddress:
    """An event loop that connects to one address, whatever name it is asked for. A certificate must be for the name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: _AddressInfo) -> None:
        self._loop = loop
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, new_protocol: Callable[[], Any], host: str, port: int, *, ssl: Any) -> Any:
        opened = await _connected_socket(self._address)
        return await self._loop.create_connection(
            new_protocol, sock=opened, ssl=ssl, server_hostname=host if ssl else None
        )


async def _connect_to_any_address(host: str, port: int, *, on_close: Any = None, **options: Any) -> AIOKafkaConnection:
    """Open an aiokafka connection to the first address of a name at which a broker answers."""

    async def attempt(address: _AddressInfo) -> AIOKafkaConnection:
        connection = _Connection(host, port, **options)
        connection._loop = _LoopForAddress(connection._loop, address)
        await connection.connect()  # asks which versions the broker has, and logs in
        return connection

    seconds = options.get("request_timeout_ms", 40_000) / 1_000
    try:
        connection = await first_to_answer(host, port, attempt, seconds=seconds)
    except NotConnected as error:
        raise aiokafka_errors.KafkaConnectionError(str(error)) from None
    connection._on_close_cb = on_close  # those that were too slow tell nobody that they are closed
    return connection


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """A connection that knows when its session ends: a broker closes it if a request comes later (KIP-368).

    aiokafka can't log in again on a connection that is open.
    """

    _replaced_at = math.inf  # when it shall be replaced by a new one

    def send(self, request: Any, expect_response: bool = True) -> Any:
        sent = super().send(request, expect_response)
        return self._note_session(sent) if isinstance(request, SaslAuthenticateRequest) else sent

    async def _note_session(self, sent: Awaitable[Any]) -> Any:
        answer = await sent
        lifetime_ms = getattr(answer, "session_lifetime_ms", 0)  # brokers before 2.2 tell none
        if lifetime_ms > 0:
            self._replaced_at = time.monotonic() + _SESSION_USED * lifetime_ms / 1_000
        return answer

    @property
    def must_be_replaced(self) -> bool:
        """Whether its session ends soon."""
        return time.monotonic() >= self._replaced_at

    async def close_when_idle(self) -> None:
        """Wait for the answers that are still to come, and close it. Its client has forgotten it already."""
        self._on_close_cb = None
        answers = [future for _, _, future in self._requests]
        if answers:
            await asyncio.wait(answers)
        self.close()


_get_connection = aiokafka_client.AIOKafkaClient._get_conn


async def _get_connection_alone(
    self: Any, node_id: Any, *, group: Any = aiokafka_client.ConnectionGroup.DEFAULT, no_hint: bool = False
) -> Any:
    """Get or open a connection. aiokafka has one lock for all, so one that waits would hold up all others."""
    connection = self._conns.get((node_id, group))
    if connection is not None and connection.connected():
        if not connection.must_be_replaced:
            return connection
        closing = asyncio.ensure_future(self._conns.pop((node_id, group)).close_when_idle())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
    locks = self.__dict__.setdefault("_locks_of_connections", defaultdict(asyncio.Lock))
    async with locks[node_id, group]:
        return await _get_connection(self, node_id, group=group, no_hint=no_hint)


def adapt_aiokafka() -> None:
    """Let all aiokafka clients of this process connect as this module describes it, and create no topics.

    They ask for their topics again and again. A broker that creates topics on first use would create one that was
    deleted, with its own number of partitions.
    """
    aiokafka_client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)
    aiokafka_client.create_conn = _connect_to_any_address
    aiokafka_client.AIOKafkaClient._get_conn = _get_connection_alone
    aiokafka_client.AIOKafkaClient._get_conn_lock = property(lambda self: nullcontext())


# -- kafka-python --------------------------------------------------------------------------------------------------


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # kafka-python has no types
    """The connections of a kafka-python client, opened as this module describes it, unless it has a proxy."""

    def __init__(self, net: Any, **options: Any) -> None:
        super().__init__(net, **options)
        # kafka-python counts the look-up too, for which it has 10 s.
        self.config["socket_connection_setup_timeout_ms"] += int(_LOOK_UP_SECONDS * 1_000)

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        if self.config["proxy_url"] is not None:
            return await super()._build_transport(node, timeout_at=timeout_at)
        opened = await self._open_socket(node.host, node.port)
        for option in self.config["socket_options"]:
            opened.setsockopt(*option)
        address = opened.getpeername()
        connection = self._conns.get(node.node_id)
        if connection is not None:
            connection.init_future.add_errback(lambda _: _names.fail(address))
            if _names.has_another(node.host, node.port, address):
                self._net.call_later(_FIRST_ANSWER_SECONDS, lambda: _end_if_silent(connection, opened))
        if self.ssl_enabled:
            options = {name: value for name, value in self.config.items() if name.startswith("ssl_")}
            transport: Any = KafkaSSLTransport(self._net, opened, host=node.host, **options)
        else:
            transport = KafkaTCPTransport(self._net, opened, host=node.host)
        try:
            await transport.handshake()
        except Exception as error:  # noqa: BLE001  kafka-python takes any error here for a failed connection
            _names.fail(address)
            transport.close()
            raise KafkaConnectionError(f"the TLS handshake failed: {error}") from None
        return transport

    async def _open_socket(self, host: str, port: int) -> socket.socket:
        """Connect in a thread, and wait for it in kafka-python's way, which lets other connections go on."""
        opened = Future()

        def tell(result: "ThreadFuture[socket.socket]") -> None:
            def told() -> None:
                error = result.exception()
                opened.success(result.result()) if error is None else opened.failure(error)

            with suppress(RuntimeError):  # the client is closed: nobody waits any more
                self._net.call_soon_threadsafe(told)

        open_socket(host, port).add_done_callback(tell)
        try:
            return cast(socket.socket, await opened)
        except NotConnected as error:
            raise KafkaConnectionError(str(error)) from None


def _end_if_silent(connection: Any, opened: socket.socket) -> None:
    """End a connection to which no broker has answered, so that the next attempt tries another address."""
    if connection.initializing:
        with suppress(OSError):  # it is closed
            opened.shutdown(socket.SHUT_RDWR)


class EachAddressClient(KafkaNetClient):  # type: ignore[misc]
    """What a kafka-python client sends its requests with, if it has this as its option `kafka_client`."""

    def __init__(self, **options: Any) -> None:
        net = NetworkSelector(**options)
        super().__init__(net=net, manager=_Connections(net, **options), **options)
