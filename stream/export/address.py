"""Host and port in the form in which a URL has them."""


def url_of(host: str, port: int) -> str:
    """The URL of a server. An IPv6 address is written in brackets."""
    return f"http://{host_and_port(host, port)}"


def host_and_port(host: str, port: int) -> str:
    """Host and port in one text. An IPv6 address is written in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
