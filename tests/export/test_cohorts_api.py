"""`/api/v1/cohorts`: the triangle of all partitions, by day or by week, as JSON and CSV."""

import asyncio
import json
from collections.abc import Collection
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner
from msgspec import structs

from stream.cli import main
from stream.core.partition.partition import Partition
from stream.core.snapshot import ClosedDay
from stream.core.time import DAY_MS, date_of
from stream.export import cohorts_api
from stream.export.board import Board
from stream.export.http import Server
from tests.export.boards import NOW, moment, settings
from tests.export.serving import Serving
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


def closed_of(board: Board, partition: int) -> list[ClosedDay]:
    """What a partition says of each closed day."""
    days = board.closed_days.days(0, LAST)
    return [one for day in days for one in [*board.closed_days.of(day)][partition : partition + 1]]


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

    assert lines[0] == "from,to,changed_at,users,0,1,2,3,4,5,6,7,8,9,10,11,12"
    weeks = [line.split(",")[:4] for line in lines[1:]]
    changed = "2026-03-10T12:00:10Z"
    assert weeks == [["2026-02-23", "2026-03-01", changed, "2"], ["2026-03-02", "2026-03-08", changed, "1"]]


async def cohorts_of(board: Board, **query: str) -> list[dict[str, Any]]:
    """The cohorts of the first page of an answer."""
    content, _ = await cohorts_api.tell(board, cohorts_api.asked_by(board, query))
    assert isinstance(content, dict)
    return list(content["cohorts"])


def test_each_cohort_has_the_time_of_the_last_change_of_the_days_that_tell_of_it() -> None:
    board = shown()
    put(board, 0, [structs.replace(one, changed_ms=1) for one in closed_of(board, 0)])
    put(board, 1, [structs.replace(one, changed_ms=1_000 * (one.day - LAST + 21)) for one in closed_of(board, 1)])

    changed = {row["from"]: row["changed_at"] for row in asyncio.run(cohorts_of(board, mode="weekly", by="day"))}
    assert changed[day(20)] == "1970-01-01T00:00:21Z", "weeks of it are still told of by the newest day"
    assert {row["changed_at"] for row in asyncio.run(cohorts_of(board, mode="exact"))} == {"1970-01-01T00:00:21Z"}


def test_more_cohorts_than_fit_on_a_page_follow_on_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = get("mode=exact")[1]
    monkeypatch.setattr(cohorts_api, "DAYS_OF_A_PAGE", 8)
    pages = [get("mode=exact")[1]]
    while (following := pages[-1]["next"]) is not None:
        pages.append(get(f"mode=exact&from={following}")[1])

    assert [len(page["cohorts"]) for page in pages] == [8, 8, 4]
    assert [row for page in pages for row in page["cohorts"]] == whole["cohorts"]
    assert len(get("mode=exact&by=week")[1]["cohorts"]) == 2


def test_the_triangle_is_not_sent_again_while_no_day_has_changed() -> None:
    async def ask() -> list[int]:
        board = shown()
        async with TestClient(TestServer(Server(board, version="1").application())) as client:
            tag = {"If-None-Match": (await client.get("/api/v1/cohorts")).headers["ETag"]}
            again = await client.get("/api/v1/cohorts", headers=tag)
            closed = closed_of(board, 0)[-1]
            put(board, 0, [structs.replace(closed, corrections=1)])
            changed = await client.get("/api/v1/cohorts", headers=tag)
            return [again.status, changed.status]

    assert asyncio.run(ask()) == [304, 200]


def test_the_command_prints_the_triangle() -> None:
    with Serving(shown()) as serving:
        env = {"ENGAGEMENT_SERVER_PORT": str(serving.port)}

        def told(*options: str, what: str = "cohorts") -> str:
            return CliRunner().invoke(main, ["history", what, *options], env=env).output

        table, text = told("--mode", "weekly"), told("--by", "day", "--format", "csv")
        (row,) = json.loads(told("--by", "day", "--from", day(14), "--to", day(14), "--format", "json"))
        refused = told("--segment", "plan")
        other = told("--by", "day", what="logins_closed")

    assert [line.split() for line in table.splitlines()][1:] == [
        ["2026-02-23", "2026-03-01", "2", "2"],
        ["2026-03-02", "2026-03-08", "1"],
    ]
    assert table.splitlines()[0].split()[:5] == ["from", "to", "users", "week", "0"]
    assert text.splitlines()[0].startswith("from,to,changed_at,users,0,1,2")
    assert len(text.splitlines()) == 21
    assert (row["from"], row["users"]) == (day(14), 2)
    assert "cohorts are not counted by segment" in refused
    assert "--by is for cohorts, and 'logins_closed' is a metric" in other


def test_other_requests_are_served_between_two_days() -> None:
    async def turns_of_others() -> int:
        board = shown()
        asked = asyncio.create_task(cohorts_of(board, mode="exact"))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await asked) == 20
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
