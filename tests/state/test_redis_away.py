"""A Redis that can't be reached, or takes no writes, for a while."""

from __future__ import annotations

import os
import threading
import time

import pytest
from redis.exceptions import ResponseError

from stream.core.store import StoreUnavailable
from stream.state.redis import RedisStore
from tests.state.conftest import RunRedis
from tests.state.redis_stores import DURABLE, stores, written


def test_a_server_that_stops_is_away_and_goes_on_with_all_it_saved(run_redis: RunRedis) -> None:
    server = run_redis(options=DURABLE)
    store = written(server)
    server.kill()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=f"redis at {server.url}: .*refused"):
            store.read([b"user/1"])
        with pytest.raises(StoreUnavailable):
            store.write([(b"user/1", b"new")], offset=8)
        with pytest.raises(StoreUnavailable):
            stores(server).open_store(3)
    server.start()
    store.write([(b"user/1", b"new")], offset=8)

    assert store.read([b"user/1", b"user/2"]) == [b"new", b"row 2"]


def test_a_round_goes_on_when_the_server_restarts_in_the_middle(run_redis: RunRedis) -> None:
    server = run_redis(options=DURABLE)
    store = stores(server).open_store(3)
    rows = {b"user/%d" % number for number in range(3_000)}
    store.write([(key, b"") for key in rows], offset=1)
    found, after = store.scan_some(b"user/", after=b"", count=1_000)
    server.restart()  # a server walks its rows in an order of its own

    while after:
        more, after = store.scan_some(b"user/", after=after, count=1_000)
        found += more

    assert {key for key, _ in found} == rows


def _why_away(store: RedisStore) -> str:
    with pytest.raises(StoreUnavailable) as away:
        store.read([b"user/1"])
    return str(away.value)


def test_a_server_that_loads_its_data_is_away(run_redis: RunRedis) -> None:
    server = run_redis(
        options={"save": '""', "key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"}
    )
    for number in range(100):
        server.ask("SET", f"other-{number}", os.urandom(2_000))
    store = written(server)
    server.ask("SAVE")
    server.kill()
    server.start(wait=False)

    while "loading" not in _why_away(store):
        time.sleep(0.02)
    server.wait()
    assert store.read([b"user/1"]) == [b"row 1"]


def test_a_full_server_is_away_and_takes_the_same_write_once_it_has_room(run_redis: RunRedis) -> None:
    server = run_redis(options={"maxmemory-policy": "volatile-lru"})
    deltas: dict[str, list[tuple[bytes, bytes | None]]] = {
        "one": [(b"user/1", None), (b"user/2", b"x" * 10_000)],
        "other": [(b"user/1", None)],
    }
    held = {name: written(server, name) for name in deltas}
    server.ask("CONFIG", "SET", "maxmemory", "1")

    for name, store in held.items():
        with pytest.raises(StoreUnavailable, match=r"command not allowed when used memory > 'maxmemory'\.?$"):
            store.write(deltas[name], offset=8)
        assert store.read([b"user/1", b"user/2"]) == [b"row 1", b"row 2"]  # nothing evicted, nothing half done
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        stores(server).open_store(3)
    server.ask("CONFIG", "SET", "maxmemory", "0")
    for name, store in held.items():
        store.write(deltas[name], offset=8)

    assert held["one"].read([b"user/1", b"user/2"]) == [None, b"x" * 10_000]
    assert held["other"].read([b"user/1", b"user/2"]) == [None, b"row 2"]


def test_a_server_that_became_a_replica_or_lacks_one_is_away(run_redis: RunRedis) -> None:
    server = run_redis()
    store = written(server)

    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreUnavailable, match=r"NOREPLICAS Not enough good replicas to write\.?$"):
        store.write([(b"user/1", b"new")], offset=8)
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match=r"read only replica\.?$"):
        store.write([(b"user/1", b"new")], offset=8)
    with pytest.raises(StoreUnavailable, match="is a replica, which takes no writes"):
        stores(server).check()
    server.ask("REPLICAOF", "NO", "ONE")
    store.write([(b"user/1", b"new")], offset=8)

    assert store.read([b"user/1"]) == [b"new"]


def test_a_server_busy_with_a_script_of_others_is_away(run_redis: RunRedis) -> None:
    server = run_redis(options={"lua-time-limit": "50"})
    store = written(server)

    def run_for_ever() -> None:
        with pytest.raises(ResponseError, match="killed"):
            server.ask("EVAL", "while true do end", 0)

    endless = threading.Thread(target=run_for_ever)
    endless.start()
    time.sleep(0.2)

    with pytest.raises(StoreUnavailable, match="BUSY"):
        store.read([b"user/1"])
    server.ask("SCRIPT", "KILL")
    endless.join()
    assert store.read([b"user/1"]) == [b"row 1"]
