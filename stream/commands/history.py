"""`engagement history`: prints one metric on each closed day, which it requests from a running server."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.terminal import Failure, OperatorMistake, load_settings, settings_options

# Without a terminal there is no width to follow: one in which all columns fit.
_PLAIN_WIDTH = 160


@click.command()
@settings_options
@click.argument("metric")
@click.option(
    "--from", "first", metavar="DAY", help="The first day, as 2026-11-21. [default: five weeks up to the last]"
)
@click.option("--to", "last", metavar="DAY", help="The last day. [default: the last that has closed]")
@click.option("--segment", metavar="SEGMENT", help="By the values of a segment, such as platform.")
@click.option("--format", "as_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def history(
    file: Path | None,
    kafka: str | None,
    metric: str,
    first: str | None,
    last: str | None,
    segment: str | None,
    as_format: str,
) -> None:
    """Print a metric on each closed day, from the server that runs with these settings.

    METRIC is a name with `_closed`, with or without the prefix `engagement_`.

    \b
    Example: engagement history stickiness_closed_ratio --from 2026-10-01
             engagement history sessions_closed --segment platform
    """
    from stream.export.closed_api import columns

    settings = load_settings(file, kafka)
    if settings.server.port <= 0:
        raise OperatorMistake(f"server.port: {settings.server.port} is no port that can be asked")
    name = metric if metric.startswith("engagement_") else f"engagement_{metric}"
    query = {"metric": name, "segment": segment, "from": first, "to": last}
    days = list(_fetch_days(settings.server.host, settings.server.port, query))
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(days) + b"\n")
        return
    samples = [(day, sample) for day in days for sample in day["samples"]]
    labels = list(samples[0][1]["labels"]) if samples else []
    rows: list[tuple[Any, ...]] = []
    for day, sample in samples:
        changed = "final" if day["final"] else day["changed_at"] or ""
        rows.append((day["day"], changed, sample["name"], *sample["labels"].values(), sample["value"]))
    titles = ["day", "changed", "name", *columns(labels), "value"]
    if as_format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([titles, *rows])
        return
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title == "value" else "left", no_wrap=True)
    for *texts, value in rows:
        table.add_row(*map(str, texts), f"{value:,.6g}")
    console = Console()
    (console if console.is_terminal else Console(width=_PLAIN_WIDTH)).print(table)


def _fetch_days(host: str, port: int, query: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """Yield the days, which the server sends a hundred at a time. Raises Failure, and OperatorMistake if it refuses."""
    from stream.export.address import host_and_port
    from stream.export.probes import fetch

    while True:
        try:
            status, body = fetch(host, port, "/api/v1/closed", {name: text for name, text in query.items() if text})
        except OSError as error:
            raise Failure(f"nobody answers at {host_and_port(host, port)}: {error.strerror or error}") from None
        try:
            page = msgspec.json.decode(body)
        except msgspec.DecodeError:
            place = host_and_port(host, port)
            raise Failure(f"no server of this version answers at {place}: status {status}") from None
        if status != 200:
            raise OperatorMistake(page["error"])
        yield from page["days"]
        if page["next"] is None:
            return
        query["from"] = page["next"]
