"""`/api/v1/cohorts`: the cohort triangle, as JSON or CSV."""

import asyncio
import csv
import io
from collections.abc import Mapping
from typing import Any

from stream.core.cohorts import MODES, Cohort, Mode, by_week, cohorts, days_of
from stream.core.families.activity.closing import CELLS
from stream.core.tally import total
from stream.core.time import date_of, day_number
from stream.export.board import Board

# Days whose cohorts are told at once: those that are kept by default.
_MOST_DAYS = 400


class BadRequest(ValueError):
    """What was asked for can't be told; the text names the parameter and its value."""


async def answer(board: Board, query: Mapping[str, str]) -> tuple[int, Any]:
    """The status and the content: text of CSV, or something for JSON. Other requests are served between two days."""
    try:
        mode, by, first, last, as_format = _asked(board, query)
    except BadRequest as error:
        return 400, {"error": str(error)}
    through = board.last_closed_day()
    assert through is not None
    held = {}
    for day in days_of(first, last, through=through, mode=mode):
        held[day] = _activity(board, day)
        await asyncio.sleep(0)
    rows = cohorts(held.__getitem__, first, last, through=through, mode=mode)
    if by == "week":
        rows = by_week(rows)
    if as_format == "csv":
        return 200, _csv(rows)
    return 200, {
        "mode": mode,
        "by": by,
        "last_closed_day": date_of(through).isoformat(),
        "whole_since": date_of(board.rules.whole_since(board.merged.first_ms)).isoformat(),
        "cohorts": [
            {
                "from": date_of(row.first_day).isoformat(),
                "to": date_of(row.last_day).isoformat(),
                "users": row.users,
                "cells": row.cells,
            }
            for row in rows
        ],
    }


def _activity(board: Board, day: int) -> dict[int, int]:
    """What a closed day tells of cohorts, of all partitions."""
    parts = board.closed_days.of_window(day, "activity", CELLS)
    # Fields with a text are of those who came before all was known: of no cohort.
    return total({field: users for field, users in part.items() if isinstance(field, int)} for part in parts)


def _asked(board: Board, query: Mapping[str, str]) -> tuple[Mode, str, int, int, str]:
    """The mode, what a row is of, the first and the last day, and the format. Raises BadRequest."""
    unknown = sorted(set(query) - {"mode", "by", "from", "to", "format"})
    if unknown:
        raise BadRequest(f"{unknown[0]}: no such parameter; there are mode, by, from, to and format")
    mode = _one_of("mode", query.get("mode", "on_or_after"), MODES)
    by = _one_of("by", query.get("by", "week" if mode == "weekly" else "day"), ("day", "week"))
    as_format = _one_of("format", query.get("format", "json"), ("json", "csv"))
    through = board.last_closed_day()
    first_ms = board.merged.first_ms
    if through is None or first_ms is None:
        raise BadRequest("no day has closed yet")
    last = _day("to", query["to"]) if "to" in query else through
    first = _day("from", query["from"]) if "from" in query else last - (83 if by == "week" else 60)
    if last - first >= _MOST_DAYS:
        raise BadRequest(f"from, to: {last - first + 1} days are more than {_MOST_DAYS}")
    known = board.closed_between(first, last)
    whole_since = max(board.rules.whole_since(first_ms), known[0] if known else last + 1)
    return mode, by, max(first, whole_since), last, as_format


def _one_of(name: str, told: str, known: tuple[Any, ...]) -> Any:
    if told not in known:
        raise BadRequest(f"{name}: {told!r} is none of {', '.join(known)}")
    return told


def _day(name: str, text: str) -> int:
    try:
        return day_number(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


def _csv(rows: list[Cohort]) -> str:
    page = io.StringIO()
    written = csv.writer(page, lineterminator="\n")
    columns = range(len(rows[0].cells) if rows else 0)
    written.writerow(["from", "to", "users", *columns])
    for row in rows:
        cells = ("" if cell is None else cell for cell in row.cells)
        written.writerow([date_of(row.first_day), date_of(row.last_day), row.users, *cells])
    return page.getvalue()
