"""Everything that goes wrong in production, one thing at a time: a function for each kind.

A session timeout is 6 s in these tests: who is silent for longer has lost its partitions to another worker, and must
write nothing when it comes back.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.chaos import kinds
from tests.chaos.kinds import Kinds, Steps
from tests.chaos.proxy import TcpProxy
from tests.chaos.schedule import Fault
from tests.chaos.world import World
from tests.faked_clock import RIGHT

# A connection by which a worker that has to read its state anew needs a few seconds for it.
_SLOW_BYTES_PER_SECOND: Final = (50_000, 300_000)
_SLOW_LATENCY_SECONDS: Final = 0.2

# At the start, and later. For the last every event is one of the future, though the load is of 2025.
_WRONG_CLOCKS: Final = (("+50m", "-2d"), ("+40d", RIGHT), ("-2d", "+40d"), ("-4000d", "-4000d"))
_DRIFTING: Final = 1.2

SINGLE: Kinds = {}
_kind = partial(kinds.kind, SINGLE)


# -- processes ---------------------------------------------------------------------------------------------------


@_kind("worker killed")
def _killed(world: World, fault: Fault) -> Steps:
    world.workers[fault.worker].kill()
    yield fault.seconds


@_kind("worker asked to end")
def _asked_to_end(world: World, fault: Fault) -> Steps:
    world.workers[fault.worker].terminate()
    yield fault.seconds


@_kind("worker frozen past its session", 7.0, 11.0)
def _frozen(world: World, fault: Fault) -> Steps:
    worker = world.workers[fault.worker]
    zombie = worker.freeze()
    yield fault.seconds
    worker.resume(zombie)


@_kind("worker frozen for a moment", 0.5, 4.0)
def _frozen_for_a_moment(world: World, fault: Fault) -> Steps:
    worker = world.workers[fault.worker]
    sleeper = worker.freeze()
    yield fault.seconds
    worker.resume(sleeper)


@_kind("worker with a wrong clock", 8.0, 14.0)
def _with_a_wrong_clock(world: World, fault: Fault) -> Steps:
    """Its machine's clock is wrong when it starts, is then set to another time, and in the end to the right one."""
    worker = world.workers[fault.worker]
    clock = world.clocks.get(worker.name)
    if clock is None:  # the report says why
        yield fault.seconds
        return
    at_start, later = _WRONG_CLOCKS[int(fault.chance * len(_WRONG_CLOCKS))]
    clock.set(at_start)
    worker.have_clock(clock)
    yield fault.seconds / 2
    clock.set(later, speed=_DRIFTING)
    yield fault.seconds / 2
    clock.set(RIGHT)
    worker.have_clock(None)


@_kind("server killed", whom="server {server}")
def _server_killed(world: World, fault: Fault) -> Steps:
    world.servers[fault.server].kill()
    yield fault.seconds


# -- Kafka -------------------------------------------------------------------------------------------------------


@_kind("broker restarted", 0.5, 3.0, whom="")
def _broker_restarted(world: World, fault: Fault) -> Steps:
    world.broker.stop()
    yield fault.seconds
    yield from world.broker.come_back()


@_kind("broker killed", 0.5, 3.0, whom="")
def _broker_killed(world: World, fault: Fault) -> Steps:
    world.broker.kill()
    yield fault.seconds
    yield from world.broker.come_back()


@_kind("Kafka cut off", 1.0, 9.0)
def _kafka_cut_off(world: World, fault: Fault) -> Steps:
    yield from _cut(fault, world.workers[fault.worker].kafka)


@_kind("Kafka stalled past the session", 7.0, 11.0)
def _kafka_stalled(world: World, fault: Fault) -> Steps:
    yield from _stalled(fault, world.workers[fault.worker].kafka)


@_kind("Kafka slow", 3.0, 8.0)
def _kafka_slow(world: World, fault: Fault) -> Steps:
    yield from _slow(fault, world.workers[fault.worker].kafka)


