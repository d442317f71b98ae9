"""The live page over HTTP: its files and headers, the stream of changes, and how connections end."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from stream.export import page_server
from stream.export.assets import page_assets
from stream.export.board import Board
from stream.export.history import Key, key_of
from stream.export.http import Server
from stream.export.lightening import lightened_script
from stream.export.listeners import Listeners
from stream.export.page_server import PageServer
from stream.export.page_updates import PageState, PageUpdates
from tests.export.boards import WORLD, board, report, view
from tests.export.crowds import later

Client = TestClient[web.Request, web.Application]
Event = tuple[str, Any]

_FOLDER = Path(page_server.__file__).parent / "page"
_REFERENCE = re.compile(r"""(?:src|href)="(page/[^"]+)"|from "\./([^"]+)"|url\(([^)]+)\)""")


def asked(client_does: Callable[[Client], Awaitable[Any]], shown: Board | None = None) -> Any:
    """What a client gets from the whole server."""

    async def ask() -> Any:
        server = Server(shown or board(), version="1.2.3")
        async with TestClient(TestServer(server.application())) as client:
            return await client_does(client)

    return asyncio.run(ask())


@asynccontextmanager
async def streaming(updates: PageUpdates) -> AsyncIterator[TestServer]:
    """A server of the live page alone, with this updates."""
    app = web.Application()
    PageServer(updates).add_to(app)
    server = TestServer(app)
    async with server:
        yield server


@asynccontextmanager
async def heard(updates: PageUpdates) -> AsyncIterator[aiohttp.StreamReader]:
    """The stream of a server with these updates."""
    async with (
        streaming(updates) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/api/v1/stream")) as response,
    ):
        yield response.content


async def next_event(content: aiohttp.StreamReader) -> Event:
    """The next server-sent event: its name and its data."""
    lines = (await asyncio.wait_for(content.readuntil(b"\n\n"), 10)).decode().splitlines()
    (event, data, end) = lines if len(lines) == 3 else (*lines, "")
    assert event.startswith("event: ")
    assert data.startswith("data: ")
    assert end == ""
    return event.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


# -- files and headers -------------------------------------------------------------------------------------------------


def test_the_page_is_html_that_may_reach_this_server_alone() -> None:
    async def get(client: Client) -> tuple[str, str, Any]:
        response = await client.get("/")
        return response.content_type, await response.text(), response.headers.copy()

    content_type, text, headers = asked(get)

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert content_type == "text/html"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=|https?://", text) is None


def test_every_answer_forbids_to_guess_its_type() -> None:
    async def get(client: Client) -> list[str | None]:
        paths = ("/", "/metrics", "/api/v1/metrics", "/api/v1/history", "/readyz", "/page/main.js", "/nowhere")
        return [(await client.get(path)).headers.get("X-Content-Type-Options") for path in paths]

    assert set(asked(get)[:-1]) == {"nosniff"}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/page/main.js", "text/javascript"),
        ("/page/page.css", "text/css"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/vendor/uPlot.LICENSE", "text/plain"),
    ],
)
def test_each_file_has_its_type(path: str, content_type: str) -> None:
    async def get(client: Client) -> tuple[int, str]:
        response = await client.get(path)
        return response.status, response.content_type

    assert asked(get) == (200, content_type)


def test_a_file_that_a_browser_has_is_not_sent_again() -> None:
    async def get(client: Client) -> list[tuple[int, bytes]]:
        first = await client.get("/page/main.js")
        assert first.headers["Cache-Control"] == "no-cache"
        told = []
        for etag in (first.headers["ETag"], '"another"'):
            response = await client.get("/page/main.js", headers={"If-None-Match": etag})
            told.append((response.status, await response.read()))
        return told

    (again, nothing), (changed, body) = asked(get)
    assert (again, nothing) == (304, b"")
    assert changed == 200
    assert body


def test_who_can_unpack_gets_less() -> None:
    async def get(client: Client) -> list[tuple[str | None, bytes]]:
        told = []
        for path in ("/", "/api/v1/metrics?days=35"):
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                response = await session.get(client.make_url(path), headers={"Accept-Encoding": "gzip"})
                told.append((response.headers.get("Content-Encoding"), await response.read()))
        return told

    for encoding, body in asked(get):
        assert encoding == "gzip"
        assert len(body) < len(gzip.decompress(body)) / 2


def test_the_page_asks_for_nothing_that_is_not_served_here() -> None:
    assets = page_assets()
    asked_for = {
        f"/page/{name.removeprefix('page/')}"
        for path, asset in assets.items()
        if "vendor" not in path
        for found in _REFERENCE.findall(asset.body.decode())
        for name in found
        if name
    }

    assert "/page/main.js" in asked_for
    assert "/page/vendor/uPlot.iife.min.js" in asked_for
    assert asked_for <= set(assets)


def test_every_script_of_the_folder_is_used() -> None:
    assets = page_assets()
    text = b"".join(asset.body for path, asset in assets.items() if "vendor" not in path).decode()

    scripts = [path.rsplit("/", 1)[1] for path in assets if path.endswith(".js")]
    assert [name for name in scripts if name not in text] == []


def test_the_whole_page_weighs_less_than_200_kB() -> None:  # noqa: N802
    assert sum(len(asset.body) for asset in page_assets().values()) < 200_000


def test_what_is_served_is_what_is_written_without_comments_and_spaces() -> None:
    served = {"index.html" if path == "/" else path.removeprefix("/page/"): it for path, it in page_assets().items()}

    for name, asset in served.items():
        written, told = (_FOLDER / name).read_text(), asset.body.decode()
        if "vendor" in name:
            assert told == written
            continue
        lines = written.splitlines()
        if not name.endswith((".html", ".svg")):
            lines = list(_without_comments(lines))
        code = "\n".join(lines)
        if name.endswith(".css"):  # the last semicolon of a rule means nothing
            code, told = (re.sub(r";?\s*\}", "}", text) for text in (code, told))
        assert "".join(told.split()) == "".join(code.split()), name
        assert re.findall(r"[\w$]+", told) == re.findall(r"[\w$]+", code), name


def _without_comments(lines: list[str]) -> Iterator[str]:
    """The lines that are no comment, told line by line, without the comments that end lines of code."""
    is_comment = False
    for line in map(str.strip, lines):
        is_comment = is_comment or line.startswith("/*")
        if not is_comment and not line.startswith("//"):
            yield re.sub(r"(?<=[;,{(]) // .*$", "", line)
        if is_comment and "*/" in line:
            assert line.endswith("*/"), "code after a comment is read by no test"
            is_comment = False


@pytest.mark.parametrize(
    ("written", "served"),
    [
        ("const a = 1; // one\nlet b;", "const a=1;let b;"),
        ("a /* no */ + b // c\nd", "a+b\nd"),
        ("a + +b - -c; d ++\ne", "a+ +b- -c;d++\ne"),
        ("const url = \"http://x\" + '// y';", "const url=\"http://x\"+'// y';"),
        ('return /[ /]  "/.test(a) ? b / c / d : e', 'return/[ /]  "/.test(a)?b/c/d:e'),
        ("x.replace( /\\/ \\[/ , b )", "x.replace(/\\/ \\[/,b)"),
        ("`a // b ${ c + `d  ${ { e : 1 } . e } ` }  f` ;", "`a // b ${c+`d  ${{e:1}.e} `}  f`;"),
        ("let a = { b : 1 }\nfoo ( )", "let a={b:1}\nfoo()"),
        ("a\n  .b ( )\n  || c", "a.b()||c"),
        ("return (\n  a\n)\n[b] = c", "return(a)\n[b]=c"),
        ("class A { static #x = 1; get y ( ) { return this.#x } }", "class A{static #x=1;get y(){return this.#x}}"),
    ],
)
def test_spaces_and_comments_of_a_script_go_only_where_they_mean_nothing(written: str, served: str) -> None:
    assert lightened_script(written) == served


def test_what_others_wrote_comes_with_its_licence_which_the_page_names() -> None:
    assets = page_assets()
    scripts = [path for path in assets if "vendor" in path and path.endswith(".js")]
    licences = {path.partition(".")[0] + ".LICENSE" for path in scripts}

    assert licences == {path for path in assets if path.endswith("LICENSE")}
    for path in licences:
        assert b"Copyright (c)" in assets[path].body
        assert path.removeprefix("/").encode() in assets["/"].body
    assert b"Permission is hereby granted" in assets["/page/vendor/uPlot.LICENSE"].body
    assert b"Redistribution and use" in assets["/page/vendor/lit-html.LICENSE"].body


# -- the stream --------------------------------------------------------------------------------------------------------


def test_a_listener_hears_all_numbers_first_as_the_api_has_them() -> None:
    async def hear(client: Client) -> tuple[Any, Event, Any]:
        async with client.get("/api/v1/stream") as response:
            api = await (await client.get("/api/v1/metrics")).json()
            return response, await next_event(response.content), api

    response, (event, told), api = asked(hear)

    assert response.content_type == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert event == "numbers"
    by_segment = [one for one in api["live"] if one["name"].startswith("engagement_segment_")]
    not_shown = [one for one in by_segment if one["name"] != "engagement_segment_active_users"]
    assert len(not_shown) > len(by_segment) - len(not_shown) > 0
    assert told["live"] == [one for one in api["live"] if one not in not_shown]
    assert [sample for sample in api["health"] if sample not in told["health"]] == [
        sample for sample in api["health"] if sample["name"] == "engagement_snapshot_age_seconds"
    ]
    assert {name: told[name] for name in ("at", "state", "ready", "unready", "windows")} == {
        name: api[name] for name in ("at", "state", "ready", "unready", "windows")
    }


def test_then_only_what_changed() -> None:
    async def hear() -> tuple[Event, Event]:
        shown = board()
        async with heard(PageUpdates(shown, every_seconds=0.01)) as content:
            first = await next_event(content)
            shown.put(report(1, [*WORLD[1], view("eve", "2026-03-10T11:59:30Z")]))
            return first, await next_event(content)

    (_, whole), (event, told) = asyncio.run(hear())

    assert event == "changes"
    assert told["gone"] == []
    values = {(sample["name"], sample["labels"].get("window")): sample["value"] for sample in told["live"]}
    assert values["engagement_active_users", "5m"] == 2
    assert values["engagement_active_users", "30d"] == 3
    assert ("engagement_nps", "30d") not in values
    assert len(told["live"]) < len(whole["live"]) / 2


def test_that_closed_days_are_others_now_is_told() -> None:
    async def hear() -> list[bool]:
        shown = board()
        async with heard(PageUpdates(shown, every_seconds=0.01)) as content:
            await next_event(content)
            told = []
            for at in ("2026-03-10T11:59:30Z", "2026-03-08T11:59:30Z"):
                shown.put(report(1, [*WORLD[1], view("eve", at)]))
                told.append((await next_event(content))[1]["days_changed"])
            return told

    assert asyncio.run(hear()) == [False, True]


def test_what_became_undefined_is_gone() -> None:
    async def hear() -> Event:
        shown = board()
        async with heard(PageUpdates(shown, every_seconds=0.01)) as content:
            await next_event(content)
            shown.put(report(0, WORLD[0][:3]))
            return await next_event(content)

    _, told = asyncio.run(hear())

    assert {"name": "engagement_nps", "labels": {"window": "30d"}} in told["gone"]


def test_a_stream_on_which_nothing_changes_says_that_it_is_there() -> None:
    async def hear() -> Event:
        async with heard(PageUpdates(board(), every_seconds=0.01, beat_seconds=0.05)) as content:
            await next_event(content)
            return await next_event(content)

    assert asyncio.run(hear()) == ("beat", {})


def test_a_board_that_grows_stale_is_told() -> None:
    async def hear() -> Event:
        now = ["2026-03-10T12:00:00Z"]
        shown = board(now=lambda: now[0])
        async with heard(PageUpdates(shown, every_seconds=0.01)) as content:
            await next_event(content)
            now[0] = "2026-03-10T12:00:16Z"
            return await next_event(content)

    event, told = asyncio.run(hear())

    assert (event, told["state"]) == ("changes", "stale")
    assert told["unready"] == ["no report for 15s of partitions 0, 1"]
    assert told["live"] == []


_values = st.dictionaries(st.sampled_from(["5m", "1d", "7d"]), st.integers(0, 2))


@given(st.lists(st.tuples(_values, _values), min_size=2, max_size=6))
def test_who_applies_all_changes_knows_what_a_newcomer_is_told(
    looks: list[tuple[dict[str, int], dict[str, int]]],
) -> None:
    told = [PageState({"at": None}, _of("users", live), _of("lag", health)) for live, health in looks]
    known = {_key(sample): sample for sample in _all_of(told[0].whole())}
    for before, now in pairwise(told):
        change = now.changes_since(before)
        for gone in change["gone"]:
            del known[_key(gone)]
        known.update({_key(sample): sample for sample in _all_of(change)})

    assert known == {_key(sample): sample for sample in _all_of(told[-1].whole())}


def _of(name: str, values: dict[str, int]) -> dict[Key, dict[str, Any]]:
    samples = [{"name": name, "labels": {"window": window}, "value": value} for window, value in values.items()]
    return {_key(sample): sample for sample in samples}


def _all_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [*message["live"], *message["health"]]


def _key(sample: dict[str, Any]) -> Key:
    return key_of(sample["name"], sample["labels"])


# -- bounds and ends ---------------------------------------------------------------------------------------------------


def test_there_is_room_for_so_many_listeners_and_no_more() -> None:
    async def come() -> tuple[list[int], str | None, int]:
        updates = PageUpdates(board(), listeners=Listeners(most=2))
        async with streaming(updates) as server, aiohttp.ClientSession() as session:
            url = server.make_url("/api/v1/stream")
            listening = [await session.get(url) for _ in range(3)]
            statuses = [response.status for response in listening]
            listening[0].close()
            while len(updates.listeners) == 2:
                updates.listeners.send(b"event: beat\ndata: {}\n\n")  # who is gone is noticed with the next message
                await asyncio.sleep(0.01)
            listening.append(await session.get(url))
            for response in listening:
                response.close()
            return statuses, listening[2].headers.get("Retry-After"), listening[3].status

    assert asyncio.run(come()) == ([200, 200, 503], "30", 200)


def test_who_does_not_read_is_cut_off_and_the_others_hear_all() -> None:
    async def hear() -> tuple[int, int]:
        updates = PageUpdates(board(), listeners=Listeners(backlog=4), every_seconds=3_600)
        message = b"event: changes\ndata: %s\n\n" % (b'"' + b"x" * 1_000_000 + b'"')
        async with (
            streaming(updates) as server,
            aiohttp.ClientSession() as session,
            session.get(server.make_url("/api/v1/stream")) as slow,
            session.get(server.make_url("/api/v1/stream"), read_bufsize=4_000_000) as quick,
        ):
            await next_event(quick.content)
            heard = 0
            while len(updates.listeners) == 2 and heard < 100:
                updates.listeners.send(message)
                await asyncio.wait_for(quick.content.readuntil(b"\n\n"), 10)
                heard += 1
            with pytest.raises(aiohttp.ClientError):
                await asyncio.wait_for(slow.content.read(), 10)
            return len(updates.listeners), heard

    left, heard = asyncio.run(hear())
    assert left == 1
    assert 4 < heard < 100


def test_a_stop_ends_the_streams_in_good_order() -> None:
    async def stop() -> bytes:
        shown = board()
        server = Server(shown, version="1.2.3")
        test_server = TestServer(server.application())
        await test_server.start_server()
        stream = test_server.make_url("/api/v1/stream")
        async with aiohttp.ClientSession() as session, session.get(stream) as response:
            await next_event(response.content)
            closing = asyncio.ensure_future(test_server.close())
            rest = await asyncio.wait_for(response.content.read(), 10)  # an end that was cut would raise
            await closing
            return rest

    rest = asyncio.run(stop())
    assert rest == b"" or rest.endswith(b"\n\n")  # nothing more, or whole events where the machine was slow


def test_the_history_is_served_and_begins_when_the_server_does() -> None:
    async def wait() -> list[Any]:
        shown = board()
        updates = PageUpdates(shown, every_seconds=0.001)
        async with streaming(updates) as server, aiohttp.ClientSession() as session:
            told = [await (await session.get(server.make_url("/api/v1/history"))).json()]
            while not told[-1]["at"]:
                for known in shown.reports:
                    shown.put(later(known, 0))
                await asyncio.sleep(0.01)
                told.append(await (await session.get(server.make_url("/api/v1/history"))).json())
            return told

    first, *_, last = asyncio.run(wait())
    assert (first["since"], first["at"]) == (None, [])
    assert last["since"] == "2026-03-10T12:00:00Z"
    assert all(len(series["values"]) == 1 for series in last["series"])
