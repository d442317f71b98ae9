"""A real Apache Kafka for tests: one KRaft node on this machine, from Maven Central's jars or from a Docker image.

The jars are copied once into `.cache/kafka/<version>/` (or lie where ENGAGEMENT_TEST_KAFKA_LIBS says) and need
Java 17 and Maven; a machine that has no Java but Docker uses the image. A broker starts in about four seconds, so one
serves a whole test run, and tests take topic and group names of their own.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from stream.processes import command_that_dies_with_parent
from stream.simulate.embedded_broker import cluster_id_at, end_process_group
from tests.maven import CACHE, MavenFailed, MavenMissing, jars
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

_HERE: Final = Path(__file__).parent

# A single node leaves in about a second; the controlled shutdown of one with nobody to hand over to may hang.
STOP_TIMEOUT_SECONDS: Final = 20.0

_64_MIB: Final = 64 * 1024 * 1024

# What makes a single node small, quick to start and safe for old events, as `server.properties`.
SERVER_PROPERTIES: Final = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Groups form at once instead of waiting 3 s for more members, and tests may ask for short session timeouts.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # After a kill the node waits this long for its own former self to be declared dead, 9 s by default.
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "500",
    # A node alone has nobody to tell twice a second, by a record, that its metadata have not changed.
    "metadata.max.idle.interval.ms": "0",
    # A topic made by accident has the wrong number of partitions: see stream/kafka/topics.py.
    "auto.create.topics.enable": "false",
    # A checkpoint is one record batch.
    "message.max.bytes": str(_64_MIB),
    "replica.fetch.max.bytes": str(_64_MIB),
    # A compacted topic is compacted while a test still runs, not 15 s later.
    "log.cleaner.backoff.ms": "1000",
    # Recorded events may be of 2015.
    "log.retention.ms": "-1",
}

# Those of a node that no test kills: however busy the machine is, it is not declared dead.
# To say twice a second that it lives, for as long as a run lasts, would be for nobody.
LASTING: Final = {
    **SERVER_PROPERTIES,
    "broker.session.timeout.ms": "120000",
    "broker.heartbeat.interval.ms": "10000",
}

# For who runs a minute or two the quick compiler and the simple collector are cheaper: 6 s of CPU a start, not 12.
_SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

_LOGGING: Final = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class KafkaUnavailable(RuntimeError):
    """This machine can't run Kafka; the message says what it lacks."""


class RunningKafka(Protocol):
    """A Kafka that tests can stop, kill and bring back."""

    @property
    def address(self) -> str:
        """What goes into `bootstrap_servers`."""

    @property
    def behind_proxies(self) -> list[str]:
        """Where each proxy that it was told about must connect to, in the order of their ports."""

    def stop(self) -> None:
        """End it in an orderly way; its data stays until `discard()`."""

    def kill(self) -> None:
        """End it as a power cut does."""

    def restart(self) -> None:
        """Bring it back, stopped or not, with the same data at the same address."""

    def discard(self) -> None:
        """Stop it and remove all it wrote."""


def start_kafka(
    *,
    proxy_ports: Sequence[int] = (),
    proxies_named: str = "127.0.0.1",
    properties: Mapping[str, str] = SERVER_PROPERTIES,
) -> RunningKafka:
    """A new, empty Kafka, by Java or else by Docker. Raises KafkaUnavailable.

    Clients come back to the address that a broker advertises. So it has a listener for each of the `proxy_ports`, which
    advertises that port of this machine, under this name: who comes through a proxy stays behind it.
    """
    try:
        server: KafkaServer | KafkaContainer = KafkaServer(
            kafka_libs(),
            proxy_ports,
            proxies_named=proxies_named,
            classes=classes_read(kafka_libs()),
            properties=properties,
        )
    except KafkaUnavailable as no_java:
        try:
            server = KafkaContainer(proxy_ports, proxies_named, properties)
        except KafkaUnavailable as no_docker:
            raise KafkaUnavailable(f"Apache Kafka is not available: {no_java}; {no_docker}") from None
    try:
        server.start()
    except BaseException:
        server.discard()
        raise
    return server


def kafka_libs() -> Path:
    """The folder with Kafka's jars, filled by Maven on first use. Raises KafkaUnavailable."""
    if shutil.which("java") is None:
        raise KafkaUnavailable("no `java` (install Java 17 or newer)")
    given = os.environ.get("ENGAGEMENT_TEST_KAFKA_LIBS")
    if given:
        if not any(Path(given).glob("kafka_2.13-*.jar")):
            raise KafkaUnavailable(f"ENGAGEMENT_TEST_KAFKA_LIBS={given} holds no kafka_2.13 jar")
        return Path(given)
    version = kafka_version()
    try:
        return jars(f"kafka/{version}", _HERE / "pom.xml", f"-Dkafka.version={version}")
    except MavenMissing as error:
        raise KafkaUnavailable(f"{error}, or set ENGAGEMENT_TEST_KAFKA_LIBS to a folder of Kafka's jars") from None
    except MavenFailed as error:
        raise KafkaUnavailable(f"Maven could not fetch the jars of Kafka {version}: {error}") from None


