"""A deployment in a world where things go wrong: every part of it can be reached by a fault.

Workers, server and the producer each have a way of their own to Kafka, through a proxy, and workers one to Redis where
the state is there. Whoever checks the numbers goes directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.disk import new_disk
from tests.chaos.proxy import Network, TcpProxy
from tests.chaos.supervisor import Exit, Slot
from tests.integration.deployment import Deployment, Load
from tests.integration.kafka_server import RunningKafka
from tests.state.redis_server import RedisServer, RedisUnavailable, skip_without_redis

STORES = ("rocksdb", "memory", "redis")

# The changelog is compacted while a run lasts, as it is in the life of a deployment: a new segment every few seconds.
CHANGELOG_CONFIG = {"segment.ms": "4000", "min.cleanable.dirty.ratio": "0.01"}


@dataclass(slots=True, kw_only=True)
class World:
    """What faults can reach."""

    deployment: Deployment
    kafka: RunningKafka
    producer: TcpProxy
    server: Slot
    workers: list[Slot] = field(default_factory=list)
    redis: RedisServer | None = None
    load: Load | None = None

    @property
    def slots(self) -> list[Slot]:
        """All programs."""
        return [*self.workers, self.server]

    @property
    def running_redis(self) -> RedisServer:
        """Where the state is."""
        assert self.redis is not None
        return self.redis

    def repeat(self, count: int) -> None:
        """Let the producer send its last events again."""
        if self.load is not None:
            self.load.repeat(count)

    def connection_to_redis(self, worker: int) -> TcpProxy:
        """The way of a worker to Redis."""
        return self.workers[worker].others[0]

    def tend(self) -> list[Exit]:
        """Start again whoever has ended; returns who has ended since it was last asked."""
        return [ended for slot in self.slots for ended in [slot.tend()] if ended is not None]


@dataclass(frozen=True, slots=True)
class ProxiedKafka:
    """A Kafka that can be reached through several proxies."""

    kafka: RunningKafka
    network: Network
    proxies: list[TcpProxy]


@contextmanager
def proxied_kafka(start: Callable[..., RunningKafka], *, proxies: int) -> Iterator[ProxiedKafka]:
    """A Kafka with so many proxies before it, as `start(proxy_ports=...)` makes it."""
    with Network() as network:
        ways = [network.proxy(speaks_kafka=True) for _ in range(proxies)]
        kafka = start(proxy_ports=[way.port for way in ways])
        for way, address in zip(ways, kafka.behind_proxies, strict=True):
            way.target = address
        try:
            yield ProxiedKafka(kafka, network, ways)
        finally:
            kafka.discard()


@contextmanager
def world_of(
    proxied: ProxiedKafka, deployment: Deployment, folder: Path, *, store: str, workers: int, named: bool
) -> Iterator[World]:
    """A running deployment with its topics; the first proxies are the server's and the producer's.

    Workers that are `named` come back as the same member of the group.
    """
    deployment.create_topics(changelog=CHANGELOG_CONFIG)
    to_server, to_producer, *to_workers = proxied.proxies
    with ExitStack() as closing:
        redis = closing.enter_context(_running_redis()) if store == "redis" else None
        server = Slot(deployment, "serve", name="server", kafka=to_server)
        world = World(deployment=deployment, kafka=proxied.kafka, producer=to_producer, server=server, redis=redis)
        closing.callback(deployment.end)
        for number in range(workers):
            options: dict[str, Any] = {"state_url": "memory://"}
            if store == "rocksdb":
                disk = new_disk(folder / f"disk-{number}")
                # Below the processes that use it in the stack: they end first.
                closing.callback(disk.close)
                closing.callback(deployment.end)
                options = {"state_url": f"rocksdb://{disk.folder}/state", "disk": disk}
            elif store == "redis":
                assert redis is not None
                way = proxied.network.proxy(f"127.0.0.1:{redis.port}")
                options = {"state_url": f"redis://{way.address}", "others": (way,)}
            name = f"worker-{number}"
            options["instance_id"] = name if named else ""
            world.workers.append(Slot(deployment, "worker", name=name, kafka=to_workers[number], **options))
        yield world


@contextmanager
def _running_redis() -> Iterator[RedisServer]:
    """A Redis that loses nothing when it is killed."""
    try:
        server = RedisServer(options={"appendonly": "yes", "appendfsync": "always"})
    except RedisUnavailable as error:
        skip_without_redis(error)
        raise
    server.start()
    try:
        yield server
    finally:
        server.discard()
