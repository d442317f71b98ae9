"""An address as it is written into a URL."""


def url_of(host: str, port: int) -> str:
    """The URL of a server: an IPv6 address is in brackets there."""
    return f"http://{host_and_port(host, port)}"


def host_and_port(host: str, port: int) -> str:
    """Host and port, as they are written beside each other."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
