"""What is said of a metric: its name, what it means, and which others belong to it."""

from dataclasses import dataclass
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
