"""A client for Redis that turns its errors into StoreUnavailable or StoreFailed.

StoreUnavailable is for problems that end by themselves: no connection, or a server that is loading, failing over, full
or unable to write to its disk. StoreFailed is for problems that a person must solve: a wrong password, a missing
permission, an unknown certificate.

After a lost connection the client tries once more at once, because the server may have closed an idle connection. All
other problems are left to the worker, which waits and reports it.

With Redis Sentinel a replica becomes the master when the old one is down, and has all that was written only if it had
received it. So what a script writes counts as written when a replica has confirmed it.
"""

import re
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
import structlog
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.clock import TimeTold
from stream.core.store import StoreFailed, StoreUnavailable
from stream.redis_url import RedisUrl
from stream.state.redis_other_protocol import other_protocol
from stream.state.redis_scripts import Script
from stream.state.redis_sentinel import Address, Sentinels, UnknownMaster, shown

log = structlog.get_logger(__name__)

# A healthy server answers within milliseconds, and takes a second or two while it forks or waits for its disk. Writing
# 32 MiB takes 0.3 s. After this time the worker should report that it waits.
_CONNECT_TIMEOUT_SECONDS = 2.0
_ANSWER_TIMEOUT_SECONDS = 5.0
# A sentinel does nothing that takes time.
_SENTINEL_TIMEOUT_SECONDS = 2.0
# Replicas confirm once a second, and whenever somebody waits for them.
_CONFIRMATION_TIMEOUT_MS = 1_000
# A replica that was not heard of for longer than this does not count: the default of min-replicas-max-lag.
_MAX_REPLICA_LAG_SECONDS = 10

_TEMPORARY_ERRORS = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.OutOfMemoryError,
    errors.ReadOnlyError,
    errors.TryAgainError,
    errors.ClusterError,
)
# Errors for which redis-py has no class. Before version 7, Redis puts them after ": -" when a script has failed.
_TEMPORARY_REPLY = re.compile(
    r"(^|: -)(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b"
)
# Where in a script an error happened says nothing to an operator, so this part is removed. It is written as follows by
# Redis 7, Valkey and Redis 6:
#     OOM command not allowed ... script: 849a72e1..., on @user_script:14.
#     OOM command not allowed ... script: on @user_script:14.
#     Error running script (call to f_849a72e1...): @user_script:14: @user_script: 14: -OOM command not allowed ...
_SCRIPT_LOCATION = re.compile(r"\.? script: .*on @user_script:\d+\.?$|^Error running script .*@user_script: ?\d+: -?")
_ACCESS_ERRORS = (
    errors.AuthenticationError,
    errors.AuthorizationError,
    errors.AuthenticationWrongNumberOfArgsError,
    errors.NoPermissionError,
)


