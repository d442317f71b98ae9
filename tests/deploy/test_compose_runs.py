"""docker-compose.yml, run without Docker: each service's own command, variables, folders and health check.

Programs come from Debian's packages, Kafka's jars and this repository instead of images; see `stack.py` for what is
taken from the file and what is not. Grafana is in no package here: its service is not run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stream.kafka.topic_specs import topic_specs
from stream.settings import load
from tests.deploy import machine
from tests.deploy.compose import resolved
from tests.deploy.tools import DEPLOY, REPOSITORY, there, tool, unavailable
from tests.integration.kafka_server import KafkaUnavailable, kafka_libs

NOT_RUN = {"grafana"}
# A population of a hundred for two weeks is sent in two seconds. On a machine without time to spare a worker may then
# hear of one topic days of event time after another: nothing of it shall be late.
SMALL = "SIMULATED_USERS=100\nSIMULATED_DAYS=14\nENGAGEMENT_ALLOWED_LATENESS=30d\n"

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.skipif(sys.platform != "linux", reason="namespaces")]


def run(folder: Path, env: str, *, without: set[str]) -> dict[str, Any]:
    """Run the services of the file but some, with a `.env`; returns what happened to each and what they told."""
    reason = machine.why_not()
    if reason is not None:
        unavailable(f"no machine of its own for the test: {reason}")
    for program, package in (("wget", "wget"), ("redis-server", "redis-server")):
        tool(program, of=f"Debian's package {package}")
    try:
        libs = kafka_libs()
    except KafkaUnavailable as error:
        unavailable(str(error))
    services = resolved(env)["services"]
    spec = folder / "spec.json"
    names = [name for name in services if name not in without]
    spec.write_text(json.dumps({"services": services, "names": names, "kafka_libs": str(libs.resolve())}))
    layer = folder / "layer"
    layer.mkdir()
    command = ["env", f"--chdir={REPOSITORY}", f"PYTHONPATH={REPOSITORY}", sys.executable]
    done = machine.run_inside([*command, "-m", "tests.deploy.stack", str(spec)], folder=layer)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["failure"] is None, told(report)
    return report


def told(report: dict[str, Any]) -> str:
    """What went wrong, with the end of every log."""
    logs = ("\n".join([f"--- {name}: {one['status']}", *one["log"]]) for name, one in report["services"].items())
    return "\n".join([report["failure"] or "", str(report["facts"]), *logs])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`docker compose --profile demo up`."""
    for name in ("prometheus", "prometheus-alertmanager"):
        tool(name, of=f"Debian's package {name}")
    for path in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml"):
        there(DEPLOY / path)
    return run(tmp_path_factory.mktemp("demo"), SMALL, without=NOT_RUN | {"redis"})


def test_every_service_starts_in_order_and_passes_its_health_check(demo: dict[str, Any]) -> None:
    healthy = {name for name, service in demo["services"].items() if service["healthy_after"] is not None}

    assert healthy == {"kafka", "worker", "server", "prometheus", "alertmanager"}
    assert demo["unhealthy"] == dict.fromkeys(healthy), told(demo)


def test_the_topics_are_made_once_and_for_all(demo: dict[str, Any]) -> None:
    topics = demo["services"]["topics"]
    settings = load(None, resolved(SMALL)["services"]["topics"]["environment"])

    assert topics["status"] == 0
    assert len(topics["log"]) == len(topic_specs(settings))
    assert all(line.startswith("created  ") for line in topics["log"]), topics["log"]


def test_what_the_simulator_sends_arrives_in_prometheus(demo: dict[str, Any]) -> None:
    facts = demo["facts"]

    assert facts["sent"] > 1_000
    assert facts["counted"] >= facts["sent"], told(demo)
    assert facts["scraped"] >= facts["sent"]
    assert facts["monthly_users"] > 50


def test_prometheus_reaches_all_it_scrapes_and_keeps_numbers_for_90_days(demo: dict[str, Any]) -> None:
    facts = demo["facts"]

    assert facts["targets"]["engagement"] == ["up", ""]
    assert {health for health, _ in facts["targets"].values()} == {"up"}, facts["targets"]
    assert facts["alertmanagers"] == ["http://alertmanager:9093/api/v2/alerts"]
    assert facts["rule_groups"] > 0
    assert facts["retention"] == "90d"


def test_each_service_ends_cleanly_within_the_time_it_is_given(demo: dict[str, Any]) -> None:
    late = [name for name, one in demo["services"].items() if one["stopped_after"] is None and name != "topics"]
    ours = {name: demo["services"][name]["status"] for name in ("worker", "server", "simulator")}

    assert late == []
    assert ours == {"worker": 0, "server": 0, "simulator": 0}, told(demo)


def test_what_env_example_says_of_redis_puts_the_state_there(tmp_path: Path) -> None:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    redis = "\n".join(line.removeprefix("#") for line in lines if "redis" in line and "=" in line and " " not in line)

    report = run(tmp_path, SMALL + redis, without=NOT_RUN | {"prometheus", "alertmanager"})

    assert report["facts"]["counted"] >= report["facts"]["sent"] > 1_000, told(report)
    assert report["unhealthy"]["redis"] is None
    assert report["facts"]["redis_keys"] > 0, told(report)
