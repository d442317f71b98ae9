"""The pods of the Kubernetes manifests, as `podman kube play` runs them.

What it does not do: it asks no `httpGet` probe without a program in the image, so that the test asks the same pages;
it puts no name of a field into arguments, so that the test does; it makes no file of a Secret, so that a ConfigMap
stands for it; and it knows pods, not what makes them of a workload. Everything else of the pod stands as in the
manifest: arguments, variables, user, capabilities, limits, volumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.containers.deployment import Deployment, counted_events, deployment_in, send
from tests.containers.engine import Engine, until
from tests.deploy.test_kubernetes import OVERLAYS, built, of_kind

pytestmark = [pytest.mark.containers]

WORKER, SERVER = "engagement-worker-0", "engagement-server-0"
PASSWORD = "secret of the test"
# What the manifests say of Kafka, and what that of docker-compose.yml has.
KAFKA = {
    "kafka-kafka-bootstrap.kafka:9092": "kafka:9092",
    "replication = 3": "replication = 1",
    "partitions = 12": "partitions = 4",
}
_GIB = 1024**3


def pod(workload: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A pod of a workload, under the name that Kubernetes would give it, and before it the volumes that it claims."""
    template, claims = workload["spec"]["template"], []
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        its = f"{claim['metadata']['name']}-{name}"
        claims.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": its}, "spec": claim["spec"]}
        )
        reference = {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": its}}
        template["spec"]["volumes"].append(reference)
    (container,) = template["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        del container[probe]
    container |= {"image": "engagement-stream:local", "imagePullPolicy": "Never"}
    container["args"] = [argument.replace("$(POD_NAME)", name) for argument in container["args"]]
    for volume in template["spec"]["volumes"]:
        if secret := volume.pop("secret", None):
            volume["configMap"] = {"name": secret["secretName"], "defaultMode": secret["defaultMode"]}
    metadata = {"name": name, "labels": template["metadata"]["labels"]}
    return [*claims, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


@dataclass(frozen=True, slots=True)
class Pods:
    """A worker and a server of an overlay, beside the Kafka of docker-compose.yml."""

    overlay: str
    deployment: Deployment
    engine: Engine


@pytest.fixture(scope="module", params=OVERLAYS)
def pods(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """A worker and a server of each overlay."""
    overlay = str(request.param)
    folder = tmp_path_factory.mktemp("pods")
    file = folder / "pods.yaml"
    file.write_text(yaml.safe_dump_all(manifests(overlay)))
    with deployment_in(folder, engine, "") as deployment:
        if overlay == "redis":
            deployment.up(["redis"], profiles=["redis"])
            deployment.run_in("engagement-redis-1", "redis-cli", "config", "set", "requirepass", PASSWORD)
        deployment.up(["topics"], wait=False)
        engine.podman("kube", "play", "--network", "engagement_default", str(file))
        try:
            yield Pods(overlay, deployment, engine)
        finally:
            engine.podman("kube", "down", str(file))


def manifests(overlay: str) -> list[dict[str, Any]]:
    """The settings, a worker and a server, with Kafka and Redis of docker-compose.yml, each of which is one server."""
    found = built(overlay)
    settings = of_kind(found, "ConfigMap")
    (text,) = settings["data"].values()
    settings["data"] = dict.fromkeys(settings["data"], replaced(text, KAFKA))
    worker, server = pod(of_kind(found, "StatefulSet"), WORKER), pod(of_kind(found, "Deployment"), SERVER)
    if overlay == "rocksdb":
        return [settings, *worker, *server]
    (container,) = worker[-1]["spec"]["containers"]
    (url,) = (variable for variable in container["env"] if variable["name"] == "ENGAGEMENT_STATE_URL")
    url["value"] = replaced(url["value"], {"redis.redis:6379": "redis:6379"})
    secret = {"kind": "ConfigMap", "metadata": {"name": "engagement-redis"}, "data": {"password": PASSWORD}}
    return [{"apiVersion": "v1", **secret}, settings, *worker, *server]


def replaced(text: str, places: Mapping[str, str]) -> str:
    """The text with other words, each of which it must have."""
    for there, here in places.items():
        assert there in text
        text = text.replace(there, here)
    return text


def answers(engine: Engine, container: str, page: str) -> bool:
    """Whether the page of a probe says that all is well."""
    try:
        engine.get(container, page)
    except AssertionError:
        return False
    return True


def test_both_become_ready(pods: Pods) -> None:
    for container, page in (
        (f"{WORKER}-worker", "8601/readyz"),
        (f"{SERVER}-server", "8600/readyz"),
    ):
        until(lambda container=container, page=page: answers(pods.engine, container, page), f"{container} at {page}")  # type: ignore[misc]
    assert pods.deployment.run_in(f"{WORKER}-worker", "printenv", "POD_NAME").strip() == WORKER


def test_what_producers_send_is_counted(pods: Pods) -> None:
    sent = send(pods.deployment, 1_000)

    until(lambda: counted_events(pods.deployment, f"{SERVER}-server") >= sent > 0, "all events to be counted")
    if pods.overlay == "redis":
        keys = pods.deployment.run_in("engagement-redis-1", "redis-cli", "-a", PASSWORD, "--no-auth-warning", "dbsize")
        assert int(keys) > 0


def test_they_run_as_nobody_and_write_to_nothing_but_their_volumes(pods: Pods) -> None:
    shown = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status | cut -f2"
    places = "/ /etc/engagement /opt/engagement /run/secrets/redis /tmp /var/lib/engagement"
    tried = f"for place in {places}; do touch $place/x && echo $place; done"
    kept = {"rocksdb": ["/var/lib/engagement"], "redis": []}[pods.overlay]
    for container, wanted in ((f"{WORKER}-worker", ["/tmp", *kept]), (f"{SERVER}-server", ["/tmp"])):
        script = f"{shown}; {{ {tried}; }} 2>/dev/null; true"
        user, capabilities, bound, no_new, *writable = pods.deployment.run_in(container, "sh", "-c", script).split()
        assert (user, no_new, int(capabilities, 16), int(bound, 16)) == ("10001", "1", 0, 0)
        assert writable == wanted


def test_the_kernel_holds_them_to_the_limits_of_the_manifests(pods: Pods) -> None:
    for container, wanted in ((f"{WORKER}-worker", _GIB), (f"{SERVER}-server", _GIB // 4)):
        assert pods.engine.cgroup(container, "memory", "memory.limit_in_bytes", "memory.max") == wanted


def test_they_end_by_themselves_when_their_pod_is_stopped(pods: Pods) -> None:
    for name, container in ((WORKER, "worker"), (SERVER, "server")):
        pods.engine.podman("pod", "stop", "--time", "300", name)
        state = pods.engine.state(f"{name}-{container}")["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)  # 137: it was killed
