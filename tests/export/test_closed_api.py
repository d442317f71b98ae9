"""`/api/v1/closed` and `engagement history`: a number of closed days over any time, and what became of each day."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from stream.cli import main
from stream.core.time import DAY_MS, date_of
from stream.export.board import Board
from stream.export.http import Server
from tests.export.boards import NOW, moment, settings
from tests.export.test_closed_days import DAYS, LAST, login, partition, put, report_of, told_of
from tests.export.test_http import UNPACKED, raw

STICKINESS = "engagement_stickiness_closed_ratio"


def shown(**overrides: object) -> Board:
    """Six days of two partitions, of which late events have corrected two."""
    board = Board(settings(**overrides), now_ms=lambda: moment(NOW))
    for number, one in ((0, partition("ann")), (1, partition("bob"))):
        put(board, number, told_of(one))
        if number:
            one.tick(moment(NOW) + DAY_MS // 24, behind=())
            login(one, "eve", ago=2)
            put(board, number, told_of(one))
        board.put(report_of(number, one))
    return board


def get(path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of one GET."""

    async def ask() -> tuple[int, dict[str, str], Any]:
        async with TestClient(TestServer(Server(shown(), version="1").application())) as client:
            response = await client.get(path, headers=headers)
            is_json = response.content_type == "application/json"
            return response.status, dict(response.headers), await (response.json() if is_json else response.text())

    return asyncio.run(ask())


def test_a_number_is_told_for_each_day_with_when_the_day_was_changed_and_whether_it_is_final() -> None:
    status, _, body = get("/api/v1/closed?metric=engagement_active_users_closed")

    assert status == 200
    assert (body["metric"], body["labels"], body["next"]) == ("engagement_active_users_closed", ["window"], None)
    daily = {
        day["day"]: next(one["value"] for one in day["samples"] if one["labels"] == {"window": "1d"})
        for day in body["days"]
    }
    assert daily == {date_of(LAST - ago).isoformat(): 3 if ago == 1 else 2 for ago in range(DAYS - 1, -1, -1)}
    # Three days of lateness before now: nothing was read for a day.
    assert [day["final"] for day in body["days"]] == [True, True, True, False, False, False]
    assert [day["corrections"] for day in body["days"]] == [0, 0, 0, 0, 1, 1]
    assert [day["changed_at"] for day in body["days"][-3:]] == [
        "2026-03-10T12:00:10Z", "2026-03-10T13:00:10Z", "2026-03-10T13:00:10Z",
    ]  # fmt: skip


def test_days_can_be_chosen_and_a_ratio_comes_with_its_interval() -> None:
    day = date_of(LAST - 1).isoformat()
    _, _, body = get(f"/api/v1/closed?metric={STICKINESS}&from={day}&to={day}")

    assert [told["day"] for told in body["days"]] == [day]
    names = {one["name"] for one in body["days"][0]["samples"]}
    assert names == {STICKINESS, f"{STICKINESS}_lower", f"{STICKINESS}_upper"}
    assert get(f"/api/v1/closed?metric={STICKINESS}&from=2020-01-01&to=2020-02-01")[2]["days"] == []


def test_it_is_told_as_csv_too() -> None:
    status, headers, body = get("/api/v1/closed?metric=engagement_logins_closed&format=csv")

    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    lines = body.splitlines()
    assert lines[0] == "day,changed_at,final,corrections,name,window,value"
    assert "2026-03-08,2026-03-10T13:00:10Z,false,1,engagement_logins_closed,1d,3" in lines


def test_what_has_not_changed_is_not_sent_again() -> None:
    path = f"/api/v1/closed?metric={STICKINESS}"
    statuses = []

    async def ask() -> None:
        board = shown()
        async with TestClient(TestServer(Server(board, version="1").application())) as client:

            async def status(tag: str, **headers: str) -> int:
                answer = await client.get(path, headers={"If-None-Match": tag, **headers})
                return int(answer.status)

            tag = (await client.get(path)).headers["ETag"]
            packed = (await client.get(path, headers={"Accept-Encoding": "gzip"})).headers["ETag"]
            assert packed == tag
            assert tag.startswith("W/"), "weak, for the bytes differ by how they are compressed"
            statuses.extend([await status(tag), await status(f'"another", {tag}'), await status('"another"')])
            # What is known of the days may grow without a change of any: when a partition says how far it has come.
            one = partition("ann")
            one.tick(moment(NOW) + DAY_MS, behind=())
            put(board, 0, told_of(one))
            statuses.append(await status(tag))

    asyncio.run(ask())
    assert statuses == [304, 304, 200, 200]


def test_what_one_server_said_says_nothing_of_another_one_or_of_the_same_after_a_restart() -> None:
    path = f"/api/v1/closed?metric={STICKINESS}"
    one, other = get(path), get(path)

    assert one[2] == other[2]
    assert one[1]["Etag"] != other[1]["Etag"]
    assert get(path, **{"If-None-Match": one[1]["Etag"]})[0] == 200


