"""The list of changes that make no difference stays as short as the code allows."""

from __future__ import annotations

from tests.documents import REPOSITORY
from tests.mutants.equivalents import equivalents


def test_every_change_of_the_list_can_still_be_made_and_has_a_reason() -> None:
    for change, why in equivalents().items():
        lines = [line.strip() for line in (REPOSITORY / change.module).read_text().splitlines()]
        assert change.before in "\n".join(lines), f"not in {change.module} any more: {change.before}"
        assert why
