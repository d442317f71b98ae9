"""Our numbers beside those of another tool, for people and as a JSON document."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream.core.offline import Computed
from stream.core.reconciliation.comparison import Compared, ComparedDay
from stream.core.reconciliation.conventions import Tool
from stream.core.reconciliation.numbers import NUMBERS
from stream.core.time import date_of, iso
from stream.export.table import number


def print_comparison(compared: Sequence[ComparedDay], tool: Tool, console: Console, *, zone: str) -> None:
    """Print a table for each closed day: under each number the rules that make the difference, and how much of it."""
    for one in compared:
        console.print(_table(one, tool, zone))
        console.print()
    if not compared:
        console.print("no day has closed yet, so there is none to compare")
    for title, lines in (
        ("as with us", tool.alike),
        (f"taken, because {tool.title} does not say it", tool.assumed),
        ("not to be seen in events", tool.unseen),
        (f"what {tool.title} says", tool.sources.values()),
    ):
        _print_list(console, title, lines)


def _print_list(console: Console, title: str, lines: Iterable[str]) -> None:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row(" -", Text(line))
    if table.row_count:
        console.print(Text(f"{title}:"))
        console.print(table)


def _table(compared: ComparedDay, tool: Tool, zone: str) -> Table:
    title = f"closed day {date_of(compared.day)}, {zone}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("number, and the rules that make the difference")
    for column in ("ours", tool.title, "difference"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in compared.numbers:
        unit = NUMBERS[one.number].unit
        cells = (_shown(one.ours, unit), _shown(one.theirs, unit), _difference(one.difference, unit))
        table.add_row(Text(NUMBERS[one.number].title, style="bold"), *cells)
        if one.number in tool.undefined:
            table.add_row(_under(f"{tool.title}: {tool.undefined[one.number]}"))
        for contribution in one.contributions:
            table.add_row(_under(contribution.rule.text), "", "", _difference(contribution.amount, unit))
    return table


def _under(text: str) -> Padding:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))


def _shown(value: Fraction | None, unit: str) -> str:
    if value is None:
        return number(None)
    if unit == "ratio":
        return f"{float(value):.1%}"
    return f"{number(float(value))} s" if unit == "seconds" else number(float(value))


def _difference(value: Fraction | None, unit: str) -> str:
    """A difference with its sign. Those of shares are in percentage points."""
    if value is None:
        return ""
    if not value:
        return "0"
    told = number(abs(float(value * 100 if unit == "ratio" else value)))
    ends = {"ratio": " pp", "seconds": " s"}
    return f"{'+' if value > 0 else '−'}{told}{ends.get(unit, '')}"


def comparison_document(
    compared: Iterable[ComparedDay], tool: Tool, computed: Computed, *, zone: str
) -> dict[str, Any]:
    """The document that `engagement compute --rules` prints with --as json. Undefined values are null."""
    return {
        "at": iso(computed.at_ms) if computed.at_ms >= 0 else None,
        "rules": tool.name,
        "timezone": zone,
        "closed": [
            {"day": date_of(one.day).isoformat(), "numbers": [_as_json(number, tool) for number in one.numbers]}
            for one in compared
        ],
        "alike": tool.alike,
        "assumed": tool.assumed,
        "unseen": tool.unseen,
        "sources": tool.sources,
        "events": computed.events,
        "left_out": computed.left_out,
    }


def _as_json(compared: Compared, tool: Tool) -> dict[str, Any]:
    described = NUMBERS[compared.number]
    labels = dict(described.labels)
    if compared.number == "bounce":
        labels["rule"] = tool.our_bounce
    return {
        "number": compared.number,
        "metric": described.metric,
        "labels": labels,
        "unit": described.unit,
        "ours": _float(compared.ours),
        "theirs": _float(compared.theirs),
        "difference": _float(compared.difference),
        "contributions": [
            {
                "rule": one.rule.text,
                "with_us": one.rule.with_us,
                "source": tool.sources.get(one.rule.source),
                "amount": float(one.amount),
            }
            for one in compared.contributions
        ],
        "undefined": tool.undefined.get(compared.number),
    }


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
