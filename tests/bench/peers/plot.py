"""Draws the plots of the benches, as PNG and SVG; runs where matplotlib is (requirements/plots.txt).

    python -m tests.bench.peers.plot peers|history PATH <data.json

writes PATH.png and PATH.svg.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot

_OURS, _OTHERS = "#1b6ca8", "#b8c4cc"


def peers(data: dict[str, Any]) -> Any:
    """Two rows of bars: events a second, and CPU an event; both logarithmic, for the slowest is 100 times slower."""
    places = range(len(data["names"]))
    colours = [_OURS if ours else _OTHERS for ours in data["ours"]]
    figure, (rates, cpu) = pyplot.subplots(1, 2, figsize=(13, 0.5 * len(data["names"]) + 1.5), sharey=True)
    spread = [
        [rate - least for rate, least in zip(data["rates"], data["least"], strict=True)],
        [most - rate for rate, most in zip(data["rates"], data["most"], strict=True)],
    ]
    rates.barh(places, data["rates"], color=colours, xerr=spread, ecolor="#555555", capsize=3)
    rates.set(title="events a second (more is better)", xscale="log", yticks=list(places))
    rates.set_yticklabels(data["names"])
    rates.invert_yaxis()
    cpu.barh(places, data["cpu"], color=colours)
    cpu.set(title="CPU, microseconds an event (less is better)", xscale="log")
    for axes, values, form in ((rates, data["rates"], "{:,.0f}"), (cpu, data["cpu"], "{:.1f}")):
        axes.bar_label(axes.containers[-1], [form.format(value) for value in values], padding=6)
        axes.margins(x=0.25)
    return figure


def history(data: dict[str, Any]) -> Any:
    """Seconds for the headline numbers, by events of history: asked of ClickHouse, and scraped from ours."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    axes.plot(data["events"], data["refresh"], color=_OTHERS, marker="o", label=data["other"])
    axes.plot(data["events"], data["scrape"], color=_OURS, marker="o", label="engagement: GET /metrics")
    axes.set(xlabel="events of history", ylabel="seconds for the headline numbers", ylim=(0, None))
    axes.legend()
    return figure


if __name__ == "__main__":
    _, kind, path = sys.argv
    drawn = {"peers": peers, "history": history}[kind](json.load(sys.stdin))
    for ending in ("png", "svg"):
        drawn.savefig(f"{path}.{ending}", dpi=120, bbox_inches="tight")
