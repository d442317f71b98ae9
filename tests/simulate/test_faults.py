"""Disturbances: as many as asked, each what it says, and nothing true is lost by them."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest

from stream.core.rejections import Reason, Rejected
from stream.simulate.faults import FaultShares, apply_faults
from stream.simulate.population import DAY_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.native import DECODERS

START_MS = 20_773 * DAY_MS
SHARES = {"late": 0.06, "duplicate": 0.05, "shuffled": 0.04, "misrouted": 0.03, "bot": 0.02, "broken": 0.05}
Events = list[SimulatedEvent]
ByFault = Mapping[str, Events]


# Made when the first test wants them: who only collects tests has no use for them.
@pytest.fixture(scope="module")
def calm() -> Events:
    """Four days without faults."""
    return list(simulate(SimulatorSettings(users=500), start_ms=START_MS, end_ms=START_MS + 4 * DAY_MS))


@pytest.fixture(scope="module")
def rough() -> Events:
    """The same with all faults, and three days longer, so that everything late has come."""
    settings = SimulatorSettings(
        users=500, late=0.06, duplicate=0.05, shuffled=0.04, misrouted=0.03, bot=0.02, broken=0.05
    )
    return list(simulate(settings, start_ms=START_MS, end_ms=START_MS + 7 * DAY_MS))


@pytest.fixture(scope="module")
def by_fault(rough: Events) -> ByFault:
    """Those of `rough` by what is wrong with them."""
    found: defaultdict[str, Events] = defaultdict(list)
    for event in rough:
        found[event.fault].append(event)
    return found


@pytest.mark.parametrize("fault", SHARES)
def test_each_fault_has_about_the_share_that_was_asked(fault: str, rough: Events, by_fault: ByFault) -> None:
    undisturbed = len(rough) - sum(len(by_fault[added]) for added in ("duplicate", "bot", "broken"))

    assert len(by_fault[fault]) / undisturbed == pytest.approx(SHARES[fault], rel=0.2)


def test_a_calm_stream_has_no_faults(calm: Events) -> None:
    assert {event.fault for event in calm} == {""}


def test_a_disturbance_takes_nothing_away(calm: Events, rough: Events) -> None:
    first = START_MS + DAY_MS  # who is late on the first day may have been born before it
    kept = Counter(event.value for event in rough if event.fault not in ("duplicate", "bot", "broken"))

    assert all(kept[event.value] == 1 for event in calm if event.at_ms >= first)


def test_late_is_two_minutes_to_two_days(by_fault: ByFault) -> None:
    delays = [event.arrives_at_ms - event.at_ms for event in by_fault["late"]]

    assert min(delays) >= 2 * 60_000
    assert max(delays) <= 2 * DAY_MS + 2_000
    assert sum(delay > DAY_MS for delay in delays) > 0.05 * len(delays)


def test_shuffled_is_within_a_minute_and_overtaken_by_later_events(rough: Events, by_fault: ByFault) -> None:
    delays = [event.arrives_at_ms - event.at_ms for event in by_fault["shuffled"]]
    newest: dict[tuple[str, str], int] = {}
    overtaken = 0
    for event in rough:
        place = (event.topic, event.key)
        overtaken += event.fault == "shuffled" and event.at_ms < newest.get(place, 0)
        newest[place] = max(event.at_ms, newest.get(place, 0))

    assert max(delays) <= 62_000
    assert overtaken > 0.3 * len(delays)


def test_a_duplicate_is_the_same_record_again_later(rough: Events, by_fault: ByFault) -> None:
    first_arrival = {event.value: event for event in reversed(rough) if event.fault == ""}
    for event in by_fault["duplicate"]:
        original = first_arrival.get(event.value)
        if original is not None:  # it arrived before the span did
            assert original.arrives_at_ms < event.arrives_at_ms <= original.arrives_at_ms + 600_000
            assert (original.topic, original.key) == (event.topic, event.key)


def test_a_misrouted_event_says_the_right_thing_under_a_wrong_key(by_fault: ByFault) -> None:
    for event in by_fault["misrouted"]:
        assert DECODERS[event.topic](event.value).user.removeprefix("\x1f") != event.key


def test_a_bot_says_so_in_the_flag_or_in_the_user_agent(by_fault: ByFault) -> None:
    pages = [msgspec.json.decode(event.value) for event in by_fault["bot"]]

    assert all(DECODERS[event.topic](event.value).is_bot for event in by_fault["bot"])
    assert any("is_bot" in page for page in pages)
    assert any("user_agent" in page for page in pages)


def test_nobody_else_is_taken_for_a_bot(calm: Events) -> None:
    assert not any(DECODERS[event.topic](event.value).is_bot for event in calm)


def test_every_broken_message_is_refused_and_for_many_reasons(by_fault: ByFault) -> None:
    reasons = set()
    for event in by_fault["broken"]:
        with pytest.raises(Rejected) as refused:
            DECODERS[event.topic](event.value)
        reasons.add(refused.value.reason)

    assert reasons >= {
        Reason.NOT_JSON,
        Reason.MISSING_FIELD,
        Reason.WRONG_TYPE,
        Reason.OUT_OF_RANGE,
        Reason.BAD_USER,
        Reason.BAD_TIME,
    }


@pytest.mark.parametrize("topic", ["sessions", "logins", "surveys"])
def test_a_broken_message_of_any_topic_is_refused(topic: str, calm: Events) -> None:
    usual = [event for event in calm if event.topic == topic]
    broken = apply_faults(usual, FaultShares(broken=0.99), np.random.default_rng(1))

    for event in broken:
        if event.fault == "broken":
            with pytest.raises(Rejected):
                DECODERS[event.topic](event.value)
    assert [event for event in broken if event.fault == ""] == usual


def test_nothing_asked_is_nothing_disturbed(calm: Events) -> None:
    assert apply_faults(calm, FaultShares(), np.random.default_rng(1)) == calm
