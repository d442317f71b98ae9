"""Speaking to Redis: connections, and what its errors mean for a worker.

Whatever may mend itself is StoreAway: no connection, a server that loads, fails over, is full or can't persist. What
needs a person is StoreBroken: a wrong password, a missing permission, an unknown certificate.

A lost connection is tried again once, at once, for the server may have closed it while nobody used it. All else waits
for the worker, which says so meanwhile.
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

from stream.core.store import StoreAway, StoreBroken
from stream.redis_url import RedisUrl
from stream.state.redis_scripts import Script

# A server in reach answers in milliseconds; it may fork or wait for its disk for a second or two. Writing 32 MiB takes
# 0.3 s. Longer than this the worker should rather say that it waits.
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0

_AWAY = (
    errors.ConnectionError,
    errors.TimeoutError,
    errors.OutOfMemoryError,
    errors.ReadOnlyError,
    errors.TryAgainError,
    errors.ClusterError,
)
# Those that redis-py has no classes for, and what a Redis before 7 says of an error inside a script.
_MENDS_ITSELF = re.compile(r"(^|: -)(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b")
# Where in a script an error happened says nothing to an operator. Redis 7, Valkey and Redis 6 write
#     OOM command not allowed ... script: 849a72e1..., on @user_script:14.
#     OOM command not allowed ... script: on @user_script:14.
#     Error running script (call to f_849a72e1...): @user_script:14: @user_script: 14: -OOM command not allowed ...
_IN_A_SCRIPT = re.compile(r"\.? script: .*on @user_script:\d+\.?$|^Error running script .*@user_script: ?\d+: -?")
_REFUSED = (
    errors.AuthenticationError,
    errors.AuthorizationError,
    errors.AuthenticationWrongNumberOfArgsError,
    errors.NoPermissionError,
)


class Client:
    """One server or cluster; any thread may use it. Raises StoreAway and StoreBroken, which name it."""

    def __init__(
        self, url: RedisUrl, *, password: str, cafile: str = "", certfile: str = "", keyfile: str = ""
    ) -> None:
        self.url = url
        self._options: dict[str, Any] = {
            "username": url.user or None,
            "password": password or None,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": _ANSWER_SECONDS,
            "protocol": 2,  # every server speaks it, and nothing of the newer one is used
        }
        if url.tls:
            files = {"ssl_ca_certs": cafile, "ssl_certfile": certfile, "ssl_keyfile": keyfile}
            self._options |= {
                "ssl": True,
                "ssl_check_hostname": True,
                **{name: file for name, file in files.items() if file},
            }
        self._lock = threading.Lock()
        self._redis: Any = None  # redis-py types every answer as one or as an awaitable

    def ask(self, *command: Any, **options: Any) -> Any:
        """The answer to a command."""
        client = self._connected()
        try:
            return client.execute_command(*command, **options)
        except errors.NoScriptError:
            raise
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            if self.url.cluster:
                self._forget(client)
            raise self._translated(error) from error

    def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> Any:
        """What a script returns; all its keys lie in one slot."""
        try:
            return self.ask("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except errors.NoScriptError:
            return self.ask("EVAL", script.text, len(keys), *keys, *arguments)

    def scan(self, pattern: bytes) -> set[bytes]:
        """The keys that match a pattern, of the whole server or cluster."""
        client = self._connected()
        try:
            return set(client.scan_iter(match=pattern, count=1_000))
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            raise self._translated(error) from error

    def info(self) -> list[tuple[str, dict[str, Any]]]:
        """What each server says of itself, by its name: one, or every primary of a cluster."""
        if not self.url.cluster:
            return [(str(self.url), self.ask("INFO"))]
        client = self._connected()
        return [(node.name, self.ask("INFO", target_nodes=node)) for node in client.get_primaries()]

    def close(self) -> None:
        """Close all connections; the next question opens them again."""
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
                    raise self._translated(error) from error
            return self._redis

    def _connect(self) -> Any:
        retry = Retry(NoBackoff(), 1, supported_errors=(errors.ConnectionError,))
        if self.url.cluster:
            return redis.RedisCluster(host=self.url.host, port=self.url.port, retry=retry, **self._options)
        place: dict[str, Any] = {"host": self.url.host, "port": self.url.port, "db": self.url.database}
        if self.url.path:
            place = {"unix_socket_path": self.url.path}
        return redis.Redis(**place, retry=retry, **self._options)

    def _forget(self, client: Any) -> None:
        """The nodes of a cluster may all have moved: begin anew at the address that was given.

        It is not closed, for other threads may be using it.
        """
        with self._lock:
            if self._redis is client:
                self._redis = None

    def _translated(self, error: Exception) -> StoreBroken:
        told = f"redis at {self.url}: {_in_words(error)}"
        return StoreAway(told) if _mends_itself(error) else StoreBroken(told)


def _mends_itself(error: BaseException) -> bool:
    causes = [error, *_causes(error)]
    if any(isinstance(cause, _REFUSED) or _is_about_certificates(cause) for cause in causes):
        return False
    if isinstance(error, errors.RedisClusterException):
        return "not enabled" not in str(error)
    if any(isinstance(cause, (*_AWAY, OSError)) for cause in causes):
        return True
    return _MENDS_ITSELF.search(str(error)) is not None


def _is_about_certificates(error: BaseException) -> bool:
    """Whether we don't accept a server's certificate, or it does not accept ours."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLCertVerificationError) or "_ALERT_" in (error.reason or "")
    return False


def _causes(error: BaseException) -> list[BaseException]:
    """The errors behind an error, the nearest first."""
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _in_words(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(_IN_A_SCRIPT.sub("", text).split())