@_kind("server cut off", 1.0, 6.0, whom="server {server}")
def _server_cut_off(world: World, fault: Fault) -> Steps:
    yield from (_cut if fault.chance < 0.5 else _stalled)(fault, world.servers[fault.server].kafka)


@_kind("answers to a worker lost", 1.0, 4.0)
def _answers_to_a_worker_lost(world: World, fault: Fault) -> Steps:
    yield from _losing(fault, world.workers[fault.worker].kafka)


@_kind("answers to a producer lost", 1.0, 4.0, whom="")
def _answers_to_a_producer_lost(world: World, fault: Fault) -> Steps:
    yield from _losing(fault, world.producer)


@_kind("events sent twice", whom="")
def _sent_twice(world: World, fault: Fault) -> Steps:
    world.repeat(100 + int(2_000 * fault.chance))
    yield fault.seconds


def _losing(fault: Fault, connection: TcpProxy) -> Steps:
    connection.lose_produce_answers(1 + int(3 * fault.chance))
    yield fault.seconds
    connection.lose_produce_answers(0)


# -- disks -------------------------------------------------------------------------------------------------------


@_kind("disk lost", only="rocksdb")
def _disk_lost(world: World, fault: Fault) -> Steps:
    worker = world.workers[fault.worker]
    assert worker.disk is not None
    worker.kill()
    worker.disk.wipe()
    yield fault.seconds


@_kind("disk full", 3.0, 8.0, only="rocksdb")
def _disk_full(world: World, fault: Fault) -> Steps:
    """On its own, or met by a worker that ends or one that starts."""
    worker = world.workers[fault.worker]
    assert worker.disk is not None
    worker.disk.fill()
    if fault.chance < 0.4:
        worker.kill()
    elif fault.chance < 0.8:
        worker.terminate()
    yield fault.seconds
    worker.disk.free()


# -- Redis -------------------------------------------------------------------------------------------------------


@_kind("Redis restarted", 0.2, 3.0, whom="", only="redis")
def _redis_restarted(world: World, fault: Fault) -> Steps:
    redis = world.running_redis
    redis.stop()
    yield fault.seconds
    redis.restart()


@_kind("Redis killed", 0.2, 3.0, whom="", only="redis")
def _redis_killed(world: World, fault: Fault) -> Steps:
    redis = world.running_redis
    redis.kill()
    yield fault.seconds
    redis.restart()


@_kind("Redis hangs", 1.0, 9.0, whom="", only="redis")
def _redis_hangs(world: World, fault: Fault) -> Steps:
    redis = world.running_redis
    redis.pause()
    yield fault.seconds
    redis.resume()


@_kind("Redis cut off", 1.0, 9.0, only="redis")
def _redis_cut_off(world: World, fault: Fault) -> Steps:
    yield from _cut(fault, world.connection_to_redis(fault.worker))


@_kind("Redis stalled", 1.0, 11.0, only="redis")
def _redis_stalled(world: World, fault: Fault) -> Steps:
    yield from _stalled(fault, world.connection_to_redis(fault.worker))


@_kind("Redis slow", 3.0, 8.0, only="redis")
def _redis_slow(world: World, fault: Fault) -> Steps:
    yield from _slow(fault, world.connection_to_redis(fault.worker))


# -- connections -------------------------------------------------------------------------------------------------


def _cut(fault: Fault, connection: TcpProxy) -> Steps:
    connection.cut()
    yield fault.seconds
    connection.heal()


def _stalled(fault: Fault, connection: TcpProxy) -> Steps:
    connection.stall()
    yield fault.seconds
    connection.heal()


def _slow(fault: Fault, connection: TcpProxy) -> Steps:
    least, most = _SLOW_BYTES_PER_SECOND
    bytes_per_second = least + fault.chance * (most - least)
    connection.slow(bytes_per_second=bytes_per_second, latency_seconds=_SLOW_LATENCY_SECONDS * fault.chance)
    yield fault.seconds
    connection.heal()
