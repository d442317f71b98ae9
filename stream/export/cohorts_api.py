"""`/api/v1/cohorts`: the cohort triangle, as JSON or CSV."""

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stream.core.cohorts import MODES, Mode, by_week, cohorts, days_of
from stream.core.families.activity.closing import CELLS
from stream.core.tally import total
from stream.core.time import date_of
from stream.export.board import Board
from stream.export.past_days import DAYS_OF_A_PAGE, BadRequest, Told, day_of, format_of, one_of, refuse_unknown, time_of

# Days whose cohorts can be asked for: those that are kept by default.
_MOST_DAYS = 400


class Asked(NamedTuple):
    """What is asked for."""

    mode: Mode
    by: str  # what a row is of: day or week
    first: int  # days
    last: int
    as_format: str


def asked_by(board: Board, query: Mapping[str, str]) -> Asked:
    """What a query asks for. Raises BadRequest."""
    refuse_unknown(query, ("mode", "by", "from", "to", "format"))
    mode = one_of("mode", query.get("mode", "on_or_after"), MODES)
    by = one_of("by", query.get("by", "week" if mode == "weekly" else "day"), ("day", "week"))
    as_format = format_of(query)
    through = board.last_closed_day()
    first_ms = board.merged.first_ms
    if through is None or first_ms is None:
        raise BadRequest("no day has closed yet")
    last = day_of("to", query, usual=through)
    first = day_of("from", query, usual=last - (83 if by == "week" else 60))
    if last - first >= _MOST_DAYS:
        raise BadRequest(f"from, to: {last - first + 1} days are more than {_MOST_DAYS}")
    known = board.closed_between(first, last)
    whole_since = max(board.rules.whole_since(first_ms), known[0] if known else last + 1)
    return Asked(mode, by, max(first, whole_since), last, as_format)


async def tell(board: Board, asked: Asked) -> Told:
    """The cohorts of a page. Other requests are served between two days."""
    mode, by, first, last, as_format = asked
    through = board.last_closed_day()
    assert through is not None
    # All weeks are on one page: a week has seven days, and not all of them may be asked for.
    last_of_page = last if by == "week" else min(last, first + DAYS_OF_A_PAGE - 1)
    held, changed_ms = {}, {}
    for day in days_of(first, last_of_page, through=through, mode=mode):
        held[day], changed_ms[day] = _activity(board, day), board.closed_days.changed_ms(day)
        await asyncio.sleep(0)
    rows = cohorts(held.__getitem__, first, last_of_page, through=through, mode=mode)
    if by == "week":
        rows = by_week(rows)
    changed = [
        max(changed_ms[day] for day in days_of(row.first_day, row.last_day, through=through, mode=mode)) for row in rows
    ]
    following = last_of_page + 1 if last_of_page < min(last, through) else None
    told = [
        {
            "from": date_of(row.first_day).isoformat(),
            "to": date_of(row.last_day).isoformat(),
            "changed_at": time_of(at_ms),
            "users": row.users,
            "cells": row.cells,
        }
        for row, at_ms in zip(rows, changed, strict=True)
    ]
    if as_format == "csv":
        return Told(as_csv(told), following)
    content = {
        "mode": mode,
        "by": by,
        "last_closed_day": date_of(through).isoformat(),
        "whole_since": date_of(board.rules.whole_since(board.merged.first_ms)).isoformat(),
        "cohorts": told,
    }
    return Told(content, following)


def _activity(board: Board, day: int) -> dict[int, int]:
    """What a closed day tells of cohorts, of all partitions."""
    parts = board.closed_days.of_window(day, "activity", CELLS)
    # Fields with a text are of those who came before all was known: of no cohort.
    return total({field: users for field, users in part.items() if isinstance(field, int)} for part in parts)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Cohorts as the API tells them in JSON, as CSV: a line for each, with a column for each cell."""
    page = io.StringIO()
    written = csv.writer(page, lineterminator="\n")
    written.writerow(["from", "to", "changed_at", "users", *range(len(rows[0]["cells"]) if rows else 0)])
    for row in rows:
        cells = ("" if cell is None else cell for cell in row["cells"])
        written.writerow([row["from"], row["to"], row["changed_at"] or "", row["users"], *cells])
    return page.getvalue()
