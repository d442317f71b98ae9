"""Who takes part: how each contestant is made ready, how it is started, what it does and what it lacks.

Peers in Python have virtual environments of their own, `.cache/peers/NAME`, filled by pip from the pins in
`requirements/NAME.txt` when they are missing or the pins have changed. Kafka Streams gets its jars by Maven and is
compiled by javac; PyFlink's connector for Kafka comes by Maven too. Who can't be made ready on a machine is not here,
and the table says why.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.peers.job import Task
from tests.maven import MavenFailed, MavenMissing, jars

_HERE: Final = Path(__file__).parent
_CACHE: Final = Path(__file__).parents[3] / ".cache" / "peers"
_STREAMS: Final = _HERE / "streams"
_FLINK: Final = _HERE / "flink"
_JOB: Final = _STREAMS / "LittleJob.java"
_TOLD_AT_MOST: Final = 300

# Plain Faust takes some thousand events a second: the first part of the events is enough for a steady rate.
FEW_EVENTS: Final = 30_000


class NotHere(Exception):
    """A contestant can't run on this machine; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of the table."""

    name: str
    version: Callable[[], str]
    does: str
    lacks: str
    started_by: Callable[[Task], list[str]]  # the command for a task; raises NotHere
    few: bool = False  # reads only the first FEW_EVENTS events, in topics of their own


def python_of(name: str) -> Path:
    """The Python of a virtual environment with what `requirements/NAME.txt` pins, made on first use. Raises NotHere."""
    pins = (_HERE / "requirements" / f"{name}.txt").read_text()
    folder = _CACHE / name
    python, made_of = folder / "bin" / "python", folder / "made-of.txt"
    if made_of.is_file() and made_of.read_text() == pins:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _done([sys.executable, "-m", "venv", str(folder)])
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
    _done([*install, "--requirement", str(_HERE / "requirements" / f"{name}.txt")])
    made_of.write_text(pins)
    return python


def pinned(requirements: str, package: str) -> str:
    """The version of a package in a file of pins."""
    lines = (_HERE / "requirements" / f"{requirements}.txt").read_text().splitlines()
    (version,) = [line.partition("==")[2].split(";")[0].strip() for line in lines if line.startswith(f"{package}==")]
    return version


def streams_version() -> str:
    """The version of Kafka Streams in its pom."""
    version = ElementTree.parse(_STREAMS / "pom.xml").getroot().findtext(".//{*}kafka.version")
    assert version is not None
    return version


def _arguments(task: Task) -> list[str]:
    broker, group, prefix, directory, events = task
    return [broker, group, prefix, directory, str(events)]


def _python(module: str, requirements: str, *options: str) -> Callable[[Task], list[str]]:
    """A module, by the Python of its own environment."""

    def started_by(task: Task) -> list[str]:
        return [str(python_of(requirements)), "-m", f"tests.bench.peers.{module}", *_arguments(task), *options]

    return started_by


def _plain_faust(task: Task) -> list[str]:
    """Faust, which is in our own environment."""
    return [sys.executable, "-m", "tests.bench.peers.plain_faust", *_arguments(task)]


def _flink(task: Task) -> list[str]:
    """PyFlink, with the connector for Kafka that it does not bring."""
    if shutil.which("java") is None:
        raise NotHere("no `java` (install Java 17)")
    (connector,) = _jars("flink-connector", _FLINK).glob("flink-sql-connector-kafka-*.jar")
    return _python("pyflink_job", "flink", str(connector))(task)


def _streams(guarantee: str) -> Callable[[Task], list[str]]:
    """Kafka Streams, with one of its processing guarantees."""

    def started_by(task: Task) -> list[str]:
        program = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", _streams_classes(), "LittleJob"]
        return [*program, *_arguments(task), guarantee]

    return started_by


def _streams_classes() -> str:
    """Where Java finds Kafka Streams and our class, which is compiled anew when its source has changed."""
    if shutil.which("javac") is None:
        raise NotHere("no `javac` (install a JDK of Java 17 or newer)")
    libs = _jars(f"streams-{streams_version()}", _STREAMS)
    classes = _CACHE / "streams-classes"
    compiled = classes / "LittleJob.class"
    if not compiled.is_file() or compiled.stat().st_mtime < _JOB.stat().st_mtime:
        _done(["javac", "-d", str(classes), "-cp", f"{libs}/*", str(_JOB)])
    return f"{classes}:{libs}/*"


def _jars(name: str, folder: Path) -> Path:
    try:
        return jars(f"peers/{name}", folder / "pom.xml")
    except (MavenMissing, MavenFailed) as error:
        raise NotHere(_short(str(error))) from None


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotHere(_short(done.stderr or done.stdout))


def _short(text: str) -> str:
    """The end of what a program said, in one line."""
    return " ".join(text.split())[-_TOLD_AT_MOST:]


_LITTLE: Final = "last seen, sessions by id, counts of answers"
_NO_MORE: Final = "windows, duplicates, corrections"

PEERS: Final = (
    Contestant(
        "Kafka Streams, exactly once",
        streams_version,
        f"{_LITTLE}; RocksDB, changelogs, a transaction a second",
        _NO_MORE,
        _streams("exactly_once_v2"),
    ),
    Contestant(
        "Kafka Streams, at least once",
        streams_version,
        f"{_LITTLE}; RocksDB, changelogs, a commit a second",
        f"{_NO_MORE}; counts twice after a crash",
        _streams("at_least_once"),
    ),
    Contestant(
        "Quix Streams, at least once",
        lambda: pinned("quix", "quixstreams"),
        f"{_LITTLE}; RocksDB, changelogs, a checkpoint a second",
        f"{_NO_MORE}; counts twice after a crash",
        _python("quix_streams", "quix", "at-least-once"),
    ),
    Contestant(
        "Quix Streams, exactly once",
        lambda: pinned("quix", "quixstreams"),
        f"{_LITTLE}; RocksDB, changelogs, a transaction a second",
        _NO_MORE,
        _python("quix_streams", "quix", "exactly-once"),
    ),
    Contestant(
        "Bytewax, recovery store",
        lambda: pinned("bytewax", "bytewax"),
        f"{_LITTLE}; in memory, a snapshot into SQLite a second",
        f"{_NO_MORE}; state larger than memory",
        _python("bytewax_flow", "bytewax"),
    ),
    Contestant(
        "PyFlink, thread mode",
        lambda: pinned("flink", "apache-flink"),
        f"{_LITTLE}; RocksDB, an incremental checkpoint a second",
        _NO_MORE,
        _flink,
    ),
    Contestant(
        "plain Faust",
        lambda: importlib.metadata.version("faust-streaming"),
        f"{_LITTLE}; in memory, changelogs",
        f"{_NO_MORE}; counts twice after a crash; the first {FEW_EVENTS:,} events",
        _plain_faust,
        few=True,
    ),
    Contestant(
        "loop of aiokafka and msgspec",
        lambda: pinned("loops", "aiokafka"),
        "reads, decodes, counts by topic",
        "any state",
        _python("aiokafka_loop", "loops"),
    ),
    Contestant(
        "loop of confluent-kafka and msgspec",
        lambda: pinned("loops", "confluent-kafka"),
        "reads, decodes, counts by topic",
        "any state",
        _python("confluent_loop", "loops"),
    ),
)
