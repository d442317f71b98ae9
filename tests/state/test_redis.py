"""A partition in Redis has one holder, and a write happens once, whether its answer arrives or not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core.store import PartitionTakenOver, StoreFailed, StoreUnavailable
from stream.state import redis_client
from stream.state.redis_client import Client
from stream.state.redis_scripts import CHECK, PART, Script
from tests.state.conftest import RunRedis
from tests.state.proxy import Proxy
from tests.state.redis_server import RedisServer
from tests.state.redis_stores import ROWS, stores, written

# -- another worker takes over ---------------------------------------------------------------------------------------


def test_a_worker_that_lost_the_partition_can_neither_write_nor_read(redis_server: RedisServer, app_id: str) -> None:
    former = written(redis_server, app_id)
    holder = stores(redis_server, app_id).open_store(3)

    with pytest.raises(PartitionTakenOver, match=f"taken over partition 3 of '{app_id}'"):
        former.write([(b"user/1", b"mine")], offset=8)
    with pytest.raises(PartitionTakenOver):
        former.read([b"user/1"])
    with pytest.raises(PartitionTakenOver):
        former.scan(b"user/")
    with pytest.raises(PartitionTakenOver):
        former.clear()
    assert holder.offset() == 7
    holder.write([(b"user/1", b"theirs")], offset=8)
    assert holder.read([b"user/1"]) == [b"theirs"]


def test_of_two_that_open_a_partition_the_later_holds_it(redis_server: RedisServer, app_id: str) -> None:
    first, second = stores(redis_server, app_id).open_store(3), stores(redis_server, app_id).open_store(3)
    second.write([(b"a", b"2")], offset=1)

    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(PartitionTakenOver):
        first.write([(b"a", b"1")], offset=1)
    assert second.read([b"a"]) == [b"2"]


def test_a_state_that_was_given_up_keeps_counting_its_holders(redis_server: RedisServer, app_id: str) -> None:
    written(redis_server, app_id).clear()

    assert stores(redis_server, app_id).open_store(3).epoch == 2


def test_who_took_over_after_the_state_was_set_back_holds_it_also_at_the_same_epoch(
    redis_server: RedisServer, app_id: str
) -> None:
    former = written(redis_server, app_id)
    redis_server.ask("HSET", f"{{{app_id}/3}}:meta", "epoch", 0)
    stores(redis_server, app_id).open_store(3)

    with pytest.raises(PartitionTakenOver):
        former.write([(b"user/1", b"mine")], offset=8)


# -- reads and writes at the same time -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [CHECK, PART], ids=["check", "part"])
def test_what_a_checkpoint_overtakes_on_its_way_to_the_server_is_not_taken_for_a_loss(
    script: Script, redis_server: RedisServer, app_id: str
) -> None:
    store = written(redis_server, app_id)
    client = store._client
    overtaken: list[Script] = []

    class Overtaken(Client):
        """Lets a write arrive between a question and its way to the server, as another thread may."""

        def run(self, asked: Script, keys: Sequence[bytes], *arguments: bytes) -> Any:
            if asked is script and not overtaken:
                overtaken.append(asked)
                store.write([(b"user/1", b"new")], offset=8)
            return client.run(asked, keys, *arguments)

        def ask(self, *command: Any, **options: Any) -> Any:
            return client.execute(*command, **options)

    store._client = Overtaken(client.url, password="")
    store.scan_some(b"user/", after=b"", count=1_000)
    store.read([b"user/2"])

    assert overtaken == [script]
    assert store.read([b"user/1"]) == [b"new"]
    assert store.offset() == 8


# -- whether a write arrived is not known ----------------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_may_be_repeated(redis_server: RedisServer, app_id: str) -> None:
    with Proxy(redis_server.port) as proxy:
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).open_store(3)
        store.write(ROWS, offset=7)
        delta = [(b"user/1", b"new"), (b"user/2", None), (b"days/1", b"page")]
        proxy.cut_answers()
        with pytest.raises(StoreUnavailable, match=f"redis at redis://127.0.0.1:{proxy.port}: "):
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
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).open_store(3)
        proxy.cut_answers()
        with pytest.raises(StoreUnavailable):
            store.write([(b"a", b"1")], offset=8)
        proxy.pass_answers()

        for delta, offset in (([(b"b", b"1")], 9), ([(b"a", b"2")], 8)):
            with pytest.raises(StoreFailed, match="whether offset 8 was written is not known: repeat it first"):
                store.write(delta, offset=offset)
        store.write([(b"a", b"1")], offset=8)
        store.write([(b"b", b"1")], offset=9)

        assert list(store.scan(b"")) == [(b"a", b"1"), (b"b", b"1")]


def test_a_repeated_write_that_had_arrived_is_not_done_again(redis_server: RedisServer, app_id: str) -> None:
    with Proxy(redis_server.port) as proxy:
        store = stores(f"redis://127.0.0.1:{proxy.port}", app_id).open_store(3)
        store.write(ROWS, offset=7)  # the server knows the script
        proxy.cut_answers()
        with pytest.raises(StoreUnavailable):
            store.write(ROWS, offset=8)
        proxy.pass_answers()
        hset_calls = redis_server.ask("INFO", "commandstats")["cmdstat_hset"]["calls"]
        store.write(ROWS, offset=8)

        # A server too slow to answer in time would never get done. Only the holder is written again.
        assert redis_server.ask("INFO", "commandstats")["cmdstat_hset"]["calls"] == hset_calls + 1


def test_a_write_that_a_hanging_server_did_after_all_may_be_repeated(
    run_redis: RunRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_ANSWER_TIMEOUT_SECONDS", 0.2)
    server = run_redis()
    store = written(server)
    server.pause()
    with pytest.raises(StoreUnavailable, match="Timeout reading from"):
        store.write([(b"user/1", b"new")], offset=8)
    server.resume()
    while server.ask("HGET", "{engagement/3}:meta", "offset") != b"8":
        time.sleep(0.01)

    store.write([(b"user/1", b"new")], offset=8)
    store.write([(b"user/2", b"new")], offset=9)

    assert store.read([b"user/1", b"user/2"]) == [b"new", b"new"]


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
        store = workers.open_store(0)
        store.clear()
        for offset, (delta, then) in enumerate(deltas):
            if then == "answer lost":
                proxy.cut_answers()
                with pytest.raises(StoreUnavailable):
                    store.write(delta, offset=offset)
                proxy.pass_answers()
            store.write(delta, offset=offset)
            if then == "taken over":
                former, store = store, workers.open_store(0)
                assert store.offset() == offset
                with pytest.raises(PartitionTakenOver):
                    former.write([(b"user/a", b"not this")], offset=offset)
            for key, value in delta:
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value

        assert list(store.scan(b"")) == sorted(held.items())
        workers.close()
