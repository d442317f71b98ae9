"""The whole chain, for real: events, Kafka, worker, server, Prometheus, Alertmanager, and somebody who is told.

Prometheus and Alertmanager run with the shipped files. Three things are put in their place by the test, and no others:
addresses; and how long things take, six seconds an hour (`compressed`), for an alert waits for an hour; and what
Prometheus remembers of the weeks before, which is made from the same population (`tests/deploy/history.py`). Offsets
of weeks stay weeks: the memory is that old.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, seconds_of
from stream.simulate.recording import ReplayEvent
from stream.simulate.simulator import SimulatorSettings, simulate
from tests.deploy import promtool
from tests.deploy.history import moments, record, remember, scraped
from tests.deploy.monitoring import Alertmanager, Prometheus, Webhook
from tests.integration.deployment import Deployment, Program
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka

pytestmark = pytest.mark.slow

# 1,000 users are a MAU twice the least that alerts ask for.
POPULATION = SimulatorSettings(seed=4, users=1_000)
DROPPED_AGO_MS = 36 * HOUR_MS
LASTS_MS = 20 * MINUTE_MS

_HOUR_SECONDS = 6
_SHORTEST_SECONDS = 2  # two scrapes

# What is low enough to be told, whether it can be trusted or not.
_LOW = """
job_window:engagement_stickiness_ratio:avg1h{window="30d"}
< 0.85 * job_window:engagement_stickiness_ratio:median3w{window="30d"}
"""


@dataclass(frozen=True)
class Past:
    """A moment, and the memory of a Prometheus that has watched the population until a week before it."""

    now_ms: int
    memory: Path


@dataclass(frozen=True)
class Watch:
    """Prometheus and Alertmanager at work, and who is told."""

    prometheus: Prometheus
    alertmanager: Alertmanager
    webhook: Webhook


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """What both worlds below have in common: until 36 hours ago they were one."""
    promtool.tool("prometheus")
    now_ms = time.time_ns() // 1_000_000
    memory = tmp_path_factory.mktemp("past") / "memory"
    at = moments(now_ms, lasts_ms=LASTS_MS)
    remember(memory, scraped(POPULATION, at, job="engagement"))
    record(memory, at)
    return Past(now_ms, memory)


def compressed(text: str, *, waits_of_minutes: bool = True) -> str:
    """The same rules and routes with an hour in six seconds, for what is waited for and what is averaged.

    But `keep_firing_for` two hours or more, of the alerts on numbers, stays: how long an alert outlives a worker shall
    not depend on how busy this machine is. Without `waits_of_minutes` stays too what the alerts on the pipeline wait
    for, which is minutes: else two seconds without CPU are an outage to them.
    """

    def shorter(match: re.Match[str]) -> str:
        seconds = max(_SHORTEST_SECONDS, seconds_of(match["length"]) * _HOUR_SECONDS // 3_600)
        return f"{match['before']}{seconds}s{match['after']}"

    of_alert = "for" if waits_of_minutes else r"for(?=: \d+[hd])"
    waits = f"{of_alert}|group_wait|group_interval|repeat_interval|scrape_interval|evaluation_interval"
    length = rf"(?P<before>\b(?:(?:{waits}): |keep_firing_for: (?=\d+m)))(?P<length>\d+[smhd])(?P<after>)$"
    text = re.sub(length, shorter, text, flags=re.MULTILINE)
    return re.sub(r"(?P<before>\[)(?P<length>1h)(?P<after>\])", shorter, text)


@contextmanager
def watching(past: Past, folder: Path, *, server_port: int, waits_of_minutes: bool = True) -> Iterator[Watch]:
    """Prometheus and Alertmanager with the shipped files, `compressed`, watching one server."""
    shutil.copytree(past.memory, folder / "memory")
    shutil.copytree(promtool.RULES, folder / "rules")
    with Webhook() as webhook:
        alerting = folder / "alertmanager.yml"
        told = promtool.ALERTMANAGER_CONFIG.read_text().replace("webhook.invalid", webhook.address)
        alerting.write_text(compressed(told))
        alertmanager = Alertmanager(alerting, folder / "alertmanager")
        for rules in (folder / "rules").iterdir():
            rules.write_text(compressed(rules.read_text(), waits_of_minutes=waits_of_minutes))
        config = folder / "prometheus.yml"
        prometheus = Prometheus(config, folder / "memory")
        places = {
            "server:8600": f"127.0.0.1:{server_port}",
            "alertmanager:9093": alertmanager.address,
            "prometheus:9090": prometheus.address,
        }
        text = promtool.PROMETHEUS_CONFIG.read_text()
        for shipped, here in places.items():
            assert f'"{shipped}"' in text
            text = text.replace(f'"{shipped}"', f'"{here}"')
        config.write_text(compressed(text))
        try:
            alertmanager.start()
            prometheus.start()
            yield Watch(prometheus, alertmanager, webhook)
        finally:
            prometheus.stop()
            alertmanager.stop()


def live(deployment: Deployment, server: Program, population: SimulatorSettings, *, now_ms: int) -> None:
    """Send all that a population did in 35 days, up to now, and wait until it is counted.

    Whatever is still to be read is a backlog, and in so short hours one to be told.
    """
    simulated = simulate(population, start_ms=now_ms - 35 * DAY_MS, end_ms=now_ms)
    events = [ReplayEvent(event.at_ms, event.topic, event.key, event.value) for event in simulated]
    deployment.send(events)
    server.wait_until_ready()
    server.wait_until(lambda: server.read() == len(events), "every event is counted")


@pytest.fixture
def today(kafka: RunningKafka, deploy: Deploy) -> Deployment:
    """A deployment as it is used, and not as tests of old events use it."""
    return deploy(kafka.address, clock="wall", allowed_lateness="72h")


def until(watch: Watch, holds: Callable[[], object], what: str) -> None:
    """Wait for something to hold while Prometheus runs."""
    watch.prometheus.wait_until(holds, what)


def test_an_ordinary_day_is_told_to_nobody(past: Past, today: Deployment, tmp_path: Path) -> None:
    today.start("worker")
    server = today.start("serve")
    live(today, server, POPULATION, now_ms=past.now_ms)

    with watching(past, tmp_path / "watch", server_port=server.port, waits_of_minutes=False) as watch:
        until(watch, lambda: watch.prometheus.value("job:engagement_alerts:armed") == 1, "the alerts are awake")
        # Prometheus tells again after a minute what it could not tell in its first second.
        until(watch, lambda: watch.webhook.told("heartbeat"), "the heartbeat arrives")
        time.sleep(4 * _HOUR_SECONDS)  # an alert would have come after one

        assert watch.prometheus.firing() == {"EngagementWatchdog"}
        assert watch.webhook.ever_told() == {"EngagementWatchdog"}


def test_a_drop_is_told_unless_there_is_no_worker_to_trust(past: Past, today: Deployment, tmp_path: Path) -> None:
    fewer_return = replace(POPULATION, scenario="drop", scenario_at_ms=past.now_ms - DROPPED_AGO_MS)
    worker = today.start("worker")
    server = today.start("serve")
    live(today, server, fewer_return, now_ms=past.now_ms)
    worker.kill()
    server.wait_until(lambda: server.get("/readyz")[0] == 503, "the server says that it is not ready")

    with watching(past, tmp_path / "watch", server_port=server.port) as watch:
        told, prometheus = watch.webhook.told, watch.prometheus
        # The server goes on telling the low number, but nobody stands for it: it is not told, what is wrong is.
        until(watch, lambda: "EngagementPartitionsUnowned" in told("on-call"), "the lack of a worker is told")
        time.sleep(3 * _HOUR_SECONDS)
        assert prometheus.value(_LOW) is not None
        assert watch.webhook.ever_told() - {"EngagementWatchdog"} == {"EngagementPartitionsUnowned"}

        # With a worker the same number counts, and is told.
        worker = today.start("worker")
        until(watch, lambda: "EngagementStickinessDrop" in told("on-call"), "the drop is told")
        drop = told("on-call")["EngagementStickinessDrop"]
        assert drop["labels"]["severity"] == "critical"
        assert re.match(r"DAU/MAU was [\d.]+% in the last hour; [\d.]+% is usual", drop["annotations"]["description"])
        until(watch, lambda: "EngagementPartitionsUnowned" in told("on-call", status="resolved"), "the worker is told")

        # Without it again the drop still fires, and what fires is told again every four hours: but it is held back.
        worker.kill()
        until(watch, lambda: "EngagementStickinessDrop" in watch.alertmanager.held_back(), "the drop is held back")
        time.sleep(_SHORTEST_SECONDS)  # for what was on its way
        watch.webhook.messages.clear()
        again = "EngagementPartitionsUnowned"
        until(watch, lambda: watch.webhook.times_told("on-call", again) >= 3, "the lack of a worker is told again")
        assert "EngagementStickinessDrop" in prometheus.firing()
        assert watch.webhook.ever_told() - {"EngagementWatchdog"} == {"EngagementPartitionsUnowned"}
