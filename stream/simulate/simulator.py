"""Simulate a population: takes settings, and yields events in the order of their arrival.

The same settings give the same events, byte for byte. `simulate(a, b)` followed by `simulate(b, c)` gives the same as
`simulate(a, c)`. So history can be loaded up to now, and live traffic can go on from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from operator import attrgetter

import numpy as np

from stream.simulate.behaviour import HOUR_MS, MAX_VISIT_MS, Behaviour
from stream.simulate.faults import FaultShares, apply_faults
from stream.simulate.messages import SimulatedEvent
from stream.simulate.population import DAY_MS, Population

__all__ = ["SCENARIOS", "SimulatedEvent", "SimulatorSettings", "simulate"]

SCENARIOS = ("steady", "drop")
DROP_BEFORE_END_MS = 4 * DAY_MS  # so that three closed days have the drop, and most of MAU is from before it


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """What to simulate: the population, the scenario, and the faults."""

    seed: int = 1
    users: int = 2_000  # how many are current at any time; each user who leaves is replaced by one who signs up
    scenario: str = "steady"  # or 'drop': existing users suddenly come far less often, and are less satisfied
    drop_at_ms: int | None = None  # for the scenario 'drop'; the default is 4 days before the end of the span
    late: float = 0.0  # share of events that arrive minutes to two days late
    duplicate: float = 0.0  # share of events that arrive twice
    shuffled: float = 0.0  # share of events that arrive up to a minute after their successors
    misrouted: float = 0.0  # share of events that have another key than their user
    bot: float = 0.0  # how many events of crawlers to add, as a share of the others
    broken: float = 0.0  # how many unusable messages to add, as a share of the others

    def __post_init__(self) -> None:
        """Raise ValueError for settings that can't be simulated."""
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"option 'seed' must be in 0 to 2^63 - 1, not {self.seed}")
        if self.users < 1:
            raise ValueError(f"option 'users' must be 1 or more, not {self.users}")
        if self.scenario not in SCENARIOS:
            raise ValueError(f"option 'scenario' must be 'steady' or 'drop', not {self.scenario!r}")
        if self.drop_at_ms is not None and self.scenario != "drop":
            raise ValueError(f"option 'drop_at_ms' needs scenario 'drop': {self.drop_at_ms} with 'steady'")
        shares = self._shares_by_fault()
        for fault, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"option {fault!r} must be a share in [0, 1), not {share}")
        if sum(shares.values()) > 1:
            asked = ", ".join(f"{fault} {share}" for fault, share in shares.items() if share)
            raise ValueError(f"the shares of faults must not exceed 1 together: {asked}")

    @property
    def shares(self) -> FaultShares:
        """The share of each fault."""
        return FaultShares(**self._shares_by_fault())

    def _shares_by_fault(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(FaultShares)}

    def with_drop_before(self, end_ms: int) -> SimulatorSettings:
        """Set the time of the drop relative to the end of the history, so that later spans have it at the same time."""
        if self.scenario != "drop" or self.drop_at_ms is not None:
            return self
        return replace(self, drop_at_ms=end_ms - DROP_BEFORE_END_MS)


def simulate(settings: SimulatorSettings, *, start_ms: int, end_ms: int) -> Iterator[SimulatedEvent]:
    """Yield every event that arrives in [start_ms, end_ms), in order of arrival.

    Memory holds three days of plans, one hour of events, and the events that arrive later. A drop without a time is put
    before `end_ms`; to go on after that, use `settings.with_drop_before(end_ms)` for both spans.
    Raises ValueError for a start before 1970-01-05, where the population's calendar begins.
    """
    settings = settings.with_drop_before(end_ms)
    population = Population(seed=settings.seed, users=settings.users)
    behaviour = Behaviour(population, seed=settings.seed, drop_at_ms=settings.drop_at_ms)
    shares = settings.shares
    first_hour = (start_ms - MAX_VISIT_MS - shares.max_delay_ms) // HOUR_MS
    if first_hour < DAY_MS // HOUR_MS:
        raise ValueError(f"start_ms must lie in 1970-01-05 or later, not at {start_ms}")
    arriving_in: defaultdict[int, list[SimulatedEvent]] = defaultdict(list)
    for hour in range(first_hour, -(-end_ms // HOUR_MS)):
        rng = np.random.Generator(np.random.PCG64([settings.seed, 3, hour]))
        for event in apply_faults(behaviour.hour(hour), shares, rng):
            if start_ms <= event.arrives_at_ms < end_ms:
                arriving_in[event.arrives_at_ms // HOUR_MS].append(event)
        # No event arrives before its visit starts, so later hours add nothing to this one.
        yield from sorted(arriving_in.pop(hour, ()), key=attrgetter("arrives_at_ms"))