def kafka_version() -> str:
    """The version of Kafka that the tests run on."""
    named = os.environ.get("ENGAGEMENT_TEST_KAFKA_VERSION")
    in_pom = ElementTree.parse(_HERE / "pom.xml").getroot().findtext(".//{*}kafka.version")
    assert in_pom is not None
    return named or in_pom


def _listeners(
    own: dict[str, str], *, advertised: str, proxied: Sequence[tuple[str, int]], proxies_named: str
) -> dict[str, str]:
    """The listeners as properties: its own ones by name, and for each proxy one that advertises its port."""
    behind = {f"PROXIED{number}": place for number, place in enumerate(proxied)}
    listening = {**own, **{name: address for name, (address, _) in behind.items()}}
    told = {"PLAINTEXT": advertised, **{name: f"{proxies_named}:{port}" for name, (_, port) in behind.items()}}
    return {
        "listeners": ",".join(f"{name}://{address}" for name, address in listening.items()),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in told.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listening),
    }


@cache
def classes_read(libs: Path) -> Path | None:
    """Kafka's classes as Java has them in memory, written to a file by a first broker; None where Java can't.

    Read from it, a start costs 3 s of CPU, not 5.5. A file of another Java is none: Java would leave it alone.
    """

    def write(path: Path) -> None:
        server = KafkaServer(libs, writes_classes=path)
        try:
            server.start()
            server.stop()
        finally:
            server.discard()

    return _made_once(f"kafka-classes-{_key(libs)}.jsa", write)


@cache
def formatted(libs: Path) -> Path:
    """The storage of a broker that has not yet started."""

    def write(path: Path) -> None:
        server = KafkaServer(libs)
        try:
            shutil.move(server.format_by_itself(), path)
        finally:
            server.discard()

    path = _made_once(f"kafka-storage-{_key(libs)}", write)
    assert path is not None
    return path


def _key(libs: Path) -> str:
    """Differs with the version of Java, that of Kafka, and where it lies."""
    version = subprocess.run(["java", "-version"], capture_output=True, check=False).stderr
    return hashlib.sha256(version + str(libs.resolve()).encode()).hexdigest()[:16]


def _made_once(name: str, write: Callable[[Path], None]) -> Path | None:
    """What lies in the cache under a name, written at the first call; None where `write` could write nothing."""
    path = CACHE / name
    if path.exists():
        return path
    CACHE.mkdir(exist_ok=True)
    # One at a time; renamed when it is whole, for whoever writes it may be interrupted.
    with (CACHE / f"{name}.lock").open("w") as turn, tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not path.exists():
            written = Path(unfinished, name)
            write(written)
            if written.exists():
                written.rename(path)
    return path if path.exists() else None


