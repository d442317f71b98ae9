"""Slopes, tables and verdicts of a soak."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.growth import MIB, Measure, Sample, slope_of, table, trend, verdict

ROWS = Measure("rows", "", 0.1)


def course(*values: float) -> list[Sample]:
    return [Sample(5.0 * number, {"rows": value}) for number, value in enumerate(values)]


def test_what_fills_up_and_stays_is_bounded_and_what_goes_on_is_not() -> None:
    full = trend(ROWS, course(*range(50), *[50] * 51))
    growing = trend(ROWS, course(*range(101)))

    assert (full.start, full.plateau, full.end, full.grown) == (0, 50, 50, 0)
    assert full.is_bounded
    # From half to all of it: two thirds of the mean of that half.
    assert growing.grown == pytest.approx(2 / 3)
    assert growing.an_hour == pytest.approx(720)
    assert verdict([full, growing]) == ["rows: +66.7% over the second half, 10% may be noise"]


def test_a_limit_is_no_growth_yet() -> None:
    slightly = course(*[100] * 20, *(100 + n * 10 / 20 for n in range(-10, 11)))
    grown = trend(ROWS, slightly).grown

    assert trend(Measure("rows", "", grown), slightly).is_bounded
    assert not trend(Measure("rows", "", math.nextafter(grown, 0)), slightly).is_bounded
    assert trend(Measure("rows", "", None), slightly).is_bounded


def test_a_sawtooth_is_flat() -> None:
    assert abs(trend(ROWS, course(*(1_000 + n % 7 * 100 for n in range(400)))).grown) < 0.01


@given(
    slope=st.floats(-100, 100),
    begin=st.floats(-1_000, 1_000),
    at=st.lists(st.integers(0, 10_000), min_size=2, max_size=50, unique=True),
)
def test_the_slope_of_a_line_is_its_slope(slope: float, begin: float, at: list[int]) -> None:
    assert slope_of(at, [begin + slope * moment for moment in at]) == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="3 samples in the second half"):
        trend(ROWS, course(1, 2, 3, 4, 5))


def test_a_table_reads_well() -> None:
    memory = Measure("worker memory", "MiB", 0.2, per=MIB)
    samples = [Sample(n, {"rows": 20_000 + n, "worker memory": 200.25 * MIB}) for n in range(41)]

    assert table([trend(Measure("rows", "", None), samples), trend(memory, samples)]) == (
        "                     start  plateau     end  an hour  over the half  limit\n"
        "rows                20,000   20,022  20,038   +3,600          +0.1%       \n"
        "worker memory, MiB     200      200     200       +0          +0.0%   +20%"
    )
