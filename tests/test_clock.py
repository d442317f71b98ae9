"""The clock by which numbers go: within what the brokers tell, whatever this machine's own clock shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from stream.clock import TOLD_SECONDS, Clock, TimeTold, clock_notes, span
from tests.export.boards import moment

NOW_MS = moment("2026-03-10T12:00:00Z")
HOUR, DAY = 3_600.0, 86_400.0


class Machine:
    """A machine whose clock is off by some seconds; `passes` lets time pass, of which quartz makes a little more."""

    def __init__(self, *, off: float = 0.0, drift: float = 0.0, is_only: bool = False) -> None:
        self.true, self.off, self.drift = NOW_MS / 1_000, off, drift
        self.booted = self.true - 1_000.0
        self.clock = Clock(wall=lambda: self.true + self.off, monotonic=self.monotonic, is_only_machine=is_only)

    def monotonic(self) -> float:
        return (self.true - self.booted) * (1 + self.drift)

    def passes(self, seconds: float) -> None:
        self.true += seconds

    def hears(self, *, there: float = 0.001, back: float = 0.001, source: str = "broker 1", off: float = 0.0) -> None:
        """Ask a source whose clock is off by some seconds: the question and the answer take their time."""
        after = self.monotonic()
        self.passes(there)
        told_ms = int((self.true + off) * 1_000)
        self.passes(back)
        self.clock.hear(TimeTold(source, told_ms, after, self.monotonic()))

    def is_sure(self) -> bool:
        """Whether the clock is."""
        return self.clock.is_sure

    @property
    def error(self) -> float:
        """By how many seconds the clock is ahead of the true time."""
        return self.clock.now_ms() / 1_000 - self.true

    @property
    def believed_error(self) -> float:
        """The same of a clock that need not wait until what it has shown is over."""
        skew = self.clock.skew_seconds()
        assert skew is not None
        return self.off - skew


offs = st.floats(-3_000 * DAY, 3_000 * DAY)
delays = st.floats(0, 30)


@given(offs, delays, delays)
def test_an_answer_bounds_the_time_by_how_long_it_took(off: float, there: float, back: float) -> None:
    machine = Machine(off=off)
    machine.hears(there=there, back=back)

    assert -back - 0.003 <= machine.error <= there + 0.003


@given(offs, st.lists(st.tuples(delays, delays, st.floats(0, 50)), min_size=1))
def test_a_slow_answer_makes_nothing_worse_than_the_quickest_did(
    off: float, answers: list[tuple[float, float, float]]
) -> None:
    machine, best = Machine(off=off), float("inf")
    for there, back, pause in answers:
        machine.hears(there=there, back=back)
        # What was known has grown by 500 millionths since, which the time of the answer itself also does.
        best = min(best + 0.0005 * (there + back), there + back)
        assert abs(machine.believed_error) <= best + 0.003
        machine.passes(pause)
        best += 0.0005 * pause
        assert abs(machine.believed_error) <= best + 0.003


@given(offs, st.floats(-0.0004, 0.0004), st.lists(st.floats(0, 60), min_size=1, max_size=30))
def test_it_follows_the_brokers_over_the_drift_of_any_quartz_and_never_goes_back(
    off: float, drift: float, pauses: list[float]
) -> None:
    machine, shown_ms = Machine(off=off, drift=drift), 0
    for number, pause in enumerate(pauses, 1):
        machine.hears()
        assert machine.clock.now_ms() >= shown_ms
        machine.passes(pause)
        assert abs(machine.error) <= 0.01 + 0.001 * max(pauses[:number])
        assert machine.clock.now_ms() >= shown_ms
        shown_ms = machine.clock.now_ms()


def test_a_clock_that_is_set_changes_nothing_at_once_and_is_not_sure_until_it_is_told_the_time_again() -> None:
    machine = Machine()
    machine.hears()
    assert machine.is_sure()

    for off in (3_000.0, -2 * DAY, 40 * DAY, 0.0):
        machine.off = off
        assert abs(machine.error) < 0.01
        assert not machine.is_sure()
        machine.hears()
        assert machine.is_sure()
        assert machine.clock.skew_seconds() == pytest.approx(off, abs=0.01)


def test_a_machine_that_slept_is_not_sure_and_right_as_soon_as_it_is_told_the_time() -> None:
    machine = Machine()
    machine.hears()
    machine.booted += HOUR  # the monotonic clock stood still
    machine.true += HOUR

    assert not machine.is_sure()
    machine.hears()
    assert machine.is_sure()
    assert abs(machine.error) < 0.01


def test_a_clock_within_the_bounds_is_taken_as_it_is_and_is_not_called_wrong() -> None:
    machine = Machine(off=4.0)
    machine.hears(there=5, back=5)

    assert machine.error == pytest.approx(4.0, abs=0.002)
    assert machine.clock.skew_seconds() == 0


def test_of_three_brokers_one_may_be_wrong_and_of_two_the_one_that_agrees_with_this_machine_counts() -> None:
    for wrong in (HOUR, -HOUR):
        three, two = Machine(off=50 * 60.0), Machine()
        for broker in (1, 2, 3):
            three.hears(source=f"broker {broker}", off=wrong if broker == 2 else 0)
        for broker in (1, 2):
            two.hears(source=f"broker {broker}", off=wrong if broker == 2 else 0)

        assert abs(three.error) < 0.02
        assert abs(two.error) < 0.02


def test_a_broker_that_is_gone_counts_no_more() -> None:
    machine = Machine(off=HOUR)
    machine.hears(source="broker 1", off=HOUR)
    for _ in range(7):
        machine.hears(source="broker 2")
        machine.passes(10)

    assert abs(machine.error) < 0.02


def test_a_broker_whose_clock_is_set_is_followed() -> None:
    machine = Machine()
    machine.hears(off=HOUR)
    assert machine.error == pytest.approx(HOUR, abs=0.01)
    machine.hears()

    assert abs(machine.error) < 0.01


def test_it_waits_for_a_little_and_goes_back_by_more() -> None:
    machine = Machine(off=4.0)
    shown_ms = machine.clock.now_ms()
    machine.hears()
    assert machine.clock.now_ms() == shown_ms
    machine.passes(5)
    assert abs(machine.error) < 0.01

    machine = Machine(off=HOUR)
    machine.clock.now_ms()
    machine.hears()
    assert abs(machine.error) < 0.01


def test_where_nobody_tells_the_time_it_is_that_of_the_machine_and_it_says_why() -> None:
    machine = Machine(off=HOUR)
    assert machine.clock.why_own == ""
    machine.clock.note_silence("snapshots", "topic 'snapshots' has message.timestamp.type=CreateTime")

    assert machine.error == pytest.approx(HOUR, abs=0.002)
    assert machine.clock.skew_seconds() is None
    assert machine.is_sure()
    told = "numbers of worker w go by its own clock, for the brokers' time is not told"
    why = "topic 'snapshots' has message.timestamp.type=CreateTime"
    assert list(machine.clock.notes("worker w")) == [f"{told}: {why}"]
    machine.hears(source="redis")
    assert machine.clock.why_own == ""
    assert list(Machine().clock.notes("worker w")) == []


def test_on_the_only_machine_its_clock_is_that_of_a_broker_that_does_not_tell_the_time() -> None:
    machine = Machine(off=HOUR, is_only=True)
    machine.clock.note_silence("snapshots", "it does not tell")

    assert machine.clock.why_own == ""
    assert machine.clock.skew_seconds() == 0
    machine.hears()
    assert machine.clock.skew_seconds() == pytest.approx(HOUR, abs=0.01)


def test_how_far_it_is_off_is_unknown_a_minute_after_somebody_told_the_time() -> None:
    machine = Machine(off=HOUR)
    machine.hears()
    machine.passes(59)
    assert machine.clock.skew_seconds() == pytest.approx(HOUR, abs=0.1)
    machine.passes(2)

    assert machine.clock.skew_seconds() is None
    assert abs(machine.error) < 0.1


def test_more_than_half_a_minute_is_logged_once_and_again_when_it_is_right() -> None:
    machine = Machine(off=TOLD_SECONDS + 0.1)
    with capture_logs() as logged:
        for off in (TOLD_SECONDS - 0.1, TOLD_SECONDS + 0.1, 3_000.0, 0.0, -0.5, -TOLD_SECONDS - 0.1):
            machine.off = off
            machine.hears()
            machine.hears()

    is_wrong, is_right = "this machine's clock is wrong: numbers go by the brokers' time", "is right again"
    told = [(line["event"], line["log_level"], line["skew_seconds"]) for line in logged]
    assert told == [
        (is_wrong, "warning", pytest.approx(30.1)),
        (f"this machine's clock {is_right}", "info", pytest.approx(0, abs=0.01)),
        (is_wrong, "warning", pytest.approx(-30.1)),
    ]


def test_what_people_read() -> None:
    assert list(clock_notes("w", 30.0, "")) == list(clock_notes("w", -30.0, "")) == []
    assert list(clock_notes("w", 3_000.0, "")) == [
        "the clock of w is 50 min ahead of the brokers' time, by which numbers go"
    ]
    assert list(clock_notes("w", -2 * DAY, "")) == [
        "the clock of w is 2 days behind the brokers' time, by which numbers go"
    ]
    assert [span(seconds) for seconds in (31, 119, 120, 7_199, 7_200, 2 * DAY - 1, 2 * DAY)] == [
        "31 s",
        "119 s",
        "2 min",
        "120 min",
        "2 h",
        "48 h",
        "2 days",
    ]
