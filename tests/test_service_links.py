"""The variables that Kubernetes adds for a Service are recognised, whatever it is called, and nothing else is."""

from __future__ import annotations

import pytest

from stream.settings import SettingsError, load
from stream.settings.service_links import service_links


def added_by_kubernetes(
    service: str, ports: dict[str, int], *, ip: str = "10.0.0.11", protocol: str = "tcp"
) -> dict[str, str]:
    """What a kubelet adds for a Service with these named ports, as its source has it; a port may have no name."""
    name, (first, *_) = service.upper().replace("-", "_"), ports.values()
    host = f"[{ip}]" if ":" in ip else ip
    variables = {f"{name}_SERVICE_HOST": ip, f"{name}_SERVICE_PORT": str(first)}
    variables |= {f"{name}_SERVICE_PORT_{of.upper().replace('-', '_')}": str(port) for of, port in ports.items() if of}
    variables[f"{name}_PORT"] = f"{protocol}://{host}:{first}"
    for port in ports.values():
        prefix = f"{name}_PORT_{port}_{protocol.upper()}"
        variables |= {prefix: f"{protocol}://{host}:{port}", f"{prefix}_PROTO": protocol}
        variables |= {f"{prefix}_PORT": str(port), f"{prefix}_ADDR": ip}
    return variables


def test_the_example_in_the_documentation_of_kubernetes() -> None:
    assert added_by_kubernetes("redis-primary", {"": 6379}) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }


@pytest.mark.parametrize(
    ("service", "ports"),
    [
        ("engagement", {"http": 8600}),  # the Service of deploy/kubernetes
        ("engagement", {"": 80}),
        ("engagement", {"http": 8600, "metrics-of-it": 9100}),
        # These also add the names of settings: server.port and worker.port.
        ("engagement-server", {"http": 8600}),
        ("engagement-worker", {"probes": 8601}),
        ("engagement-server-service", {"http": 8600}),
        ("engagement-kafka-servers", {"kafka": 9092}),
        ("engagement-stream-0-1", {"http": 8600}),
        ("engagement-state-url", {"redis": 6379}),
    ],
)
@pytest.mark.parametrize(("ip", "protocol"), [("10.0.0.11", "tcp"), ("fd00::11", "udp")])
def test_the_variables_of_a_service_are_no_settings(
    service: str, ports: dict[str, int], ip: str, protocol: str
) -> None:
    added = added_by_kubernetes(service, ports, ip=ip, protocol=protocol)

    assert load(None, added) == load(None, {})
    assert service_links({**added, "HOME": "/"}) == added.keys()


def test_several_services_and_settings_beside_them() -> None:
    added = {
        **added_by_kubernetes("kubernetes", {"https": 443}),
        **added_by_kubernetes("engagement", {"http": 8600}),
        **added_by_kubernetes("engagement-server", {"http": 8600}),
    }

    # What a pod says itself takes precedence over what Kubernetes would add.
    settings = load(None, {**added, "ENGAGEMENT_SERVER_PORT": "8700", "ENGAGEMENT_TIMEZONE": "Europe/Berlin"})

    assert (settings.server.port, settings.timezone) == (8700, "Europe/Berlin")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        # A typing error looks like one of them, without the others.
        ({"ENGAGEMENT_SERVICE_PORT": "8600"}, "the variable ENGAGEMENT_SERVICE_PORT names none"),
        ({"ENGAGEMENT_PORT": "8600"}, "the variable ENGAGEMENT_PORT names none"),
        # The Service is there, and so is a typing error.
        (
            {**added_by_kubernetes("engagement", {"http": 8600}), "ENGAGEMENT_PORT": "8600"},
            "the variable ENGAGEMENT_PORT names none",
        ),
        (
            {**added_by_kubernetes("engagement", {"http": 8600}), "ENGAGEMENT_TIMEZOME": "UTC"},
            "the variable ENGAGEMENT_TIMEZOME names none",
        ),
        (
            {**added_by_kubernetes("engagement-server", {"http": 8600}), "ENGAGEMENT_SERVER_PORT": "86OO"},
            "server.port: expected `int`",
        ),
        # Values that do not fit one another were not made by Kubernetes.
        (
            {**added_by_kubernetes("engagement", {"http": 8600}), "ENGAGEMENT_PORT_8600_TCP_PORT": "8601"},
            "names none",
        ),
        # A Service of another name says nothing about ours.
        ({**added_by_kubernetes("engage", {"http": 80}), "ENGAGEMENT_PORT": "tcp://10.0.0.11:80"}, "ENGAGEMENT_PORT"),
    ],
)
def test_a_typing_error_is_refused_all_the_same(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, variables)

    assert message in str(refused.value)
