"""How fast the stores read and write rows of 1 kB, in batches as a worker asks for them.

`make bench ARGS="-k stores"`. Both sides of Redis run on this machine: a network adds its round trips, three a batch.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest

from stream.core.store import Store
from stream.state.rocksdb import RocksStore
from tests.bench.figures import show
from tests.state.redis_server import RedisServer, RedisUnavailable, valkey_of_the_wheel
from tests.state.redis_stores import stores

pytestmark = pytest.mark.bench

ROWS = 200_000
_VALUES = [os.urandom(700) + bytes(300) for _ in range(1_000)]
_ROUNDS = 7

Open = Callable[[], Store]


@pytest.fixture(scope="module", params=["rocksdb", "redis", "redis with a log", "redis cluster", "valkey"])
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Open]]:
    """Opens a store with ROWS rows; the name says where."""
    if request.param == "rocksdb":
        folder = tmp_path_factory.mktemp("rocksdb")
        yield request.param, _filled(lambda: RocksStore(Path(folder) / "partition-0"))
        return
    try:
        server = RedisServer(
            program=valkey_of_the_wheel() if request.param == "valkey" else None,
            cluster=request.param == "redis cluster",
            options={"appendonly": "yes" if request.param == "redis with a log" else "no"},
        )
    except RedisUnavailable as error:
        pytest.skip(str(error))
    server.start()
    deployment = stores(server)
    yield request.param, _filled(lambda: deployment.open_store(0))
    deployment.close()
    server.discard()


def _filled(open_store: Open) -> Open:
    store = open_store()
    for first in range(0, ROWS, 5_000):
        store.write([(_key(number), _VALUES[number % 1_000]) for number in range(first, first + 5_000)], offset=first)
    store.close()
    return open_store


def _key(number: int) -> bytes:
    return b"user/%d" % number


@pytest.mark.parametrize("batch", [100, 2_000, 10_000])
def test_rows_read_a_second(opener: tuple[str, Open], batch: int) -> None:
    name, open_store = opener
    store = open_store()
    seconds = _timed(lambda keys: store.read(keys), _batches(batch))
    store.close()

    show(f"{name}: rows read, batches of {batch:,}", "rows/s", [batch / took for took in seconds], against=_ms(seconds))


@pytest.mark.parametrize("batch", [100, 2_000, 10_000])
def test_rows_written_a_second(opener: tuple[str, Open], batch: int) -> None:
    name, open_store = opener
    store = open_store()
    offset = store.offset() or 0

    def write(keys: list[bytes]) -> None:
        nonlocal offset
        offset += 1
        store.write([(key, _VALUES[0]) for key in keys], offset=offset)

    seconds = _timed(write, _batches(batch))
    store.close()

    show(
        f"{name}: rows written, deltas of {batch:,}", "rows/s", [batch / took for took in seconds], against=_ms(seconds)
    )


def test_milliseconds_to_take_a_partition_over(opener: tuple[str, Open]) -> None:
    name, open_store = opener
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        store = open_store()
        assert store.offset() is not None
        seconds.append(time.perf_counter() - began)
        store.close()

    show(f"{name}: open a partition of {ROWS:,} rows", "ms", [took * 1_000 for took in seconds], against="")


def test_rows_walked_a_second(opener: tuple[str, Open]) -> None:
    name, open_store = opener
    store = open_store()
    began = time.perf_counter()
    walked, after = 0, b""
    while True:
        items, after = store.scan_some(b"user/", after=after, count=2_000)
        walked += len(items)
        if not after:
            break
    took = time.perf_counter() - began
    store.close()

    show(f"{name}: rows walked in parts of 2,000", "rows/s", [walked / took], against="")


def _batches(size: int) -> list[list[bytes]]:
    return [[_key(random.randrange(ROWS)) for _ in range(size)] for _ in range(_ROUNDS)]


def _timed(ask: Callable[[list[bytes]], object], batches: list[list[bytes]]) -> list[float]:
    seconds = []
    for keys in batches:
        began = time.perf_counter()
        ask(keys)
        seconds.append(time.perf_counter() - began)
    return seconds


def _ms(seconds: list[float]) -> str:
    return f"{median(seconds) * 1_000:.1f} ms a batch"
