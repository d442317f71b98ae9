"""What a Redis does that no other store can: be taken over, go away, come back with less."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from stream.core.store import StateLost, StoreAway, StoreBroken, StoreTaken
from stream.state import redis_client
from stream.state.redis import RedisStore
from tests.state.conftest import RunRedis
from tests.state.proxy import Proxy
from tests.state.redis_server import RedisServer
from tests.state.redis_stores import DURABLE, stores

ROWS = [(b"user/%d" % number, b"row %d" % number) for number in range(100)]


def _written(server: RedisServer, app_id: str = "engagement") -> RedisStore:
    store = stores(server, app_id).of(3)
    store.write([*ROWS, (b"progress", b"here")], offset=7)
    return store


# -- another worker takes over ---------------------------------------------------------------------------------------


def test_a_worker_that_lost_the_partition_can_neither_write_nor_read(redis_server: RedisServer, app_id: str) -> None:
    former = _written(redis_server, app_id)
    holder = stores(redis_server, app_id).of(3)

    with pytest.raises(StoreTaken, match=f"taken over partition 3 of '{app_id}'"):
        former.write([(b"user/1", b"mine")], offset=8)
    with pytest.raises(StoreTaken):
        former.read([b"user/1"])
    with pytest.raises(StoreTaken):
        former.scan(b"user/")
    with pytest.raises(StoreTaken):
        former.clear()
    assert holder.offset() == 7
    holder.write([(b"user/1", b"theirs")], offset=8)
    assert holder.read([b"user/1"]) == [b"theirs"]


def test_of_two_that_open_a_partition_the_later_holds_it(redis_server: RedisServer, app_id: str) -> None:
    first, second = stores(redis_server, app_id).of(3), stores(redis_server, app_id).of(3)
    second.write([(b"a", b"2")], offset=1)

    with pytest.raises(StoreTaken):
        first.write([(b"a", b"1")], offset=1)
    assert second.read([b"a"]) == [b"2"]


def test_who_took_over_after_the_state_was_set_back_holds_it_also_at_the_same_epoch(
    redis_server: RedisServer, app_id: str
) -> None:
    former = _written(redis_server, app_id)
    redis_server.ask("HSET", f"{{{app_id}/3}}:meta", "epoch", 0)
    stores(redis_server, app_id).of(3)

    with pytest.raises(StoreTaken):
        former.write([(b"user/1", b"mine")], offset=8)


# -- whether a write arrived is not known ----------------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_may_be_repeated(redis_server: RedisServer, app_id: str) -> None:
    with Proxy(redis_server.port) as proxy:
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).of(3)
        store.write(ROWS, offset=7)
        delta = [(b"user/1", b"new"), (b"user/2", None), (b"days/1", b"page")]
        proxy.cut_answers()
        with pytest.raises(StoreAway, match=f"redis at redis://127.0.0.1:{proxy.port}: "):
            store.write(delta, offset=8)
        proxy.pass_answers()
        assert redis_server.ask("HGET", f"{{{app_id}/3}}:meta", "offset") == b"8"  # it did arrive

        assert store.read([b"user/1"]) == [b"new"]
        store.write(delta, offset=8)
        store.write([(b"user/1", b"newer")], offset=9)

        assert store.read([b"user/1", b"user/2", b"days/1"]) == [b"newer", None, b"page"]
        assert store.offset() == 9


def test_while_a_write_is_in_doubt_no_other_is_taken(redis_server: RedisServer, app_id: str) -> None:
    with Proxy(redis_server.port) as proxy:
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).of(3)
        proxy.cut_answers()
        with pytest.raises(StoreAway):
            store.write([(b"a", b"1")], offset=8)
        proxy.pass_answers()

        for delta, offset in (([(b"b", b"1")], 9), ([(b"a", b"2")], 8)):
            with pytest.raises(StoreBroken, match="whether offset 8 was written is not known: repeat it first"):
                store.write(delta, offset=offset)
        store.write([(b"a", b"1")], offset=8)
        store.write([(b"b", b"1")], offset=9)

        assert list(store.scan(b"")) == [(b"a", b"1"), (b"b", b"1")]


def test_a_repeated_write_that_had_arrived_is_not_done_again(redis_server: RedisServer, app_id: str) -> None:
    with Proxy(redis_server.port) as proxy:
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).of(3)
        proxy.cut_answers()
        with pytest.raises(StoreAway):
            store.write(ROWS, offset=8)
        proxy.pass_answers()
        hset_calls = redis_server.ask("INFO", "commandstats")["cmdstat_hset"]["calls"]
        store.write(ROWS, offset=8)

        # A server too slow to answer in time would never get done.
        assert redis_server.ask("INFO", "commandstats")["cmdstat_hset"]["calls"] == hset_calls


def test_a_write_that_a_hanging_server_did_after_all_may_be_repeated(
    run_redis: RunRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_ANSWER_SECONDS", 0.2)
    server = run_redis()
    store = _written(server)
    server.pause()
    with pytest.raises(StoreAway, match="Timeout reading from"):
        store.write([(b"user/1", b"new")], offset=8)
    server.resume()
    while server.ask("HGET", "{engagement/3}:meta", "offset") != b"8":
        time.sleep(0.01)

    store.write([(b"user/1", b"new")], offset=8)
    store.write([(b"user/2", b"new")], offset=9)

    assert store.read([b"user/1", b"user/2"]) == [b"new", b"new"]


# -- the server is away for a while ----------------------------------------------------------------------------------


def test_a_server_that_stops_is_away_and_goes_on_with_all_it_saved(run_redis: RunRedis) -> None:
    server = run_redis(options=DURABLE)
    store = _written(server)
    server.kill()

    for _ in range(2):
        with pytest.raises(StoreAway, match=f"redis at {server.url}: .*refused"):
            store.read([b"user/1"])
        with pytest.raises(StoreAway):
            store.write([(b"user/1", b"new")], offset=8)
        with pytest.raises(StoreAway):
            stores(server).of(3)
    server.start()
    store.write([(b"user/1", b"new")], offset=8)

    assert store.read([b"user/1", b"user/2"]) == [b"new", b"row 2"]


def test_a_round_goes_on_when_the_server_restarts_in_the_middle(run_redis: RunRedis) -> None:
    server = run_redis(options=DURABLE)
    store = stores(server).of(3)
    rows = {b"user/%d" % number for number in range(3_000)}
    store.write([(key, b"") for key in rows], offset=1)
    found, after = store.part(b"user/", after=b"", count=1_000)
    server.restart()  # a server walks its rows in an order of its own

    while after:
        more, after = store.part(b"user/", after=after, count=1_000)
        found += more

    assert {key for key, _ in found} == rows


def _why_away(store: RedisStore) -> str:
    with pytest.raises(StoreAway) as away:
        store.read([b"user/1"])
    return str(away.value)


def test_a_server_that_loads_its_data_is_away(run_redis: RunRedis) -> None:
    server = run_redis(
        options={"save": '""', "key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"}
    )
    for number in range(100):
        server.ask("SET", f"other-{number}", os.urandom(2_000))
    store = _written(server)
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
    written = {name: _written(server, name) for name in deltas}
    server.ask("CONFIG", "SET", "maxmemory", "1")

    for name, store in written.items():
        with pytest.raises(StoreAway, match=r"command not allowed when used memory > 'maxmemory'\.?$"):
            store.write(deltas[name], offset=8)
        assert store.read([b"user/1", b"user/2"]) == [b"row 1", b"row 2"]  # nothing evicted, nothing half done
    with pytest.raises(StoreAway, match="maxmemory"):
        stores(server).of(3)
    server.ask("CONFIG", "SET", "maxmemory", "0")
    for name, store in written.items():
        store.write(deltas[name], offset=8)

    assert written["one"].read([b"user/1", b"user/2"]) == [None, b"x" * 10_000]
    assert written["other"].read([b"user/1", b"user/2"]) == [None, b"row 2"]


def test_a_server_that_became_a_replica_or_lacks_one_is_away(run_redis: RunRedis) -> None:
    server = run_redis()
    store = _written(server)

    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreAway, match=r"NOREPLICAS Not enough good replicas to write\.?$"):
        store.write([(b"user/1", b"new")], offset=8)
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreAway, match=r"read only replica\.?$"):
        store.write([(b"user/1", b"new")], offset=8)
    with pytest.raises(StoreAway, match="is a replica, which takes no writes"):
        stores(server).check()
    server.ask("REPLICAOF", "NO", "ONE")
    store.write([(b"user/1", b"new")], offset=8)

    assert store.read([b"user/1"]) == [b"new"]


def test_a_server_busy_with_a_script_of_others_is_away(run_redis: RunRedis) -> None:
    server = run_redis(options={"lua-time-limit": "50"})
    store = _written(server)

    def run_for_ever() -> None:
        with pytest.raises(ResponseError, match="killed"):
            server.ask("EVAL", "while true do end", 0)

    endless = threading.Thread(target=run_for_ever)
    endless.start()
    time.sleep(0.2)

    with pytest.raises(StoreAway, match="BUSY"):
        store.read([b"user/1"])
    server.ask("SCRIPT", "KILL")
    endless.join()
    assert store.read([b"user/1"]) == [b"row 1"]


# -- the server comes back with less ---------------------------------------------------------------------------------


def _lost(store: RedisStore, message: str) -> None:
    """It is lost to every question, and stays so."""
    with pytest.raises(StateLost, match=message):
        store.read([b"user/1"])
    with pytest.raises(StateLost, match=message):
        store.write([(b"user/1", b"new")], offset=8)
    with pytest.raises(StateLost, match=message):
        store.part(b"user/", after=b"", count=10)
    with pytest.raises(StateLost, match=message):
        store.offset()


def test_an_emptied_server_is_told_from_a_new_one(run_redis: RunRedis) -> None:
    server = run_redis()
    reader, writer = _written(server), stores(server, "other").of(0)
    writer.write([(b"a", b"1")], offset=0)
    server.ask("FLUSHALL")

    place = f"partition 3 of 'engagement' in redis at {server.url} is not what was written to it"
    _lost(reader, f"{place}: nothing is there; was it emptied, or restarted without its data")
    with pytest.raises(StateLost, match="partition 0 of 'other'"):
        writer.write([(b"a", b"2")], offset=1)
    assert server.ask("DBSIZE") == 0


def test_a_server_that_restarts_without_its_data_is_told_from_a_new_one(run_redis: RunRedis) -> None:
    server = run_redis()
    store = _written(server)
    server.restart()

    _lost(store, "nothing is there")


def _set_back(server: RedisServer, copy: Path) -> None:
    server.kill()
    copy.replace(server.folder / "dump.rdb")
    server.start()


def _copied(server: RedisServer) -> Path:
    server.ask("SAVE")
    return (server.folder / "dump.rdb").rename(server.folder / "older.rdb")


def test_an_older_copy_is_told_from_the_state(run_redis: RunRedis) -> None:
    server = run_redis()
    store = _written(server)
    older = _copied(server)
    store.write([(b"user/1", b"new")], offset=12)
    _set_back(server, older)

    _lost(store, "offset 12 expected, 7 found; was it set back to an older copy")
    assert stores(server).of(3).offset() == 7


def test_a_copy_from_before_the_partition_was_taken_over_is_told_from_the_state(run_redis: RunRedis) -> None:
    server = run_redis()
    _written(server)
    older = _copied(server)
    store = stores(server).of(3)
    _set_back(server, older)

    _lost(store, "epoch 2 expected, 1 found; was it set back to an older copy")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("{engagement/3}:state/user", "100 rows expected in '{engagement/3}:state/user', 0 found; were keys evicted"),
        ("{engagement/3}:meta", "nothing is there"),
    ],
)
def test_a_key_that_was_evicted_is_missed_and_what_is_left_can_be_cleared(
    run_redis: RunRedis, key: str, message: str
) -> None:
    server = run_redis()
    store = _written(server)
    server.ask("DEL", key)
    _lost(store, message)
    opened = stores(server).of(3)
    with pytest.raises(StateLost, match="rows expected"):
        opened.read([b"user/1"])

    opened.clear()

    assert opened.offset() is None
    assert opened.read([b"user/1", b"progress"]) == [None, None]
    opened.write([(b"user/1", b"new")], offset=0)
    assert list(opened.scan(b"")) == [(b"user/1", b"new")]


def test_a_row_that_was_removed_by_others_is_missed(redis_server: RedisServer, app_id: str) -> None:
    store = _written(redis_server, app_id)
    redis_server.ask("HDEL", f"{{{app_id}/3}}:state/user", "user/1")

    with pytest.raises(StateLost, match=r"100 rows expected in .*, 99 found"):
        store.read([b"user/1"])


def test_loss_is_found_when_a_partition_is_opened(redis_server: RedisServer, app_id: str) -> None:
    _written(redis_server, app_id)
    redis_server.ask("DEL", f"{{{app_id}/3}}:state/user")
    store = stores(redis_server, app_id).of(3)

    with pytest.raises(StateLost, match="100 rows expected"):
        store.offset()
    with pytest.raises(StateLost, match="100 rows expected"):
        store.read([b"progress"])


# -- a law -----------------------------------------------------------------------------------------------------------

_deltas = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from([b"user/a", b"user/b", b"days/1", b"progress"]), st.none() | st.binary())),
        st.sampled_from(["answered", "answer lost", "taken over"]),
    ),
    max_size=8,
)


@given(deltas=_deltas)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_deltas_interrupted_anywhere_leave_what_a_dict_would_hold(
    redis_server: RedisServer, deltas: list[tuple[list[tuple[bytes, bytes | None]], str]]
) -> None:
    held: dict[bytes, bytes] = {}
    with Proxy(redis_server.port) as proxy:
        workers = stores(f"redis://127.0.0.1:{proxy.port}", "law")
        store = workers.of(0)
        store.clear()
        for offset, (delta, then) in enumerate(deltas):
            if then == "answer lost":
                proxy.cut_answers()
                with pytest.raises(StoreAway):
                    store.write(delta, offset=offset)
                proxy.pass_answers()
            store.write(delta, offset=offset)
            if then == "taken over":
                former, store = store, workers.of(0)
                assert store.offset() == offset
                with pytest.raises(StoreTaken):
                    former.write([(b"user/a", b"not this")], offset=offset)
            for key, value in delta:
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value

        assert list(store.scan(b"")) == sorted(held.items())
        workers.close()
