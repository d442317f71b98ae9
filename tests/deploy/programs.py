"""The programs of the images in docker-compose.yml as this machine has them, for a machine of its own to run.

An image is a program, what stands before its command, variables and a user. Ours is read from deploy/Dockerfile; of the
others the facts that matter are here. Where an image has a program under a path of its own, a file of this name runs
the one of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.deploy.tools import DEPLOY, REPOSITORY

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a container of an image would start with."""

    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    uid: int = 0
    folder: str = "/"


class NotHere(Exception):
    """This machine can't run the program of an image."""


def program_of(image: str, *, kafka_libs: str) -> Program:
    """How the program of an image is run here. Raises NotHere."""
    repository = image.rpartition(":")[0]
    makers: dict[str, Callable[[], Program]] = {
        "engagement-stream": _ours,
        "apache/kafka": lambda: _kafka(kafka_libs),
        "redis": lambda: _named("redis-server", "/usr/local/bin/redis-server", entrypoint=()),
        "prom/prometheus": lambda: _named("prometheus", "/bin/prometheus"),
        "prom/alertmanager": lambda: _named("prometheus-alertmanager", "/bin/alertmanager"),
    }
    if repository not in makers:
        raise NotHere(f"no package of this machine has the program of {image}")
    return makers[repository]()


def last_stage() -> list[dict[str, str]]:
    """The instructions of the stage of deploy/Dockerfile that becomes the image: name and value of each."""
    instructions = DockerfileParser(str(DEPLOY / "Dockerfile")).structure
    start = max(number for number, step in enumerate(instructions) if step["instruction"] == "FROM")
    return [{"name": step["instruction"], "value": step["value"]} for step in instructions[start:]]


def image_environment() -> dict[str, str]:
    """The variables that our image sets."""
    return {name: value for name, value in DockerfileParser(str(DEPLOY / "Dockerfile")).envs.items() if name != "PATH"}


def _ours() -> Program:
    _script("/usr/local/bin/engagement", f'exec {sys.executable} -m stream.cli "$@"')
    uid = next(int(step["value"].split(":")[0]) for step in last_stage() if step["name"] == "USER")
    folder = next(step["value"] for step in last_stage() if step["name"] == "WORKDIR")
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chown(folder, uid, uid)
    for place in {sys.prefix, sys.base_prefix, sys.executable, str(REPOSITORY)}:
        _let_everybody_through(Path(place))
    environment = {"PYTHONPATH": str(REPOSITORY), **image_environment()}
    return Program(entrypoint=("engagement",), environment=environment, uid=uid, folder=folder)


def _let_everybody_through(place: Path) -> None:
    """Interpreter and code may lie in a home that only its owner may enter; here that is nobody's harm."""
    for folder in (place, *place.parents):
        folder.chmod(folder.stat().st_mode | 0o055)


def _named(name: str, path: str, *, entrypoint: tuple[str, ...] | None = None) -> Program:
    found = shutil.which(name)
    if found is None:
        raise NotHere(f"no {name} here (Debian: apt-get install {name})")
    if Path(found).resolve() != Path(path).resolve():
        _script(path, f'exec {found} "$@"')
    return Program(entrypoint=(path,) if entrypoint is None else entrypoint)


def _kafka(libs: str) -> Program:
    """As the image starts it: the variables become a file of properties, the storage is formatted, the broker runs.

    The class that turns variables into properties is the image's own; it comes with Kafka.
    """
    if shutil.which("java") is None or not Path(libs).is_dir():
        raise NotHere("no Kafka here: it needs Java and its jars")
    for path, text in kafka_files(libs).items():
        _file(path, text)
    return Program(entrypoint=("/etc/kafka/docker/run",))


def kafka_files(libs: str) -> dict[str, str]:
    """What the image of Kafka has beside the jars in `libs`, by path: how it is started, and its defaults."""
    wrapper = "kafka.docker.KafkaDockerWrapper setup -D /etc/kafka/docker -M /mnt/shared/config -F /opt/kafka/config"
    # For who runs some minutes the quick compiler and the simple collector are cheaper.
    java = f"java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '{libs}/*'"
    broker = "-Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml kafka.Kafka /opt/kafka/config/server.properties"
    started = [
        "#!/bin/sh",
        "set -e",
        "mkdir -p /mnt/shared/config /opt/kafka/config",
        # As that of the image, it goes on with a folder that a container before it has formatted.
        f'said=$({java} {wrapper} 2>&1) || echo "$said" | grep -i "already formatted" || {{ echo "$said"; exit 1; }}',
        f"exec {java.replace('-cp', '$KAFKA_HEAP_OPTS -cp')} {broker}",
    ]
    return {
        # These defaults must be dropped: Kafka can't start with them.
        "/etc/kafka/docker/server.properties": "process.roles=defaults-of-the-image\n",
        "/etc/kafka/docker/log4j2.yaml": _LOGGING,
        "/etc/kafka/docker/tools-log4j2.yaml": _LOGGING,
        "/etc/kafka/docker/run": "\n".join(started) + "\n",
    }


_LOGGING = """\
Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "[%d] %p %m (%c)%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: STDOUT
    Logger: []
"""


def _script(path: str, body: str) -> None:
    _file(path, f"#!/bin/sh\n{body}\n")


def _file(path: str, text: str) -> None:
    """Put a file at a path in one step: a service that was just started may be reading the one that is there."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    new = Path(f"{path}.new")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)


def as_container(program: Program, command: list[str]) -> list[str]:
    """A command as the engine would start it: as the image's user, who can gain no rights."""
    if program.uid == 0:
        return [*program.entrypoint, *command]
    rights = ["--reuid", str(program.uid), "--regid", str(program.uid), "--clear-groups", "--no-new-privs"]
    return ["setpriv", *rights, "--bounding-set=-all", *program.entrypoint, *command]


def variables(program: Program, service: dict[str, str] | None) -> dict[str, str]:
    """The environment of a container: the image's variables, then the service's."""
    java = {"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}
    return {"PATH": f"{_PATH}:{os.environ['PATH']}", "HOME": "/", **java, **program.environment, **(service or {})}


def mount_in(source: str | None, target: str, *, owner: int) -> None:
    """Put a folder at its place in a container, or an empty one for a named volume."""
    new = not Path(target).is_dir()
    Path(target).mkdir(parents=True, exist_ok=True)
    mount = ["mount", "--bind", source, target] if source is not None else ["mount", "-t", "tmpfs", "none", target]
    subprocess.run(mount, check=True)
    if source is None and not new:
        # A volume is made as the image's folder is.
        os.chown(target, owner, owner)
