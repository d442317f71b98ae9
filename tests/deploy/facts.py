"""What is asked of services that run in a machine of their own: did the numbers come all the way?"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.timeouts import TIMEOUT_SECONDS


def get(address: str) -> Any:
    """The JSON, or else the text, of a page."""
    with urllib.request.urlopen(f"http://{address}", timeout=TIMEOUT_SECONDS) as answer:
        body = answer.read().decode()
    return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body


def value(expression: str) -> float | None:
    """The one value of a query, as Prometheus has it."""
    found = get(f"prometheus:9090/api/v1/query?{urlencode({'query': expression})}")["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def facts(logs: Mapping[str, Path]) -> dict[str, Any]:
    """What the parts know of each other once events have come all the way. `logs` has the log of each that runs."""
    told: dict[str, Any] = {}
    if "simulator" in logs:
        told["sent"] = _sent(logs["simulator"])
        told["counted"] = _at_least(told["sent"], _counted_by_server)
        told["outcomes"] = _outcomes()
    if "redis" in logs:
        told["redis_keys"] = int(subprocess.check_output(["redis-cli", "-h", "redis", "dbsize"]).split()[-1])
    if "prometheus" in logs:
        total = 'sum(engagement_events_total{outcome=~"applied|duplicate"})'
        told["scraped"] = _at_least(told["sent"], lambda: value(total))
        told["monthly_users"] = value('engagement_active_users{window="30d"}')
        _at_least(1, lambda: "unknown" not in {health for health, _ in _targets().values()})
        told["targets"] = _targets()
        told["alertmanagers"] = [
            found["url"] for found in get("prometheus:9090/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        ]
        told["rule_groups"] = len(get("prometheus:9090/api/v1/rules")["data"]["groups"])
        told["retention"] = get("prometheus:9090/api/v1/status/flags")["data"]["storage.tsdb.retention.time"]
    return told


def _targets() -> dict[str, list[str]]:
    """By job: the health of its target, and what went wrong."""
    found = get("prometheus:9090/api/v1/targets")["data"]["activeTargets"]
    return {target["labels"]["job"]: [target["health"], target["lastError"]] for target in found}


def _sent(log: Path) -> int:
    def told() -> int | None:
        found = re.search(r"([\d,]+) events since .* are sent", log.read_text())
        return int(found[1].replace(",", "")) if found else None

    return int(_at_least(1, told))


def _outcomes() -> dict[str, float]:
    """How many events met which fate, as the server tells."""
    told: dict[str, float] = {}
    for sample in get("server:8600/api/v1/metrics")["health"]:
        if sample["name"] == "engagement_events_total":
            outcome = sample["labels"]["outcome"]
            told[outcome] = told.get(outcome, 0) + sample["value"]
    return told


def _counted_by_server() -> float:
    outcomes = _outcomes()
    return outcomes.get("applied", 0) + outcomes.get("duplicate", 0)


def _at_least(wanted: float, ask: Any) -> Any:
    """Ask until the answer is as large as wanted; returns the last answer, 0 where there was none."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    answer = None
    while (answer is None or answer < wanted) and time.monotonic() < deadline:
        with contextlib.suppress(OSError, KeyError):
            answer = ask()
        time.sleep(0.5)
    return answer or 0
