"""What grew: the course of each measure over a soak, the slope of its second half, and the verdict in words.

In the first half the state fills up. From then on as much is dropped as comes in, and a line laid through the second
half (least squares) must be flat. State that is never dropped grows as time does: from half time to the end it doubles,
which is two thirds of the mean of that half. What may be noise is far below that: limits are a few percent for what is
counted, more for what goes up and down as files are merged and memory is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, NamedTuple

MIB: Final = 1024 * 1024

Values = Mapping[str, float]

# Fewer samples in the second half say nothing about a slope.
_LEAST_SAMPLES: Final = 10


class Sample(NamedTuple):
    """What was measured at a moment, in seconds since the start: of the worker's clock, as fast as it should go."""

    at: float
    values: Values


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that must not grow for ever: by how large a share of its mean it may have grown over a half."""

    name: str
    unit: str
    may_grow: float | None  # None: shown and not judged
    per: float = 1.0  # units are so many of what was measured


@dataclass(frozen=True, slots=True)
class Trend:
    """The course of one measure in a few numbers, all in its unit."""

    measure: Measure
    start: float
    plateau: float  # the mean of the first fifth of the second half
    end: float  # the mean of its last fifth
    an_hour: float  # slope over the second half
    grown: float  # by which share of its mean, over the second half

    @property
    def is_bounded(self) -> bool:
        """Whether what it grew is no more than noise."""
        return self.measure.may_grow is None or self.grown <= self.measure.may_grow


def second_half(samples: Sequence[Sample]) -> list[Sample]:
    """The samples from half time on."""
    middle = (samples[0].at + samples[-1].at) / 2
    return [sample for sample in samples if sample.at >= middle]


def are_enough(samples: Sequence[Sample]) -> bool:
    """Whether there are samples for a trend."""
    return bool(samples) and len(second_half(samples)) >= _LEAST_SAMPLES


def trend(measure: Measure, samples: Sequence[Sample]) -> Trend:
    """The course of one measure. Raises ValueError for fewer than ten samples in the second half."""
    half = second_half(samples)
    if len(half) < _LEAST_SAMPLES:
        raise ValueError(f"{len(half)} samples in the second half say nothing about a slope")
    at = [sample.at for sample in half]
    values = [sample.values[measure.name] / measure.per for sample in half]
    fifth = len(half) // 5
    slope, mean = slope_of(at, values), fmean(values)
    return Trend(
        measure,
        start=samples[0].values[measure.name] / measure.per,
        plateau=fmean(values[:fifth]),
        end=fmean(values[-fifth:]),
        an_hour=slope * 3_600,
        grown=slope * (at[-1] - at[0]) / mean if mean else 0.0,
    )


def slope_of(at: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the line of least squares, in units a second."""
    middle, mean = fmean(at), fmean(values)
    spread = sum((moment - middle) ** 2 for moment in at)
    return sum((moment - middle) * (value - mean) for moment, value in zip(at, values, strict=True)) / spread


def table(trends: Sequence[Trend]) -> str:
    """The trends as a table, a line each."""
    titles = ("", "start", "plateau", "end", "an hour", "over the half", "limit")
    rows = [titles, *(_row(trend) for trend in trends)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    return "\n".join(
        "  ".join(
            (cell.ljust if column == 0 else cell.rjust)(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _row(trend: Trend) -> tuple[str, ...]:
    measure = trend.measure
    limit = "" if measure.may_grow is None else f"{measure.may_grow:+.0%}"
    name = f"{measure.name}, {measure.unit}" if measure.unit else measure.name
    numbers = (_written(value) for value in (trend.start, trend.plateau, trend.end))
    return (name, *numbers, _written(trend.an_hour, signed=True), f"{trend.grown:+.1%}", limit)


def _written(value: float, *, signed: bool = False) -> str:
    decimals = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:{'+' if signed else ''},.{decimals}f}"


def verdict(trends: Sequence[Trend]) -> list[str]:
    """What grew more than noise does, in words; empty when nothing did."""
    return [
        f"{trend.measure.name}: {trend.grown:+.1%} over the second half, {trend.measure.may_grow:.0%} may be noise"
        for trend in trends
        if not trend.is_bounded
    ]
