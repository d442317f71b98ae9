"""Simulate a population: takes settings, and yields events in the order of their arrival.

The same settings give the same events, byte for byte. `simulate(a, b)` followed by `simulate(b, c)` gives the same as
`simulate(a, c)`. So history can be loaded up to now, and live traffic can go on from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from operator import attrgetter

import numpy as np

from stream.simulate.behaviour import HOUR_MS, MAX_AFTERMATH_MS, MAX_VISIT_MS, Behaviour, Changes
from stream.simulate.faults import FaultShares, apply_faults
from stream.simulate.messages import SimulatedEvent
from stream.simulate.population import DAY_MS, Population

__all__ = ["SCENARIOS", "SimulatedEvent", "SimulatorSettings", "simulate"]

# What changes, by the name of the scenario, and how long before the end of the span unless a time is given. A drop has
# three closed days, and most of MAU is from before it; the others need some weeks to be seen in numbers of 28 days.
SCENARIOS = {
    "steady": None,
    "drop": 4 * DAY_MS,  # existing users suddenly come far less often, and are less satisfied
    "churn": 16 * DAY_MS,  # within two weeks one customer in six cancels
    "onboarding": 22 * DAY_MS,  # most new users can't do one of the steps
    "checkout": 14 * DAY_MS,  # hardly anything can be bought; subscriptions go on
    "support": 14 * DAY_MS,  # agents take much longer to reply
    "adoption": 24 * DAY_MS,  # with a release few go on using a vital feature
    "reviews": 21 * DAY_MS,  # reviews have few stars
}

_FIRST_HOUR = DAY_MS // HOUR_MS  # of the population's calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """What to simulate: the population, the scenario, and the faults."""

    seed: int = 1
    users: int = 2_000  # how many are current at any time; each user who leaves is replaced by one who signs up
    scenario: str = "steady"  # one of SCENARIOS
    scenario_at_ms: int | None = None  # when it begins; the default is some days before the end of the span
    customers: bool = False  # whether there are events of accounts and orders too
    further_topics: bool = False  # whether there are events of features, contacts, social networks and reviews too
    export_at_ms: int | None = None  # with customers: when all accounts are told as they are; None: never
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
            raise ValueError(f"option 'scenario' must be one of {', '.join(SCENARIOS)}, not {self.scenario!r}")
        if self.scenario_at_ms is not None and self.scenario == "steady":
            raise ValueError(f"option 'scenario_at_ms' needs a scenario that changes something: {self.scenario_at_ms}")
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

    @property
    def changes(self) -> Changes:
        """When what changes."""
        return Changes(**({} if self.scenario == "steady" else {f"{self.scenario}_ms": self.scenario_at_ms}))

    def of_history(self, start_ms: int, end_ms: int) -> SimulatorSettings:
        """Set what lies within the history, so that a span after it has it at the same time: when the scenario begins,
        and that all accounts are told when the history does.
        """
        before_end_ms = SCENARIOS[self.scenario]
        settings = replace(self, export_at_ms=start_ms) if self.customers and self.export_at_ms is None else self
        if before_end_ms is None or self.scenario_at_ms is not None:
            return settings
        return replace(settings, scenario_at_ms=end_ms - before_end_ms)


def simulate(settings: SimulatorSettings, *, start_ms: int, end_ms: int) -> Iterator[SimulatedEvent]:
    """Yield every event that arrives in [start_ms, end_ms), in order of arrival.

    Memory holds three days of plans, one hour of events, and the events that arrive later, of conversations days later.
    What lies within a history
    and has no time is put there by `settings.of_history(start_ms, end_ms)`; to go on after that, use these for both
    spans.
    Raises ValueError for a start before 1970-01-05, where the population's calendar begins.
    """
    settings = settings.of_history(start_ms, end_ms)
    population = Population(seed=settings.seed, users=settings.users)
    behaviour = Behaviour(population, seed=settings.seed, changes=settings.changes)
    shares = settings.shares
    first_hour = (start_ms - MAX_VISIT_MS - shares.max_delay_ms) // HOUR_MS
    if first_hour < _FIRST_HOUR:
        raise ValueError(f"start_ms must lie in 1970-01-05 or later, not at {start_ms}")
    arriving_in: defaultdict[int, list[SimulatedEvent]] = defaultdict(list)

    def keep(events: Iterable[SimulatedEvent]) -> None:
        for event in events:
            if start_ms <= event.arrives_at_ms < end_ms:
                arriving_in[event.arrives_at_ms // HOUR_MS].append(event)

    if start_ms < end_ms:
        keep(_events_around(behaviour, first_hour, settings, start_ms=start_ms, end_ms=end_ms))
    for hour in range(first_hour, -(-end_ms // HOUR_MS)):
        keep(_events_of(behaviour, hour, settings, shares))
        # No event arrives before its visit starts, so later hours add nothing to this one.
        yield from sorted(arriving_in.pop(hour, ()), key=attrgetter("arrives_at_ms"))


def _events_around(
    behaviour: Behaviour, first_hour: int, settings: SimulatorSettings, *, start_ms: int, end_ms: int
) -> Iterator[SimulatedEvent]:
    """Yield what no visit in the hours from the first one on begins: the accounts as they are, and what goes on."""
    export_at_ms = settings.export_at_ms
    if settings.customers and export_at_ms is not None and start_ms - HOUR_MS < export_at_ms < end_ms:
        yield from behaviour.export(export_at_ms)
    if settings.further_topics:
        begun_hour = (start_ms - MAX_AFTERMATH_MS - settings.shares.max_delay_ms) // HOUR_MS
        for hour in range(max(begun_hour, _FIRST_HOUR), first_hour):
            yield from _further_events_of(behaviour, hour, settings, settings.shares)


def _events_of(
    behaviour: Behaviour, hour: int, settings: SimulatorSettings, shares: FaultShares
) -> Iterator[SimulatedEvent]:
    """Yield the events that begin in an hour, with their faults. Those of customers change nothing of the others."""
    rng = np.random.Generator(np.random.PCG64([settings.seed, 3, hour]))
    yield from apply_faults(behaviour.hour(hour), shares, rng)
    if settings.customers:
        rng = np.random.Generator(np.random.PCG64([settings.seed, 4, hour]))
        yield from apply_faults(behaviour.customers_hour(hour), shares, rng)
    if settings.further_topics:
        yield from _further_events_of(behaviour, hour, settings, shares)


def _further_events_of(
    behaviour: Behaviour, hour: int, settings: SimulatorSettings, shares: FaultShares
) -> list[SimulatedEvent]:
    """Return the events of features, contacts, social networks and reviews that begin in an hour, with their faults."""
    rng = np.random.Generator(np.random.PCG64([settings.seed, 6, hour]))
    return apply_faults(behaviour.further_hour(hour), shares, rng)
