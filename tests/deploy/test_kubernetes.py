"""deploy/kubernetes: what `kubectl apply -k` would send, and whether it would be taken."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes.documents import DOCUMENTS, FOLDER, RULES, SETTINGS, kafka_topics, settings
from stream import settings as program_settings
from stream.core.time import seconds_of
from stream.kafka.topic_specs import topic_specs
from stream.settings import environment_variable, load
from stream.wiring import VERSION
from tests.deploy import kinds
from tests.deploy.programs import image_environment, last_stage
from tests.deploy.test_compose import assert_is_a_command
from tests.deploy.tools import REPOSITORY, there, tool

OVERLAYS = ("rocksdb", "redis")
OLDEST, NEWEST = "1.31", "1.37"  # 1.31: the first where an unhealthy pod's eviction policy may be set for good
# Longer than this, and a worker that is stopped is killed: see `_SHUTDOWN_TIMEOUT_SECONDS` in stream/wiring.py.
LEAVES_WITHIN_SECONDS = 8

Manifests = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """All manifests of an overlay."""
    return built(request.param)


def built(name: str) -> list[dict[str, Any]]:
    """What kustomize makes of an overlay."""
    kubectl = tool("kubectl", of="the `dev` extra")
    command = [kubectl, "kustomize", str(FOLDER / "overlays" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(manifests: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """The only manifest of a kind, or of a kind and name."""
    (found,) = (one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"]))
    return found


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    """The only container of a workload."""
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def workloads(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worker and the server."""
    return [of_kind(manifests, "StatefulSet"), of_kind(manifests, "Deployment")]


# -- what is made from elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_made_from_elsewhere_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == DOCUMENTS[name](), "write it anew with: make docs"


def test_the_rules_for_the_operator_are_the_plain_rules_and_all_of_them() -> None:
    plain = [yaml.safe_load(file.read_text())["groups"] for file in sorted(there(RULES).glob("*.y*ml"))]
    for_the_operator = [one["spec"]["groups"] for one in built("rocksdb") if one["kind"] == "PrometheusRule"]

    assert for_the_operator == plain
    assert sum(len(groups) for groups in plain) > 0


@pytest.mark.parametrize(("name", "url"), [("rocksdb", "rocksdb:///var/lib/engagement"), ("redis", "redis://redis")])
def test_the_topics_are_those_that_the_program_needs(name: str, url: str) -> None:
    chosen = load(SETTINGS, {"ENGAGEMENT_STATE_URL": url})
    topics = [one for one in built(name) if one["kind"] == "KafkaTopic"]

    made = {one["spec"].get("topicName", one["metadata"]["name"]): one["spec"] for one in topics}
    assert {topic: (spec["partitions"], spec["config"]) for topic, spec in made.items()} == {
        spec.name: (spec.partitions, dict(spec.config)) for spec in topic_specs(chosen)
    }
    assert {spec["replicas"] for spec in made.values()} == {chosen.topics.replication}


def test_a_topic_whose_name_kubernetes_does_not_take_gets_another_for_its_manifest() -> None:
    chosen = load(None, {"ENGAGEMENT_TOPICS_LOGINS": "Web_Logins"})
    logins = kafka_topics(chosen)[1]

    assert logins["metadata"]["name"] == "web-logins"
    assert logins["spec"]["topicName"] == "Web_Logins"
    assert "replicas" not in logins["spec"]


# -- what the API server would say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_its_own_kinds(overlay: list[dict[str, Any]], version: str) -> None:
    known = [one for one in overlay if "." not in one["apiVersion"] or one["apiVersion"].endswith("k8s.io/v1")]

    assert {one["kind"] for one in known} == {
        *("Namespace", "ConfigMap", "Service", "StatefulSet", "Deployment", "PodDisruptionBudget")
    }
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_operators_take_theirs(overlay: list[dict[str, Any]]) -> None:
    theirs = [one for one in overlay if one["apiVersion"].startswith(("monitoring.coreos.com/", "kafka.strimzi.io/"))]

    assert {one["kind"] for one in theirs} == {"PodMonitor", "PrometheusRule", "KafkaTopic"}
    for one in theirs:
        kinds.validate(one)


