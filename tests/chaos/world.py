"""A deployment in a world where things go wrong: every part of it can be reached by a fault.

Workers, server and the producer each have a way of their own to Kafka, through a proxy, and workers one to Redis where
the state is there. Whoever checks the numbers goes directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.broker import Broker
from tests.chaos.disk import new_disk
from tests.chaos.group import GroupLog, is_of
from tests.chaos.proxy import Network, TcpProxy
from tests.chaos.setups import Setup
from tests.chaos.supervisor import Exit, Slot
from tests.faked_clock import FakedClock, FakedClockMissing
from tests.integration.deployment import Deployment, Load
from tests.integration.kafka_server import RunningKafka
from tests.integration.versions import OtherVersion
from tests.ports import free_port
from tests.state.redis_server import RedisServer, RedisUnavailable, skip_without_redis

# The changelog is compacted while a run lasts, as it is in the life of a deployment: a new segment every few seconds.
CHANGELOG_CONFIG = {"segment.ms": "4000", "min.cleanable.dirty.ratio": "0.01"}


@dataclass(slots=True, kw_only=True)
class World:
    """What faults can reach."""

    deployment: Deployment
    broker: Broker
    producer: TcpProxy
    group: GroupLog
    servers: list[Slot] = field(default_factory=list)
    workers: list[Slot] = field(default_factory=list)
    redis: RedisServer | None = None
    load: Load | None = None
    other: OtherVersion = field(default_factory=OtherVersion)
    clocks: dict[str, FakedClock] = field(default_factory=dict)  # by name of the worker that may have it
    no_clocks: str = ""  # why there are none

    @property
    def slots(self) -> list[Slot]:
        """All programs."""
        return [*self.workers, *self.servers]

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

    def leader(self) -> Slot | None:
        """The worker that leads the consumer group; None where it is not known or just gone."""
        leader = self.group.newest().leader
        return next((worker for worker in self.workers if is_of(leader, worker.client)), None)

    def tend(self) -> list[Exit]:
        """Start again whoever has ended; returns who has ended since it was last asked."""
        exits = [ended for slot in self.slots for ended in [slot.tend()] if ended is not None]
        for ended in exits:
            if ended.refused:
                self._leave_out(ended.reason)
        return exits

    def _leave_out(self, why: str) -> None:
        """Let no worker run another version any more."""
        self.other = OtherVersion(left_out=f"{self.other.commit} {why}")
        self.deployment.code.clear()


@dataclass(frozen=True, slots=True)
class ProxiedKafka:
    """A Kafka that can be reached through several proxies."""

    kafka: RunningKafka
    broker: Broker
    network: Network
    proxies: list[TcpProxy]


@contextmanager
def proxied_kafka(
    start: Callable[..., RunningKafka], *, proxies: int, named: str = "127.0.0.1"
) -> Iterator[ProxiedKafka]:
    """A Kafka with so many proxies before it, as `start(proxy_ports=...)` makes it; their address has a name."""
    ports = [free_port() for _ in range(proxies)]
    kafka = start(proxy_ports=ports, proxies_named=named)
    try:
        with behind(kafka, ports) as proxied:
            yield proxied
    finally:
        kafka.discard()


@contextmanager
def behind(kafka: RunningKafka, ports: Sequence[int]) -> Iterator[ProxiedKafka]:
    """A Kafka that was told these ports of proxies, with the proxies."""
    with Network() as network, ThreadPoolExecutor(1) as elsewhere:
        targets = zip(ports, kafka.behind_proxies, strict=True)
        ways = [network.proxy(target, port=port, speaks_kafka=True) for port, target in targets]
        yield ProxiedKafka(kafka, Broker(kafka, elsewhere), network, ways)


@contextmanager
def world_of(
    proxied: ProxiedKafka, deployment: Deployment, folder: Path, *, store: str, setup: Setup
) -> Iterator[World]:
    """A running deployment with its topics, each part of it behind a proxy of its own."""
    deployment.create_topics(changelog=CHANGELOG_CONFIG)
    ways = iter(proxied.proxies)
    with ExitStack() as closing:
        redis = closing.enter_context(_running_redis()) if store == "redis" else None
        group = GroupLog(proxied.kafka.address, deployment.settings.app_id)
        world = World(deployment=deployment, broker=proxied.broker, producer=next(ways), group=group, redis=redis)
        closing.callback(deployment.end)
        for number in range(setup.servers):
            world.servers.append(Slot(deployment, "serve", name=f"server-{number}", kafka=next(ways)))
        for number in range(setup.workers):
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
            options["instance_id"] = name if setup.named else ""
            world.workers.append(Slot(deployment, "worker", name=name, kafka=next(ways), **options))
        try:
            world.clocks = {worker.name: FakedClock(folder, worker.name) for worker in world.workers}
        except FakedClockMissing as error:
            world.no_clocks = str(error)
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
