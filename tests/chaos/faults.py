"""Everything that goes wrong in production: a function for each kind, which begins it, yields, and ends it.

Each kind says for how long it lasts. A session timeout is 6 s in these tests: who is silent for longer has lost its
partitions to another worker, and must write nothing when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from tests.chaos.proxy import TcpProxy
from tests.chaos.schedule import Fault, Kind
from tests.chaos.world import World

_Befalls = Callable[[World, Fault], Iterator[None]]

# A connection by which a worker that has to read its state anew needs a few seconds for it.
_SLOW_BYTES_PER_SECOND: Final = (50_000, 300_000)
_SLOW_LATENCY_SECONDS: Final = 0.2

_KINDS: dict[str, Kind] = {}
_BEFALLS: dict[str, _Befalls] = {}
_ONLY_WITH: dict[str, str] = {}


def _kind(name: str, least: float = 0.0, most: float = 0.0, *, only: str = "") -> Callable[[_Befalls], _Befalls]:
    """A kind of fault that lasts so many seconds; `only` names the store that it is for."""

    def register(befalls: _Befalls) -> _Befalls:
        _KINDS[name] = Kind(least, most)
        _BEFALLS[name] = befalls
        if only:
            _ONLY_WITH[name] = only
        return befalls

    return register


def kinds_for(store: str, only: Sequence[str] = ("",)) -> Mapping[str, Kind]:
    """What may befall a deployment that keeps its state there; `only` what has one of these words in its name."""
    kinds = {name: kind for name, kind in _KINDS.items() if _ONLY_WITH.get(name, store) == store}
    return {name: kind for name, kind in kinds.items() if any(word in name for word in only)}


def befall(world: World, fault: Fault) -> AbstractContextManager[None]:
    """Within it the fault holds."""
    return contextmanager(_BEFALLS[fault.kind])(world, fault)


# -- processes ---------------------------------------------------------------------------------------------------


@_kind("worker killed")
def _killed(world: World, fault: Fault) -> Iterator[None]:
    world.workers[fault.target].kill()
    yield


@_kind("worker asked to end")
def _asked_to_end(world: World, fault: Fault) -> Iterator[None]:
    world.workers[fault.target].terminate()
    yield


@_kind("worker frozen past its session", 7.0, 11.0)
def _frozen(world: World, fault: Fault) -> Iterator[None]:
    worker = world.workers[fault.target]
    zombie = worker.freeze()
    yield
    worker.resume(zombie)


@_kind("worker frozen for a moment", 0.5, 4.0)
def _frozen_for_a_moment(world: World, fault: Fault) -> Iterator[None]:
    worker = world.workers[fault.target]
    sleeper = worker.freeze()
    yield
    worker.resume(sleeper)


@_kind("server killed")
def _server_killed(world: World, fault: Fault) -> Iterator[None]:
    world.server.kill()
    yield


# -- Kafka -------------------------------------------------------------------------------------------------------


@_kind("broker restarted", 0.5, 3.0)
def _broker_restarted(world: World, fault: Fault) -> Iterator[None]:
    world.kafka.stop()
    yield
    world.kafka.restart()


@_kind("broker killed", 0.5, 3.0)
def _broker_killed(world: World, fault: Fault) -> Iterator[None]:
    world.kafka.kill()
    yield
    world.kafka.restart()


@_kind("Kafka cut off", 1.0, 9.0)
def _kafka_cut_off(world: World, fault: Fault) -> Iterator[None]:
    yield from _cut(world.workers[fault.target].kafka)


@_kind("Kafka stalled past the session", 7.0, 11.0)
def _kafka_stalled(world: World, fault: Fault) -> Iterator[None]:
    yield from _stalled(world.workers[fault.target].kafka)


@_kind("Kafka slow", 3.0, 8.0)
def _kafka_slow(world: World, fault: Fault) -> Iterator[None]:
    yield from _slow(world.workers[fault.target].kafka, fault)


@_kind("server cut off", 1.0, 6.0)
def _server_cut_off(world: World, fault: Fault) -> Iterator[None]:
    yield from (_cut if fault.chance < 0.5 else _stalled)(world.server.kafka)


@_kind("answers to a worker lost", 1.0, 4.0)
def _answers_to_a_worker_lost(world: World, fault: Fault) -> Iterator[None]:
    yield from _losing(world.workers[fault.target].kafka, fault)


@_kind("answers to a producer lost", 1.0, 4.0)
def _answers_to_a_producer_lost(world: World, fault: Fault) -> Iterator[None]:
    yield from _losing(world.producer, fault)


@_kind("events sent twice")
def _sent_twice(world: World, fault: Fault) -> Iterator[None]:
    world.repeat(100 + int(2_000 * fault.chance))
    yield


def _losing(connection: TcpProxy, fault: Fault) -> Iterator[None]:
    connection.lose_produce_answers(1 + int(3 * fault.chance))
    yield
    connection.lose_produce_answers(0)


# -- disks -------------------------------------------------------------------------------------------------------


@_kind("disk lost", only="rocksdb")
def _disk_lost(world: World, fault: Fault) -> Iterator[None]:
    worker = world.workers[fault.target]
    assert worker.disk is not None
    worker.kill()
    worker.disk.wipe()
    yield


@_kind("disk full", 3.0, 8.0, only="rocksdb")
def _disk_full(world: World, fault: Fault) -> Iterator[None]:
    """On its own, or met by a worker that ends or one that starts."""
    worker = world.workers[fault.target]
    assert worker.disk is not None
    worker.disk.fill()
    if fault.chance < 0.4:
        worker.kill()
    elif fault.chance < 0.8:
        worker.terminate()
    yield
    worker.disk.free()


# -- Redis -------------------------------------------------------------------------------------------------------


@_kind("Redis restarted", 0.2, 3.0, only="redis")
def _redis_restarted(world: World, fault: Fault) -> Iterator[None]:
    redis = world.running_redis
    redis.stop()
    yield
    redis.restart()


@_kind("Redis killed", 0.2, 3.0, only="redis")
def _redis_killed(world: World, fault: Fault) -> Iterator[None]:
    redis = world.running_redis
    redis.kill()
    yield
    redis.restart()


@_kind("Redis hangs", 1.0, 9.0, only="redis")
def _redis_hangs(world: World, fault: Fault) -> Iterator[None]:
    redis = world.running_redis
    redis.pause()
    yield
    redis.resume()


@_kind("Redis cut off", 1.0, 9.0, only="redis")
def _redis_cut_off(world: World, fault: Fault) -> Iterator[None]:
    yield from _cut(world.connection_to_redis(fault.target))


@_kind("Redis stalled", 1.0, 11.0, only="redis")
def _redis_stalled(world: World, fault: Fault) -> Iterator[None]:
    yield from _stalled(world.connection_to_redis(fault.target))


@_kind("Redis slow", 3.0, 8.0, only="redis")
def _redis_slow(world: World, fault: Fault) -> Iterator[None]:
    yield from _slow(world.connection_to_redis(fault.target), fault)


# -- connections -------------------------------------------------------------------------------------------------


def _cut(connection: TcpProxy) -> Iterator[None]:
    connection.cut()
    yield
    connection.heal()


def _stalled(connection: TcpProxy) -> Iterator[None]:
    connection.stall()
    yield
    connection.heal()


def _slow(connection: TcpProxy, fault: Fault) -> Iterator[None]:
    least, most = _SLOW_BYTES_PER_SECOND
    bytes_per_second = least + fault.chance * (most - least)
    connection.slow(bytes_per_second=bytes_per_second, latency_seconds=_SLOW_LATENCY_SECONDS * fault.chance)
    yield
    connection.heal()
