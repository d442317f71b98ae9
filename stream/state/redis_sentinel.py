"""Ask Redis Sentinel which server is the master, as its guidelines for clients say.

The sentinels of a deployment watch over a master and its replicas, and make a replica the master when the old one is
down. So the address of the master is asked for with each connection. A sentinel that was cut off from the others may
still name the old master. Therefore a server that has no replica any more is trusted only while more than half of the
sentinels name it (`agree_on`): otherwise what is written there would be lost when it becomes a replica again.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions as errors

from stream.redis_url import RedisUrl

Address = tuple[str, int]


class UnknownMaster(errors.RedisError):
    """The sentinels answer, and none of them knows the name."""


class Sentinels:
    """The sentinels of a URL. Errors of the connections to them are those of redis-py."""

    def __init__(self, url: RedisUrl, **options: Any) -> None:
        """`options` are those of the connections to the sentinels."""
        self._name = url.name
        # Not typed: in redis-py every answer is either a value or an awaitable.
        self._sentinels: list[tuple[Address, Any]] = [
            ((host, port), redis.Redis(host, port, **options)) for host, port in url.hosts
        ]

    def master(self) -> Address:
        """Return the address of the master, from the first sentinel that answers. Raises UnknownMaster."""
        problems: list[str] = []
        cause: Exception | None = None
        for sentinel, answer in self._answers():
            if isinstance(answer, Exception):
                cause = answer
                problems.append(f"{shown(sentinel)}: {answer}")
            elif answer is not None:
                # This sentinel is asked first from now on: one that is down costs two seconds each time.
                self._sentinels.sort(key=lambda known: known[0] != sentinel)
                return answer
            else:
                problems.append(f"{shown(sentinel)} knows no {self._name!r}")
        if cause is None:
            raise UnknownMaster(f"no sentinel knows a server {self._name!r}")
        raise errors.ConnectionError(f"no sentinel tells where {self._name!r} is: {'; '.join(problems)}") from cause

    def agree_on(self, address: Address) -> bool:
        """Whether more than half of the sentinels name this address as that of the master."""
        named = [answer for _, answer in self._answers() if answer == address]
        return 2 * len(named) > len(self._sentinels)

    def replicas(self) -> list[Address]:
        """Return the addresses of the replicas that are not down, from the first sentinel that answers."""
        for _, client in self._sentinels:
            with suppress(errors.RedisError, OSError):
                found = client.sentinel_slaves(self._name)
                return [(each["ip"], int(each["port"])) for each in found if not each["is_sdown"]]
        return []

    def close(self) -> None:
        """Close the connections."""
        for _, client in self._sentinels:
            client.close()

    def _answers(self) -> Iterator[tuple[Address, Address | Exception | None]]:
        """Yield what each sentinel answers: an address, None if it does not know the name, or the error."""
        for sentinel, client in list(self._sentinels):
            yield sentinel, self._ask(client)

    def _ask(self, client: Any) -> Address | Exception | None:
        try:
            found = client.sentinel_get_master_addr_by_name(self._name)
        except (errors.RedisError, OSError) as error:
            return error
        return None if found is None else (_text(found[0]), int(found[1]))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def shown(address: Address) -> str:
    """Return an address as it is written in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
