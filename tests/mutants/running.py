"""Runs tests on a copy of the repository: all of them once on the code as it is, then those that may see a mutant."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from coverage import CoverageData

from tests.mutants.changes import Mutant

# What runs no code of the core in a process of its own, waits for nothing, and so is fast.
TESTS: Final = ("tests/core", "tests/test_toy_family.py")
_COPIED: Final = ("stream", "tests", "pyproject.toml")
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", "node_modules", "*.egg-info", ".*")

_PYTEST: Final = (sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider")
# Examples as many as in `make test` and the same each time; the first that fails is enough, however long it is.
_HYPOTHESIS: Final = ("--hypothesis-profile", "mutants")

# A test may take so many times as long as without a mutant, or as this where it is short, before it counts as endless.
_TIMES_AS_LONG, _AT_LEAST_SECONDS = 5, 30

# pytest's status when it has run none.
_NO_TESTS = 5


class BaselineBroken(Exception):
    """The tests fail on the code as it is, so that nothing can be said of mutants. The text is what they printed."""


class Outcome(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NOT_RUN = "not run by any test"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the tests do on the code as it is. A test is a function; its parameters are no tests of their own."""

    seconds: dict[str, float]  # by test
    by_line: dict[str, dict[int, set[str]]]  # by module and line: the tests that run it
    by_module: dict[str, set[str]]  # the tests that run any function of it

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that may see a mutant, in the order in which they find it soonest."""
        by_line = self.by_line.get(mutant.module, {})
        near = {test for line in mutant.lines for test in by_line.get(line, ())}
        module = self.by_module.get(mutant.module, set())
        # What is set at import may be used by whoever imports it. Caches hide who else needs a line of a function.
        all_of_them = module if mutant.is_in_function else self.seconds.keys()
        return sorted(all_of_them, key=lambda test: (test not in near, test not in module, self.seconds[test]))

    @property
    def endless_seconds(self) -> int:
        """How long a test may take."""
        return round(_AT_LEAST_SECONDS + _TIMES_AS_LONG * max(self.seconds.values()))


def copy(repository: Path, to: Path) -> None:
    """Copy what the tests need, as it lies there, with what is not committed."""
    to.mkdir()
    for name in _COPIED:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, to / name, ignore=_NOT_COPIED)
        else:
            shutil.copy2(repository / name, to / name)


def baseline(root: Path, tests: Sequence[str], *, jobs: int) -> Baseline:
    """Run tests on the code as it is. Raises BaselineBroken."""
    command = [*_PYTEST, *_HYPOTHESIS, *tests, "--cov=stream/core", "--cov-context=test", "--cov-report="]
    command += ["--junitxml=baseline.xml", *(("-n", str(jobs)) if jobs > 1 else ())]
    _run_or_raise(root, command)
    seconds: defaultdict[str, float] = defaultdict(float)
    for case in ElementTree.parse(root / "baseline.xml").iter("testcase"):
        path = case.attrib["classname"].replace(".", "/")
        seconds[_function_of(f"{path}.py::{case.attrib['name']}")] += float(case.attrib["time"])
    (root / "tests.txt").write_text("\n".join(seconds))
    _run_or_raise(root, [*_PYTEST, "--collect-only", "@tests.txt"])  # or a mutant would die of a name that is none
    by_line, by_module = _who_runs_what(root)
    if not by_line:
        raise BaselineBroken(f"the tests ran no line below {root}: is another `stream` imported?")
    return Baseline(dict(seconds), by_line, by_module)


def _run_or_raise(root: Path, command: Sequence[str]) -> None:
    done = subprocess.run(
        command, cwd=root, env=_environment(writes_bytecode=True), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise BaselineBroken(done.stdout.decode(errors="replace"))


def _environment(*, writes_bytecode: bool) -> dict[str, str]:
    """Compiled modules of the copy are those of the baseline: a mutant's would be taken for the next one's."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited if writes_bytecode else {**inherited, "PYTHONDONTWRITEBYTECODE": "1"}


def _who_runs_what(root: Path) -> tuple[dict[str, dict[int, set[str]]], dict[str, set[str]]]:
    data = CoverageData(str(root / ".coverage"))
    data.read()
    by_line: dict[str, dict[int, set[str]]] = {}
    by_module: dict[str, set[str]] = {}
    for path in data.measured_files():
        module = str(Path(path).resolve().relative_to(root.resolve()))
        by_line[module] = {
            line: {_function_of(context.partition("|")[0]) for context in contexts if context}
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        by_module[module] = set().union(*by_line[module].values())
    return by_line, by_module


def _function_of(test: str) -> str:
    return test.partition("[")[0]


def outcome_of(root: Path, tests: Sequence[str], *, endless_seconds: int) -> tuple[Outcome, str]:
    """Run tests one after the other until one fails; gives what the last of them printed too."""
    if not tests:
        return Outcome.NOT_RUN, ""
    (root / "tests.txt").write_text("\n".join(tests))
    # By a thread, which ends the process: an exception would be tried again by Hypothesis, and never end.
    limits = ["--timeout", str(endless_seconds), "--timeout-method", "thread"]
    try:
        done = subprocess.run(
            [*_PYTEST, *_HYPOTHESIS, *limits, "@tests.txt"],
            cwd=root,
            env=_environment(writes_bytecode=False),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=endless_seconds * len(tests),
        )
    except subprocess.TimeoutExpired:
        return Outcome.KILLED, "the tests did not end"
    told = done.stdout.decode(errors="replace")
    if done.returncode == _NO_TESTS:
        raise RuntimeError(f"pytest found none of the tests that it had found before:\n{told}")
    # A mutant that can't be imported, or fills memory, ends pytest with any other status.
    return (Outcome.KILLED if done.returncode else Outcome.SURVIVED), told
