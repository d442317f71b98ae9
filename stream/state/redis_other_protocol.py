"""Notice that a URL and the server disagree on TLS, which otherwise looks like a server that does not answer.

A server without TLS takes the beginning of a TLS connection for a command that is not complete, and waits for the
rest. A server with TLS closes the connection of a client that does not begin it.
"""

import socket
import ssl
from contextlib import suppress

from stream.redis_url import RedisUrl

_TIMEOUT_SECONDS = 2.0

# How a server answers PING: it does, it wants a password first, or it takes no connections from other machines.
_ANSWERS = (b"+PONG", b"-NOAUTH", b"-ERR", b"-NOPERM", b"-DENIED", b"-LOADING", b"-MASTERDOWN")


def other_protocol(url: RedisUrl) -> str:
    """Return what is wrong if a server of the URL speaks TLS and the URL does not, or the other way round."""
    for host, port in url.hosts:
        with suppress(OSError), socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            if url.tls and _answers_without_tls(connection):
                return f"{host}:{port} answers without TLS: state.url must begin with {_other_scheme(url)}://"
            if not url.tls and _speaks_tls(connection, host):
                return f"{host}:{port} speaks TLS: state.url must begin with {_other_scheme(url)}://"
    return ""


def _other_scheme(url: RedisUrl) -> str:
    kind = url.scheme.removeprefix("rediss").removeprefix("redis")
    return f"{'redis' if url.tls else 'rediss'}{kind}"


def _answers_without_tls(connection: socket.socket) -> bool:
    connection.sendall(b"PING\r\n")
    return connection.recv(64).startswith(_ANSWERS)


def _speaks_tls(connection: socket.socket, host: str) -> bool:
    """Whether the other side completes the beginning of a TLS connection, or refuses it in the words of TLS.

    Nothing is sent over the connection, so it does not matter whose certificate that is.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return "_ALERT_" in (error.reason or "")
    return True
