"""`/api/v1/closed`: one number on each closed day, as JSON or CSV, some months at a time; of all, or by a segment.

Its ETag is weak: what it stands for is the same however it is compressed. It names the process that answers, for the
changes of days that it counts are its own.
"""

import asyncio
import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from stream.core.catalogue import BY_NAME
from stream.core.metrics import Metric, is_by_segment, is_closed, segment_name
from stream.core.time import date_of, day_number, iso
from stream.export import compression
from stream.export.board import Board
from stream.export.documents import samples_of, with_sample_sizes

# Days on a page: what is shown at once, and no more than takes a moment to put together.
_DAYS_OF_A_PAGE = 100
_FORMATS = ("json", "csv")
CSV = {"Content-Type": "text/csv; charset=utf-8"}


class BadRequest(ValueError):
    """What was asked for can't be told; the text names the parameter and its value."""


class Day(msgspec.Struct, frozen=True):
    """What is told of one closed day."""

    day: str
    changed_at: str | None  # when late events changed it last, or else when it closed
    final: bool  # no event can change it any more
    corrections: int  # how often late events have changed it, added up over the partitions
    samples: list[dict[str, Any]]


async def answer(board: Board, request: web.Request) -> web.Response:
    """The answer to a request, or why there is none."""
    try:
        asked = _asked(board, request.query)
    except BadRequest as error:
        return await _json(request, {"error": str(error)}, status=400)
    merged, through = board.merged, board.last_closed_day()
    tag = f'W/"{board.instance}-{board.closed_days.changes}-{through}-{merged.final_through}-{merged.first_ms}"'
    if tag in (one.strip() for one in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers={"ETag": tag, "Vary": "Accept-Encoding"})
    metric = asked.metric
    days = board.closed_between(asked.first, asked.last)
    told = [_told(board, asked, day) async for day in _one_by_one(days[:_DAYS_OF_A_PAGE])]
    following = date_of(days[_DAYS_OF_A_PAGE]).isoformat() if len(days) > _DAYS_OF_A_PAGE else None
    if asked.as_format == "csv":
        response = await compression.compressed_response(request, _csv(metric, told).encode(), headers=CSV)
        if following is not None:
            response.headers["Link"] = f'<{request.rel_url.update_query({"from": following})}>; rel="next"'
    else:
        content = {"metric": metric.name, "labels": list(metric.labels), "days": told, "next": following}
        response = await _json(request, content)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "no-cache"  # it may be kept, but is asked after
    return response


class _Asked(NamedTuple):
    """What is asked for."""

    metric: Metric
    segment: str | None  # None: all of them
    first: int  # days
    last: int
    as_format: str


def _asked(board: Board, query: Mapping[str, str]) -> _Asked:
    """What a query asks for. Raises BadRequest."""
    unknown = sorted(set(query) - {"metric", "segment", "from", "to", "format"})
    if unknown:
        raise BadRequest(f"{unknown[0]}: no such parameter; there are metric, segment, from, to and format")
    segment = query.get("segment")
    metric = _metric(query.get("metric", ""), segment, board.rules.segments)
    as_format = query.get("format", "json")
    if as_format not in _FORMATS:
        raise BadRequest(f"format: {as_format!r} is neither {' nor '.join(_FORMATS)}")
    last = _day("to", query["to"]) if "to" in query else board.last_closed_day()
    if last is None:
        raise BadRequest("no day has closed yet")
    first = _day("from", query["from"]) if "from" in query else last - 34
    return _Asked(metric, segment, first, last, as_format)


def _metric(name: str, segment: str | None, counted: Collection[str]) -> Metric:
    """The metric of that name, or the same by segment where one is asked for. Raises BadRequest."""
    metric = BY_NAME.get(name)
    if metric is None or metric.name != name or not is_closed(name):
        raise BadRequest(f"metric: {name!r} is no number of closed days; /api/v1/definitions names them")
    if segment is None:
        return metric
    if segment not in counted:
        raise BadRequest(f"segment: {segment!r} is none of {', '.join(counted) or 'none'}")
    by_segment = metric if is_by_segment(name) else BY_NAME.get(segment_name(name))
    if by_segment is None:
        raise BadRequest(f"segment: {name} is not counted by segment; /api/v1/definitions names what is")
    return by_segment


def _day(name: str, text: str) -> int:
    try:
        return day_number(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


async def _one_by_one(days: list[int]) -> Any:
    """Days, with a pause for others after each."""
    for day in days:
        yield day
        await asyncio.sleep(0)


def _told(board: Board, asked: _Asked, day: int) -> Day:
    final = board.merged.final_through
    changed_ms = board.closed_days.changed_ms(day)
    return Day(
        day=date_of(day).isoformat(),
        changed_at=iso(changed_ms) if changed_ms >= 0 else None,
        final=final is not None and day <= final,
        corrections=board.closed_days.corrections(day),
        samples=[
            one
            for one in with_sample_sizes(samples_of(board.closed_samples(day), {asked.metric.name}))
            if one["name"] in asked.metric.names and asked.segment in (None, one["labels"].get("segment"))
        ],
    )


def _csv(metric: Metric, days: list[Day]) -> str:
    page = io.StringIO()
    rows = csv.writer(page, lineterminator="\n")
    rows.writerow(["day", "changed_at", "final", "corrections", "name", *columns(metric.labels), "value"])
    rows.writerows(_rows(metric, days))
    return page.getvalue()


def columns(labels: Iterable[str]) -> list[str]:
    """What the columns of labels are called: `value` is what the number has."""
    return ["segment_value" if label == "value" else label for label in labels]


def _rows(metric: Metric, days: list[Day]) -> Iterator[list[object]]:
    for day in days:
        for one in day.samples:
            labels = (one["labels"][label] for label in metric.labels)
            yield [
                day.day,
                day.changed_at or "",
                str(day.final).lower(),
                day.corrections,
                one["name"],
                *labels,
                one["value"],
            ]


async def _json(request: web.Request, content: Any, *, status: int = 200) -> web.Response:
    body = msgspec.json.encode(content)
    return await compression.compressed_response(
        request, body, status=status, headers={"Content-Type": "application/json"}
    )
