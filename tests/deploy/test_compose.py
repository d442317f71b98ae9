"""What docker-compose.yml promises: nothing open to others, nothing without a version, a limit and a check."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from stream import settings
from stream.cli import main
from stream.settings import environment_variable
from tests.deploy.compose import FILE, resolved, started_by
from tests.deploy.programs import image_environment
from tests.deploy.tools import DEPLOY, REPOSITORY
from tests.documents import DEPLOYMENT

ENV_EXAMPLE = (REPOSITORY / ".env.example").read_text()
ONE_SHOT = "topics"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of all profiles."""
    found: dict[str, Any] = resolved()["services"]
    return found


def test_the_services_are_those_of_a_whole_deployment(services: dict[str, Any]) -> None:
    profiles = {name: " ".join(service.get("profiles", [])) for name, service in services.items()}

    assert profiles == {
        **dict.fromkeys(("kafka", "topics", "worker", "server", "prometheus", "alertmanager", "grafana"), ""),
        "redis": "redis",
        "simulator": "demo",
    }


def test_redis_and_the_simulator_start_only_when_asked_for() -> None:
    usual = started_by()
    (redis,) = re.findall(r"^#(COMPOSE_PROFILES=.*)$", ENV_EXAMPLE, re.MULTILINE)

    assert usual == {"kafka", "topics", "worker", "server", "prometheus", "alertmanager", "grafana"}
    assert started_by("--profile", "demo") == usual | {"simulator"}
    assert started_by(env=redis) == usual | {"redis"}
    assert started_by(env=f"{redis},demo") == usual | {"redis", "simulator"}


def test_every_port_is_published_on_127_0_0_1(services: dict[str, Any]) -> None:
    published = {
        (name, port["host_ip"], port["published"])
        for name, service in services.items()
        for port in service.get("ports", [])
    }

    assert published == {
        ("kafka", "127.0.0.1", "9094"),
        ("server", "127.0.0.1", "8600"),
        ("prometheus", "127.0.0.1", "9090"),
        ("alertmanager", "127.0.0.1", "9093"),
        ("grafana", "127.0.0.1", "3000"),
    }
    assert all("network_mode" not in service and "privileged" not in service for service in services.values())


def test_no_two_containers_use_the_same_port(services: dict[str, Any]) -> None:
    """Then they can be run side by side without containers, as `test_compose_runs.py` does."""
    told = str(services)
    ports = [port["target"] for service in services.values() for port in service.get("ports", [])]

    assert len(set(ports)) == len(ports)
    assert "29093" in told  # Kafka's controller, which by habit has Alertmanager's port


def test_every_image_has_a_version_that_can_be_changed() -> None:
    images = re.findall(r"^ *image: (.+)$", FILE.read_text(), re.MULTILINE)

    assert len(images) == 6
    for image in images:
        assert re.search(r"\$\{[A-Z_]+:-[\w.:-]*\d[\w.:-]*\}$|\$\{STREAM_IMAGE:-", image), image
    assert not re.search(r":-?latest\b", FILE.read_text())


def test_every_service_has_limits_and_bounded_logs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert 0 < int(service["mem_limit"]) <= 2 * 1024**3, name
        assert 0 < service["cpus"] <= 1, f"{name}: more processors than a small machine has are refused there"
        assert service["logging"]["options"]["max-size"] == "10m", name


