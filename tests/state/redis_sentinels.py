"""A master, a replica of it and three sentinels that watch over them, all on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from tests.state.redis_server import RedisServer
from tests.state.redis_stores import DURABLE
from tests.timeouts import TIMEOUT_SECONDS

NAME: Final = "mymaster"
COUNT: Final = 3
# So long a server must be silent until a sentinel calls it down, and about so long until the next attempt.
_DOWN_AFTER_MS, _FAILOVER_TIMEOUT_MS = 2_000, 6_000
_NEVER_MS: Final = 3_600_000


class Sentinel(RedisServer):
    """A sentinel. It never finds anything down unless it `fails_over`."""

    _arguments = ("--sentinel",)

    def __init__(self, master: RedisServer, *, fails_over: bool, tls: Path | None = None, password: str = "") -> None:
        super().__init__(tls=tls, password=password)
        self._master = master
        self._down_after_ms = _DOWN_AFTER_MS if fails_over else _NEVER_MS

    def watch(self, master: RedisServer) -> None:
        """Call another server the master from now on."""
        self.ask("SENTINEL", "REMOVE", NAME)
        self.ask("SENTINEL", "MONITOR", NAME, "127.0.0.1", master.port, COUNT // 2 + 1)

    def master_port(self) -> int:
        """The port of the server that it calls the master."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def _directives(self) -> dict[str, str]:
        told = super()._directives()
        kept = ("port", "bind", "dir", "requirepass", *(name for name in told if name.startswith("tls-")))
        monitoring = {
            f"sentinel monitor {NAME}": f"127.0.0.1 {self._master.port} {COUNT // 2 + 1}",
            f"sentinel down-after-milliseconds {NAME}": str(self._down_after_ms),
            f"sentinel failover-timeout {NAME}": str(_FAILOVER_TIMEOUT_MS),
        }
        if self._master.password:
            monitoring[f"sentinel auth-pass {NAME}"] = self._master.password
        if self._tls is not None:
            kept += ("tls-replication",)
            told["tls-replication"] = "yes"
        return {name: told[name] for name in kept if name in told and name != "tls-cluster"} | monitoring


class WatchedRedis:
    """Two servers, of which one is the master, and three sentinels. Ends with `discard`."""

    def __init__(
        self,
        *,
        fails_over: bool = True,
        password: str = "",
        sentinel_password: str = "",
        tls: Path | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        chosen = {**DURABLE, "repl-diskless-sync-delay": "0", "masterauth": password or '""', **(options or {})}
        if tls is not None:
            chosen["tls-replication"] = "yes"
        first = RedisServer(password=password, tls=tls, options=chosen)
        second = RedisServer(password=password, tls=tls, options={**chosen, "replicaof": f"127.0.0.1 {first.port}"})
        self.servers = [first, second]
        self.sentinels = [
            Sentinel(first, fails_over=fails_over, tls=tls, password=sentinel_password) for _ in range(COUNT)
        ]
        self._password, self._tls = password, tls

    @property
    def url(self) -> str:
        """What goes into `state.url`."""
        credentials = f":{quote(self._password, safe='')}@" if self._password else ""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"{'rediss' if self._tls else 'redis'}+sentinel://{credentials}{hosts}/{NAME}"

    @property
    def master(self) -> RedisServer:
        """The server that most sentinels call the master."""
        ports = sorted(sentinel.master_port() for sentinel in self.sentinels)
        return next(server for server in self.servers if server.port == ports[len(ports) // 2])

    @property
    def replica(self) -> RedisServer:
        """The other one."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def start(self) -> None:
        """Start all, and wait until the sentinels know one another and the replica."""
        for server in (*self.servers, *self.sentinels):
            server.start()
        _wait_until(self._is_watched, "the sentinels know one another and the replica")

    def wait_until_replicated(self) -> None:
        """Wait until the master has a replica that is up to date."""
        _wait_until(self._is_replicated, "the master has a replica that is up to date")

    def wait_for_another_master(self, than: RedisServer) -> RedisServer:
        """Wait until all sentinels call another server the master, and it does so itself."""

        def is_master() -> bool:
            ports = {sentinel.master_port() for sentinel in self.sentinels}
            return ports == {self.replica_of(than).port} and self.replica_of(than).ask("ROLE")[0] == b"master"

        _wait_until(is_master, "another server is the master")
        return self.replica_of(than)

    def replica_of(self, server: RedisServer) -> RedisServer:
        """The server that is not this one."""
        return next(other for other in self.servers if other is not server)

    def discard(self) -> None:
        """Stop all and remove all they wrote."""
        for server in (*self.sentinels, *self.servers):
            server.discard()

    def _is_watched(self) -> bool:
        for sentinel in self.sentinels:
            (master,) = sentinel.ask("SENTINEL", "MASTERS")
            told = dict(zip(master[::2], master[1::2], strict=True))
            if (told[b"num-other-sentinels"], told[b"num-slaves"]) != (b"%d" % (COUNT - 1), b"1"):
                return False
        return self._is_replicated()

    def _is_replicated(self) -> bool:
        role, offset, replicas = self.master.ask("ROLE")
        return bool(role == b"master" and [each for each in replicas if int(each[2]) == offset])


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        with suppress(redis.RedisError, OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in time: {what}")
        time.sleep(0.05)
