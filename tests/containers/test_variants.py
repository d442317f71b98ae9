"""What `.env` and the command line make of docker-compose.yml, and the pods of the Kubernetes manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.deployment import SMALL, counted, project_in, sent
from tests.containers.engine import Engine, Project, until
from tests.deploy.test_kubernetes import built, of_kind
from tests.deploy.tools import REPOSITORY

pytestmark = [pytest.mark.containers]


def test_with_redis_two_workers_share_the_load_and_two_servers_tell_the_same(engine: Engine, tmp_path: Path) -> None:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    redis = "\n".join(line.removeprefix("#") for line in lines if "redis" in line and "=" in line and " " not in line)
    more = "\nENGAGEMENT_TIMEZONE=Europe/Berlin\n"
    project = project_in(tmp_path, engine, f"{SMALL}{redis}{more}")
    project.up(["worker", "server", "simulator"], profiles=["redis", "demo"], scale={"worker": 2})
    try:
        project.compose("run", "--detach", "--no-deps", "server")  # without the port, which the first one has
        all_sent = sent(project)
        workers, servers = project.names("worker"), project.names("server")
        assert (len(workers), len(servers)) == (2, 2)
        for server in servers:
            until(lambda server=server: counted(project, server) >= all_sent, f"all events at {server}")  # type: ignore[misc]
        owned = {server: partitions_owned(project, server) for server in servers}
        assert owned[servers[0]] == owned[servers[1]]
        assert sorted(owned[servers[0]]) == [2, 2]
        keys = project.run_in("engagement-redis-1", "redis-cli", "dbsize")
        assert int(keys) > 0
        settings = project.run_in(workers[0], "engagement", "settings")
        assert "Europe/Berlin" in settings
    finally:
        project.down()


def partitions_owned(project: Project, server: str) -> list[float]:
    """How many partitions each worker has."""
    told = project.get(server, "127.0.0.1:8600/api/v1/metrics")["health"]
    return [float(one["value"]) for one in told if one["name"] == "engagement_partitions_owned" and one["value"]]


@pytest.fixture
def kafka(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    """Kafka with the topics of the program, and nothing else."""
    project = project_in(tmp_path, engine, "")
    project.up(["topics"])
    yield project
    project.down()


def pod(workload: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The first pod of a workload, with its volumes, for Podman.

    Podman asks probes by programs that an image has, and ours has none: the test asks instead.
    """
    template, volumes = workload["spec"]["template"], []
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        its = f"{claim['metadata']['name']}-{name}"
        volumes.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": its}, "spec": claim["spec"]}
        )
        reference = {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": its}}
        template["spec"]["volumes"].append(reference)
    (container,) = template["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        del container[probe]
    container |= {"image": "engagement-stream:local", "imagePullPolicy": "Never"}
    # As the kubelet does; this Podman leaves it as it is.
    container["args"] = [argument.replace("$(POD_NAME)", name) for argument in container["args"]]
    metadata = {"name": name, "labels": template["metadata"]["labels"]}
    return [*volumes, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


def test_the_pods_of_the_manifests_run_and_are_ready(kafka: Project, tmp_path: Path) -> None:
    manifests = built("rocksdb")
    settings = of_kind(manifests, "ConfigMap")
    (told,) = settings["data"].values()
    # The cluster of the manifests has three brokers and another name.
    for here, there in (("kafka-kafka-bootstrap.kafka:9092", "kafka:9092"), ("replication = 3", "replication = 1")):
        assert here in told
        told = told.replace(here, there)
    settings["data"] = dict.fromkeys(settings["data"], told.replace("partitions = 12", "partitions = 4"))
    worker = pod(of_kind(manifests, "StatefulSet"), "engagement-worker-0")
    server = pod(of_kind(manifests, "Deployment"), "engagement-server-0")
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump_all([settings, *worker, *server]))
    kafka.engine.podman("kube", "play", "--network", "engagement_default", str(file))
    try:
        for container, page in (
            ("engagement-worker-0-worker", "127.0.0.1:8601/readyz"),
            ("engagement-server-0-server", "127.0.0.1:8600/livez"),
        ):
            until(lambda container=container, page=page: answers(kafka, container, page), f"{container} at {page}")  # type: ignore[misc]
            tried = "id -u; for place in / /tmp /etc/engagement; do touch $place/x && echo $place; done; true"
            assert kafka.run_in(container, "sh", "-c", tried).split() == ["10001", "/tmp"]
        assert kafka.run_in("engagement-worker-0-worker", "printenv", "POD_NAME").strip() == "engagement-worker-0"
    finally:
        kafka.engine.podman("kube", "down", str(file))


def answers(project: Project, container: str, page: str) -> bool:
    """Whether a page is there, and its status says that all is well."""
    try:
        project.get(container, page)
    except AssertionError:
        return False
    return True