def test_every_service_that_stays_has_a_health_check_or_is_the_simulator(services: dict[str, Any]) -> None:
    unchecked = {name for name, service in services.items() if service["healthcheck"].get("disable")}

    assert unchecked == {ONE_SHOT, "simulator"}
    for name in services.keys() - unchecked:
        check = services[name]["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= check.keys(), name


def test_every_dependency_waits_for_a_condition(services: dict[str, Any]) -> None:
    waits = {
        (name, on): how["condition"].removeprefix("service_")
        for name, service in services.items()
        for on, how in service.get("depends_on", {}).items()
    }

    assert waits == {
        ("topics", "kafka"): "healthy",
        ("worker", "topics"): "completed_successfully",
        ("worker", "redis"): "healthy",
        ("server", "topics"): "completed_successfully",
        ("simulator", "topics"): "completed_successfully",
        ("prometheus", "server"): "started",
        ("grafana", "prometheus"): "healthy",
    }
    assert services["worker"]["depends_on"]["redis"]["required"] is False


def test_what_must_outlive_a_container_is_in_a_named_volume() -> None:
    config = resolved()
    volumes = {
        volume["source"]: volume["target"]
        for service in config["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    }

    assert volumes == {
        "kafka": "/var/lib/kafka/data",
        "redis": "/data",
        "state": "/var/lib/engagement",
        "prometheus": "/prometheus",
        "alertmanager": "/alertmanager",
        "grafana": "/var/lib/grafana",
    }
    assert config["volumes"].keys() == volumes.keys()
    assert config["services"]["kafka"]["environment"]["KAFKA_LOG_DIRS"] == volumes["kafka"]
    assert image_environment()["ENGAGEMENT_STATE_URL"] == f"rocksdb://{volumes['state']}"


def test_files_are_mounted_where_the_programs_look_and_can_not_be_changed(services: dict[str, Any]) -> None:
    mounts = [
        volume for service in services.values() for volume in service.get("volumes", []) if volume["type"] == "bind"
    ]

    assert {mount["source"].removeprefix(f"{DEPLOY}/"): mount["target"] for mount in mounts} == {
        "prometheus": "/etc/prometheus",
        "alertmanager": "/etc/alertmanager",
        "grafana/provisioning": "/etc/grafana/provisioning",
        "grafana/dashboards": "/var/lib/grafana/dashboards",
        "runbooks": "/usr/share/grafana/public/runbooks",
    }
    assert all(mount["read_only"] for mount in mounts)


def test_our_containers_have_no_rights_and_nothing_to_write_to(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if "build" in service}

    assert ours.keys() == {"topics", "worker", "server", "simulator"}
    for name, service in ours.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "user" not in service, f"{name}: the image has a user of its own"


def test_our_commands_are_commands_of_the_program(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert_is_a_command(service["command"])
            if not service["healthcheck"].get("disable"):
                kind, program, *arguments = service["healthcheck"]["test"]
                assert (kind, program) == ("CMD", "engagement"), name
                assert_is_a_command(arguments)


def assert_is_a_command(arguments: list[str]) -> None:
    """The command line must take the arguments; nothing is run."""
    context = main.make_context("engagement", list(arguments))
    command, rest = main, list(arguments)
    while hasattr(command, "resolve_command"):
        _, command, rest = command.resolve_command(context, rest)  # type: ignore[assignment]
        assert command is not None
    command.make_context("engagement", rest)


def test_our_variables_are_settings(services: dict[str, Any]) -> None:
    known = {environment_variable(place) for place in settings.setting_names()}
    used = {name for service in services.values() for name in service.get("environment") or {} if "ENGAGEMENT" in name}
    promised = set(re.findall(r"ENGAGEMENT_\w+", ENV_EXAMPLE + FILE.read_text()))

    assert (used | promised) - known == set()


def test_a_setting_in_env_reaches_every_container_of_ours() -> None:
    told = resolved("ENGAGEMENT_TIMEZONE=Europe/Berlin\n")["services"]

    zones = {
        name: service["environment"].get("ENGAGEMENT_TIMEZONE") for name, service in told.items() if "build" in service
    }
    assert set(zones.values()) == {"Europe/Berlin"}


def test_every_setting_in_env_holds_in_every_container_of_ours() -> None:
    settings_told = {environment_variable(name): f"told-{name}" for name in settings.setting_names()}
    settings_told |= {
        "ENGAGEMENT_SERVER_HOST": "192.0.2.1",
        "ENGAGEMENT_SERVER_PORT": "8700",
        "ENGAGEMENT_WORKER_PORT": "8701",
    }
    told = resolved("\n".join(f"{name}={value}" for name, value in settings_told.items()))["services"]

    # In its container the server is where Prometheus asks it: the settings decide where it is published.
    (port,) = told["server"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("192.0.2.1", "8700", 8600)
    assert told["server"]["environment"].pop("ENGAGEMENT_SERVER_HOST") == "0.0.0.0"
    assert told["server"]["environment"].pop("ENGAGEMENT_SERVER_PORT") == "8600"
    for name, service in told.items():
        if "build" in service:
            holds = service["environment"].items()
            expected = {variable: value for variable, value in settings_told.items() if variable in dict(holds)}
            assert expected.items() <= holds, name
            assert settings_told.keys() - dict(holds).keys() <= {"ENGAGEMENT_SERVER_HOST", "ENGAGEMENT_SERVER_PORT"}
    assert "--kafka=told-kafka.servers" in told["simulator"]["command"]


def test_a_password_with_a_dollar_in_single_quotes_reaches_the_program_as_it_is() -> None:
    told = resolved("ENGAGEMENT_KAFKA_SASL_PASSWORD='pa$word'\n")["services"]

    # Compose writes a $ as two, so that its own output can be read again.
    assert told["worker"]["environment"]["ENGAGEMENT_KAFKA_SASL_PASSWORD"].replace("$$", "$") == "pa$word"


def test_env_example_names_every_variable_of_the_file_with_its_default_and_no_other() -> None:
    in_file = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", FILE.read_text()))
    told = dict(re.findall(r"^#([A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))
    others = {name for name in told if not name.startswith(("ENGAGEMENT_", "COMPOSE_"))}

    assert {name: told.get(name) for name in in_file} == in_file
    assert others <= in_file.keys()
    assert len(re.findall(r"\$\{", FILE.read_text())) == len(re.findall(r"\$\{[A-Z_]+:-", FILE.read_text()))


def test_env_example_as_it_is_changes_nothing() -> None:
    assert resolved(ENV_EXAMPLE) == resolved()


def test_grafana_can_be_looked_at_by_whoever_reaches_it_and_changed_by_nobody(services: dict[str, Any]) -> None:
    grafana = services["grafana"]["environment"]

    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert not [name for name in grafana if "PASSWORD" in name]


def test_grafana_opens_with_a_dashboard_that_is_there(services: dict[str, Any]) -> None:
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert (DEPLOY / "grafana" / home.removeprefix("/var/lib/grafana/")).is_file()


def test_kafka_as_one_node_replicates_nothing(services: dict[str, Any]) -> None:
    """The image drops all of its defaults where one variable is set: these are the ones that must be 1 on one node."""
    kafka = services["kafka"]["environment"]

    replicated = {name: value for name, value in kafka.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))}
    assert set(replicated.values()) == {"1"}
    assert {name.split("_")[1] for name in replicated} == {"OFFSETS", "TRANSACTION", "SHARE"}
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_what_a_million_users_take_is_given_with_the_limits_of_the_file(services: dict[str, Any]) -> None:
    """Measured by `tests/containers/test_a_million_users.py`."""
    table = DEPLOYMENT.read_text().partition("| service | at most | limit |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\w+)[^|]*\| (\d+) MiB[^|]*\| (\d+) (GiB|MiB)", table, re.MULTILINE)

    assert {name.lower() for name, *_ in rows} == {"worker", "server", "kafka", "redis", "prometheus", "alertmanager"}
    for name, most, limit, unit in rows:
        assert int(limit) * {"GiB": 1024, "MiB": 1}[unit] == int(services[name.lower()]["mem_limit"]) // 1024**2, name
        assert int(most) < int(services[name.lower()]["mem_limit"]) // 1024**2, name


def test_redis_is_full_before_the_kernel_ends_it(services: dict[str, Any]) -> None:
    redis = services["redis"]
    options = dict(itertools.pairwise(redis["command"]))

    maxmemory = int(options["--maxmemory"].removesuffix("mb")) * 1024**2
    assert options["--maxmemory-policy"] == "noeviction"
    # The rest is for changes while it writes its file anew.
    assert maxmemory <= int(redis["mem_limit"]) * 3 / 4


def test_another_port_of_kafka_is_also_the_one_it_tells_producers() -> None:
    kafka = resolved("KAFKA_PORT=19094\n")["services"]["kafka"]

    assert kafka["ports"][0]["published"] == "19094"
    assert "HOST://localhost:19094" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert "HOST://:9094" in kafka["environment"]["KAFKA_LISTENERS"]