def test_a_field_that_no_schema_knows_is_refused() -> None:
    """Otherwise the two tests above would say nothing about a misspelt one."""
    manifests = built("rocksdb")
    monitor, topic, worker = (
        of_kind(manifests, "PodMonitor"),
        kafka_topics(settings())[0],
        of_kind(manifests, "StatefulSet"),
    )
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    topic["metadata"]["namespace"], topic["spec"]["partition"] = "kafka", 4
    worker["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(Exception, match="intervall"):
        kinds.validate(monitor)
    with pytest.raises(Exception, match="'partition'"):
        kinds.validate(topic)
    with pytest.raises(Exception, match="livenesProbe"):
        kubernetes_validate.validate(worker, NEWEST, strict=True)


# -- what the parts must know of each other --------------------------------------------------------------------------


def test_the_program_takes_its_arguments_variables_and_settings(overlay: list[dict[str, Any]]) -> None:
    (file,) = (one["data"] for one in overlay if one["kind"] == "ConfigMap")
    known = {environment_variable(place) for place in program_settings.setting_names()} | {
        "ENGAGEMENT_SETTINGS",
        "POD_NAME",
    }

    for workload in workloads(overlay):
        told = {one["name"]: one.get("value", "a-name") for one in container(workload)["env"]}
        assert told.keys() <= known
        given = {name: value for name, value in told.items() if name not in ("POD_NAME", "ENGAGEMENT_SETTINGS")}
        load(SETTINGS, {**image_environment(), **given})  # refuses what can't be
        assert_is_a_command([one.replace("$(POD_NAME)", "engagement-worker-0") for one in container(workload)["args"]])
    assert file == {"engagement.toml": SETTINGS.read_text()}


def test_probes_and_ports_are_those_that_the_settings_open(overlay: list[dict[str, Any]]) -> None:
    chosen = settings()
    opened = {"worker": (chosen.worker.host, chosen.worker.port), "server": (chosen.server.host, chosen.server.port)}

    for workload in workloads(overlay):
        of = workload["metadata"]["labels"]["app.kubernetes.io/component"]
        (port,) = container(workload)["ports"]
        assert opened[of] == ("0.0.0.0", port["containerPort"])
        probes = {name: container(workload)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probes.values()} == {port["name"]}
        assert [probe["path"] for probe in probes.values()] == ["/livez", "/livez", "/readyz"]


def test_a_worker_keeps_its_name_and_its_volume_and_is_given_time(overlay: list[dict[str, Any]]) -> None:
    worker = of_kind(overlay, "StatefulSet")
    pod = worker["spec"]["template"]["spec"]
    startup = container(worker)["startupProbe"]

    assert container(worker)["args"] == ["worker", "--instance-id", "$(POD_NAME)"]
    assert worker["spec"]["serviceName"] == of_kind(overlay, "Service", "engagement-worker")["metadata"]["name"]
    assert pod["terminationGracePeriodSeconds"] > 2 * LEAVES_WITHIN_SECONDS
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    assert seconds_of(settings().kafka.session_timeout) > pod["terminationGracePeriodSeconds"]
    assert settings().topics.partitions >= worker["spec"]["replicas"] * 2


def test_no_volume_is_left_where_the_state_is_in_redis() -> None:
    with_volumes, without = (of_kind(built(name), "StatefulSet") for name in ("rocksdb", "redis"))
    mounts = {one["mountPath"] for one in container(without)["volumeMounts"]}
    (claim,) = with_volumes["spec"]["volumeClaimTemplates"]

    assert "/var/lib/engagement" in {one["mountPath"] for one in container(with_volumes)["volumeMounts"]}
    assert claim["metadata"]["name"] == "state"
    assert "volumeClaimTemplates" not in without["spec"]
    assert mounts == {"/etc/engagement", "/tmp", "/run/secrets/redis"}
    told = {one["name"]: one.get("value") for one in container(without)["env"]}
    assert str(told["ENGAGEMENT_STATE_URL"]).startswith("redis://")
    assert str(told["ENGAGEMENT_STATE_PASSWORD_FILE"]).startswith("/run/secrets/redis/")


def test_pods_have_no_rights_and_run_as_the_user_of_the_image(overlay: list[dict[str, Any]]) -> None:
    (uid,) = (step["value"].split(":")[0] for step in last_stage() if step["name"] == "USER")

    for workload in workloads(overlay):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(uid)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container(workload)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container(workload)["resources"]["limits"]["memory"] in ("1Gi", "256Mi")
    namespace = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_run_this_version(overlay: list[dict[str, Any]]) -> None:
    assert {container(one)["image"] for one in workloads(overlay)} == {f"engagement-stream:{VERSION}"}


def test_every_selector_finds_the_pods_it_means(overlay: list[dict[str, Any]]) -> None:
    labels = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads(overlay)}

    def found(selector: dict[str, str]) -> list[str]:
        return [name for name, its in labels.items() if selector.items() <= its.items()]

    for workload in workloads(overlay):
        name = workload["metadata"]["name"]
        assert found(workload["spec"]["selector"]["matchLabels"]) == [name]
        assert found(of_kind(overlay, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"]) == [name]
        assert of_kind(overlay, "PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1
        assert workload["spec"]["replicas"] >= 2
    assert found(of_kind(overlay, "Service", "engagement-worker")["spec"]["selector"]) == ["engagement-worker"]
    assert found(of_kind(overlay, "Service", "engagement")["spec"]["selector"]) == ["engagement-server"]


def test_prometheus_finds_the_servers_under_the_name_that_the_rules_know(overlay: list[dict[str, Any]]) -> None:
    monitor, server = of_kind(overlay, "PodMonitor")["spec"], of_kind(overlay, "Deployment")
    pod_labels = server["spec"]["template"]["metadata"]["labels"]
    (endpoint,) = monitor["podMetricsEndpoints"]

    assert monitor["selector"]["matchLabels"] == pod_labels
    assert endpoint["port"] == container(server)["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"
    job = pod_labels[monitor["jobLabel"]]
    scraped = yaml.safe_load(there(REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job in {one["job_name"] for one in scraped}
    assert f'job="{job}"' in "".join(file.read_text() for file in RULES.glob("*.y*ml"))


def test_everything_is_in_the_namespace_that_its_neighbours_expect(overlay: list[dict[str, Any]]) -> None:
    places = {one["kind"]: one["metadata"].get("namespace") for one in overlay}
    bootstrap = settings().kafka.servers

    assert places.pop("Namespace") is None
    assert places.pop("KafkaTopic") == bootstrap.rpartition(":")[0].split(".")[1]
    assert set(places.values()) == {"engagement"}
    clusters = {one["metadata"]["labels"]["strimzi.io/cluster"] for one in overlay if one["kind"] == "KafkaTopic"}
    assert clusters == {bootstrap.partition("-kafka-bootstrap.")[0]}
