"""The tools whose rules are known. A new one is a module with its `TOOL`, and a line here."""

from stream.core.reconciliation import ga4, matomo, mixpanel, plausible, posthog
from stream.core.reconciliation.conventions import Tool

TOOLS: dict[str, Tool] = {module.TOOL.name: module.TOOL for module in (ga4, plausible, posthog, mixpanel, matomo)}
