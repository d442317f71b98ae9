"""`/api/v1/closed`: one number on each closed day, as JSON or CSV, some months at a time; of all, or by a segment."""

import asyncio
import csv
import io
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from stream.core.catalogue import BY_NAME
from stream.core.metrics import Metric, is_by_segment, is_closed, segment_name
from stream.core.time import date_of
from stream.export.board import Board
from stream.export.documents import samples_of, with_sample_sizes
from stream.export.past_days import DAYS_OF_A_PAGE, BadRequest, Told, day_of, format_of, one_of, refuse_unknown, time_of

# A page ends with the day that has so many samples together with those before it: they are put together in a moment.
_SAMPLES_OF_A_PAGE = 10_000
# Of each sample in CSV, beside its labels.
_COLUMNS = ("day", "changed_at", "final", "corrections", "name")


class Day(msgspec.Struct, frozen=True):
    """What is told of one closed day."""

    day: str
    changed_at: str | None  # when late events changed it last, or else when it closed
    final: bool  # no event can change it any more
    corrections: int  # how often late events have changed it, added up over the partitions
    samples: list[dict[str, Any]]


class Asked(NamedTuple):
    """What is asked for."""

    metric: Metric
    segment: str | None  # None: all of them
    first: int  # days
    last: int
    as_format: str


def asked_by(board: Board, query: Mapping[str, str]) -> Asked:
    """What a query asks for. Raises BadRequest."""
    refuse_unknown(query, ("metric", "segment", "from", "to", "format"))
    segment = query.get("segment")
    metric = _metric(query.get("metric", ""), segment, board.rules.segments)
    as_format = format_of(query)
    through = board.last_closed_day()
    if through is None and "to" not in query:
        raise BadRequest("no day has closed yet")
    last = day_of("to", query, usual=through or 0)
    return Asked(metric, segment, day_of("from", query, usual=last - 34), last, as_format)


async def tell(board: Board, asked: Asked) -> Told:
    """The number on each day of a page. Other requests are served between two days."""
    days = board.closed_between(asked.first, asked.last)
    told: list[Day] = []
    samples = 0
    for day in days[:DAYS_OF_A_PAGE]:
        told.append(_told(board, asked, day))
        samples += len(told[-1].samples)
        if samples >= _SAMPLES_OF_A_PAGE:
            break
        await asyncio.sleep(0)
    following = days[len(told)] if len(days) > len(told) else None
    metric = asked.metric
    if asked.as_format == "csv":
        return Told(as_csv(metric.labels, msgspec.to_builtins(told)), following)
    return Told({"metric": metric.name, "labels": list(metric.labels), "days": told}, following)


def _metric(name: str, segment: str | None, counted: Collection[str]) -> Metric:
    """The metric of that name, or the same by segment where one is asked for. Raises BadRequest."""
    metric = BY_NAME.get(name)
    if metric is None or metric.name != name or not is_closed(name):
        raise BadRequest(f"metric: {name!r} is no number of closed days; /api/v1/definitions names them")
    if segment is None:
        return metric
    one_of("segment", segment, counted)
    by_segment = metric if is_by_segment(name) else BY_NAME.get(segment_name(name))
    if by_segment is None:
        raise BadRequest(f"segment: {name} is not counted by segment; /api/v1/definitions names what is")
    return by_segment


def _told(board: Board, asked: Asked, day: int) -> Day:
    final = board.merged.final_through
    return Day(
        day=date_of(day).isoformat(),
        changed_at=time_of(board.closed_days.changed_ms(day)),
        final=final is not None and day <= final,
        corrections=board.closed_days.corrections(day),
        samples=[
            one
            for one in with_sample_sizes(samples_of(board.closed_samples(day), {asked.metric.name}))
            if one["name"] in asked.metric.names and asked.segment in (None, one["labels"].get("segment"))
        ],
    )


def as_csv(labels: Iterable[str], days: Iterable[Mapping[str, Any]]) -> str:
    """Days as the API tells them in JSON, as CSV: a line for each sample, whose labels are all of these."""
    page = io.StringIO()
    rows = csv.writer(page, lineterminator="\n")
    rows.writerow([*_COLUMNS, *columns(labels), "value"])
    for day in days:
        of_day = (day["day"], day["changed_at"] or "", str(day["final"]).lower(), day["corrections"])
        for one in day["samples"]:
            rows.writerow([*of_day, one["name"], *(one["labels"][label] for label in labels), one["value"]])
    return page.getvalue()


def columns(labels: Iterable[str]) -> list[str]:
    """What the columns of labels are called: `value` is what the number has."""
    return ["segment_value" if label == "value" else label for label in labels]
