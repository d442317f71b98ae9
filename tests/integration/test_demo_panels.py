"""The dashboards over the running demo: a real Prometheus with the shipped scrape job, and no panel is empty."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.simulate.embedded_broker import EmbeddedBroker
from tests.deploy import promtool
from tests.deploy.dashboards import Json, answer, asked_by_panel, chosen_at_first, panels
from tests.deploy.monitoring import Prometheus
from tests.timeouts import TIMEOUT_SECONDS

pytestmark = pytest.mark.slow

BOARDS = sorted((promtool.REPOSITORY / "deploy" / "grafana" / "dashboards").glob("*.json"))
_METRICS = re.compile(r"^metrics +http://(\S+)/metrics$", re.MULTILINE)


@pytest.fixture
def demo(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[str]:
    """Host and port of a demo whose history is loaded."""
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "demo", "--users", "500", "--port", "0"],
            stdout=out,
            stderr=out,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    try:
        ends = time.monotonic() + TIMEOUT_SECONDS
        while (told := _METRICS.search(log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        yield told[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=TIMEOUT_SECONDS)


@pytest.fixture
def prometheus(demo: str, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration, which knows nothing but the demo."""
    config = tmp_path / "prometheus.yml"
    shipped = promtool.PROMETHEUS_CONFIG.read_text()
    assert '"server:8600"' in shipped
    config.write_text(shipped.replace('"server:8600"', f'"{demo}"').replace("rules/*.yml", f"{promtool.RULES}/*.yml"))
    started = Prometheus(config, tmp_path / "memory")
    started.start()
    yield started
    started.stop()


def empty(prometheus: Prometheus) -> list[str]:
    """The panels that show nothing now.

    Those of closed days are asked for the next point of their lines, which Grafana draws when it has come.
    """
    now = time.time()
    found = []
    for file in BOARDS:
        board: Json = json.loads(file.read_text())
        chosen = chosen_at_first(board, prometheus, job="engagement", now=now)
        for panel in panels(board):
            at = now + next(asked_by_panel(panel, board, chosen, now=now)).step if "timeFrom" in panel else now
            if not any(answer(prometheus, asked) for asked in asked_by_panel(panel, board, chosen, now=at)):
                found.append(f"{file.stem}: {panel['title']}")
    return found


def test_no_panel_is_empty_in_the_demo(prometheus: Prometheus) -> None:
    def is_scraped() -> bool:
        return prometheus.value('count_over_time(engagement_partitions{job="engagement"}[1m]) >= 3') is not None

    prometheus.wait_until(is_scraped, "three scrapes")
    ends = time.monotonic() + TIMEOUT_SECONDS
    # By night a minute may pass without an event: then there is no latency to show.
    while (found := empty(prometheus)) and time.monotonic() < ends:
        time.sleep(5)

    assert found == []
