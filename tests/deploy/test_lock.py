"""deploy/requirements.lock holds all that pyproject.toml asks for, in versions that it allows, on every Python."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from deploy.lock import LOCK, PARTS, entries, parts, project
from tests.deploy.tools import there

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RENEW = "renew it with `make lock`"

Versions = dict[str, str]


def wanted(part: str) -> list[Requirement]:
    """What pyproject.toml asks for, for a part of the lock."""
    told = project()
    if part == "build":
        return [Requirement(text) for text in told["build-system"]["requires"]]
    own, extras = told["project"]["name"], told["project"]["optional-dependencies"]
    asked = [Requirement(text) for text in (told["project"]["dependencies"] if part == "run" else extras[part])]
    by_others = [Requirement(text) for one in asked if one.name == own for name in one.extras for text in extras[name]]
    return [one for one in asked if one.name != own] + by_others


def locked(part: str, python: str) -> Versions:
    """What an installation that reads the lock up to the end of a part gets, on a version of Python."""
    names = list(PARTS)[: list(PARTS).index(part) + 1]
    found = [Requirement(text.partition(" \\")[0]) for name in names for text in parts(LOCK.read_text())[name]]
    return {canonicalize_name(one.name): one.specifier.__str__() for one in found if applies(one, python)}


def applies(requirement: Requirement, python: str) -> bool:
    """Whether it is needed on a version of Python, on a machine as this one."""
    there_is = {"python_version": python, "python_full_version": f"{python}.1", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(there_is)


def of_extras(requirement: Requirement) -> Iterator[Requirement]:
    """What a package needs for the extras that are asked of it, as far as it is installed here."""
    try:
        needed = requires(requirement.name) or []
    except PackageNotFoundError:
        return
    for extra in requirement.extras:
        for text in needed:
            one = Requirement(text)
            if one.marker is not None and "extra" in str(one.marker) and one.marker.evaluate({"extra": extra}):
                yield one


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("part", PARTS)
def test_what_pyproject_asks_for_is_locked_in_a_version_that_it_allows(part: str, python: str) -> None:
    versions = locked(part, python)

    for asked in wanted(part):
        if not applies(asked, python):
            continue
        for one in (asked, *of_extras(asked)):
            pinned = versions.get(canonicalize_name(one.name), "")
            assert pinned, f"{one} is not in {LOCK.name} for Python {python}: {RENEW}"
            version = pinned.removeprefix("==")
            assert one.specifier.contains(version, prereleases=True), f"{version} is locked, not {one}: {RENEW}"


def test_every_version_is_exact_and_has_hashes_and_none_says_where_it_comes_from() -> None:
    text = there(LOCK).read_text()

    for entry in entries(text):
        requirement = Requirement(entry.partition(" \\")[0])
        (exactly,) = SpecifierSet(str(requirement.specifier))
        assert exactly.operator == "=="
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert list(parts(text)) == list(PARTS)


def test_a_part_is_what_comes_between_its_line_and_the_next() -> None:
    build, run = "one==1 \\\n    --hash=x", "two==2 \\\n    --hash=y"
    text = f"# made\n\n# -- build: to build\n{build}\n\n# -- run: to run\n{run}\nthree==3\n"

    assert parts(text) == {"build": [build], "run": [run, "three==3"]}
