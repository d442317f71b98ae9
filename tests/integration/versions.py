"""Another version of the code, for a worker that runs beside newer ones as in a rolling update.

It is taken from the history of this clone: the state of `stream/` before its last change, or a commit that is named.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parents[2]

_WRONG_SETTINGS: Final = 2  # the exit status for what an operator has to change


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """Where another version lies, or why there is none."""

    commit: str = ""
    folder: Path | None = None
    left_out: str = ""

    def __str__(self) -> str:
        return f"left out: {self.left_out}" if self.left_out else self.commit


def other_version(folder: Path, *, commit: str = "", repository: Path = HERE) -> OtherVersion:
    """Take `stream/` of a commit out into a folder; without one that before the last commit that changed it.

    One that writes state in another format is left out: nobody can update to that one worker after the other.
    """
    try:
        found = commit or before_the_last_change(repository)
        if not found:
            return OtherVersion(left_out="this clone has no history of stream/")
        if not writes_our_format(found, repository=repository):
            return OtherVersion(left_out=f"{found} writes state in another format")
        packed = _git(repository, "archive", found, "stream")
    except (OSError, subprocess.CalledProcessError) as error:
        return OtherVersion(left_out=_told(error))
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return OtherVersion(found, folder)


def is_refusal(status: int, reason: str) -> bool:
    """Whether a worker of another version has ended because it can't use the settings or the state of this one."""
    return status == _WRONG_SETTINGS or "version" in reason


def before_the_last_change(repository: Path = HERE) -> str:
    """The commit before the last one that changed `stream/`, or nothing where the history does not have it."""
    told = _git(repository, "log", "--format=%h", "--max-count=2", "--", "stream").decode().split()
    return told[1] if len(told) > 1 else ""


def writes_our_format(commit: str, *, repository: Path = HERE) -> bool:
    """Whether a commit writes state in the format of the last one."""
    return _format_of(repository, commit) == _format_of(repository, "HEAD")


def _format_of(repository: Path, commit: str) -> str:
    """The line that says in which format a version writes state; empty for one that does not say."""
    wanted = ["-e", "^FORMAT = ", commit, "--", "stream/core/partition/progress.py"]
    command = ["git", "-C", str(repository), "grep", "--no-color", "-h", *wanted]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=True).stdout


def _told(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr.decode().strip())
    return str(error)
