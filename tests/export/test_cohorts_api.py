"""`/api/v1/cohorts`: the triangle of all partitions, by day or by week, as JSON and CSV."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream.core.partition.partition import Partition
from stream.core.time import DAY_MS, date_of
from stream.export import cohorts_api
from stream.export.board import Board
from stream.export.http import Server
from tests.export.boards import NOW, moment, settings
from tests.export.test_closed_days import LAST, login, put, report_of, told_of


def shown() -> Board:
    """Three weeks: old came first of all; ann and bob two weeks ago, each in a partition, and ann again for a week."""
    board = Board(settings(), now_ms=lambda: moment(NOW))
    came: dict[int, dict[str, Collection[int]]] = {
        0: {"old": (21,), "ann": range(14, 7, -1)},
        1: {"bob": (14,), "cat": (2,)},
    }
    for number, users in came.items():
        one = Partition(settings().rules)
        for ago in range(21, 0, -1):
            login(one, *(user for user, days in users.items() if ago in days), ago=ago)
            one.tick(moment(NOW) - ago * DAY_MS, behind=())
        one.tick(moment(NOW), behind=())
        one.update_totals()
        put(board, number, told_of(one))
        board.put(report_of(number, one))
    return board


def get(query: str) -> tuple[int, Any]:
    async def ask() -> tuple[int, Any]:
        async with TestClient(TestServer(Server(shown(), version="1").application())) as client:
            response = await client.get(f"/api/v1/cohorts?{query}")
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    return asyncio.run(ask())


def day(ago: int) -> str:
    return date_of(LAST + 1 - ago).isoformat()


def test_cohorts_of_all_partitions_begin_when_all_is_known() -> None:
    status, body = get("")

    assert status == 200
    assert (body["mode"], body["by"], body["last_closed_day"]) == ("on_or_after", "day", day(1))
    assert body["whole_since"] == day(20)
    rows = {row["from"]: row for row in body["cohorts"]}
    assert list(rows) == [day(ago) for ago in range(20, 0, -1)]  # none of the day of the first event
    assert rows[day(14)]["users"] == 2
    assert rows[day(14)]["cells"][:15] == [2, *[1] * 6, *[0] * 7, None]
    assert rows[day(2)]["cells"][:3] == [1, 0, None]


def test_exact_and_weekly_cells() -> None:
    chosen = f"from={day(14)}&to={day(14)}"
    (row,) = get(f"mode=exact&{chosen}")[1]["cohorts"]
    assert row["cells"][:9] == [2, *[1] * 6, 0, 0]
    (row,) = get(f"mode=weekly&by=day&{chosen}")[1]["cohorts"]
    assert row["cells"][:3] == [2, 0, None]


def test_weeks_go_from_monday_to_sunday_and_csv_has_a_column_for_each_cell() -> None:
    _, text = get("mode=weekly&format=csv")
    lines = text.splitlines()

    assert lines[0] == "from,to,users,0,1,2,3,4,5,6,7,8,9,10,11,12"
    weeks = [line.split(",")[:3] for line in lines[1:]]
    assert weeks == [["2026-02-23", "2026-03-01", "2"], ["2026-03-02", "2026-03-08", "1"]]


def test_other_requests_are_served_between_two_days() -> None:
    async def turns_of_others() -> int:
        asked = asyncio.create_task(cohorts_api.answer(shown(), {"mode": "exact"}))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        assert len((await asked)[1]["cohorts"]) == 20
        return turns

    assert asyncio.run(turns_of_others()) > 20


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("mode=ever", "mode: 'ever' is none of exact, on_or_after, weekly"),
        ("by=month", "by: 'month' is none of day, week"),
        ("from=2020-01-01", "from, to: "),
        ("to=now", "to: not a day such as 2026-11-21: 'now'"),
        ("segment=plan", "segment: no such parameter"),
    ],
)
def test_what_can_t_be_told_is_refused_by_name(query: str, told: str) -> None:
    status, body = get(query)

    assert status == 400
    assert body["error"].startswith(told)
