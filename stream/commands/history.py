"""`engagement history`: prints one metric on each closed day, or the cohorts, as a running server tells them."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.terminal import Failure, OperatorMistake, load_settings, settings_options

# Without a terminal there is no width to follow: one in which all columns fit.
_PLAIN_WIDTH = 160

_COHORTS = "cohorts"
# Of so many columns of days those that a table has room for; JSON and CSV have all of them.
_DAYS_SHOWN = (0, 1, 2, 3, 4, 5, 6, 7, 14, 21, 28, 30, 60, 90)


@click.command()
@settings_options
@click.argument("metric")
@click.option(
    "--from",
    "first",
    metavar="DAY",
    help="The first day, as 2026-11-21. [default: five weeks up to the last, twelve of cohorts]",
)
@click.option("--to", "last", metavar="DAY", help="The last day. [default: the last that has closed]")
@click.option("--segment", metavar="SEGMENT", help="By the values of a segment, such as platform.")
@click.option(
    "--mode",
    type=click.Choice(["on_or_after", "exact", "weekly"]),
    help="cohorts: who came on that day or later, on that day, or in that week. [default: on_or_after]",
)
@click.option("--by", type=click.Choice(["day", "week"]), help="cohorts: those of a day or of a week. [default: week]")
@click.option("--format", "as_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def history(
    file: Path | None,
    kafka: str | None,
    metric: str,
    segment: str | None,
    mode: str | None,
    by: str | None,
    as_format: str,
    **days: str | None,
) -> None:
    """Print a metric on each closed day, from the server that runs with these settings.

    METRIC is a name with `_closed`, with or without the prefix `engagement_`; or `cohorts`: of the users who were first
    active on some days, how many came back so many days or weeks later.

    \b
    Example: engagement history stickiness_closed_ratio --from 2026-10-01
             engagement history sessions_closed --segment platform
             engagement history cohorts --mode weekly
    """
    settings = load_settings(file, kafka)
    if settings.server.port <= 0:
        raise OperatorMistake(f"server.port: {settings.server.port} is no port that can be asked")
    server = settings.server.host, settings.server.port
    period = {"from": days["first"], "to": days["last"]}
    if metric == _COHORTS:
        if segment is not None:
            raise OperatorMistake("--segment: cohorts are not counted by segment")
        chosen = {"mode": mode or "on_or_after", "by": by or "week"}
        _print_cohorts(list(_fetch(*server, _COHORTS, {**chosen, **period})), as_format)
        return
    for option, value in (("--mode", mode), ("--by", by)):
        if value is not None:
            raise OperatorMistake(f"{option} is for cohorts, and {metric!r} is a metric")
    name = metric if metric.startswith("engagement_") else f"engagement_{metric}"
    _print_days(list(_fetch(*server, "closed", {"metric": name, "segment": segment, **period})), as_format)


def _print_days(pages: list[dict[str, Any]], as_format: str) -> None:
    from stream.export.closed_api import as_csv, columns

    days = [day for page in pages for day in page["days"]]
    labels = pages[0]["labels"]
    if as_format == "json":
        _write_json(days)
    elif as_format == "csv":
        sys.stdout.write(as_csv(labels, days))
    else:
        table = _table("day", "changed", "name", *columns(labels), numbers=("value",))
        for day in days:
            changed = "final" if day["final"] else day["changed_at"] or ""
            for sample in day["samples"]:
                told = (sample["labels"][label] for label in labels)
                table.add_row(day["day"], changed, sample["name"], *told, f"{sample['value']:,.6g}")
        _print(table)


def _print_cohorts(pages: list[dict[str, Any]], as_format: str) -> None:
    from stream.export.cohorts_api import as_csv

    rows = [row for page in pages for row in page["cohorts"]]
    if as_format == "json":
        _write_json(rows)
    elif as_format == "csv":
        sys.stdout.write(as_csv(rows))
    else:
        count = len(rows[0]["cells"]) if rows else 0
        unit = "week" if pages[0]["mode"] == "weekly" else "day"
        shown = range(count) if unit == "week" else [place for place in _DAYS_SHOWN if place < count]
        table = _table("from", "to", numbers=("users", *(f"{unit} {place}" for place in shown)))
        for row in rows:
            cells = ("" if row["cells"][place] is None else f"{row['cells'][place]:,}" for place in shown)
            table.add_row(row["from"], row["to"], f"{row['users']:,}", *cells)
        _print(table)


def _table(*texts: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (*texts, *numbers):
        table.add_column(title, justify="right" if title in numbers else "left", no_wrap=True)
    return table


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=_PLAIN_WIDTH)).print(table)


def _write_json(content: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(content) + b"\n")


def _fetch(host: str, port: int, what: str, query: Mapping[str, str | None]) -> Iterator[dict[str, Any]]:
    """Yield the pages of what a server tells. Raises Failure, and OperatorMistake if it refuses."""
    from stream.export.address import host_and_port
    from stream.export.probes import fetch

    asked = {name: text for name, text in query.items() if text}
    while True:
        try:
            status, body = fetch(host, port, f"/api/v1/{what}", asked)
        except OSError as error:
            raise Failure(f"nobody answers at {host_and_port(host, port)}: {error.strerror or error}") from None
        try:
            page = msgspec.json.decode(body)
        except msgspec.DecodeError:
            place = host_and_port(host, port)
            raise Failure(f"no server of this version answers at {place}: status {status}") from None
        if status != 200:
            raise OperatorMistake(page["error"])
        yield page
        if page["next"] is None:
            return
        asked["from"] = page["next"]
