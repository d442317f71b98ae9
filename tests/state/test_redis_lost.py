"""A Redis that comes back with less than was written to it, which must never look like a new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.core.store import StateLost
from stream.state.redis import RedisStore
from tests.state.conftest import RunRedis
from tests.state.redis_server import RedisServer
from tests.state.redis_stores import stores, written


def _lost(store: RedisStore, message: str) -> None:
    """It is lost to every question, and stays so."""
    with pytest.raises(StateLost, match=message):
        store.read([b"user/1"])
    with pytest.raises(StateLost, match=message):
        store.write([(b"user/1", b"new")], offset=8)
    with pytest.raises(StateLost, match=message):
        store.scan_some(b"user/", after=b"", count=10)
    with pytest.raises(StateLost, match=message):
        store.offset()


def test_an_emptied_server_is_told_from_a_new_one(run_redis: RunRedis) -> None:
    server = run_redis()
    reader, writer = written(server), stores(server, "other").open_store(0)
    writer.write([(b"a", b"1")], offset=0)
    server.ask("FLUSHALL")

    place = f"partition 3 of 'engagement' in redis at {server.url} is not what was written to it"
    _lost(reader, f"{place}: nothing is there; was it emptied, or restarted without its data")
    with pytest.raises(StateLost, match="partition 0 of 'other'"):
        writer.write([(b"a", b"2")], offset=1)
    assert server.ask("DBSIZE") == 0


def test_a_server_that_restarts_without_its_data_is_told_from_a_new_one(run_redis: RunRedis) -> None:
    server = run_redis()
    store = written(server)
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
    store = written(server)
    older = _copied(server)
    store.write([(b"user/1", b"new")], offset=12)
    _set_back(server, older)

    _lost(store, "offset 12 expected, 7 found; was it set back to an older copy")
    assert stores(server).open_store(3).offset() == 7


def test_a_copy_from_before_the_partition_was_taken_over_is_told_from_the_state(run_redis: RunRedis) -> None:
    server = run_redis()
    written(server)
    older = _copied(server)
    store = stores(server).open_store(3)
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
    store = written(server)
    server.ask("DEL", key)
    _lost(store, message)
    opened = stores(server).open_store(3)
    with pytest.raises(StateLost, match="rows expected"):
        opened.read([b"user/1"])

    opened.clear()

    assert opened.offset() is None
    assert opened.read([b"user/1", b"progress"]) == [None, None]
    opened.write([(b"user/1", b"new")], offset=0)
    assert list(opened.scan(b"")) == [(b"user/1", b"new")]


def test_a_row_that_was_removed_by_others_is_missed(redis_server: RedisServer, app_id: str) -> None:
    store = written(redis_server, app_id)
    redis_server.ask("HDEL", f"{{{app_id}/3}}:state/user", "user/1")

    with pytest.raises(StateLost, match=r"100 rows expected in .*, 99 found"):
        store.read([b"user/1"])


def test_loss_is_found_when_a_partition_is_opened(redis_server: RedisServer, app_id: str) -> None:
    written(redis_server, app_id)
    redis_server.ask("DEL", f"{{{app_id}/3}}:state/user")
    store = stores(redis_server, app_id).open_store(3)

    with pytest.raises(StateLost, match="100 rows expected"):
        store.offset()
    with pytest.raises(StateLost, match="100 rows expected"):
        store.read([b"progress"])
