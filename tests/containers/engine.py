"""A container engine that ends with the tests: Podman, whose socket Docker Compose takes for that of Docker.

It runs in Linux namespaces of its own. Its networks, ports and packet rules are in a network that nothing else is in,
and when its first process ends the kernel ends all containers. Containers, volumes and the names of networks are in a
temporary folder, over the images that were built before. So several engines run side by side and know nothing of each
other.

Docker runs health checks by itself; Podman leaves them to systemd, so that a thread runs them here. It runs those of a
container that is not healthy yet every two seconds, however seldom the file asks for them.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stream.processes import command_that_dies_with_parent
from tests.timeouts import TIMEOUT_SECONDS

# In a sandbox limits of processes can't be raised. crun takes cgroups of version 1 or 2, but not both in one tree.
_CONFIGURATION: Final = """\
[containers]
default_ulimits = []
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
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
mount -t tmpfs none /dev/shm
ip link set lo up
umount -l /sys/fs/cgroup/unified 2>/dev/null || true
exec catatonit -- "$@"
"""
_UNSHARE: Final = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
_REFUSED: Final = "this machine's kernel or sandbox lets no container run"
# Where each program is, and the package of Debian that brings it.
_PROGRAMS: Final = {
    "buildah": "buildah",
    "podman": "podman",
    "crun": "crun",
    "iptables": "iptables",
    "catatonit": "catatonit",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "wget": "wget",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
}
# Each check starts a program of the image, which takes half a second of CPU.
_CHECKED_EVERY_SECONDS: Final = 2.0
_CHECKED_AGAIN_SECONDS: Final = 10.0


class NoEngine(Exception):
    """The kernel or a sandbox refuses what a container engine needs. The text is its error."""


def why_not() -> str | None:
    """What keeps this machine from building and running containers, or None."""
    if os.geteuid() != 0:
        return "only root may make the namespaces and mounts of containers"
    lacking = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if lacking:
        return f"no container engine: Debian's {', '.join(sorted(lacking))}"
    tried = subprocess.run(_in_namespaces("true"), capture_output=True, text=True, check=False)
    return f"{_REFUSED}: {tried.stderr.strip()}" if tried.returncode else None


def _in_namespaces(*command: str) -> list[str]:
    """What runs a command in new namespaces, as the engine runs."""
    return [*_UNSHARE, "sh", "-c", _ENTER, "enter", *command]


def variables_in(folder: Path) -> dict[str, str]:
    """The environment variables with which Podman and Buildah work in a sandbox. Their file is put into the folder."""
    file = folder / "containers.conf"
    file.write_text(_CONFIGURATION.format(folder=folder))
    return {"CONTAINERS_CONF": str(file)}


class _Connection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

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

    def ask(self, path: str) -> Any:
        """The JSON that the engine answers to a GET of its own API. Raises OSError if it refuses."""
        connection = _Connection(str(self.socket))
        try:
            connection.request("GET", f"/v4.0.0/libpod/{path}")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(f"{path}: {answer.status} {body.decode(errors='replace')}")
        return json.loads(body)

    def try_out(self, image: str) -> None:
        """Run a container as those of docker-compose.yml are run. Raises NoEngine."""
        limited = ["--memory=64m", "--cpus=1", "--read-only", "--cap-drop=ALL", "--publish=127.0.0.1:8600:8600"]
        try:
            self.podman("network", "create", "probe")
            self.podman("run", "--rm", "--network=probe", *limited, image, "true")
            self.podman("network", "rm", "probe")
        except AssertionError as error:
            raise NoEngine(f"{_REFUSED}: {error}") from None

    def check_health(self) -> None:
        """Run the health checks of all containers until the engine is closed."""
        checked_at: dict[str, float] = {}
        while not self._ended.wait(_CHECKED_EVERY_SECONDS):
            with contextlib.suppress(OSError, http.client.HTTPException):
                for container in [one["Id"] for one in self.ask("containers/json")]:
                    if time.monotonic() >= checked_at.get(container, 0.0) + _CHECKED_AGAIN_SECONDS:
                        # A container may have no check, or be gone by now.
                        with contextlib.suppress(OSError, http.client.HTTPException):
                            if self.ask(f"containers/{container}/healthcheck")["Status"] == "healthy":
                                checked_at[container] = time.monotonic()

    def state(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        known: dict[str, Any] = self.ask(f"containers/{name}/json")
        return known

    def podman(self, *arguments: str) -> str:
        """Run a command of Podman and return what it prints."""
        return self.run("podman", *arguments)

    def run(self, *command: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        """Run a command in the namespaces of the engine, as on the host of the containers; return what it prints."""
        done = subprocess.run(
            [*self._inside(), *command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def kill(self, name: str) -> None:
        """Kill the first process of a container from outside: the engine sees that it died, as of lack of memory."""
        self.run("kill", "-KILL", str(self.state(name)["State"]["Pid"]))

    def get(self, container: str, page: str) -> str:
        """The text of a page under 127.0.0.1 of a container. Raises NoPage if the status is not 200."""
        pid = str(self.state(container)["State"]["Pid"])
        try:
            return self.run("nsenter", "--target", pid, "--net", "wget", "-q", "-O", "-", f"http://127.0.0.1:{page}")
        except AssertionError as error:
            raise NoPage(*error.args) from None

    def cgroup(self, name: str, controller: str, *files: str) -> int:
        """A number that the kernel has for a container: of the first of these files that there is (version 1 or 2)."""
        pid = self.state(name)["State"]["Pid"]
        for line in self.run("cat", f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            folder = Path("/sys/fs/cgroup", controllers and controller, path.lstrip("/"))
            for file in files:
                if (folder / file).exists():
                    return int((folder / file).read_text().split()[0])
        raise AssertionError(f"{name} has no {' or '.join(files)}")

    def _inside(self) -> list[str]:
        """What runs a command in the namespaces of the engine."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        return ["nsenter", "--target", first, "--pid", "--mount", "--net"]

    def close(self) -> None:
        """End the engine and all its containers."""
        self._ended.set()
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(images: Path, *, tried_with: str) -> Iterator[Engine]:
    """An engine over a store of images, which has run a container of one of them. Raises NoEngine."""
    # The path of a socket must be short, shorter than that of a folder of pytest.
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder, images=images))
        variables = {**os.environ, **variables_in(folder), "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}
        place = folder / "engine.sock"
        command = _in_namespaces("podman", "system", "service", "--time=0", f"unix://{place}")
        with (folder / "log").open("wb") as log:
            started = subprocess.Popen(command_that_dies_with_parent(command), env=variables, stdout=log, stderr=log)
        engine = Engine(place, started, variables)
        try:
            until(lambda: place.exists() or started.poll() is not None, "the socket of the engine")
            if started.poll() is not None:
                raise NoEngine(f"{_REFUSED}: {(folder / 'log').read_text().strip()}")
            engine.try_out(tried_with)
            threading.Thread(target=engine.check_health, daemon=True).start()
            yield engine
        finally:
            engine.close()


class NoPage(AssertionError):
    """A container has not answered with a page."""


def until(condition: Callable[[], object], what: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait for a condition, which may ask for pages that are not there yet."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with contextlib.suppress(NoPage):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)
