"""The image and docker-compose.yml as they stand: started, killed, brought to a new version, stopped.

The tests are one story, in this order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.containers.deployment import SERVICES, SMALL, counted, project_in, sent
from tests.containers.engine import Engine, Project, until
from tests.containers.images import BEFORE
from tests.deploy.compose import resolved
from tests.deploy.tools import DEPLOY
from tests.integration.versions import OtherVersion
from tests.missing import not_here
from tests.timeouts import TIMEOUT_SECONDS

pytestmark = [pytest.mark.containers]


@pytest.fixture(scope="module")
def demo(engine: Engine, before: OtherVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """`docker compose --profile demo up`, with the image of the commit before where there is one."""
    image = f"STREAM_IMAGE={BEFORE}\n" if before.folder is not None else ""
    project = project_in(tmp_path_factory.mktemp("demo"), engine, SMALL + image)
    project.up(SERVICES, profiles=["demo"])
    yield project
    project.down()


def identities(project: Project) -> str:
    """What tells the databases on the worker's volume from new ones."""
    return project.run_in("engagement-worker-1", "sh", "-c", "find . -name IDENTITY | sort | xargs cat")


def test_everything_becomes_healthy_in_its_order(demo: Project) -> None:
    services = resolved()["services"]
    checked = {name for name in SERVICES if not services[name]["healthcheck"].get("disable")} | {"kafka"}

    healths = {name: demo.engine.state(f"engagement-{name}-1")["State"]["Health"]["Status"] for name in checked}
    assert healths == dict.fromkeys({"kafka", "worker", "server", "prometheus", "alertmanager"}, "healthy")
    topics = demo.engine.state("engagement-topics-1")["State"]
    assert (topics["Status"], topics["ExitCode"]) == ("exited", 0)


def test_what_the_simulator_sends_is_counted(demo: Project) -> None:
    all_sent = sent(demo)
    assert all_sent > 1_000

    until(lambda: counted(demo) >= all_sent, "all events")


@pytest.mark.parametrize("service", ["worker", "server"])
def test_our_containers_have_no_rights_and_nothing_to_write_to_but_their_volume(demo: Project, service: str) -> None:
    asked = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status | cut -f2"
    tried = "for place in / /usr/bin /opt/engagement /tmp /var/lib/engagement; do touch $place/x && echo $place; done"
    user, capabilities, bound, no_new, *writable = demo.run_in(
        f"engagement-{service}-1", "sh", "-c", f"{asked}; {tried}; true"
    ).split()

    assert (user, no_new) == ("10001", "1")
    assert int(capabilities, 16) == int(bound, 16) == 0
    assert writable == (["/tmp", "/var/lib/engagement"] if service == "worker" else ["/tmp"])


def test_the_limits_of_the_file_are_those_of_the_containers(demo: Project) -> None:
    services = resolved()["services"]

    for name in (*SERVICES, "kafka"):
        limits = demo.engine.state(f"engagement-{name}-1")["HostConfig"]
        assert limits["Memory"] == int(services[name]["mem_limit"]), name
        assert limits["NanoCpus"] == 1_000_000_000 * services[name]["cpus"], name


def test_a_worker_that_is_killed_comes_back_with_what_is_on_its_volume(demo: Project) -> None:
    worker = "engagement-worker-1"
    then, kept, started = counted(demo), identities(demo), demo.engine.state(worker)["State"]["StartedAt"]
    demo.engine.kill(worker)

    def is_back() -> bool:
        state = demo.engine.state(worker)["State"]
        return bool(state["StartedAt"] != started and state["Health"]["Status"] == "healthy")

    until(is_back, "the worker to come back")
    assert identities(demo) == kept != ""
    assert counted(demo) >= then


def test_a_new_image_goes_on_with_what_the_one_before_left_on_the_volume(demo: Project, before: OtherVersion) -> None:
    if before.folder is None:
        not_here(f"an image of the version before: {before.left_out}")
    then, kept, image = counted(demo), identities(demo), demo.engine.state("engagement-worker-1")["Image"]
    (demo.folder / ".env").write_text(SMALL)
    demo.up(SERVICES, profiles=["demo"])

    assert demo.engine.state("engagement-worker-1")["Image"] != image
    assert identities(demo) == kept
    until(lambda: counted(demo) >= then, "the numbers of before")


def test_every_rule_is_loaded_and_the_watchdog_arrives(demo: Project) -> None:
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    wanted = sum(len(group["rules"]) for file in files for group in yaml.safe_load(file.read_text())["groups"])

    def rules() -> list[dict[str, Any]]:
        groups = demo.get("engagement-server-1", "prometheus:9090/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def has_arrived() -> bool:
        alerts = demo.get("engagement-server-1", "alertmanager:9093/api/v2/alerts")
        return "EngagementWatchdog" in {alert["labels"]["alertname"] for alert in alerts}

    until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "rules that were looked at")
    assert len(rules()) == wanted > 0
    until(has_arrived, "the watchdog's alert")


@pytest.mark.parametrize("service", ["simulator", "worker", "server"])
def test_who_is_asked_to_end_ends_by_itself(demo: Project, service: str) -> None:
    grace = resolved()["services"][service].get("stop_grace_period", "10s")
    began = time.monotonic()
    demo.compose("stop", "--timeout", str(int(TIMEOUT_SECONDS)), service)

    print(f"the {service} has ended after {time.monotonic() - began:.1f} s, of {grace} that it is given")  # noqa: T201
    state = demo.engine.state(f"engagement-{service}-1")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)  # 137: it was killed
