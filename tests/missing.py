"""What this machine lacks for some tests: they are skipped, and the end of the run says for want of what."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Final, NoReturn

import pytest

_MARK: Final = "not on this machine: "


def missing(what: str) -> NoReturn:
    """Skip a test that can't run on this machine; fail it where everything must be there, as in CI."""
    if os.environ.get("ENGAGEMENT_TEST_REQUIRE_KAFKA") == "1":
        pytest.fail(what)
    pytest.skip(f"{_MARK}{what}")


def unreachable(what: str) -> NoReturn:
    """Skip a test for want of what can't be fetched now, or what the kernel refuses, in CI too: no commit causes it."""
    pytest.skip(f"{_MARK}{' '.join(what.split())}")


def what_is_missing(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """What is missing for how many of the tests that were skipped, and what brings all of it; a line each."""
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    counted = Counter(reason.partition(_MARK)[2] for reason in reasons if _MARK in reason)
    if not counted:
        return []
    lines = [f"{count} of the tests: {what}" for what, count in sorted(counted.items())]
    return [*lines, "`make test-deps` installs what is missing (Debian, Ubuntu; as root or by sudo), else it names it"]
