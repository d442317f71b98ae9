"""A container engine that ends with the test: Podman, which Docker Compose takes for Docker.

It runs in namespaces of its own. Its networks, ports and rules for packets are in a network that nothing else is in,
and when its first process ends the kernel ends all containers. Its containers and volumes are in a folder of the test,
over the images that were built before.

What a Docker engine does by itself and Podman leaves to systemd is done here: health checks, each second however seldom
the file asks for them, for a test should not wait.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stream.processes import command_that_dies_with_parent
from tests.deploy.compose import compose_program
from tests.timeouts import TIMEOUT_SECONDS

# Limits may not be raised in a sandbox; crun takes a tree of cgroups of either version, but none of both.
_CONFIGURED: Final = """\
[containers]
default_ulimits = []
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
runtime = "crun"
"""
_STORAGE: Final = """\
[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
[storage.options]
additionalimagestores = ["{images}"]
"""
_ENTER: Final = """\
set -eu
mount -t proc proc /proc
mount -t tmpfs none /run
mkdir /run/lock
ip link set lo up
umount -l /sys/fs/cgroup/unified 2>/dev/null || true
exec "$@"
"""
_UNSHARE: Final = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
_PROGRAMS: Final = {
    "buildah": "buildah", "podman": "podman", "crun": "crun", "iptables": "iptables", "catatonit": "catatonit",
    "mmdebstrap": "mmdebstrap", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux",
}  # fmt: skip
_HELPERS: Final = {"/usr/lib/podman/netavark": "netavark", "/usr/lib/podman/aardvark-dns": "aardvark-dns"}


def why_not() -> str | None:
    """What keeps this machine from running containers, or None."""
    if os.geteuid() != 0:
        return "only root may make namespaces and mount file systems"
    lacking = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    lacking |= {package for path, package in _HELPERS.items() if not Path(path).exists()}
    if lacking:
        return f"no container engine: Debian's {', '.join(sorted(lacking))}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


def configured(folder: Path) -> dict[str, str]:
    """The variables that make Podman and Buildah fit for a sandbox; their file goes into a folder."""
    file = folder / "containers.conf"
    file.write_text(_CONFIGURED)
    return {"CONTAINERS_CONF": str(file)}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Engine:
    """A running engine."""

    socket: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    _ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, path: str, *, method: str = "GET") -> Any:
        """What the engine answers: JSON, or None where there is none. Raises OSError."""
        connection = _Connection(str(self.socket))
        try:
            connection.request(method, f"/v4.0.0/libpod/{path}")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {body.decode(errors='replace')}")
        return json.loads(body) if body else None

    def check_health(self) -> None:
        """Run the health check of each container, again and again."""
        while not self._ended.wait(1):
            with contextlib.suppress(OSError, http.client.HTTPException):
                for container in self.ask("containers/json"):
                    with contextlib.suppress(OSError, http.client.HTTPException):  # one that has none, or is gone
                        self.ask(f"containers/{container['Id']}/healthcheck")

    def state(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        told: dict[str, Any] = self.ask(f"containers/{name}/json")
        return told

    def podman(self, *arguments: str) -> str:
        """What a command of Podman prints."""
        done = subprocess.run(
            [*self._inside(), "podman", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"podman {' '.join(arguments)}\n{done.stdout}"
        return done.stdout

    def kill(self, name: str) -> None:
        """Kill the process of a container as the kernel does, so that it was not the engine's wish."""
        pid = str(self.state(name)["State"]["Pid"])
        subprocess.run([*self._inside(), "kill", "-KILL", pid], check=True)

    def _inside(self) -> list[str]:
        """What runs a command in the namespaces of the engine."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        return ["nsenter", "--target", first, "--pid", "--mount", "--net"]

    def close(self) -> None:
        self._ended.set()
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(images: Path) -> Iterator[Engine]:
    """An engine over a store of images."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder, images=images))
        variables = {**os.environ, **configured(folder), "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}
        place = folder / "engine.sock"
        command = [*_UNSHARE, "sh", "-c", _ENTER, "enter", "podman", "system", "service", "--time=0", f"unix://{place}"]
        with (folder / "log").open("wb") as log:
            started = subprocess.Popen(command_that_dies_with_parent(command), env=variables, stdout=log, stderr=log)
        engine = Engine(place, started, variables)
        try:
            until(lambda: place.exists() or started.poll() is not None, "an engine")
            assert started.poll() is None, (folder / "log").read_text()
            threading.Thread(target=engine.check_health, daemon=True).start()
            yield engine
        finally:
            engine.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Project:
    """docker-compose.yml in a folder of its own, with what it mounts and a `.env`."""

    engine: Engine
    folder: Path

    def compose(self, *arguments: str) -> str:
        """What a command of Docker Compose prints."""
        command = [compose_program(), *arguments]
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.engine.socket}",
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def up(
        self, services: Sequence[str], *, profiles: Sequence[str] = (), scale: Mapping[str, int] | None = None
    ) -> None:
        """Start services, with those of profiles, and wait until they are healthy."""
        chosen = [option for name in profiles for option in ("--profile", name)]
        scaled = [option for name, count in (scale or {}).items() for option in ("--scale", f"{name}={count}")]
        self.compose(*chosen, "up", "--detach", "--no-build", "--pull", "never", "--wait", *scaled, *services)

    def down(self) -> None:
        """End all services, and forget what they have kept."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "1")

    def names(self, service: str) -> list[str]:
        """The containers of a service that run."""
        wanted = f"engagement-{service}-"
        found = [name for one in self.engine.ask("containers/json") for name in one["Names"]]
        return sorted(name for name in found if name.startswith(wanted))

    def run_in(self, container: str, *command: str) -> str:
        """What a command prints in a container."""
        return self.engine.podman("exec", container, *command)

    def get(self, container: str, address: str) -> Any:
        """The JSON, or else the text, of a page, as a container of ours reaches it."""
        asked = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=300).read().decode())"
        body = self.run_in(container, "python", "-c", asked, f"http://{address}")
        try:
            return json.loads(body)
        except ValueError:
            return body

    def logs(self) -> str:
        """The ends of all logs."""
        told = []
        for container in self.engine.ask("containers/json?all=true"):
            name = container["Names"][0]
            with contextlib.suppress(AssertionError):
                told.append(f"--- {name}: {container['State']}\n{self.engine.podman('logs', '--tail', '20', name)}")
        return "\n".join(told)
