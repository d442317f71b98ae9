"""Modules of tests are compiled once, before several processes share the tests.

pytest compiles them in a way of its own, so that `assert` can say what was compared. In a fresh clone each process
would do that: it takes ten of the seventeen seconds of CPU that collecting all tests then takes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def compile_once(config: pytest.Config) -> None:
    """Collect the tests that were asked for, if few of them were ever compiled and several processes are to do it."""
    shares = len(getattr(config.option, "tx", None) or ()) > 1
    if shares and not sys.dont_write_bytecode and sys.pycache_prefix is None:
        folder = config.invocation_params.dir
        places = [folder / asked.partition("::")[0] for asked in config.args]
        if not are_compiled([module for place in places for module in modules_at(place)]):
            collect = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-qq", *config.args]
            subprocess.run(collect, cwd=folder, capture_output=True, check=False)


def modules_at(place: Path) -> list[Path]:
    """The modules of tests in a folder, or the one that a path names."""
    return [place] if place.is_file() else list(place.rglob("test_*.py"))


def are_compiled(modules: list[Path]) -> bool:
    """Whether this pytest and this Python have compiled most of them."""
    ending = f".{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    compiled = [one for one in modules if (one.parent / "__pycache__" / f"{one.stem}{ending}").exists()]
    return 2 * len(compiled) >= len(modules)
