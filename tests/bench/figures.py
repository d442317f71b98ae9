"""What a bench prints: one line a figure, with its rounds and what it is compared to; and the statistics for it.

The median is the figure. On a machine shared with others the fastest round says what the program can do, the slowest
what its neighbours did.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import median
from typing import Final

# Wide enough for the longest name and for 9,999,999 of the longest unit.
_NAME_WIDTH: Final = 52
_FIGURE_WIDTH: Final = 24
# Workers tell whole milliseconds: a load that is gone between two reports took no less.
_CLOCK_SECONDS: Final = 0.001


def show(name: str, unit: str, rounds: Sequence[float], *, against: str) -> None:
    """Print one figure: its name, the median and unit, all rounds as min/median/max, and what it is compared to."""
    print("\n" + line(name, unit, rounds, against=against), end="", flush=True)  # noqa: T201  printing is what a bench is for


def line(name: str, unit: str, rounds: Sequence[float], *, against: str) -> str:
    """One figure as a line of text."""
    figure = f"{written(median(rounds))} {unit}"
    spread = "/".join(written(value) for value in (min(rounds), median(rounds), max(rounds)))
    times = "1 round" if len(rounds) == 1 else f"{len(rounds)} rounds"
    return f"{name:<{_NAME_WIDTH}}{figure:<{_FIGURE_WIDTH}}{times} {spread:<26}{against}"


def written(value: float) -> str:
    """A number with three significant digits or all of its whole ones."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def percentile_of_histogram(counts: Sequence[int], bounds: Sequence[float], share: float) -> float:
    """A percentile of counts by upper bound, on the straight line within its bin, as Prometheus estimates it."""
    running = list(accumulate(counts))
    wanted = share * running[-1]
    place = bisect_left(running, wanted)
    if place >= len(bounds):
        return bounds[-1]
    lower = bounds[place - 1] if place else 0.0
    before = running[place - 1] if place else 0
    return lower + (bounds[place] - lower) * (wanted - before) / counts[place]


def moment_of(course: Sequence[tuple[float, float]], count: float) -> float:
    """When a growing count reached `count`, on the straight line between the two points around it."""
    place = bisect_left([reached for _, reached in course], count)
    if place == 0:
        return course[0][0]
    (before, less), (after, more) = course[place - 1], course[place]
    return before + (after - before) * (count - less) / (more - less)


def value_at(course: Sequence[tuple[float, float]], moment: float) -> float:
    """What a sampled value was at a moment, on the straight line between the two samples around it."""
    place = min(max(bisect_left([at for at, _ in course], moment), 1), len(course) - 1)
    (before, less), (after, more) = course[place - 1], course[place]
    return less + (more - less) * (moment - before) / (after - before)


def steady_rate(
    course: Sequence[tuple[float, float]], events: int, cpu: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Events a second, and CPU microseconds an event, between 10 % and 90 % of the events.

    `course` and `cpu` are what was counted and the CPU seconds used, by the same clock. Start and end are left out: the
    start joins a group and opens stores, and at the end partitions run dry one by one.
    """
    begin, end = moment_of(course, 0.1 * events), moment_of(course, 0.9 * events)
    steady = 0.8 * events
    return steady / max(end - begin, _CLOCK_SECONDS), (value_at(cpu, end) - value_at(cpu, begin)) / steady * 1e6
