"""Stores in a Redis, opened as a worker would, with settings."""

from stream.settings import load
from stream.state.redis import Redis, RedisStore
from tests.state.redis_server import RedisServer

# What a crash keeps of a server that runs with these is every write it has answered.
DURABLE = {"appendonly": "yes", "appendfsync": "always"}

# What a worker needs, for keys that begin with its app_id, and nothing else.
ACL = (
    "~{engagement/* -@all +eval +evalsha +hdel +hget +hgetall +hincrby +hkeys +hlen +hmget +hscan +hset +info"
    " +scan +time +unlink"
)

ROWS = [(b"user/%d" % number, b"row %d" % number) for number in range(100)]


def stores(server: RedisServer | str, app_id: str = "engagement", **state: str) -> Redis:
    """The stores of a deployment; `state` are settings of that section."""
    url = server if isinstance(server, str) else server.url
    variables = {f"ENGAGEMENT_STATE_{name.upper()}": value for name, value in state.items()}
    return Redis(load(None, {"ENGAGEMENT_STATE_URL": url, "ENGAGEMENT_APP_ID": app_id, **variables}))


def written(server: RedisServer, app_id: str = "engagement") -> RedisStore:
    """Partition 3 with ROWS and one more item, written at offset 7."""
    store = stores(server, app_id).open_store(3)
    store.write([*ROWS, (b"progress", b"here")], offset=7)
    return store
