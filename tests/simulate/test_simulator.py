"""The simulator as a whole: the same seed, spans that join, order, settings."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.simulate.population import DAY_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate

MONDAY_MS = 20_773 * DAY_MS  # 2026-11-16
HOUR_MS = 3_600_000
# In the middle of it all accounts are told as they are.
ALL_FAULTS = SimulatorSettings(
    seed=7,
    users=60,
    late=0.05,
    duplicate=0.05,
    shuffled=0.05,
    misrouted=0.05,
    bot=0.05,
    broken=0.05,
    customers=True,
    further_topics=True,
    export_at_ms=MONDAY_MS + 30 * HOUR_MS,
)


def events(asked: SimulatorSettings, start_ms: int, end_ms: int) -> list[SimulatedEvent]:
    return list(simulate(asked, start_ms=start_ms, end_ms=end_ms))


@cache
def three_days() -> list[SimulatedEvent]:
    return events(ALL_FAULTS, MONDAY_MS, MONDAY_MS + 3 * DAY_MS)


def test_the_same_seed_gives_the_same_events() -> None:
    assert events(ALL_FAULTS, MONDAY_MS, MONDAY_MS + 3 * DAY_MS) == three_days()


def test_another_seed_gives_other_events() -> None:
    values = {event.value for event in events(SimulatorSettings(seed=1, users=60), MONDAY_MS, MONDAY_MS + DAY_MS)}
    others = {event.value for event in events(SimulatorSettings(seed=2, users=60), MONDAY_MS, MONDAY_MS + DAY_MS)}

    assert values
    assert not values & others


@settings(max_examples=8, deadline=None, derandomize=True)
@given(cut_ms=st.integers(0, 3 * DAY_MS))
def test_two_spans_that_meet_are_the_whole_span(cut_ms: int) -> None:
    cut = MONDAY_MS + cut_ms

    assert events(ALL_FAULTS, MONDAY_MS, cut) + events(ALL_FAULTS, cut, MONDAY_MS + 3 * DAY_MS) == three_days()


def test_spans_also_join_at_an_event_and_across_a_drop() -> None:
    dropping = SimulatorSettings(users=60, scenario="drop", scenario_at_ms=MONDAY_MS + 20 * HOUR_MS + 12_345)
    whole = events(dropping, MONDAY_MS, MONDAY_MS + 2 * DAY_MS)
    cut = whole[len(whole) // 2].arrives_at_ms

    assert events(dropping, MONDAY_MS, cut) + events(dropping, cut, MONDAY_MS + 2 * DAY_MS) == whole


def test_events_come_in_order_of_arrival_within_the_half_open_span() -> None:
    arrivals = [event.arrives_at_ms for event in three_days()]
    cut = arrivals[10]

    assert all(earlier <= later for earlier, later in pairwise(arrivals))
    assert all(MONDAY_MS <= at < MONDAY_MS + 3 * DAY_MS for at in arrivals)
    assert all(event.arrives_at_ms < cut for event in events(ALL_FAULTS, MONDAY_MS, cut))
    assert events(ALL_FAULTS, cut, cut + 1)[0].arrives_at_ms == cut


def test_nothing_arrives_before_it_happened() -> None:
    assert all(event.at_ms < event.arrives_at_ms for event in three_days())


def test_an_empty_span_has_no_events() -> None:
    assert events(ALL_FAULTS, MONDAY_MS, MONDAY_MS) == []


def test_the_calendar_begins_in_1970() -> None:
    with pytest.raises(ValueError, match="1970-01-05 or later, not at 86400000"):
        events(ALL_FAULTS, DAY_MS, 2 * DAY_MS)

    assert events(ALL_FAULTS, 4 * DAY_MS, 5 * DAY_MS)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(
        ValueError, match="one of steady, drop, churn, onboarding, checkout, support, adoption, reviews, not 'boom'"
    ):
        SimulatorSettings(scenario="boom")


@pytest.mark.parametrize("option", ["late", "duplicate", "shuffled", "misrouted", "bot", "broken"])
@pytest.mark.parametrize("share", [-0.01, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(option: str, share: float) -> None:
    with pytest.raises(ValueError, match=rf"option '{option}' must be a share in \[0, 1\), not {share}"):
        SimulatorSettings(**{option: share})  # type: ignore[arg-type]  # the options are chosen by name


def test_shares_that_exceed_one_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must not exceed 1 together: late 0.6, bot 0.5"):
        SimulatorSettings(late=0.6, bot=0.5)

    SimulatorSettings(late=0.5, bot=0.5)


def test_a_world_needs_a_user_and_a_seed_of_63_bits() -> None:
    with pytest.raises(ValueError, match="option 'users' must be 1 or more, not 0"):
        SimulatorSettings(users=0)
    with pytest.raises(ValueError, match=r"option 'seed' must be in 0 to 2\^63 - 1, not -1"):
        SimulatorSettings(seed=-1)

    largest = SimulatorSettings(users=1, seed=2**63 - 1)
    assert events(largest, MONDAY_MS, MONDAY_MS + 60 * DAY_MS)


def test_a_time_of_the_scenario_is_refused_where_nothing_changes() -> None:
    with pytest.raises(ValueError, match="option 'scenario_at_ms' needs a scenario that changes something: 5"):
        SimulatorSettings(scenario_at_ms=5)


def test_a_drop_without_a_time_comes_four_days_before_the_end() -> None:
    dropping = SimulatorSettings(users=60, scenario="drop")
    end = MONDAY_MS + 6 * DAY_MS
    of_history = dropping.of_history(MONDAY_MS, end)

    assert of_history.scenario_at_ms == end - 4 * DAY_MS
    assert events(dropping, MONDAY_MS, end) == events(of_history, MONDAY_MS, end)


def test_what_has_a_time_keeps_it_in_a_history_and_a_steady_world_has_none() -> None:
    fixed = SimulatorSettings(scenario="drop", scenario_at_ms=5, customers=True, export_at_ms=6)

    assert fixed.of_history(MONDAY_MS, MONDAY_MS + DAY_MS) == fixed
    assert SimulatorSettings().of_history(MONDAY_MS, MONDAY_MS + DAY_MS) == SimulatorSettings()


def test_a_history_of_customers_begins_with_all_accounts_as_they_are() -> None:
    world = SimulatorSettings(users=300, customers=True)
    first = [event for event in events(world, MONDAY_MS, MONDAY_MS + HOUR_MS) if event.at_ms == MONDAY_MS]

    assert len(first) > 60
    assert {event.topic for event in first} == {"accounts"}
    assert all(event.arrives_at_ms <= MONDAY_MS + 2_000 for event in first)


def test_customers_add_events_and_change_none_of_the_others() -> None:
    world = SimulatorSettings(seed=7, users=60, late=0.1, broken=0.05)
    both = [events(one, MONDAY_MS, MONDAY_MS + DAY_MS) for one in (world, replace(world, customers=True))]
    others = [event for event in both[1] if event.topic not in ("accounts", "orders")]

    assert others == both[0]
    assert len(both[1]) > len(others)
