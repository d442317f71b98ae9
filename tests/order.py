"""Which tests run side by side, and which first, when pytest-xdist shares them among several processes.

Whoever is free takes the next test. Most of the time of the long ones is spent waiting, for Kafka or for something to
be over, so they come first, with some long ones that compute beside them. The short ones come last. Tests of a module
that share what is dear to make (a browser, a machine of its own, the memory of weeks) stay together.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import pytest

_REPOSITORY: Final = Path(__file__).parent.parent

# By the beginning of their place. Of several that fit the longest counts; what none of them names comes last.
_FIRST: Final = (
    "tests/chaos/test_chaos.py",
    "tests/integration/test_alerts.py",
    "tests/containers/test_demo.py",
    "tests/deploy/test_compose_runs.py",
    "tests/integration/test_soak.py",
    "tests/integration/test_demo",
    "tests/integration/test_clocks.py",
    "tests/integration/test_shutdown.py",
    "tests/integration/test_connections.py",
    "tests/integration/test_redis_sentinel.py",
    # By now the images are built, for test_demo.py.
    "tests/containers/test_variants.py",
    "tests/containers/test_pods.py",
    "tests/containers/test_engine.py",
    "tests/integration/test_created_again.py",
    "tests/integration/test_rights.py",
    "tests/integration/test_access_tokens.py",
    "tests/integration/test_encodings.py",
    "tests/integration/test_examples.py",
    "tests/integration/test_names.py",
    "tests/integration/test_standbys.py",
    "tests/integration/test_static_membership.py",
    "tests/integration/test_crash.py",
    "tests/deploy/test_business_alerts.py",
    "tests/deploy/test_dashboards.py",
    "tests/test_cdnow.py",
    "tests/export/test_page.py",
    "tests/export/test_page_tabs.py",
    "tests/integration/",
    "tests/chaos/",
    "tests/state/",
    "tests/agents/",
    "tests/deploy/",
    "tests/export/",
    "tests/simulate/",
)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The same tests, those first that take long; of one module as they were."""
    return sorted(items, key=lambda item: _place(item.nodeid.partition("::")[0]))


def _place(path: str) -> int:
    fitting = [begin for begin in _FIRST if path.startswith(begin)]
    return _FIRST.index(max(fitting, key=len)) if fitting else len(_FIRST)


@cache
def shares_fixtures(path: str) -> bool:
    """Whether tests of a module share a fixture that is made for it."""
    text = (_REPOSITORY / path).read_text()
    return 'scope="module"' in text or "browser" in text
