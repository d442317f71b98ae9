"""A client for Redis that turns its errors into StoreUnavailable or StoreFailed.

StoreUnavailable is for problems that end by themselves: no connection, or a server that is loading, failing over, full
or unable to write to its disk. StoreFailed is for problems that a person must solve: a wrong password, a missing
permission, an unknown certificate.

After a lost connection the client tries once more at once, because the server may have closed an idle connection. All
other problems are left to the worker, which waits and reports it.
"""

import re
import ssl
import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.core.store import StoreFailed, StoreUnavailable
from stream.redis_url import RedisUrl
from stream.state.redis_scripts import Script

# A healthy server answers within milliseconds, and takes a second or two while it forks or waits for its disk. Writing
# 32 MiB takes 0.3 s. After this time the worker should report that it waits.
_CONNECT_TIMEOUT_SECONDS = 2.0
_ANSWER_TIMEOUT_SECONDS = 5.0

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
        self, url: RedisUrl, *, password: str, cafile: str = "", certfile: str = "", keyfile: str = ""
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
        self._lock = threading.Lock()
        self._redis: Any = None  # not typed: in redis-py every answer is either a value or an awaitable

    def execute(self, *command: Any, **options: Any) -> Any:
        """Send a command and return the answer."""
        client = self._connected()
        try:
            return client.execute_command(*command, **options)
        except errors.NoScriptError:
            raise
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            if self.url.cluster:
                self._drop(client)
            raise self._as_store_error(error) from error

    def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> Any:
        """Run a script and return its result. All its keys must have the same hash tag."""
        try:
            return self.execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except errors.NoScriptError:
            return self.execute("EVAL", script.text, len(keys), *keys, *arguments)

    def scan(self, pattern: bytes) -> set[bytes]:
        """Return the keys of the server or cluster that match a pattern."""
        client = self._connected()
        try:
            return set(client.scan_iter(match=pattern, count=1_000))
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            raise self._as_store_error(error) from error

    def info(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the answer to INFO of the server, or of each primary of the cluster, by its name."""
        if not self.url.cluster:
            return [(str(self.url), self.execute("INFO"))]
        client = self._connected()
        return [(node.name, self.execute("INFO", target_nodes=node)) for node in client.get_primaries()]

    def close(self) -> None:
        """Close all connections. The next command opens new ones."""
        with self._lock:
            client, self._redis = self._redis, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        with self._lock:
            if self._redis is None:
                try:
                    self._redis = self._connect()
                except (errors.RedisError, errors.RedisClusterException, OSError) as error:
                    raise self._as_store_error(error) from error
            return self._redis

    def _connect(self) -> Any:
        retry = Retry(NoBackoff(), 1, supported_errors=(errors.ConnectionError,))
        if self.url.cluster:
            return redis.RedisCluster(host=self.url.host, port=self.url.port, retry=retry, **self._options)
        place: dict[str, Any] = {"host": self.url.host, "port": self.url.port, "db": self.url.database}
        if self.url.path:
            place = {"unix_socket_path": self.url.path}
        return redis.Redis(**place, retry=retry, **self._options)

    def _drop(self, client: Any) -> None:
        """Drop the client, so that the next command connects again: all nodes of a cluster may have moved.

        The client is not closed, because other threads may be using it.
        """
        with self._lock:
            if self._redis is client:
                self._redis = None

    def _as_store_error(self, error: Exception) -> StoreFailed:
        problem = f"redis at {self.url}: {_message(error)}"
        return StoreUnavailable(problem) if _is_temporary(error) else StoreFailed(problem)


def _is_temporary(error: BaseException) -> bool:
    causes = [error, *_causes(error)]
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
