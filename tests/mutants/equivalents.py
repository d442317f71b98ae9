"""Mutants that change nothing that anyone could notice, each with the reason: `equivalent.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import tomli

LIST: Final = Path(__file__).parent / "equivalent.toml"


class Change(NamedTuple):
    """Lines of a module and what stands in their place, without indentation: they keep when other lines move."""

    module: str
    before: str
    after: str


def equivalents() -> dict[Change, str]:
    """The reason for each change of the list."""
    told = tomli.loads(LIST.read_text()).get("equivalent", [])
    return {Change(one["module"], one["before"], after): one["why"] for one in told for after in one["after"]}
