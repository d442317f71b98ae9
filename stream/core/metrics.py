"""The description of a metric: its name, its meaning, and the metrics that it is calculated from."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Type = Literal["gauge", "counter", "histogram", "summary"]


# The label of every metric that has a value for each rolling window.
WINDOW = ("window",)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `labels` are its label names in order. `interval` says which 95 % interval `_lower` and `_upper` are. The last of
    `parts` is the sample size, which counts the things that the number was calculated from. If that metric has more
    labels, `sample_labels` select those that belong to this one.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Type = "gauge"
    unit: str = ""
    interval: Literal["", "Wilson", "adjusted-Wald"] = ""
    parts: tuple[str, ...] = ()  # numerator and denominator
    sample_labels: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The metric's name, and those of the ends of its interval."""
        return (self.name, f"{self.name}_lower", f"{self.name}_upper") if self.interval else (self.name,)


_PREFIX = "engagement_"
_SEGMENT = "engagement_segment_"
SEGMENT_LABELS = ("segment", "value")


@cache
def segment_name(name: str) -> str:
    """The name of the same number by segment."""
    return f"{_SEGMENT}{name.removeprefix(_PREFIX)}"


def is_by_segment(name: str) -> bool:
    """Whether a name is that of a number by segment."""
    return name.startswith(_SEGMENT)


_CLOSED = "_closed"
_UNITS = ("_seconds", "_ratio")  # suffixes of names; what is closed says so before them
_ENDS = ("_lower", "_upper")  # these come last

_OF_CLOSED_DAYS = " On closed days: of the window that ends with the last one."


@cache
def closed_name(name: str) -> str:
    """The name of the same number of closed days."""
    end = next((end for end in _ENDS if name.endswith(end)), "")
    stem = name.removesuffix(end)
    unit = next((unit for unit in _UNITS if stem.endswith(unit)), "")
    return f"{stem.removesuffix(unit)}{_CLOSED}{unit}{end}"


def is_closed(name: str) -> bool:
    """Whether a name is that of a number of closed days."""
    unit = next((unit for unit in _UNITS if name.endswith(unit)), "")
    return name.removesuffix(unit).endswith(_CLOSED)


def closed_twins(live: Iterable[Metric], *, without: Collection[str] = ()) -> Iterator[Metric]:
    """The same metrics of closed days, but for those of these names."""
    for metric in live:
        if metric.name not in without:
            yield replace(
                metric,
                name=closed_name(metric.name),
                help=metric.help + _OF_CLOSED_DAYS,
                parts=tuple(map(closed_name, metric.parts)),
            )


def by_segment(metrics: Iterable[Metric], names: Collection[str], *, rule: str) -> Iterator[Metric]:
    """The same metrics by segment, live and of closed days: those of these names, and what they are made of.

    `rule` says under which value something counts.
    """
    listed = {metric.name: metric for metric in metrics}
    wanted = [f"{_PREFIX}{name}" for name in names]
    wanted = [*wanted, *(part for name in wanted for part in listed[name].parts)]
    told = {*wanted, *map(closed_name, wanted)}
    for metric in listed.values():
        if metric.name in told:
            yield replace(
                metric,
                name=segment_name(metric.name),
                help=f"{metric.help} By segment: platform, plan, country, app_version. {rule}",
                labels=(*metric.labels, *SEGMENT_LABELS),
                parts=tuple(map(segment_name, metric.parts)),
            )
