"""Parse the URL of a Redis, and show it without its password. These are the forms:

redis://[[user]:password@]host[:port][/database]     one server; rediss:// with TLS
redis+cluster://[[user]:password@]host[:port]        a Redis Cluster, by any of its nodes; rediss+cluster://
redis+sentinel://[[user]:password@]host[:port],…/name[/database]
                                                     the server that Redis Sentinel has under a name; rediss+sentinel://
unix://[[user]:password@]/path/of/the/socket         a server on this machine

The hosts of redis+sentinel:// are sentinels; user and password are those of the server. The form is that of the package
redis-sentinel-url, which other programs use too.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from stream.masking import masked

SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel", "unix")

_PORT = 6379
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a Redis URL. Its text form shows no password."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]  # host and port: of the server, of a node of the cluster, or of each sentinel
    name: str  # by which the sentinels know the server
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
    def sentinel(self) -> bool:
        """Whether Redis Sentinel has to be asked where the server is."""
        return self.scheme.endswith("+sentinel")

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
    hosts: tuple[tuple[str, int], ...] = ()
    name = path = database = ""
    if scheme == "unix":
        path = _socket(url, place)
    elif scheme.endswith("+sentinel"):
        sentinels, _, rest = place.partition("/")
        name, _, database = rest.rstrip("/").partition("/")
        hosts = tuple(_host(url, sentinel.strip(), default_port=_SENTINEL_PORT) for sentinel in sentinels.split(","))
        if not name:
            raise ValueError(f"{masked('url', url)!r}: no name of the server, as in redis+sentinel://HOST:PORT/NAME")
    else:
        host, _, database = place.partition("/")
        hosts = (_host(url, host, default_port=_PORT),)
    number = _database(url, database)
    if number and scheme.endswith("+cluster"):
        raise ValueError(f"{masked('url', url)!r}: a Redis Cluster has database 0 alone")
    return RedisUrl(scheme, hosts, name, number, path, unquote(user), unquote(password), masked("url", url))


def _socket(url: str, place: str) -> str:
    if not place.startswith("/"):
        raise ValueError(
            f"{masked('url', url)!r}: a socket is named by its whole path, as in unix:///run/redis/redis.sock"
        )
    return unquote(place)


def _host(url: str, place: str, *, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{masked('url', url)!r}: no host and port") from None
    if not host:
        raise ValueError(f"{masked('url', url)!r}: no host")
    return host, default_port if port is None else port


def _database(url: str, text: str) -> int:
    number = text.strip("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{masked('url', url)!r}: the database is a number")
    return int(number or 0)
