"""What the bench of the peers shows: a table in Markdown, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

_HEADINGS = (
    "contestant",
    "version",
    "events/s",
    "least to most",
    "CPU us an event",
    "peak MiB",
    "what it does",
    "what it lacks",
    "ours is",
)


@dataclass(slots=True)
class Row:
    """A contestant and its rounds; or why it is not here."""

    name: str
    version: str
    does: str
    lacks: str
    not_here: str = ""
    events_a_second: list[float] = field(default_factory=list)
    cpu_us_an_event: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median of its rounds."""
        return median(self.events_a_second)

    def took(self, *, events_a_second: float, cpu_us_an_event: float, peak_mib: float) -> None:
        """Add a round."""
        self.events_a_second.append(events_a_second)
        self.cpu_us_an_event.append(cpu_us_an_event)
        self.peak_mib.append(peak_mib)


def table(ours: Row, peers: Sequence[Row]) -> str:
    """All rows in Markdown, the fastest first, and those that are not here last."""
    here = sorted((row for row in (ours, *peers) if not row.not_here), key=lambda row: -row.rate)
    lines = [_HEADINGS, ("---",) * len(_HEADINGS)]
    lines += [_cells(row, ours) for row in here]
    lines += [
        (row.name, row.version, f"not here: {row.not_here.replace('|', '/')}", *[""] * (len(_HEADINGS) - 3))
        for row in peers
        if row.not_here
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row, ours: Row) -> tuple[str, ...]:
    rates = row.events_a_second
    return (
        row.name,
        row.version,
        f"{row.rate:,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median(row.cpu_us_an_event):.1f}",
        f"{median(row.peak_mib):,.0f}",
        row.does,
        row.lacks,
        "" if row is ours else compared(ours.rate, row.rate),
    )


def compared(ours: float, other: float) -> str:
    """How many times as fast ours is: `1.25 times as fast`, or `0.8 times as fast`."""
    return f"{ours / other:.3g} times as fast"


def plot_data(ours: Row, peers: Sequence[Row]) -> dict[str, Any]:
    """What `plot.py` draws: bars of events a second with their least and most, the fastest first."""
    here = sorted((row for row in (ours, *peers) if not row.not_here), key=lambda row: -row.rate)
    return {
        "names": [f"{row.name} {row.version}".strip() for row in here],
        "rates": [row.rate for row in here],
        "least": [min(row.events_a_second) for row in here],
        "most": [max(row.events_a_second) for row in here],
        "cpu": [median(row.cpu_us_an_event) for row in here],
        "ours": [row is ours for row in here],
    }
