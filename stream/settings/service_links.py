"""The variables that Kubernetes gives to the containers of every pod for each Service in their namespace.

A Service `engagement` with the port 8600 adds `ENGAGEMENT_SERVICE_HOST`, `ENGAGEMENT_SERVICE_PORT`,
`ENGAGEMENT_PORT=tcp://10.0.0.11:8600` and more, unless the pod says `enableServiceLinks: false`. They begin with our
prefix and are no settings. A Service `engagement-server` even adds `ENGAGEMENT_SERVER_PORT`, the name of a setting.

The names alone do not tell: `ENGAGEMENT_SERVICE_PORT=8600` may be a typing error. So a Service is recognised by the
four variables that Kubernetes adds for each of its ports, whose values fit one another. The names and values are those
of the kubelet (`pkg/kubelet/envvars/envvars.go`).
"""

import re
from collections.abc import Iterator, Mapping

_ADDRESS_OF_PORT = re.compile(r"(?P<service>\w+)_PORT_(?P<port>\d+)_(?P<protocol>TCP|UDP|SCTP)_ADDR")
_URL = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def service_links(environment: Mapping[str, str]) -> set[str]:
    """Return the names of all variables that Kubernetes has added for a Service."""
    return {
        name
        for service in set(_services(environment))
        for name, value in environment.items()
        if _is_of(name, value, service)
    }


def _services(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the Services, as their names are written in variables: `ENGAGEMENT_SERVER` for `engagement-server`."""
    for name, host in environment.items():
        found = _ADDRESS_OF_PORT.fullmatch(name)
        if found is None:
            continue
        prefix, port, protocol = name.removesuffix("_ADDR"), found["port"], found["protocol"].lower()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        expected = {"": f"{protocol}://{address}", "_PROTO": protocol, "_PORT": port}
        if all(environment.get(f"{prefix}{ending}") == value for ending, value in expected.items()):
            yield found["service"]


def _is_of(name: str, value: str, service: str) -> bool:
    if not name.startswith(f"{service}_"):
        return False
    ending = name.removeprefix(f"{service}_")
    if ending == "PORT":  # it may have been replaced by that of a setting, such as ENGAGEMENT_SERVER_PORT=8600
        return _URL.fullmatch(value) is not None
    names = r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?"
    return re.fullmatch(names, ending) is not None
