"""The pods of the Kubernetes manifests, as `podman kube play` runs them.

What it does not do: it asks no `httpGet` probe without a program in the image, so that the test asks the same pages;
it puts no name of a field into arguments, so that the test does; and it knows pods, not what makes them of a workload.
Everything else of the pod stands as in the manifest: arguments, variables, user, capabilities, limits, volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.containers.deployment import Deployment, deployment_in
from tests.containers.engine import Engine, until
from tests.deploy.test_kubernetes import built, of_kind

pytestmark = [pytest.mark.containers]

WORKER, SERVER = "engagement-worker-0", "engagement-server-0"
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
    metadata = {"name": name, "labels": template["metadata"]["labels"]}
    return [*claims, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


@pytest.fixture(scope="module")
def pods(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A worker and a server beside the Kafka of docker-compose.yml."""
    folder = tmp_path_factory.mktemp("pods")
    file = folder / "pods.yaml"
    file.write_text(manifests())
    with deployment_in(folder, engine, "") as deployment:
        deployment.up(["topics"], wait=False)
        engine.podman("kube", "play", "--network", "engagement_default", str(file))
        try:
            yield deployment
        finally:
            engine.podman("kube", "down", str(file))


def manifests() -> str:
    """The settings, a worker and a server, with the Kafka of docker-compose.yml, which has one broker."""
    found = built("rocksdb")
    settings = of_kind(found, "ConfigMap")
    (text,) = settings["data"].values()
    for there, here in (
        ("kafka-kafka-bootstrap.kafka:9092", "kafka:9092"),
        ("replication = 3", "replication = 1"),
        ("partitions = 12", "partitions = 4"),
    ):
        assert there in text
        text = text.replace(there, here)
    settings["data"] = dict.fromkeys(settings["data"], text)
    worker, server = pod(of_kind(found, "StatefulSet"), WORKER), pod(of_kind(found, "Deployment"), SERVER)
    return yaml.safe_dump_all([settings, *worker, *server])


def answers(deployment: Deployment, container: str, page: str) -> bool:
    """Whether the page of a probe says that all is well."""
    try:
        deployment.engine.get(container, page)
    except AssertionError:
        return False
    return True


def test_both_become_ready(pods: Deployment) -> None:
    for container, page in (
        (f"{WORKER}-worker", "8601/readyz"),
        (f"{SERVER}-server", "8600/readyz"),
    ):
        until(lambda container=container, page=page: answers(pods, container, page), f"{container} at {page}")  # type: ignore[misc]
    assert pods.run_in(f"{WORKER}-worker", "printenv", "POD_NAME").strip() == WORKER


def test_they_run_as_nobody_and_write_to_nothing_but_their_volumes(pods: Deployment) -> None:
    shown = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status | cut -f2"
    places = "/ /etc/engagement /opt/engagement /tmp /var/lib/engagement"
    tried = f"for place in {places}; do touch $place/x && echo $place; done"
    for container, wanted in (
        (f"{WORKER}-worker", ["/tmp", "/var/lib/engagement"]),
        (f"{SERVER}-server", ["/tmp"]),
    ):
        script = f"{shown}; {{ {tried}; }} 2>/dev/null; true"
        user, capabilities, bound, no_new, *writable = pods.run_in(container, "sh", "-c", script).split()
        assert (user, no_new, int(capabilities, 16), int(bound, 16)) == ("10001", "1", 0, 0)
        assert writable == wanted


def test_the_kernel_holds_them_to_the_limits_of_the_manifests(pods: Deployment) -> None:
    for container, wanted in ((f"{WORKER}-worker", _GIB), (f"{SERVER}-server", _GIB // 4)):
        assert pods.engine.cgroup(container, "memory", "memory.limit_in_bytes", "memory.max") == wanted


def test_they_end_by_themselves_when_their_pod_is_stopped(pods: Deployment) -> None:
    for name, container in ((WORKER, "worker"), (SERVER, "server")):
        pods.engine.podman("pod", "stop", "--time", "300", name)
        state = pods.engine.state(f"{name}-{container}")["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)  # 137: it was killed
