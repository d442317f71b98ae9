"""docker-compose.yml in real containers, and what the tests ask of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.containers.engine import Engine, until
from tests.deploy.compose import FILE, compose_program
from tests.deploy.tools import DEPLOY, REPOSITORY
from tests.timeouts import TIMEOUT_SECONDS

# All but Grafana, which is in no package of Debian.
SERVICES: Final = ("worker", "server", "prometheus", "alertmanager", "simulator")
# On a machine without time to spare a worker may read one topic days of event time behind another: nothing of it shall
# be late.
SMALL: Final = "SIMULATED_USERS=100\nSIMULATED_DAYS=14\nENGAGEMENT_ALLOWED_LATENESS=30d\n"

_LOG_LINES: Final = "20"


@dataclass(frozen=True, slots=True)
class Deployment:
    """docker-compose.yml in a folder of its own, with what it mounts and a `.env`."""

    engine: Engine
    folder: Path

    def set_env(self, env: str) -> None:
        """Write the `.env`."""
        (self.folder / ".env").write_text(env)

    def compose(self, *arguments: str) -> str:
        """Run a command of Docker Compose and return what it prints."""
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
        self,
        services: Sequence[str],
        *,
        profiles: Sequence[str] = (),
        scale: Mapping[str, int] | None = None,
        wait: bool = True,
    ) -> None:
        """Start services, with those of profiles, and wait until they are healthy.

        Compose gives up when one is unhealthy for some time, as on a machine that is busy. It is asked again.
        """
        options = [option for name in profiles for option in ("--profile", name)]
        scaled = [option for name, count in (scale or {}).items() for option in ("--scale", f"{name}={count}")]
        how = ["--detach", "--no-build", "--pull", "never", *(["--wait"] if wait else [])]
        deadline = time.monotonic() + TIMEOUT_SECONDS
        again: list[str] = []
        while not self._is_up(
            [*options, "up", *how, *again, *scaled, *services], may_be_unhealthy=time.monotonic() < deadline
        ):
            again = ["--no-recreate"]  # or they would begin anew each time
            time.sleep(2)

    def _is_up(self, command: Sequence[str], *, may_be_unhealthy: bool) -> bool:
        try:
            self.compose(*command)
        except AssertionError as error:
            if may_be_unhealthy and "is unhealthy" in str(error):
                return False
            raise
        return True

    def down(self) -> None:
        """End all services and remove their volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")

    def names(self, service: str) -> list[str]:
        """The containers of a service that run."""
        wanted = f"engagement-{service}-"
        found = [name for one in self.engine.ask("containers/json") for name in one["Names"]]
        return sorted(name for name in found if name.startswith(wanted))

    def run_in(self, container: str, *command: str) -> str:
        """Run a command in a container and return what it prints."""
        return self.engine.podman("exec", container, *command)

    def log_of(self, container: str) -> str:
        """All that a container has written."""
        return self.engine.podman("logs", container)

    def logs(self) -> str:
        """The ends of all logs."""
        ends = []
        for container in self.engine.ask("containers/json?all=true"):
            name = container["Names"][0]
            with contextlib.suppress(AssertionError):
                log = self.engine.podman("logs", "--tail", _LOG_LINES, name)
                ends.append(f"--- {name}: {container['State']}\n{log}")
        return "\n".join(ends)


@contextlib.contextmanager
def deployment_in(folder: Path, engine: Engine, env: str) -> Iterator[Deployment]:
    """The file with what it mounts, beside a `.env` of this text. At the end nothing of it runs any more."""
    shutil.copy(FILE, folder)
    for name in ("prometheus", "alertmanager"):
        shutil.copytree(DEPLOY / name, folder / "deploy" / name)
    deployment = Deployment(engine, folder)
    deployment.set_env(env)
    try:
        yield deployment
    finally:
        deployment.down()


def health_of(deployment: Deployment, name: str, server: str) -> list[dict[str, Any]]:
    """The values of one metric of the pipeline's health, as a server reports them."""
    metrics = json.loads(deployment.engine.get(server, "8600/api/v1/metrics"))["health"]
    return [one for one in metrics if one["name"] == name and one["value"] is not None]


def counted_events(deployment: Deployment, server: str = "engagement-server-1") -> float:
    """How many events the workers have counted, as a server reports it."""
    events = health_of(deployment, "engagement_events_total", server)
    return sum(float(one["value"]) for one in events if one["labels"]["outcome"] in ("applied", "duplicate"))


def send(deployment: Deployment, users: int, *, port: int = 9094, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """Send the events of new users from the host of the containers, where Kafka has this port; return how many."""
    command = ["env", f"--chdir={REPOSITORY}", sys.executable, "-m", "tests.containers.send"]
    sent = deployment.engine.run(*command, f"localhost:{port}", str(users), timeout_seconds=timeout_seconds)
    return int(sent.split()[-1])


def sent_events(deployment: Deployment) -> int:
    """Wait until the simulator has sent its history; return how many events it has."""
    found: list[str] = []

    def is_sent() -> bool:
        found[:] = re.findall(r"([\d,]+) events since .* are sent", deployment.log_of("engagement-simulator-1"))
        return bool(found)

    until(is_sent, "the simulator's history")
    return int(found[0].replace(",", ""))