class Client:
    """A client of one server or cluster, for use by several threads.

    The messages of StoreUnavailable and StoreFailed have its URL.
    """

    def __init__(
        self,
        url: RedisUrl,
        *,
        password: str,
        sentinel_password: str = "",
        cafile: str = "",
        certfile: str = "",
        keyfile: str = "",
    ) -> None:
        self.url = url
        self._options: dict[str, Any] = {
            "username": url.user or None,
            "password": password or None,
            "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "socket_timeout": _ANSWER_TIMEOUT_SECONDS,
            "protocol": 2,  # every server knows it, and version 3 has nothing that we need
        }
        if url.tls:
            files = {"ssl_ca_certs": cafile, "ssl_certfile": certfile, "ssl_keyfile": keyfile}
            self._options |= {
                "ssl": True,
                "ssl_check_hostname": True,
                **{name: file for name, file in files.items() if file},
            }
        self._sentinels = Sentinels(
            url,
            **self._options
            | {
                "username": None,
                "password": sentinel_password or None,
                "socket_timeout": _SENTINEL_TIMEOUT_SECONDS,
                "retry": _ONCE_MORE,
            },
        )
        self._lock = threading.Lock()
        self._redis: Any = None  # not typed: in redis-py every answer is either a value or an awaitable
        self._has_answered = False
        self._without_replica = False

    def execute(self, *command: Any, **options: Any) -> Any:
        """Send a command and return the answer."""
        with self._errors_as_store_errors() as client:
            return client.execute_command(*command, **options)

    def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> Any:
        """Run a script and return its result. All its keys must have the same hash tag."""
        run = self._run_confirmed if script.writes and self.url.sentinel else self.execute
        try:
            return run("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except errors.NoScriptError:
            return run("EVAL", script.text, len(keys), *keys, *arguments)

    def scan(self, pattern: bytes) -> set[bytes]:
        """Return the keys of the server or cluster that match a pattern."""
        with self._errors_as_store_errors() as client:
            return set(client.scan_iter(match=pattern, count=1_000))

    def info(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the answer to INFO of the server, or of each primary of the cluster, by its name."""
        with self._errors_as_store_errors() as client:
            if self.url.sentinel:
                return [(f"{_shown(client)}, the master of {self.url},", client.execute_command("INFO"))]
            if not self.url.cluster:
                return [(str(self.url), client.execute_command("INFO"))]
            return [(node.name, client.execute_command("INFO", target_nodes=node)) for node in client.get_primaries()]

    def info_of_replicas(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the answer to INFO of each replica that may become the master, by its name, if sentinels know it."""
        found: list[tuple[str, dict[str, Any]]] = []
        for address in self._sentinels.replicas() if self.url.sentinel else ():
            client = self._client_of(address)
            with suppress(errors.RedisError, OSError):
                found.append((f"{_shown(client)}, a replica of {self.url},", client.execute_command("INFO")))
            client.close()
        return found

    def reconnect(self) -> None:
        """Let the next command connect again, to the server that is the master then."""
        with self._lock:
            self._redis = None

    def times(self) -> list[TimeTold]:
        """Return the time of the server, of the master that sentinels name, or of each primary of the cluster."""
        with self._errors_as_store_errors() as client:
            if self.url.sentinel:
                return [_time_of(client, _shown(client))]
            if not self.url.cluster:
                return [_time_of(client, str(self.url))]
            return [_time_of(client, node.name, target_nodes=node) for node in client.get_primaries()]

    def close(self) -> None:
        """Close all connections. The next command opens new ones."""
        with self._lock:
            client, self._redis = self._redis, None
        if client is not None:
            client.close()
        self._sentinels.close()

    def _run_confirmed(self, *command: Any) -> Any:
        """Run a script that writes, and return its result once a replica has what it has written.

        Raises StoreUnavailable if none confirms it: then it may be repeated.
        """
        with self._errors_as_store_errors() as client:
            # On one connection, for Redis waits for what was written on it.
            together = client.pipeline(transaction=False)
            together.execute_command(*command)
            together.execute_command("WAIT", 1, _CONFIRMATION_TIMEOUT_MS)
            result, confirmed = together.execute(raise_on_error=False)
            for answer in (result, confirmed):
                if isinstance(answer, Exception):
                    raise answer
            if not confirmed:
                self._require_no_replica(client)
            self._without_replica = not confirmed
            return result

    def _require_no_replica(self, client: Any) -> None:
        """Check that no replica can confirm a write, because there is none. Raises ConnectionError."""
        info = client.info("replication")
        replicas = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
        if any(each["state"] == "online" and each["lag"] <= _MAX_REPLICA_LAG_SECONDS for each in replicas):
            raise errors.ConnectionError(f"no replica has confirmed a write for {_CONFIRMATION_TIMEOUT_MS / 1_000:g} s")
        if not self._sentinels.agree_on(_address(client)):
            raise errors.ConnectionError(
                f"{_shown(client)} has no replica, and not most of the sentinels call it the master"
            )
        if not self._without_replica:
            what = "redis has no replica: what is written now is lost if its server is"
            log.warning(what, server=str(self.url), master=_shown(client))

    @contextmanager
    def _errors_as_store_errors(self) -> Iterator[Any]:
        """Give the client of redis-py, and turn its errors into StoreUnavailable or StoreFailed."""
        client = self._connected()
        try:
            yield client
            self._has_answered = True
        except errors.NoScriptError:
            raise
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            if self.url.cluster or self.url.sentinel:
                self._drop(client)
            raise self._as_store_error(error) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._redis is None:
                try:
                    self._redis = self._connect()
                except (errors.RedisError, errors.RedisClusterException, OSError) as error:
                    raise self._as_store_error(error) from error
            return self._redis

    def _connect(self) -> Any:
        if self.url.path:
            return redis.Redis(unix_socket_path=self.url.path, retry=_ONCE_MORE, **self._options)
        if self.url.sentinel:
            return self._connect_to_master()
        ((host, port),) = self.url.hosts
        if self.url.cluster:
            return redis.RedisCluster(host=host, port=port, retry=_ONCE_MORE, **self._options)
        return self._client_of((host, port))

    def _connect_to_master(self) -> Any:
        address = self._sentinels.master()
        client = self._client_of(address)
        # A server that was the master goes on calling itself so until the sentinels tell it, and the other way round.
        role = client.info("replication")["role"]
        if role != "master":
            raise errors.ConnectionError(f"{_shown(client)} is to be the master, and is a {role} still")
        return client

    def _client_of(self, address: Address) -> Any:
        host, port = address
        return redis.Redis(host, port, db=self.url.database, retry=_ONCE_MORE, **self._options)

    def _drop(self, client: Any) -> None:
        """Drop the client, so that the next command connects again: all nodes of a cluster may have moved.

        The client is not closed, because other threads may be using it.
        """
        with self._lock:
            if self._redis is client:
                self._redis = None

    def _as_store_error(self, error: Exception) -> StoreFailed:
        problem = f"redis at {self.url}: {_message(error)}"
        if not _is_temporary(error):
            return StoreFailed(problem)
        # Where TLS meets a server without it, or the other way round, each waits for the other.
        found = "" if self._has_answered or self.url.path else other_protocol(self.url)
        return StoreFailed(f"redis at {self.url}: {found}") if found else StoreUnavailable(problem)


# The server may have closed an idle connection.
_ONCE_MORE = Retry(NoBackoff(), 1, supported_errors=(errors.ConnectionError,))


def _is_temporary(error: BaseException) -> bool:
    causes = [error, *_causes(error)]
    if isinstance(error, UnknownMaster):
        return False
    if any(isinstance(cause, _ACCESS_ERRORS) or _is_about_certificates(cause) for cause in causes):
        return False
    if isinstance(error, errors.RedisClusterException):
        return "not enabled" not in str(error)
    if any(isinstance(cause, (*_TEMPORARY_ERRORS, OSError)) for cause in causes):
        return True
    return _TEMPORARY_REPLY.search(str(error)) is not None


def _is_about_certificates(error: BaseException) -> bool:
    """Whether we refuse a server's certificate, or the server refuses ours."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLCertVerificationError) or "_ALERT_" in (error.reason or "")
    return False


def _address(client: Any) -> Address:
    place = client.connection_pool.connection_kwargs
    return place["host"], place["port"]


def _time_of(client: Any, name: str, **options: Any) -> TimeTold:
    after = time.monotonic()
    seconds, microseconds = client.execute_command("TIME", **options)
    return TimeTold(f"redis {name}", seconds * 1_000 + microseconds // 1_000, after, time.monotonic())


def _shown(client: Any) -> str:
    return shown(_address(client))


def _causes(error: BaseException) -> list[BaseException]:
    """Return the errors that have caused an error, the nearest first."""
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _message(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(_SCRIPT_LOCATION.sub("", text).split())
