"""Faults that come together: two workers at once, the broker and a worker within seconds, everything in turn.

What one of them alone would do is known. It is while a group is still mending the first that it may stumble over the
second.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.chaos import kinds
from tests.chaos.kinds import Kinds, Steps
from tests.chaos.schedule import Fault
from tests.chaos.supervisor import Slot
from tests.chaos.world import World

COMPOUND: Kinds = {}
_kind = partial(kinds.kind, COMPOUND)

# After events are read again: while the group may still change, or just after it has.
_SECONDS_AFTERWARDS: Final = (1.0, 8.0)

_LOOK_SECONDS: Final = 0.5
# A worker that is not ready after so many looks does not hold up those after it.
_MOST_LOOKS: Final = 30


@_kind("two workers killed at once", whom="workers {worker} and {other}")
def _two_killed(world: World, fault: Fault) -> Steps:
    for number in {fault.worker, fault.other}:
        world.workers[number].kill()
    yield 0.0


@_kind("leader of the group killed", whom="")
def _leader_killed(world: World, fault: Fault) -> Steps:
    _leader(world, fault).kill()
    yield 0.0


@_kind("broker killed and then a worker", 0.5, 3.0)
def _broker_then_worker(world: World, fault: Fault) -> Steps:
    """Of two workers, one leads the group: as often the one that stays as the one that is killed."""
    world.broker.kill()
    yield fault.seconds
    yield from world.broker.come_back()
    yield from _until_events_are_read(world)
    yield _some_seconds(fault)
    world.workers[fault.worker].kill()


@_kind("network away and then a worker killed", 1.0, 12.0)
def _network_then_worker(world: World, fault: Fault) -> Steps:
    """As with the broker, but it forgets nobody: it waits for those who were cut off until their sessions end."""
    ways = [slot.kafka for slot in world.slots]
    for way in ways:
        way.cut()
    yield fault.seconds
    for way in ways:
        way.heal()
    yield from _until_events_are_read(world)
    yield _some_seconds(fault)
    world.workers[fault.worker].kill()


@_kind("worker killed and then the broker", 0.5, 3.0)
def _worker_then_broker(world: World, fault: Fault) -> Steps:
    world.workers[fault.worker].kill()
    yield _some_seconds(fault)
    world.broker.kill()
    yield fault.seconds
    yield from world.broker.come_back()


@_kind("worker frozen while the broker is away", 0.5, 3.0)
def _frozen_meanwhile(world: World, fault: Fault) -> Steps:
    worker = world.workers[fault.worker]
    sleeper = worker.freeze()
    world.broker.kill()
    yield fault.seconds
    yield from world.broker.come_back()
    yield 8.0 * fault.chance
    worker.resume(sleeper)


@_kind("rolling restart of everything", whom="")
def _rolling_restart(world: World, fault: Fault) -> Steps:
    """As an orchestrator does it: the next one is asked to end when the last one is back and ready."""
    for slot in world.slots:
        asked = slot.program
        slot.terminate()
        for _ in range(_MOST_LOOKS):
            yield _LOOK_SECONDS
            # One that another fault has frozen does not answer: waiting for it would put off all other faults.
            if slot.program is not asked and slot.program.get("/readyz", seconds=1)[0] == 200:
                break


@_kind("worker of another version", 4.0, 12.0)
def _other_version(world: World, fault: Fault) -> Steps:
    """As in a rolling update: the same worker, with the same disk and name, runs other code for a while."""
    worker = world.workers[fault.worker]
    if world.other.folder is None:
        return
    worker.run_version(world.other.folder)
    yield fault.seconds
    worker.run_version(None)


def _until_events_are_read(world: World) -> Steps:
    """Workers have joined again, or at least some has: on a busy machine this may take longer than all of a storm."""
    before = _read(world)
    for _ in range(_MOST_LOOKS):
        yield _LOOK_SECONDS
        if _read(world) > before:
            return


def _read(world: World) -> int:
    return max(server.program.read() for server in world.servers)


def _some_seconds(fault: Fault) -> float:
    soonest, latest = _SECONDS_AFTERWARDS
    return soonest + (latest - soonest) * fault.chance


def _leader(world: World, fault: Fault) -> Slot:
    """The worker that leads the group, or the one of the fault where nobody can tell."""
    return world.leader() or world.workers[fault.worker]
