"""Prometheus' own tools, as Debian packages them: `prometheus` brings promtool, `prometheus-alertmanager` amtool."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.missing import missing

REPOSITORY = Path(__file__).parent.parent.parent
RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
RULE_FILES = sorted(RULES.glob("*.yml"))
PROMETHEUS_CONFIG = REPOSITORY / "deploy" / "prometheus" / "prometheus.yml"
ALERTMANAGER_CONFIG = REPOSITORY / "deploy" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = REPOSITORY / "deploy" / "runbooks"

_PACKAGE = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
}


def tool(name: str) -> str:
    """The path of a program. Skips the test where it is not installed; in CI that is a failure."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed: apt-get install {_PACKAGE[name]}")
    return found


def run(name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output of a tool."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout + done.stderr
