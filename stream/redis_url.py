"""Parse the URL of a Redis, and show it without its password. These are the forms:

redis://[[user]:password@]host[:port][/database]     one server; rediss:// with TLS
redis+cluster://[[user]:password@]host[:port]        a Redis Cluster, by any of its nodes; rediss+cluster://
unix://[[user]:password@]/path/of/the/socket         a server on this machine
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from stream.masking import masked

SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "unix")

_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a Redis URL. Its text form shows no password."""

    scheme: str
    host: str
    port: int
    database: int
    path: str  # of a unix socket
    user: str
    password: str = field(repr=False)
    shown: str  # the URL without its password

    @property
    def cluster(self) -> bool:
        """Whether the URL names a Redis Cluster."""
        return self.scheme.endswith("+cluster")

    @property
    def tls(self) -> bool:
        """Whether to connect with TLS."""
        return self.scheme.startswith("rediss")

    def __str__(self) -> str:
        return self.shown


def is_redis_url(url: str) -> bool:
    """Whether a URL is meant for a Redis, even if it is not valid."""
    return url.partition("://")[0] in SCHEMES


def written_password(url: str) -> str:
    """Return the password of a Redis URL as it is written there, with its escapes. Empty if it has none."""
    scheme, _, rest = url.partition("://")
    return rest.rpartition("@")[0].partition(":")[2] if scheme in SCHEMES else ""


def parse(url: str) -> RedisUrl:
    """Parse a URL. Raises ValueError, whose text says what is wrong and shows no password."""
    scheme, _, rest = url.partition("://")
    credentials, _, place = rest.rpartition("@")
    if scheme not in SCHEMES:
        raise ValueError(f"{masked('url', url)!r} begins with none of {', '.join(f'{name}://' for name in SCHEMES)}")
    # A password with a raw '/', '?' or '#' ends the host before its '@'.
    if any(mark in credentials for mark in "/?#@"):
        raise ValueError(
            f"{masked('url', url)!r}: '@', '/', '?' and '#' in a password are written as %40, %2F, %3F and %23"
        )
    if any(mark in place for mark in "?#"):
        raise ValueError(f"{masked('url', url)!r}: options after '?' or '#' are not read")
    user, _, password = credentials.partition(":")
    host, port, database, path = _socket(url, place) if scheme == "unix" else _server(url, place)
    if database and scheme.endswith("+cluster"):
        raise ValueError(f"{masked('url', url)!r}: a Redis Cluster has database 0 alone")
    return RedisUrl(scheme, host, port, database, path, unquote(user), unquote(password), masked("url", url))


def _socket(url: str, place: str) -> tuple[str, int, int, str]:
    if not place.startswith("/"):
        raise ValueError(
            f"{masked('url', url)!r}: a socket is named by its whole path, as in unix:///run/redis/redis.sock"
        )
    return "", 0, 0, unquote(place)


def _server(url: str, place: str) -> tuple[str, int, int, str]:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{masked('url', url)!r}: no host and port") from None
    database = parts.path.strip("/")
    if not host:
        raise ValueError(f"{masked('url', url)!r}: no host")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"{masked('url', url)!r}: the database is a number")
    return host, _PORT if port is None else port, int(database or 0), ""
