"""State in a Redis that sentinels watch over: where it is, who may be trusted, and what is left after a failover."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stream.core.store import StateLost, StoreFailed, StoreUnavailable
from stream.state.redis import RedisStore
from tests.state.conftest import RunWatchedRedis
from tests.state.redis_sentinels import NAME, WatchedRedis
from tests.state.redis_stores import ACL, ROWS, stores
from tests.timeouts import TIMEOUT_SECONDS


@pytest.fixture
def watched(run_watched_redis: RunWatchedRedis) -> WatchedRedis:
    """Two servers whose roles only change when the test says so."""
    return run_watched_redis(fails_over=False)


def repeated(store: RedisStore, value: bytes, *, offset: int) -> list[str]:
    """Repeat a write until it is confirmed, as a worker does; returns what was told meanwhile."""
    told: list[str] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (away := problem(store, value, offset=offset)) is not None:
        assert time.monotonic() < deadline, away
        told.append(away)
        time.sleep(0.05)
    return told


def problem(store: RedisStore, value: bytes, *, offset: int) -> str | None:
    """Why a write has to be repeated, or None."""
    try:
        store.write([(b"user/1", value)], offset=offset)
    except StoreUnavailable as away:
        return str(away)
    return None


# -- where the master is ---------------------------------------------------------------------------------------------


def test_the_sentinels_tell_where_the_state_is_kept(watched: WatchedRedis) -> None:
    deployment = stores(watched.url)
    deployment.check()
    store = deployment.open_store(3)
    store.write(ROWS, offset=1)

    assert store.read([b"user/1"]) == [b"row 1"]
    # Both servers have it as soon as the write is over.
    assert [server.ask("HLEN", "{engagement/3}:state/user") for server in watched.servers] == [100, 100]
    # As long as one sentinel answers, whichever.
    for sentinel in watched.sentinels[:2]:
        sentinel.kill()
    assert stores(watched.url).open_store(3).offset() == 1


def test_without_any_sentinel_the_state_is_away_and_each_is_named(watched: WatchedRedis) -> None:
    for sentinel in watched.sentinels:
        sentinel.kill()

    with pytest.raises(StoreUnavailable, match=f"no sentinel tells where '{NAME}' is") as away:
        stores(watched.url).check()
    assert all(f"127.0.0.1:{sentinel.port}: " in str(away.value) for sentinel in watched.sentinels)


def test_a_name_that_no_sentinel_knows_is_refused(watched: WatchedRedis) -> None:
    with pytest.raises(StoreFailed, match="no sentinel knows a server 'another'") as refused:
        stores(watched.url.replace(NAME, "another")).check()

    assert not isinstance(refused.value, StoreUnavailable)


def test_server_and_sentinels_may_have_passwords_of_their_own(
    run_watched_redis: RunWatchedRedis, tmp_path: Path
) -> None:
    watched = run_watched_redis(fails_over=False, password="s3cret", sentinel_password="an0ther")
    file = tmp_path / "password"
    file.write_text("an0ther\n")

    stores(watched.url, sentinel_password_file=str(file)).check()
    file.write_text("wr0ng")
    for options in ({"sentinel_password_file": str(file)}, {}):
        with pytest.raises(StoreFailed, match=r"invalid username-password pair|Authentication required") as refused:
            stores(watched.url, **options).check()
        assert not isinstance(refused.value, StoreUnavailable)
        assert not [secret for secret in ("s3cret", "an0ther", "wr0ng") if secret in str(refused.value)]


def test_server_and_sentinels_may_speak_tls(
    run_watched_redis: RunWatchedRedis, certificates: Path, server_with_tls: None
) -> None:
    watched = run_watched_redis(fails_over=False, tls=certificates)
    authority = f"{certificates}/ca.pem"

    stores(watched.url, ssl_cafile=authority).check()
    with pytest.raises(StoreFailed, match=r"speaks TLS: state\.url must begin with rediss\+sentinel://"):
        stores(watched.url.replace("rediss", "redis")).check()


def test_a_replica_that_would_evict_state_once_it_is_the_master_is_refused(watched: WatchedRedis) -> None:
    watched.replica.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    with pytest.raises(StoreFailed, match=rf"127\.0\.0\.1:{watched.replica.port}, a replica of .* evicts state"):
        stores(watched.url).check()


def test_a_user_needs_one_command_more_than_at_a_single_server(run_watched_redis: RunWatchedRedis) -> None:
    watched = run_watched_redis(fails_over=False, options={"user": f"worker on >s3cret {ACL} +wait"})
    url = watched.url.replace("//", "//worker:s3cret@")
    stores(url).check()
    stores(url).open_store(3).write(ROWS, offset=1)

    watched.master.ask("ACL", "SETUSER", "worker", "-wait")
    with pytest.raises(StoreFailed, match=r"permission.* 'wait'"):
        stores(url).open_store(3)


# -- what counts as written ------------------------------------------------------------------------------------------


def test_a_write_is_over_when_a_replica_has_confirmed_it(watched: WatchedRedis) -> None:
    store = stores(watched.url).open_store(3)
    store.write(ROWS, offset=1)
    watched.replica.pause()

    for _ in range(2):  # the second time there is nothing left to write, and nobody has it all the same
        with pytest.raises(StoreUnavailable, match="no replica has confirmed a write for 1 s"):
            store.write([(b"user/1", b"new")], offset=2)
    watched.replica.resume()
    repeated(store, b"new", offset=2)

    assert watched.replica.ask("HGET", "{engagement/3}:state/user", "user/1") == b"new"


def test_a_master_without_a_replica_is_trusted_while_most_sentinels_call_it_the_master(
    watched: WatchedRedis,
) -> None:
    store = stores(watched.url).open_store(3)
    store.write(ROWS, offset=1)
    other = watched.replica
    watched.replica.kill()
    with capture_logs() as logged:
        repeated(store, b"alone", offset=2)
        repeated(store, b"alone again", offset=3)

    warned = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert warned.count("redis has no replica: what is written now is lost if its server is") == 1
    # The two may have been cut off from the others, who have another master by now.
    for sentinel in watched.sentinels[:2]:
        sentinel.watch(other)
    before = watched.sentinels[2].master_port()
    store._client.reconnect()
    store._client._sentinels._sentinels.reverse()  # the third one is asked first
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{before} has no replica, and not most of the sentinels"):
        store.write([(b"user/1", b"lost")], offset=4)


def test_a_state_that_is_lost_is_refused_once_the_sentinels_were_asked_again(watched: WatchedRedis) -> None:
    store = stores(watched.url).open_store(3)
    store.write(ROWS, offset=1)
    watched.master.ask("FLUSHALL")

    with pytest.raises(StoreUnavailable, match="nothing is there"):
        store.read([b"user/1"])
    with pytest.raises(StateLost, match="nothing is there; was it emptied"):
        store.read([b"user/1"])
    with pytest.raises(StateLost):
        store.write(ROWS, offset=2)


# -- another master --------------------------------------------------------------------------------------------------


def test_an_old_master_that_does_not_know_yet_is_not_believed(watched: WatchedRedis) -> None:
    deployment = stores(watched.url)
    store = deployment.open_store(3)
    store.write(ROWS, offset=1)
    old, new = watched.master, watched.replica
    new.ask("REPLICAOF", "NO", "ONE")
    for sentinel in watched.sentinels:
        sentinel.watch(new)
    deployment._client.reconnect()
    repeated(store, b"new", offset=2)
    assert [server.ask("HGET", "{engagement/3}:state/user", "user/1") for server in (old, new)] == [b"row 1", b"new"]

    # A connection that was idle for all that time: the old server has less than was written.
    deployment._client._redis = deployment._client._client_of(("127.0.0.1", old.port))
    with pytest.raises(StoreUnavailable, match="the sentinels are asked again which server is the master"):
        store.read([b"user/1"])
    assert store.read([b"user/1"]) == [b"new"]
    deployment._client._redis = deployment._client._client_of(("127.0.0.1", old.port))
    repeated(store, b"newer", offset=3)

    assert [server.ask("HGET", "{engagement/3}:state/user", "user/1") for server in (old, new)] == [b"row 1", b"newer"]


def test_a_server_that_is_to_be_the_master_and_is_a_replica_still_is_away(watched: WatchedRedis) -> None:
    new = watched.replica
    for sentinel in watched.sentinels:
        sentinel.watch(new)

    with pytest.raises(StoreUnavailable, match=r"is a slave still|no sentinel tells"):
        stores(watched.url).check()
    new.ask("REPLICAOF", "NO", "ONE")
    # A sentinel that was told of a replica goes on to its master by itself.
    for sentinel in watched.sentinels:
        sentinel.watch(new)
    stores(watched.url).check()


def test_a_replica_takes_over_with_all_that_was_written_when_the_master_is_lost(
    run_watched_redis: RunWatchedRedis,
) -> None:
    watched = run_watched_redis()
    store = stores(watched.url).open_store(3)
    store.write(ROWS, offset=1)
    for offset, lost in ((2, "killed"), (3, "hangs")):
        old = watched.master
        old.kill() if lost == "killed" else old.pause()
        told = repeated(store, b"%d" % offset, offset=offset)

        assert all("redis at redis+sentinel://" in text for text in told)
        assert told
        assert store.read([b"user/1", b"user/2"]) == [b"%d" % offset, b"row 2"]
        old.start() if lost == "killed" else old.resume()
        watched.wait_until_replicated()
    epoch = store.epoch
    assert stores(watched.url).open_store(3).epoch == epoch + 1