@pytest.mark.parametrize("name", ["engagement_active_users_closed", "engagement_segment_active_users_closed"])
def test_a_number_is_told_by_the_values_of_a_segment(name: str) -> None:
    status, _, body = get(f"/api/v1/closed?metric={name}&segment=platform")

    assert status == 200
    assert body["metric"] == "engagement_segment_active_users_closed"
    assert body["labels"] == ["window", "segment", "value"]
    told = [one["labels"] | {"users": one["value"]} for one in body["days"][-1]["samples"]]
    assert told == [
        {"window": window, "segment": "platform", "value": "unknown", "users": users}
        for window, users in (("1d", 2), ("7d", 3), ("30d", 3))
    ]
    everything = get("/api/v1/closed?metric=engagement_segment_active_users_closed")[2]["days"][-1]["samples"]
    assert {one["labels"]["segment"] for one in everything} == {"platform", "plan", "country", "app_version"}
    csv = get(f"/api/v1/closed?metric={name}&segment=platform&format=csv")[2].splitlines()
    assert csv[0] == "day,changed_at,final,corrections,name,window,segment,segment_value,value"


@pytest.mark.parametrize("coding", UNPACKED)
@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/closed?metric={STICKINESS}",
        f"/api/v1/closed?metric={STICKINESS}&format=csv",
        "/api/v1/cohorts?by=day&from=2026-03-01",
        "/api/v1/cohorts?by=day&from=2026-03-01&format=csv",
    ],
)
def test_past_days_are_compressed_like_all_other_numbers(path: str, coding: str) -> None:
    plain = raw(shown(), path, "identity")
    told = raw(shown(), path, coding)

    assert len(plain[2]) >= 256, "a short answer is sent as it is"
    assert told[:2] == (coding, "Accept-Encoding")
    assert UNPACKED[coding](told[2]) == plain[2]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "metric: '' is no number of closed days; /api/v1/definitions names them"),
        ("metric=engagement_sessions", "metric: 'engagement_sessions' is no number of closed days"),
        (f"metric={STICKINESS}_lower", f"metric: '{STICKINESS}_lower' is no number of closed days"),
        (f"metric={STICKINESS}&from=yesterday", "from: not a day such as 2026-11-21: 'yesterday'"),
        (f"metric={STICKINESS}&to=2026-13-01", "to: month must be in 1..12"),
        (f"metric={STICKINESS}&format=xml", "format: 'xml' is neither json nor csv"),
        (f"metric={STICKINESS}&segment=city", "segment: 'city' is none of platform, plan, country, app_version"),
        ("metric=engagement_logins_closed&segment=plan", "segment: engagement_logins_closed is not counted by segment"),
        (f"metric={STICKINESS}&value=web", "value: no such parameter; there are metric, segment, from, to and format"),
    ],
)
def test_what_can_t_be_told_is_refused_by_name(query: str, told: str) -> None:
    status, _, body = get(f"/api/v1/closed?{query}")

    assert status == 400
    assert body["error"].startswith(told)


@contextmanager
def _served() -> Iterator[str]:
    """A server on a port of its own, as a setting."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    server = Server(shown(**{"server.port": 0}), version="1")

    def serve() -> None:
        loop.run_until_complete(server.start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started.wait()
    try:
        yield str(server.port)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_the_command_prints_what_a_server_tells() -> None:
    with _served() as port:
        env = {"ENGAGEMENT_SERVER_PORT": port}
        table = CliRunner().invoke(main, ["history", "logins_closed"], env=env)
        days = CliRunner().invoke(main, ["history", "logins_closed", "--format", "json"], env=env)
        rows = CliRunner().invoke(
            main, ["history", "logins_closed", "--format", "csv", "--from", "2026-03-08"], env=env
        )
        by_segment = CliRunner().invoke(
            main, ["history", "active_users_closed", "--segment", "plan", "--format", "csv"], env=env
        )
        refused = CliRunner().invoke(main, ["history", "logins"], env=env)

    assert by_segment.output.splitlines()[0] == "day,changed,name,window,segment,segment_value,value"
    assert "engagement_segment_active_users_closed,7d,plan,unknown,3" in by_segment.output
    assert table.exit_code == 0, table.output
    assert "2026-03-08  2026-03-10T13:00:10Z  engagement_logins_closed  1d" in table.output
    assert [day["day"] for day in json.loads(days.output)][-1] == "2026-03-09"
    assert rows.output.splitlines()[1] == "2026-03-08,2026-03-10T13:00:10Z,engagement_logins_closed,1d,3"
    assert refused.exit_code == 2
    assert "is no number of closed days" in refused.output
    gone = CliRunner().invoke(main, ["history", "logins_closed"], env=env)
    assert gone.exit_code == 1
    assert f"nobody answers at 127.0.0.1:{port}" in gone.output


def test_the_command_says_so_if_another_program_answers() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")
        await writer.drain()
        writer.close()

    async def ask() -> tuple[int, str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = str(server.sockets[0].getsockname()[1])
        async with server:
            env = {"ENGAGEMENT_SERVER_PORT": port}
            told = await asyncio.to_thread(CliRunner().invoke, main, ["history", "logins_closed"], env=env)
            return told.exit_code, told.output.replace(port, "PORT")

    refused = "engagement: no server of this version answers at 127.0.0.1:PORT: status 404\n"
    assert asyncio.run(ask()) == (1, refused)
