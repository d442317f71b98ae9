"""How pytest-xdist gives tests to processes that run side by side. See tests/order.py for what comes first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from tests.order import shares_fixtures


class InOrder(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives tests out in their order to whoever is free: alone, or with those of their module."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if shares_fixtures(path) else nodeid
