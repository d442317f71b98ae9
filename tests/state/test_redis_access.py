"""Which servers state is trusted to, and how one is let in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stream.core.store import StoreFailed, StoreUnavailable
from stream.settings import SettingsError
from stream.state import redis_client, redis_other_protocol
from tests.state.conftest import RunRedis
from tests.state.redis_server import RedisServer
from tests.state.redis_stores import ACL, DURABLE, stores
from tests.timeouts import TIMEOUT_SECONDS


def _usable(server: RedisServer | str, **state: str) -> bool:
    deployment = stores(server, **state)
    deployment.check()
    store = deployment.open_store(0)
    store.clear()
    store.write([(b"user/a", b"1"), (b"user/b", None), (b"progress", b"2")], offset=1)
    return store.read([b"user/a"]) == [b"1"] and list(store.scan(b"")) == [(b"progress", b"2"), (b"user/a", b"1")]


# -- eviction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
@pytest.mark.parametrize("cluster", [False, True])
def test_a_server_that_would_evict_state_is_refused_and_how_to_mend_it_is_told(
    run_redis: RunRedis, policy: str, cluster: bool
) -> None:
    server = run_redis(options={"maxmemory-policy": policy}, cluster=cluster)

    with pytest.raises(StoreFailed) as refused:
        stores(server).check()
    told = str(refused.value)
    assert f"127.0.0.1:{server.port} evicts state when memory is short: maxmemory-policy is {policy};" in told
    mend = told.rpartition("mend it with: ")[2]
    server.ask(*mend.split())
    stores(server).check()


def test_a_server_that_was_away_at_the_check_is_checked_when_a_partition_is_opened(run_redis: RunRedis) -> None:
    server = run_redis(options={"maxmemory-policy": "allkeys-lru"})
    deployment = stores(server)
    server.stop()
    with pytest.raises(StoreUnavailable):
        deployment.check()
    server.start()

    with pytest.raises(StoreFailed, match="maxmemory-policy is allkeys-lru"):
        deployment.open_store(0)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_a_full_server_that_evicts_only_what_has_a_time_to_live_keeps_state(run_redis: RunRedis, policy: str) -> None:
    server = run_redis(options={"maxmemory-policy": policy, "maxmemory": "4mb"})
    stores(server).check()
    store = stores(server).open_store(0)
    written = 0
    with pytest.raises(StoreUnavailable, match="maxmemory"):  # noqa: PT012  # how much fits is the server's business
        while written < 100:
            store.write([(b"user/%d" % written, bytes(100_000))], offset=written)
            written += 1

    assert 0 < written < 100
    assert store.read([b"user/%d" % number for number in range(written)]) == [bytes(100_000)] * written


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_a_server_that_keeps_no_log_is_taken_with_a_warning(
    run_redis: RunRedis,
) -> None:
    with capture_logs() as logged:
        stores(run_redis(options=DURABLE)).check()
    assert logged == []

    with capture_logs() as logged:
        stores(run_redis()).check()

    [warning] = logged
    assert "a crash takes the last writes, and the worker refuses what is left" in str(warning)


# -- who may come in -------------------------------------------------------------------------------------------------


def _refused(server: RedisServer | str, *secrets: str, **state: str) -> str:
    """Why a server can't be used; both at the check and on opening."""
    told = []
    for asked in (lambda: stores(server, **state).check(), lambda: stores(server, **state).open_store(0)):
        with pytest.raises(StoreFailed) as refused:
            asked()
        assert not isinstance(refused.value, StoreUnavailable)
        told.append(str(refused.value))
    assert not any(secret in text for secret in secrets for text in told)
    return told[0]


@pytest.mark.parametrize("cluster", [False, True])
def test_a_password_opens_and_a_wrong_one_is_told_and_never_shown(run_redis: RunRedis, cluster: bool) -> None:
    server = run_redis(password="s3cret:/@#", cluster=cluster)

    assert _usable(server)
    assert "invalid username-password pair" in _refused(server.url.replace("s3cret", "wr0ng"), "s3cret", "wr0ng")
    assert "Authentication required" in _refused(re.sub(r"//.*@", "//", server.url))


def test_a_password_comes_from_a_file(run_redis: RunRedis, tmp_path: Path) -> None:
    server = run_redis(password="s3cret")
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    url = f"redis://default@127.0.0.1:{server.port}"

    assert _usable(url, password_file=str(file))
    assert _usable(url.replace("default@", ""), password_file=str(file))
    file.write_text("wr0ng")
    assert "invalid username-password pair" in _refused(url, "wr0ng", password_file=str(file))


def test_a_user_needs_few_commands_and_no_keys_but_its_own(run_redis: RunRedis) -> None:
    server = run_redis(options={"user": f"worker on >s3cret {ACL}"})
    url = f"redis://worker:s3cret@127.0.0.1:{server.port}"

    assert _usable(url)
    server.ask("ACL", "SETUSER", "worker", "-eval", "-evalsha")
    with pytest.raises(StoreFailed, match=r"permission.* 'evalsha'"):
        stores(url).open_store(0)
    server.ask("ACL", "SETUSER", "worker", "+eval", "+evalsha")
    with pytest.raises(StoreFailed, match=r"permission.* key"):
        stores(url, "other").open_store(0)
    server.ask("ACL", "SETUSER", "worker", "off")
    assert "invalid username-password pair or user is disabled" in _refused(url, "s3cret")


