"""A run of chaos: load, faults on schedule, then quiet, and the question whether every number is right.

In the end everything is healed. Then every gauge must equal the recount; every bad message must be among the dead
letters and no other; and a worker without any state, which knows nothing but what the others have saved, must come to
the same numbers: so nobody wrote there who had lost its partitions.
"""

from __future__ import annotations

import heapq
import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from stream.simulate.replay import ReplayEvent
from tests.chaos.faults import befall
from tests.chaos.letters import letter_differences
from tests.chaos.report import Report
from tests.chaos.schedule import Fault
from tests.chaos.supervisor import reason_in, takeovers, wait_until
from tests.chaos.world import World

Tell = Callable[[str], None]

# Nobody needs so long; a machine that others use too may.
_READY_SECONDS = 120.0
_EQUAL_SECONDS = 240.0
_SHUT_DOWN_SECONDS = 30.0

# Outages may add up to more than the minute after which a producer gives up.
_PATIENT = {"delivery_timeout_ms": 900_000}

_TICK_SECONDS = 0.1
_LOOK_SECONDS = 0.5


def run_chaos(
    world: World, faults: list[Fault], events: Iterable[ReplayEvent], *, rate: float, report: Report, tell: Tell
) -> None:
    """Fill in the report; `tell` is told what happens. Raises AssertionError where the numbers don't become right."""
    assert wait_until(lambda: is_ready(world), world.slots, seconds=_READY_SECONDS), "not ready before the first fault"
    with world.deployment.load(events, rate=rate, bootstrap_servers=world.producer.address, **_PATIENT) as load:
        world.load = load
        storm = Storm(world, faults, seconds=60 * report.minutes, tell=tell)
        storm.run()
    report.events = len(load.sent)
    report.faults = Counter(fault.kind for fault in faults)
    report.slowest_recovery_seconds = storm.slowest_recovery_seconds

    healed = time.monotonic()
    world.deployment.send_to_every_partition()
    report.events += len(world.deployment.all_partitions)
    try:
        wait_until_equal(world, report)
        report.settled_seconds = time.monotonic() - healed
        report.differences += letter_differences(world.deployment, sent=report.events)
        report.letters = world.server.program.outcomes()["invalid"]
        rebuild_from_nothing(world, report)
        report.is_whole = True
    finally:
        sum_up(world, report)


class Storm:
    """Lets faults begin and end at their time, and watches how the deployment fares.

    Its time stands still while something is begun or ended: a broker takes seconds to start, on a busy machine many.
    """

    def __init__(self, world: World, faults: list[Fault], *, seconds: float, tell: Tell) -> None:
        self._world = world
        self._tell = tell
        self._seconds = seconds
        self._coming = list(faults)
        self._ends: list[tuple[float, int, ExitStack]] = []  # by time; the number decides between equals
        self._numbers = itertools.count()
        self._started = time.monotonic()
        self._well_since: float | None = self._started
        self._changed_at = self._looked_at = self._started
        self.slowest_recovery_seconds = 0.0

    def run(self) -> None:
        """Until the time is over and every fault has come and gone."""
        self._started = time.monotonic()
        try:
            while self._coming or self._ends or time.monotonic() - self._started < self._seconds:
                began = time.monotonic()
                self._change(began - self._started)
                self._started += time.monotonic() - began
                for ended in self._world.tend():
                    self._tell(f"          {ended.name} ended with {ended.status} {ended.reason}".rstrip())
                self._look()
                time.sleep(_TICK_SECONDS)
        finally:
            for _, _, ending in self._ends:
                ending.close()

    def _change(self, seconds: float) -> None:
        """End and begin what is due."""
        while self._ends and seconds >= self._ends[0][0]:
            heapq.heappop(self._ends)[2].close()
            self._changed_at = time.monotonic()
        while self._coming and seconds >= self._coming[0].at_seconds:
            fault = self._coming.pop(0)
            self._tell(str(fault))
            ending = ExitStack()
            ending.enter_context(befall(self._world, fault))
            heapq.heappush(self._ends, (fault.at_seconds + fault.seconds, next(self._numbers), ending))

    def _look(self) -> None:
        """Note how long it takes until the server is ready again, from the end of the last fault."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if not is_ready(self._world):
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
            self.slowest_recovery_seconds = max(self.slowest_recovery_seconds, now - self._changed_at)


def is_ready(world: World) -> bool:
    """Whether the server says that its numbers can be trusted."""
    return world.server.program.get("/readyz")[0] == 200


def wait_until_equal(world: World, report: Report) -> None:
    """Wait until every gauge is right; fails with what Kafka holds and what the workers said last."""
    server = world.server.program
    try:
        world.deployment.wait_until_every_gauge_equals_the_recount(server, seconds=_EQUAL_SECONDS, meanwhile=world.tend)
    except AssertionError as error:
        in_kafka = letter_differences(world.deployment, sent=report.events)
        tails = [f"--- {slot.name}\n" + "\n".join(slot.program.log.splitlines()[-15:]) for slot in world.workers]
        raise AssertionError("\n".join([str(error), "--- Kafka", *in_kafka[:20], *tails])) from None


def rebuild_from_nothing(world: World, report: Report) -> None:
    """End all workers, and let one that has nothing take over what they saved."""
    deployment, server = world.deployment, world.server.program
    for worker in world.workers:
        worker.terminate()
    for worker in world.workers:
        status = worker.shut_down(seconds=_SHUT_DOWN_SECONDS)
        if status != 0:
            why = reason_in(worker.program.log)
            report.differences.append(f"{worker.name} ended with {status} when it was asked to end: {why}")
    # Only when their last reports are too old does what the server tells come from the new one.
    server.wait_until(lambda: not is_ready(world), "the server misses the workers")
    started = time.monotonic()
    deployment.start("worker", name="nobody", **world.workers[0].settings_of_a_stranger)
    deployment.wait_until_every_gauge_equals_the_recount(server, seconds=_EQUAL_SECONDS)
    report.rebuilt_seconds = time.monotonic() - started


def sum_up(world: World, report: Report) -> None:
    """What the processes have said and how they have ended."""
    exits = [ended for slot in world.slots for ended in slot.exits]
    report.differences += [ended.complaint for ended in exits if ended.complaint is not None]
    report.gave_up = Counter(kind_of(ended.reason) for ended in exits if not ended.asked)
    report.answers_lost = sum(slot.kafka.answers_lost for slot in world.slots) + world.producer.answers_lost
    owners: dict[int, str] = {}
    for _, name, partitions, seconds in takeovers(world.workers):
        moved = [partition for partition in partitions if owners.get(partition, name) != name]
        report.takeovers += len(moved)
        if moved:
            report.slowest_takeover_seconds = max(report.slowest_takeover_seconds, seconds)
        owners.update(dict.fromkeys(partitions, name))


def kind_of(reason: str) -> str:
    """The kind of a reason, without its figures and places."""
    return re.sub(r"'[^']*'|[0-9][0-9.:]*", "…", reason.partition("(")[0] or reason)[:45].strip()
