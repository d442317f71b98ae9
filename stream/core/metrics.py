"""The description of a metric: its name, its meaning, and the metrics that it is calculated from."""

from dataclasses import dataclass
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
