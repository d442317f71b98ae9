"""Jars from Maven Central: of Kafka, and of the schemas of what Kubernetes itself does not know."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parent.parent / ".cache"


class MavenMissing(Exception):
    """There is no Maven on this machine."""


class MavenFailed(Exception):
    """Maven could not fetch what was asked for; the text is what it said last."""


def jars(name: str, pom: Path, *options: str) -> Path:
    """The folder of this name with all that a pom depends on, filled on first use.

    Raises MavenMissing or MavenFailed.
    """
    folder = CACHE / name
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MavenMissing("no `mvn` (install Maven)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # One at a time, for Maven's own repository takes no two; renamed when it is whole, for it may be interrupted.
    with (CACHE / "maven.lock").open("w") as turn, tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if folder.is_dir():  # another test was first
            return folder
        command = [maven, "-q", "-B", "-f", str(pom), *options, "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={unfinished}/jars"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MavenFailed((done.stdout + done.stderr)[-1_000:])
        Path(unfinished, "jars").rename(folder)
    return folder
