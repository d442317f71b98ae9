"""A run of chaos: load, faults on schedule, then quiet, and the question whether every number is right.

In the end everything is healed. Then every gauge must equal the recount; every bad message must be among the dead
letters and no other; and a worker without any state, which knows nothing but what the others have saved, must come to
the same numbers: so nobody wrote there who had lost its partitions.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial

from stream.simulate.recording import ReplayEvent
from tests.chaos.letters import letter_differences
from tests.chaos.progress import Limits
from tests.chaos.report import Report
from tests.chaos.schedule import Storm
from tests.chaos.storm import Tell, Weather
from tests.chaos.supervisor import Slot, reason_in, takeovers, wait_until
from tests.chaos.world import World
from tests.integration.deployment import Load
from tests.timeouts import TIMEOUT_SECONDS

# Events that may wait while others come: reports are made once a second.
_MOST_LAG_SECONDS = 5.0


def run_chaos(
    world: World,
    storms: list[Storm],
    events: Iterable[ReplayEvent],
    *,
    rate: float,
    kind: type[Load],
    well_within_seconds: float,
    report: Report,
    tell: Tell,
) -> None:
    """Fill in the report; `tell` is told what happens. Raises AssertionError where the numbers don't become right."""
    assert wait_until(partial(are_ready, world), world.slots, seconds=TIMEOUT_SECONDS), (
        "not ready before the first fault"
    )
    limits = Limits(well_within_seconds=well_within_seconds, lag=_MOST_LAG_SECONDS * rate, workers=len(world.workers))
    weather = Weather(world, limits, tell=tell)
    try:
        with world.deployment.load(events, rate=rate, kind=kind, bootstrap_servers=world.producer.address) as load:
            world.load = load
            assert wait_until(lambda: bool(load.sent), world.slots, seconds=TIMEOUT_SECONDS), "the load has not begun"
            weather.run(storms)
    finally:
        report.take_in(weather.weathered)
        report.other_version = str(world.other)
    report.events = len(load.sent)
    report.lost = load.lost

    healed = time.monotonic()
    world.deployment.send_to_every_partition()
    report.events += len(world.deployment.all_partitions)
    try:
        wait_until_equal(world, report)
        report.settled_seconds = time.monotonic() - healed
        report.differences += letter_differences(world.deployment, sent=report.events, load=world.load)
        report.letters = world.servers[0].program.outcomes()["invalid"]
        rebuild_from_nothing(world, report)
        report.is_whole = True
    finally:
        sum_up(world, report)


def are_ready(world: World) -> bool:
    """Whether all servers are."""
    return all(map(is_ready, world.servers))


def is_ready(server: Slot) -> bool:
    """Whether a server says that its numbers can be trusted."""
    return server.program.get("/readyz")[0] == 200


def is_unready(server: Slot) -> bool:
    """Whether it does not."""
    return not is_ready(server)


def wait_until_equal(world: World, report: Report) -> None:
    """Wait until every gauge is right; fails with what the workers said last, what Kafka holds, and what differs."""
    try:
        for server in world.servers:
            world.deployment.wait_until_every_gauge_equals_the_recount(
                server.program, seconds=TIMEOUT_SECONDS, meanwhile=world.tend
            )
    except AssertionError as error:
        tails = [f"--- {slot.name}\n" + "\n".join(slot.program.log.splitlines()[-15:]) for slot in world.workers]
        in_kafka = letter_differences(world.deployment, sent=report.events, load=world.load)
        # What matters most comes last: of a long text that is what programs show.
        text = "\n".join([*tails, "--- Kafka", *in_kafka[:20], "--- the gauges", str(error)])
        raise AssertionError(text) from None


def rebuild_from_nothing(world: World, report: Report) -> None:
    """End all workers, and let one that has nothing take over what they saved."""
    deployment = world.deployment
    for worker in world.workers:
        worker.terminate()
    for worker in world.workers:
        status = worker.shut_down()
        if status != 0:
            why = reason_in(worker.program.log)
            report.differences.append(f"{worker.name} ended with {status} when it was asked to end: {why}")
    # Only when their last reports are too old does what the server tells come from the new one.
    for server in world.servers:
        server.program.wait_until(partial(is_unready, server), "the server misses the workers")
    started = time.monotonic()
    deployment.start("worker", name="nobody", **world.workers[0].settings_of_a_stranger)
    for server in world.servers:
        deployment.wait_until_every_gauge_equals_the_recount(server.program, seconds=TIMEOUT_SECONDS)
    report.rebuilt_seconds = time.monotonic() - started


def sum_up(world: World, report: Report) -> None:
    """What the processes have said and how they have ended."""
    exits = [ended for slot in world.slots for ended in slot.exits]
    report.differences += [ended.complaint for ended in exits if ended.complaint is not None]
    report.gave_up = Counter(kind_of(ended.reason) for ended in exits if not ended.asked)
    logs = [program.log for worker in world.workers for program in worker.programs]
    noticed = sum(log.count("this machine's clock is wrong") for log in logs)
    report.wrong_clocks = f"left out: {world.no_clocks}" if world.no_clocks else str(noticed)
    report.answers_lost = sum(slot.kafka.answers_lost for slot in world.slots) + world.producer.answers_lost
    report.rebalances = world.group.newest().number
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
