"""`engagement history`: one number on each closed day, asked of a server that runs."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.terminal import BadUse, Failure, load_settings, settings_options


@click.command()
@settings_options
@click.argument("metric")
@click.option(
    "--from", "first", metavar="DAY", help="The first day, as 2026-11-21. [default: five weeks before the last]"
)
@click.option("--to", "last", metavar="DAY", help="The last day. [default: the last that has closed]")
@click.option("--format", "as_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def history(
    file: Path | None, kafka: str | None, metric: str, first: str | None, last: str | None, as_format: str
) -> None:
    """Print a number of closed days, as the server tells it that runs with these settings.

    METRIC is a name with `_closed`, with or without the prefix `engagement_`.

    \b
    Example: engagement history stickiness_closed_ratio --from 2026-10-01
    """
    settings = load_settings(file, kafka)
    if settings.server.port <= 0:
        raise BadUse(f"server.port: {settings.server.port} is no port that can be asked")
    name = metric if metric.startswith("engagement_") else f"engagement_{metric}"
    days = list(_days(settings.server.host, settings.server.port, name, first, last))
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(days) + b"\n")
        return
    rows = [(day, one) for day in days for one in day["samples"]]
    labels = list(rows[0][1]["labels"]) if rows else []
    cells: list[tuple[Any, ...]] = []
    for day, one in rows:
        changed = "final" if day["final"] else day["changed_at"] or ""
        cells.append((day["day"], changed, one["name"], *one["labels"].values(), one["value"]))
    titles = ["day", "changed", "name", *labels, "value"]
    if as_format == "csv":
        written = csv.writer(sys.stdout, lineterminator="\n")
        written.writerows([titles, *cells])
        return
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title == "value" else "left", no_wrap=True)
    for *texts, value in cells:
        table.add_row(*map(str, texts), f"{value:,.6g}")
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _days(host: str, port: int, metric: str, first: str | None, last: str | None) -> Iterator[dict[str, Any]]:
    """The days that are asked for, page by page."""
    from stream.export.probes import fetch

    asked = {"metric": metric, "from": first, "to": last}
    while True:
        try:
            status, body = fetch(host, port, "/api/v1/closed", {name: told for name, told in asked.items() if told})
        except OSError as error:
            raise Failure(f"nobody answers at {host}:{port}: {error.strerror or error}") from None
        told = msgspec.json.decode(body)
        if status != 200:
            raise BadUse(told["error"])
        yield from told["days"]
        if told["next"] is None:
            return
        asked["from"] = told["next"]
