"""Rules for every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli

from stream.core.families.family import Family
from stream.core.families.registry import FAMILIES

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_import_contracts_name_it(family: type[Family[Any]]) -> None:
    module = ".".join(family.__module__.split(".")[:4])  # stream.core.families.<its module or package>
    contracts = {one["name"]: one for one in tomli.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]}

    layers = contracts["imports point down in the core"]["layers"]
    assert any(module in layer.split(" | ") for layer in layers)
    # One that is given what others store lies above them, and may know them.
    assert (module in contracts["families do not know one another"]["modules"]) is not bool(family.derives_from)
    assert module in contracts["a partition knows families by their list alone"]["forbidden_modules"]


def test_no_two_share_a_name_or_a_number() -> None:
    assert len({family.name for family in FAMILIES}) == len({family.number for family in FAMILIES}) == len(FAMILIES)
