"""Lets storms of faults come, and after each a pause in which all must become well again."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.befall import befall
from tests.chaos.kinds import Steps
from tests.chaos.observe import observe
from tests.chaos.progress import Limits, Sample, Verdict, is_over, judge
from tests.chaos.schedule import Fault, Storm
from tests.chaos.world import World

Tell = Callable[[str], None]

_TICK_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_WORTH_TELLING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Weathered:
    """A storm that is over, and what the pause after it has shown."""

    at_seconds: float  # when the pause began, after the beginning of the run
    storm: Storm
    verdict: Verdict

    @property
    def faults(self) -> str:
        """What went wrong, in order."""
        return "; ".join(str(fault) for fault in self.storm)


class Weather:
    """One storm after the other over one world."""

    def __init__(self, world: World, limits: Limits, *, tell: Tell) -> None:
        self._world = world
        self._limits = limits
        self._started = time.monotonic()
        self._tell_of = tell
        self.weathered: list[Weathered] = []

    def run(self, storms: list[Storm]) -> None:
        """Let all come and go. What was not well after one of them is told, and the next one comes all the same."""
        for storm in storms:
            self._rage(storm)
            self._wait_for_producer()
            began = self._seconds()
            verdict = judge(self._pause(), self._limits)
            self.weathered.append(Weathered(began, storm, verdict))
            after = "" if verdict.well_after_seconds is None else f"well after {verdict.well_after_seconds:.1f} s"
            self._tell(f"{verdict.complaint or after}, takeovers of a worker: {verdict.takeovers}")

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _tell(self, what: str) -> None:
        self._tell_of(f"{self._seconds():7.1f} s  {what}")

    def _rage(self, storm: Storm) -> None:
        """Take every step of every fault at its time, and look after whoever has ended in between.

        Time stands still while a step is taken, for a busy machine may need seconds for it.
        """
        order = itertools.count()  # decides between steps of one moment
        coming: list[tuple[float, int, Fault | Steps]] = [(fault.at_seconds, next(order), fault) for fault in storm]
        started = time.monotonic()
        while coming:
            began = time.monotonic()
            while coming and began - started >= coming[0][0]:
                at_seconds, _, step = heapq.heappop(coming)
                if isinstance(step, Fault):
                    self._tell(str(step))
                    step = befall(self._world, step)
                wait = next(step, None)
                if wait is not None:
                    heapq.heappush(coming, (at_seconds + wait, next(order), step))
            started += time.monotonic() - began
            self._tend()

    def _wait_for_producer(self) -> None:
        """A producer that a storm has left with an open transaction holds partitions back: its storm is not over."""
        load, started = self._world.load, time.monotonic()
        if load is None:
            return
        is_through = load.through()
        while not is_through():
            self._tend()
        waited = time.monotonic() - started
        if waited > _WORTH_TELLING_SECONDS:
            self._tell(f"the producer was through {waited:.1f} s later")

    def _pause(self) -> list[Sample]:
        """Wait until the pause may end; returns what was seen."""
        samples: list[Sample] = []
        looked_at = 0.0
        while not is_over(samples, self._limits):
            self._tend()
            if time.monotonic() - looked_at >= _LOOK_SECONDS:
                looked_at = time.monotonic()
                samples.append(observe(self._world))
        return samples

    def _tend(self) -> None:
        for ended in self._world.tend():
            self._tell(f"    {ended.name} ended with {ended.status} {ended.reason}".rstrip())
        assert self._world.load is None or self._world.load.is_alive(), "the load has ended before the faults have"
        time.sleep(_TICK_SECONDS)
