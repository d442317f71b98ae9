"""What the answers about closed days share: their parameters, ETag and pages, and JSON or CSV.

The ETag is weak: what it stands for is the same however it is compressed. It names the process that answers, for the
changes of days that it counts are its own.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from stream.core.time import date_of, day_number, iso
from stream.export import compression
from stream.export.board import Board

# Days on a page: what is shown at once, and no more than takes a moment to put together.
DAYS_OF_A_PAGE = 100
_CSV = {"Content-Type": "text/csv; charset=utf-8"}
_JSON = {"Content-Type": "application/json"}

Asked = TypeVar("Asked")


class BadRequest(ValueError):
    """What was asked for can't be told; the text names the parameter and its value."""


class Told(NamedTuple):
    """An answer: text of CSV, or an object for JSON; and the first day of the next page, None on the last.

    The object gets it as `next`, CSV as a header `Link`.
    """

    content: str | dict[str, Any]
    following: int | None


async def answer(
    board: Board,
    request: web.Request,
    read_query: Callable[[Board, Mapping[str, str]], Asked],
    tell: Callable[[Board, Asked], Awaitable[Told]],
) -> web.Response:
    """The answer to a request; what the client has already is not sent again.

    `read_query` returns what a query asks for, or raises BadRequest, whose text is then the answer.
    """
    try:
        asked = read_query(board, request.query)
    except BadRequest as error:
        body = msgspec.json.encode({"error": str(error)})
        return await compression.compressed_response(request, body, status=400, headers=_JSON)
    tag = _tag(board)
    if tag in (one.strip() for one in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers={"ETag": tag, "Vary": "Accept-Encoding"})
    content, following = await tell(board, asked)
    begins = None if following is None else date_of(following).isoformat()
    if isinstance(content, str):
        response = await compression.compressed_response(request, content.encode(), headers=_CSV)
        if begins is not None:
            response.headers["Link"] = f'<{request.rel_url.update_query({"from": begins})}>; rel="next"'
    else:
        body = msgspec.json.encode({**content, "next": begins})
        response = await compression.compressed_response(request, body, headers=_JSON)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "no-cache"  # it may be kept, but is asked after
    return response


def _tag(board: Board) -> str:
    merged, through = board.merged, board.last_closed_day()
    return f'W/"{board.instance}-{board.closed_days.changes}-{through}-{merged.final_through}-{merged.first_ms}"'


def time_of(at_ms: int) -> str | None:
    """A time as text; None where it is not known."""
    return iso(at_ms) if at_ms >= 0 else None


# -- parameters ----------------------------------------------------------------------------------------------------


def refuse_unknown(query: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise BadRequest for a parameter that there is not."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise BadRequest(f"{unknown[0]}: no such parameter; there are {', '.join(known[:-1])} and {known[-1]}")


def one_of(name: str, value: str, known: Collection[Any]) -> Any:
    """A parameter that has one of some values. Raises BadRequest."""
    if value not in known:
        raise BadRequest(f"{name}: {value!r} is none of {', '.join(known) or 'none'}")
    return value


def format_of(query: Mapping[str, str]) -> str:
    """What is asked for: json or csv. Raises BadRequest."""
    return str(one_of("format", query.get("format", "json"), ("json", "csv")))


def day_of(name: str, query: Mapping[str, str], *, usual: int) -> int:
    """A parameter that is a day; `usual` where it is absent. Raises BadRequest."""
    if name not in query:
        return usual
    try:
        return day_number(query[name])
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None
