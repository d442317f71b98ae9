"""What is said of a metric: its name, what it means, and which others belong to it."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Type = Literal["gauge", "counter", "histogram", "summary"]


# The label of everything that is told for rolling windows.
WINDOW = ("window",)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `labels` are label names in order; `interval` says which 95 % interval `_lower` and `_upper` hold. The last of
    `parts` counts what the number was taken from, its sample; where that counts more, `sample_labels` narrow it.
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