def test_who_is_locked_out_while_working_is_broken_not_away(run_redis: RunRedis) -> None:
    server = run_redis(options={"user": f"worker on >s3cret {ACL}"})
    store = stores(f"redis://worker:s3cret@127.0.0.1:{server.port}").open_store(0)
    server.ask("ACL", "SETUSER", "worker", ">other", "<s3cret", "-hmget")

    with pytest.raises(StoreFailed, match="permission") as refused:
        store.read([b"user/a"])
    assert not isinstance(refused.value, StoreUnavailable)


def test_no_text_of_a_store_shows_the_password(run_redis: RunRedis) -> None:
    server = run_redis(password="s3cret")
    deployment = stores(server)
    store = deployment.open_store(0)

    held = [deployment, deployment._client, deployment._client._redis, deployment._client.url, store]
    assert "s3cret" not in "".join(f"{thing!r}{thing}" for thing in held)


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_tls(run_redis: RunRedis, certificates: Path, server_with_tls: None) -> RunRedis:
    """Starts servers that speak TLS alone."""
    return lambda **options: run_redis(tls=certificates, **options)


@pytest.mark.parametrize("cluster", [False, True])
def test_a_server_is_known_by_its_certificate(run_tls: RunRedis, certificates: Path, cluster: bool) -> None:
    server = run_tls(password="s3cret", cluster=cluster)

    assert server.url.startswith("rediss")
    assert _usable(server, ssl_cafile=f"{certificates}/ca.pem")
    assert "certificate verify failed" in _refused(server, "s3cret", ssl_cafile=f"{certificates}/another-ca.pem")
    assert "certificate verify failed" in _refused(server, "s3cret")  # of the system's authorities


@pytest.mark.parametrize("cluster", [False, True])
def test_a_url_that_disagrees_with_its_server_on_tls_is_told_so(
    run_redis: RunRedis, run_tls: RunRedis, certificates: Path, cluster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_ANSWER_TIMEOUT_SECONDS", 0.5)  # there will be none
    monkeypatch.setattr(redis_other_protocol, "_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    with_tls, without = run_tls(cluster=cluster), run_redis(password="s3cret", cluster=cluster)
    kind = "+cluster" if cluster else ""

    told = _refused(with_tls.url.replace("rediss", "redis"))
    assert told.endswith(f"127.0.0.1:{with_tls.port} speaks TLS: state.url must begin with rediss{kind}://")
    told = _refused(without.url.replace("redis", "rediss"), "s3cret", ssl_cafile=f"{certificates}/ca.pem")
    assert told.endswith(f"127.0.0.1:{without.port} answers without TLS: state.url must begin with redis{kind}://")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster"])
def test_a_server_that_hangs_is_away_whether_the_url_says_tls_or_not(
    run_redis: RunRedis, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_ANSWER_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(redis_other_protocol, "_TIMEOUT_SECONDS", 0.5)
    server = run_redis()
    server.pause()

    with pytest.raises(StoreUnavailable):
        stores(f"{scheme}://127.0.0.1:{server.port}").check()


def test_a_server_under_another_name_than_its_certificate_is_refused(run_tls: RunRedis, certificates: Path) -> None:
    server = run_tls()
    url = f"rediss://localhost:{server.port}"

    assert "certificate is not valid for 'localhost'" in _refused(url, ssl_cafile=f"{certificates}/ca.pem")


def test_a_server_may_ask_for_a_certificate_of_ours(run_tls: RunRedis, certificates: Path) -> None:
    server = run_tls(options={"tls-auth-clients": "yes"})
    ours = {"ssl_certfile": f"{certificates}/client.pem", "ssl_keyfile": f"{certificates}/client.key"}

    assert _usable(server, ssl_cafile=f"{certificates}/ca.pem", **ours)
    with pytest.raises(StoreFailed):
        stores(server, ssl_cafile=f"{certificates}/ca.pem").check()
    theirs = {"ssl_certfile": f"{certificates}/another.pem", "ssl_keyfile": f"{certificates}/another.key"}
    with pytest.raises(StoreFailed):
        stores(server, ssl_cafile=f"{certificates}/ca.pem", **theirs).check()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ssl_cafile": "none.pem"}, r"state\.ssl_cafile: can't use .*none\.pem: No such file"),
        ({"ssl_cafile": "server.key"}, r"state\.ssl_cafile: can't use .*server\.key: .*no certificate"),
        (
            {"ssl_certfile": "client.pem", "ssl_keyfile": "none.key"},
            r"ssl_keyfile: can't use .*none\.key: No such file",
        ),
        (
            {"ssl_certfile": "client.pem", "ssl_keyfile": "server.key"},
            r"ssl_keyfile: can't use .*server\.key: .*mismatch",
        ),
    ],
)
def test_a_certificate_that_can_not_be_used_is_named(certificates: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        stores("rediss://127.0.0.1:1", **{name: f"{certificates}/{file}" for name, file in files.items()})


# -- sockets ---------------------------------------------------------------------------------------------------------


def test_a_server_on_this_machine_is_reached_by_its_socket(run_redis: RunRedis, tmp_path: Path) -> None:
    run_redis(password="s3cret", options={"unixsocket": f"{tmp_path}/redis.sock"})

    assert _usable(f"unix://:s3cret@{tmp_path}/redis.sock")
    with pytest.raises(StoreUnavailable, match=r"none\.sock"):
        stores(f"unix://{tmp_path}/none.sock").check()
