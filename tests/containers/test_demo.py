"""The image and docker-compose.yml as they stand: started, killed, updated to a new version, stopped.

The tests are one story, in this order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.containers.conftest import Before
from tests.containers.deployment import (
    SERVICES,
    SMALL,
    Deployment,
    counted_events,
    deployment_in,
    sent_events,
)
from tests.containers.engine import Engine, until
from tests.deploy.compose import resolved
from tests.deploy.tools import DEPLOY
from tests.integration.versions import writes_our_format
from tests.missing import unreachable
from tests.timeouts import TIMEOUT_SECONDS

pytestmark = [pytest.mark.containers]

WORKER = "engagement-worker-1"


@pytest.fixture(scope="module")
def demo(engine: Engine, before: Before, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """`docker compose --profile demo up`, with the image of the commit before where there is one."""
    image = f"STREAM_IMAGE={before.image}\n" if before.image else ""
    with deployment_in(tmp_path_factory.mktemp("demo"), engine, SMALL + image) as deployment:
        deployment.up(SERVICES, profiles=["demo"])
        yield deployment


def identities(deployment: Deployment) -> str:
    """What distinguishes the databases on the worker's volume from new ones."""
    return deployment.run_in(WORKER, "sh", "-c", "find . -name IDENTITY | sort | xargs cat")


def test_everything_becomes_healthy_in_its_order(demo: Deployment) -> None:
    services = resolved()["services"]
    checked = {name for name in SERVICES if not services[name]["healthcheck"].get("disable")} | {"kafka"}

    healths = {name: health(demo, name) for name in checked}
    assert healths == dict.fromkeys({"kafka", "worker", "server", "prometheus", "alertmanager"}, "healthy")
    topics = demo.engine.state("engagement-topics-1")["State"]
    assert (topics["Status"], topics["ExitCode"]) == ("exited", 0)


def test_what_the_simulator_sends_is_counted(demo: Deployment) -> None:
    sent = sent_events(demo)
    assert sent > 1_000

    until(lambda: counted_events(demo) >= sent, "all events to be counted")


def test_a_worker_that_is_killed_comes_back_with_what_is_on_its_volume(demo: Deployment) -> None:
    counted, kept, started = counted_events(demo), identities(demo), demo.engine.state(WORKER)["State"]["StartedAt"]
    demo.engine.kill(WORKER)

    def is_back() -> bool:
        return bool(demo.engine.state(WORKER)["State"]["StartedAt"] != started and health(demo, "worker") == "healthy")

    until(is_back, "the worker to come back")
    assert identities(demo) == kept != ""
    assert counted_events(demo) >= counted


def test_every_rule_is_loaded_and_the_watchdog_arrives(demo: Deployment) -> None:
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    wanted = sum(len(group["rules"]) for file in files for group in yaml.safe_load(file.read_text())["groups"])

    def rules() -> list[dict[str, Any]]:
        groups = json.loads(demo.engine.get("engagement-prometheus-1", "9090/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def has_arrived() -> bool:
        alerts = json.loads(demo.engine.get("engagement-alertmanager-1", "9093/api/v2/alerts"))
        return "EngagementWatchdog" in {alert["labels"]["alertname"] for alert in alerts}

    until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "all rules to be evaluated")
    assert len(rules()) == wanted > 0
    until(has_arrived, "the watchdog's alert")


def test_a_new_image_goes_on_with_what_the_one_before_left_on_the_volume(demo: Deployment, before: Before) -> None:
    """Podman names networks in another way than Docker, so that Compose makes the other containers anew too."""
    if not before.image:
        unreachable(f"an image of the version before: {before.reason}")
    sent, kept, image = sent_events(demo), identities(demo), demo.engine.state(WORKER)["Image"]
    goes_on = writes_our_format(before.commit)
    demo.set_env(SMALL)
    if not goes_on:
        # OPERATIONS.md: state in another format is refused with the command that decides, and then counted again.
        demo.compose("up", "--detach", "--no-build", "--no-deps", "worker")
        until(lambda: "engagement state reset --partition" in demo.log_of(WORKER), "the refusal of the state")
        demo.compose("stop", "worker")
        chosen = [f"--partition={number}" for number in range(4)]
        demo.compose("run", "--rm", "--no-deps", "worker", "state", "reset", "--yes", *chosen)
    # A server is unhealthy while the workers count again.
    demo.up(SERVICES, profiles=["demo"], wait=goes_on)

    until(lambda: is_counted(demo, sent), "the events that were counted before")
    assert demo.engine.state(WORKER)["Image"] != image
    if goes_on:
        assert identities(demo) == kept


def is_counted(deployment: Deployment, events: int) -> bool:
    """Whether a server that answers reports so many events."""
    try:
        return counted_events(deployment) >= events
    except AssertionError:
        return False


def health(deployment: Deployment, service: str) -> str:
    """What the engine has found by its health check."""
    found: str = deployment.engine.state(f"engagement-{service}-1")["State"]["Health"]["Status"]
    return found


@pytest.mark.parametrize("service", ["worker", "server"])
def test_our_containers_have_no_rights_and_nothing_to_write_to_but_their_volume(demo: Deployment, service: str) -> None:
    shown = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status | cut -f2"
    tried = "for place in / /usr/bin /opt/engagement /tmp /var/lib/engagement; do touch $place/x && echo $place; done"
    user, capabilities, bound, no_new, *writable = demo.run_in(
        f"engagement-{service}-1", "sh", "-c", f"{shown}; {{ {tried}; }} 2>/dev/null; true"
    ).split()

    assert (user, no_new) == ("10001", "1")
    assert int(capabilities, 16) == int(bound, 16) == 0
    assert writable == (["/tmp", "/var/lib/engagement"] if service == "worker" else ["/tmp"])


def test_the_kernel_holds_each_container_to_the_limits_of_the_file(demo: Deployment) -> None:
    services = resolved()["services"]

    for name in (*SERVICES, "kafka"):
        container = f"engagement-{name}-1"
        memory = demo.engine.cgroup(container, "memory", "memory.limit_in_bytes", "memory.max")
        assert memory == int(services[name]["mem_limit"]), name
        assert demo.engine.state(container)["HostConfig"]["NanoCpus"] == 1_000_000_000 * services[name]["cpus"], name


@pytest.mark.parametrize("service", ["worker", "server", "simulator"])
def test_who_is_stopped_ends_by_itself(demo: Deployment, service: str) -> None:
    """How long it took is a figure; that this is within the grace on a usual machine is seen there."""
    told = resolved()["services"][service]
    grace, is_asked = told.get("stop_grace_period", "10s"), not told["healthcheck"].get("disable")
    # One that this machine has let stand still for too long starts anew. Asked to end meanwhile, it would end with 143.
    until(lambda: not is_asked or health(demo, service) == "healthy", f"the {service} to run")
    started = time.monotonic()
    demo.compose("stop", "--timeout", str(int(TIMEOUT_SECONDS)), service)

    print(f"the {service} ended {time.monotonic() - started:.1f} s after SIGTERM; its grace is {grace}")  # noqa: T201
    state = demo.engine.state(f"engagement-{service}-1")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)  # 137: it was killed


def test_no_container_was_ended_for_lack_of_memory(demo: Deployment) -> None:
    containers = [one["Names"][0] for one in demo.engine.ask("containers/json?all=true")]

    assert [name for name in containers if demo.engine.state(name)["State"]["OOMKilled"]] == []
