"""docker-compose.yml in real containers, and what is asked of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from tests.containers.engine import Engine, Project, until
from tests.deploy.compose import FILE
from tests.deploy.tools import DEPLOY

# All but Grafana, which is in no package of Debian.
SERVICES: Final = ("worker", "server", "prometheus", "alertmanager", "simulator")
# On a machine without time to spare a worker may hear of one topic days after another: nothing of it shall be late.
SMALL: Final = "SIMULATED_USERS=100\nSIMULATED_DAYS=14\nENGAGEMENT_ALLOWED_LATENESS=30d\n"


def project_in(folder: Path, engine: Engine, env: str) -> Project:
    """The file with what it mounts, beside a `.env`."""
    shutil.copy(FILE, folder)
    for name in ("prometheus", "alertmanager"):
        shutil.copytree(DEPLOY / name, folder / "deploy" / name)
    (folder / ".env").write_text(env)
    return Project(engine, folder)


def counted(project: Project, server: str = "engagement-server-1") -> float:
    """How many events were applied, as a server tells."""
    told = project.get(server, "127.0.0.1:8600/api/v1/metrics")["health"]
    events = [one for one in told if one["name"] == "engagement_events_total"]
    return sum(float(one["value"]) for one in events if one["labels"]["outcome"] in ("applied", "duplicate"))


def sent(project: Project) -> int:
    """How many events the simulator sent before it went on live; waits for it."""
    found: list[str] = []

    def is_told() -> bool:
        log = project.engine.podman("logs", "engagement-simulator-1")
        found[:] = re.findall(r"([\d,]+) events since .* are sent", log)
        return bool(found)

    until(is_told, "the simulator's history")
    return int(found[0].replace(",", ""))
