"""Another version of the code comes out of the history of the clone, where it has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.versions import is_refusal, other_version


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, file: str, content: str) -> str:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", content)
    return git(folder, "rev-parse", "--short", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def test_it_is_the_one_before_the_last_change_of_the_code(repository: Path, tmp_path: Path) -> None:
    commit(repository, "stream/__init__.py", "VERSION = 1")
    before = commit(repository, "stream/__init__.py", "VERSION = 2")
    commit(repository, "README.md", "told")
    commit(repository, "stream/__init__.py", "VERSION = 3")
    commit(repository, "README.md", "told anew")

    other = other_version(tmp_path / "other", repository=repository)

    assert (other.commit, other.left_out, str(other)) == (before, "", before)
    assert other.folder is not None
    assert run_in(other.folder) == "2"
    assert run_in(repository) == "3"


def run_in(folder: Path) -> str:
    """What a program says that is started there, as workers are."""
    (folder / "stream" / "__main__.py").write_text("import stream\nprint(stream.VERSION)")
    command = [sys.executable, "-m", "stream"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_can_be_named(repository: Path, tmp_path: Path) -> None:
    first = commit(repository, "stream/__init__.py", "VERSION = 1")
    for version in (2, 3):
        commit(repository, "stream/__init__.py", f"VERSION = {version}")

    other = other_version(tmp_path / "other", commit=first, repository=repository)

    assert other.folder is not None
    assert (other.folder / "stream" / "__init__.py").read_text() == "VERSION = 1"


def test_one_that_writes_state_in_another_format_is_left_out(repository: Path, tmp_path: Path) -> None:
    where = "stream/core/partition/progress.py"
    (repository / where).parent.mkdir(parents=True)
    first = commit(repository, where, "FORMAT = 1")
    commit(repository, where, "FORMAT = 2")
    same = commit(repository, where, "FORMAT = 2\nMORE = 1")
    commit(repository, where, "FORMAT = 2\nMORE = 2")

    other = other_version(tmp_path / "other", commit=first, repository=repository)

    assert (other.folder, other.left_out) == (None, f"{first} writes state in another format")
    assert other_version(tmp_path / "other", repository=repository).commit == same


def test_without_history_it_is_left_out(repository: Path, tmp_path: Path) -> None:
    commit(repository, "stream/__init__.py", "VERSION = 1")

    other = other_version(tmp_path / "other", repository=repository)

    assert other.folder is None
    assert str(other) == "left out: this clone has no history of stream/"


def test_what_is_no_clone_and_a_commit_that_is_not_there_are_told(repository: Path, tmp_path: Path) -> None:
    commit(repository, "stream/__init__.py", "VERSION = 1")

    assert "not a git repository" in other_version(tmp_path / "other", repository=tmp_path).left_out
    assert "nonsense" in other_version(tmp_path / "other", commit="nonsense", repository=repository).left_out


def test_who_can_not_use_settings_or_state_of_another_version_refuses() -> None:
    assert is_refusal(2, "unknown setting kafka.fetch")
    assert is_refusal(1, "the state of partition 3 is of version 2, this is 1")
    assert not is_refusal(1, "Fenced('nothing ran for 7.1 s')")
    assert not is_refusal(-9, "")
