"""docker-compose.yml as Compose understands it: variables filled in, anchors and short forms written out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.deploy.tools import REPOSITORY, tool, unavailable

FILE = REPOSITORY / "docker-compose.yml"
_OLDEST = (2, 24)  # the first that knows `required` of an env_file


def resolved(env: str = "") -> dict[str, Any]:
    """The whole file, services of all profiles included, beside a `.env` of this text.

    Raises AssertionError with what Compose refuses or warns of.
    """
    config: dict[str, Any] = json.loads(_config(env, ["--profile", "*"], ["--format", "json"]))
    return config


def started_by(*options: str, env: str = "") -> set[str]:
    """The services that `docker compose OPTIONS up` would start, beside a `.env` of this text."""
    return set(_config(env, list(options), ["--services"]).split())


def _config(env: str, options: list[str], form: list[str]) -> str:
    compose = compose_program()
    # In a folder of its own, where no .env of whoever runs the tests lies.
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(FILE, name)
        Path(name, ".env").write_text(env)
        done = subprocess.run(
            [compose, *options, "config", *form],
            cwd=name,
            env={"PATH": os.environ.get("PATH", ""), "HOME": name},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr, done.stderr
        return done.stdout.replace(name, str(REPOSITORY))


def compose_program() -> str:
    """Docker Compose, which needs no engine to read a file."""
    program = tool("docker-compose", of="the `dev` extra on Python 3.11 or later, or Docker Compose 2.24 or later")
    said = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False).stdout
    if tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2]) < _OLDEST:
        unavailable(f"{program} is Compose {said.strip()}: the file needs 2.24 or later")
    return program