class KafkaServer:
    """Broker and controller in one Java process, with a folder of its own.

    Its classes are read from the file `classes`, as `classes_read` has made it; or it writes them to `writes_classes`
    when it stops.
    """

    def __init__(
        self,
        libs: Path,
        proxy_ports: Sequence[int] = (),
        *,
        proxies_named: str = "127.0.0.1",
        classes: Path | None = None,
        writes_classes: Path | None = None,
        properties: Mapping[str, str] = SERVER_PROPERTIES,
    ) -> None:
        self._libs, self._more = libs, properties
        self._sharing = [] if classes is None else [f"-XX:SharedArchiveFile={classes}"]
        self._writing = [] if writes_classes is None else [f"-XX:ArchiveClassesAtExit={writes_classes}"]
        self._folder = Path(tempfile.mkdtemp(prefix="engagement-kafka-"))
        self._port, self._controller_port = free_port(), free_port()
        self._proxied = [(free_port(), port) for port in proxy_ports]
        self._proxies_named = proxies_named
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What goes into `bootstrap_servers`."""
        return f"127.0.0.1:{self._port}"

    @property
    def behind_proxies(self) -> list[str]:
        """Where each proxy that it was told about must connect to, in the order of their ports."""
        return [f"127.0.0.1:{port}" for port, _ in self._proxied]

    @property
    def log_path(self) -> Path:
        """Warnings and errors of the server, of all its starts."""
        return self._folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers; format its storage before the first time."""
        if self._process is not None:
            raise RuntimeError(f"Kafka runs already, at {self.address}")
        if not (self._folder / "storage").is_dir():
            self._format()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command_that_dies_with_parent(
                    [*self._java("-Xmx512m", "-Xms256m", *self._writing), "kafka.Kafka", str(self._properties)]
                ),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while cluster_id_at(self.address, timeout_seconds=5.0) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka did not start at {self.address}: {self._log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in an orderly way; its data stays until `discard()`."""
        if self._process is not None:
            end_process_group(self._process, timeout_seconds=STOP_TIMEOUT_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Bring it back, stopped or not, with the same data at the same address."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """End it at once, and remove all it wrote."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _told(self) -> dict[str, str]:
        """What goes into `server.properties`."""
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            **_listeners(
                {"PLAINTEXT": self.address, "CONTROLLER": f"127.0.0.1:{self._controller_port}"},
                advertised=self.address,
                proxied=[
                    (address, port) for address, (_, port) in zip(self.behind_proxies, self._proxied, strict=True)
                ],
                proxies_named=self._proxies_named,
            ),
            "log.dirs": str(self._folder / "storage"),
            **self._more,
        }

    def _format(self) -> None:
        """Make its storage, as it was once made for all: this saves the start of another Java."""
        self._write_properties()
        shutil.copytree(formatted(self._libs), self._folder / "storage")

    def _write_properties(self) -> None:
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._told().items()))
        (self._folder / "log4j2.properties").write_text(_LOGGING)

    def format_by_itself(self, *options: str) -> Path:
        """Make a storage of its own, with these options of Kafka's tool; returns where."""
        self._write_properties()
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*self._java(), "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            # The id may begin with a dash.
            [*tool, *options, f"--cluster-id={cluster_id}", "-c", str(self._properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka could not format its storage: {done.stdout}{done.stderr}")
        return self._folder / "storage"

    def _java(self, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder}/log4j2.properties"
        return ["java", *_SHORT_LIVED, *self._sharing, *options, logging, "-cp", f"{self._libs}/*"]

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-30:])


class KafkaContainer:
    """The same from the image `apache/kafka`, or the one that ENGAGEMENT_TEST_KAFKA_IMAGE names."""

    def __init__(
        self,
        proxy_ports: Sequence[int] = (),
        proxies_named: str = "127.0.0.1",
        properties: Mapping[str, str] = SERVER_PROPERTIES,
    ) -> None:
        self._more, self._proxies_named = properties, proxies_named
        try:
            import docker  # type: ignore[import-untyped, unused-ignore]  # has no types
            from testcontainers.core.container import DockerContainer

            docker.from_env(timeout=5).ping()
        except ImportError as error:
            raise KafkaUnavailable(f"no `testcontainers` ({error})") from None
        except docker.errors.DockerException:
            raise KafkaUnavailable("no Docker engine answers") from None
        self._port = free_port()
        # By the port of a proxy: a port of this machine, and the one within the container that it leads to.
        self._proxied = {port: (free_port(), 9094 + number) for number, port in enumerate(proxy_ports)}
        image = os.environ.get("ENGAGEMENT_TEST_KAFKA_IMAGE", f"apache/kafka:{kafka_version()}")
        self._container = DockerContainer(image).with_bind_ports(9092, self._port)
        for outside, inside in self._proxied.values():
            self._container.with_bind_ports(inside, outside)
        # Setting one of these variables drops all defaults of the image, so that they must all be here.
        for name, value in self._properties().items():
            self._container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)

    @property
    def address(self) -> str:
        """What goes into `bootstrap_servers`."""
        return f"127.0.0.1:{self._port}"

    @property
    def behind_proxies(self) -> list[str]:
        """Where each proxy that it was told about must connect to, in the order of their ports."""
        return [f"127.0.0.1:{outside}" for outside, _ in self._proxied.values()]

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._container.start()
        self._wait()

    def stop(self) -> None:
        """End it in an orderly way; its data stays until `discard()`."""
        self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        """End it as a power cut does."""
        self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Bring it back, stopped or not, with the same data at the same address."""
        self._container.get_wrapped_container().restart()
        self._wait()

    def discard(self) -> None:
        """Stop it and remove all it wrote."""
        self._container.stop()

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@localhost:9093",
            "controller.listener.names": "CONTROLLER",
            **_listeners(
                {"PLAINTEXT": ":9092", "CONTROLLER": ":9093"},
                advertised=self.address,
                proxied=[(f":{inside}", port) for port, (_, inside) in self._proxied.items()],
                proxies_named=self._proxies_named,
            ),
            **self._more,
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while cluster_id_at(self.address, timeout_seconds=5.0) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the Kafka container does not answer at {self.address}")
            time.sleep(0.1)
