"""The API, the probes, and what they say of numbers that can't be trusted."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import cramjam
import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from stream.core import catalogue, zones
from stream.export.board import Board
from stream.export.compression import coding_of
from stream.export.http import Server
from tests.export.boards import WORLD, board, report


def get(shown: Board, path: str) -> tuple[int, str, Any]:
    """Status, content type and body of one GET."""

    async def ask() -> tuple[int, str, Any]:
        async with TestClient(TestServer(Server(shown, version="1.2.3").application())) as client:
            response = await client.get(path)
            is_json = response.content_type == "application/json"
            return response.status, response.content_type, await (response.json() if is_json else response.text())

    return asyncio.run(ask())


def samples(body: Any, name: str) -> dict[str, float]:
    """Values of a live metric by window."""
    return {sample["labels"]["window"]: sample["value"] for sample in body["live"] if sample["name"] == name}


def test_the_api_gives_live_numbers_closed_days_and_health() -> None:
    status, _, body = get(board(), "/api/v1/metrics?days=3")

    assert status == 200
    assert body["at"] == "2026-03-10T12:00:00Z"
    assert body["ready"] is True
    assert samples(body, "engagement_active_users") == {"5m": 1, "1h": 2, "1d": 2, "7d": 2, "28d": 2, "30d": 2}
    assert [closed["day"] for closed in body["closed"]] == ["2026-03-08", "2026-03-09"]
    assert {
        sample["labels"]["outcome"]
        for sample in body["health"]
        if sample["name"] == "engagement_events_total" and sample["value"]
    } == {"applied", "bot", "invalid"}


def test_of_closed_days_some_numbers_can_be_chosen_with_what_they_are_taken_from() -> None:
    _, _, body = get(
        board(), "/api/v1/metrics?days=2&closed=engagement_stickiness_closed_ratio,engagement_logins_closed"
    )

    stickiness = "engagement_stickiness_closed_ratio"
    assert {sample["name"] for day in body["closed"] for sample in day["samples"]} == {
        stickiness, f"{stickiness}_lower", f"{stickiness}_upper", "engagement_active_users_closed",
        "engagement_logins_closed",
    }  # fmt: skip
    assert len(body["closed"]) == 2


def test_each_number_of_the_api_comes_with_its_definition() -> None:
    _, _, body = get(board(), "/api/v1/metrics")

    names = {sample["name"] for sample in body["live"]}
    assert {catalogue.BY_NAME[name].name for name in names} <= set(body["definitions"])
    assert body["definitions"]["engagement_nps"]["interval"]["method"] == "adjusted-Wald"


def test_each_ratio_tells_how_many_things_it_is_taken_from() -> None:
    _, _, body = get(board(), "/api/v1/metrics")

    sizes = {
        (sample["name"], *sample["labels"].values()): sample["sample_size"]
        for sample in (*body["live"], *body["closed"][-1]["samples"])
        if "sample_size" in sample
    }
    assert sizes["engagement_stickiness_ratio", "30d"] == 2
    assert sizes["engagement_bounce_ratio", "1d", "ga4"] == 2
    assert sizes["engagement_session_duration_seconds", "1d", "0.5"] == 2
    assert sizes["engagement_csat_ratio", "7d"] == 2
    assert sizes["engagement_nps", "7d"] == 1
    assert sizes["engagement_stickiness_closed_ratio", "7d"] == 2


def test_every_ratio_names_the_metric_of_its_sample() -> None:
    for metric in catalogue.BUSINESS:
        is_derived = metric.interval or metric.name.endswith(("_mean", "_ratio", "_per_session", "_nps", "_cxi"))

        assert bool(metric.parts) or not is_derived, metric.name
        assert all(part in catalogue.BY_NAME for part in metric.parts)


def test_definitions_are_those_of_the_catalogue() -> None:
    _, _, body = get(board(), "/api/v1/definitions")

    assert [metric["name"] for metric in body] == [metric.name for metric in catalogue.CATALOGUE]
    assert all(metric["definition"] for metric in body)


def test_each_definition_says_rule_window_zone_and_sample() -> None:
    body = {metric["name"]: metric for metric in get(board(), "/api/v1/definitions")[2]}

    live, closed = body["engagement_bounce_ratio"], body["engagement_bounce_closed_ratio"]
    assert live["window"] == {
        "ends": "now",
        "lengths": ["1h", "1d", "7d", "28d", "30d"],
        "text": "Rolling windows of 1h, 1d, 7d, 28d and 30d that end now.",
    }
    assert closed["window"] == {
        "ends": "the last closed day",
        "lengths": ["1d", "7d", "28d", "30d"],
        "text": "Windows of 1d, 7d, 28d and 30d that end with the last closed day, UTC.",
    }
    assert (live["zone"], closed["zone"]) == (None, "UTC")
    assert live["sample"] == {
        "of": "sessions",
        "metric": "engagement_sessions_with_views",
        "labels": {},
        "text": "Taken from sessions, which engagement_sessions_with_views counts.",
    }
    assert body["engagement_quick_closed_ratio"]["sample"]["labels"] == {"state": "dormant"}
    assert body["engagement_reply_seconds"]["sample"]["of"] == "replies"
    assert body["engagement_session_time_seconds"]["sample"]["metric"] == "engagement_sessions"
    assert body["engagement_active_users"]["sample"]["text"] == "Counts users."
    assert body["engagement_open_sessions"]["window"]["text"] == "Now."
    assert body["engagement_lag_events"]["sample"] is None


def test_the_contract_is_served_as_asyncapi_and_as_json_schemas() -> None:
    _, _, document = get(board(), "/api/v1/schema")
    _, _, logins = get(board(), "/api/v1/schema/logins")
    refused = get(board(), "/api/v1/schema/weather")

    assert document["info"]["version"] == "1.2.3"
    assert logins["title"] == "a message of the kind logins"
    told = (
        "'weather' is none of sessions, logins, surveys, accounts, orders, reviews, features, social, contacts, privacy"
    )
    assert refused[::2] == (404, {"error": told})


def test_a_number_of_days_that_can_not_be_is_refused_by_name() -> None:
    for asked in ("0", "36", "x", "-1", "1.5"):
        status, _, body = get(board(), f"/api/v1/metrics?days={asked}")

        assert status == 400
        assert body["error"] == f"days: '{asked}' is no whole number from 1 to 35"


def test_ready_is_who_has_fresh_reports_of_all_partitions() -> None:
    assert get(board(), "/readyz")[::2] == (200, "ok\n")
    assert get(board(partitions=(0,)), "/readyz")[::2] == (503, "no report for 15s of partitions 1\n")
    assert get(board(now="2026-03-10T12:00:15Z"), "/readyz")[0] == 200
    assert get(board(now="2026-03-10T12:00:16Z"), "/readyz")[::2] == (503, "no report for 15s of partitions 0, 1\n")


def test_a_partition_that_still_reads_is_not_ready_and_says_what() -> None:
    status, _, text = get(board(behind=("sessions",)), "/readyz")

    assert status == 503
    assert text.splitlines()[0] == "partition 0 is still reading sessions"


def test_live_and_version_ask_nobody() -> None:
    assert get(board(partitions=()), "/livez")[::2] == (200, "ok\n")
    assert get(board(partitions=()), "/version")[2] == {"version": "1.2.3"}


def test_the_page_names_every_other() -> None:
    _, _, text = get(board(), "/")

    assert all(
        path in text for path in ("/metrics", "/api/v1/metrics", "/api/v1/definitions", "/api/v1/schema", "/readyz")
    )


def test_the_last_report_counts_whatever_the_clock_of_its_worker() -> None:
    shown = board(at="2026-03-10T12:10:00Z")
    newest = board(at="2026-03-10T12:00:00Z").reports[0]
    shown.put(newest)

    assert shown.reports[0] is newest


def test_a_worker_whose_clock_is_ahead_grows_stale_like_any_other() -> None:
    now = ["2026-03-10T12:00:00Z"]
    shown = board(partitions=(), now=lambda: now[0])
    for number in (0, 1):
        shown.put(report(number, WORLD[number], at="2026-03-10T12:10:00Z"))
    assert shown.stale() == []

    now[0] = "2026-03-10T12:00:16Z"

    assert shown.stale() == [0, 1]


def test_a_server_with_other_settings_than_the_workers_shows_no_number_and_says_why() -> None:
    shown = board()
    other = {"topics.partitions": "6", "timezone": "Asia/Tokyo"}
    shown.put(msgspec.structs.replace(shown.reports[0], settings=other))

    status, _, text = get(shown, "/readyz")
    assert status == 503
    assert text.splitlines() == [
        "timezone is UTC here and Asia/Tokyo at worker worker-1",
        "topics.partitions is 2 here and 6 at worker worker-1",
    ]
    assert get(shown, "/api/v1/metrics")[2]["live"] == []


def test_other_rules_of_the_time_zone_are_another_setting_and_another_edition_with_the_same_rules_is_not() -> None:
    shown = board()
    settings = {**shown.reports[0].settings}
    own = settings["zone database"]
    edition, _, rules = own.partition(" ")
    assert (edition, rules) == (zones.EDITION, f"({zones.fingerprint('UTC')})")
    assert get(shown, "/api/v1/metrics")[2]["zone_database"] == zones.EDITION

    shown.put(msgspec.structs.replace(shown.reports[0], settings={**settings, "zone database": f"1999a {rules}"}))
    assert get(shown, "/readyz")[0] == 200
    shown.put(msgspec.structs.replace(shown.reports[0], settings={**settings, "zone database": "1999a (0123456789ab)"}))
    status, _, text = get(shown, "/readyz")
    assert status == 503
    assert text == f"zone database is {own} here and 1999a (0123456789ab) at worker worker-1\n"


# -- compressed, and some of it ----------------------------------------------------------------------------------------


def raw(shown: Board, path: str, accepted: str) -> tuple[str | None, str | None, bytes]:
    """Content-Encoding and Vary of a response, and its body as it is sent."""

    async def ask() -> tuple[str | None, str | None, bytes]:
        application = Server(shown, version="1.2.3").application()
        async with TestServer(application) as server, ClientSession(auto_decompress=False) as session:
            response = await session.get(server.make_url(path), headers={"Accept-Encoding": accepted})
            return response.headers.get("Content-Encoding"), response.headers.get("Vary"), await response.read()

    return asyncio.run(ask())


UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": lambda body: bytes(cramjam.zstd.decompress(body)),
}


@pytest.mark.parametrize("coding", UNPACKED)
@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics?days=35", "/api/v1/definitions", "/", "/page/main.js"])
def test_who_asks_gets_the_same_answer_compressed(path: str, coding: str) -> None:
    shown = board()
    plain = raw(shown, path, "identity")
    told = raw(shown, path, coding)

    assert plain[:2] == (None, "Accept-Encoding")
    assert told[:2] == (coding, "Accept-Encoding")
    assert UNPACKED[coding](told[2]) == plain[2]
    assert len(told[2]) < len(plain[2]) / 1.5


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),  # what browsers send
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=much", None),
        ("deflate, br", None),
        (";;,=,q=1", None),
    ],
)
def test_the_coding_is_the_one_that_is_liked_best(accepted: str, coding: str | None) -> None:
    assert coding_of(accepted) == coding


def test_a_short_answer_is_sent_as_it_is() -> None:
    assert raw(board(), "/version", "gzip") == (None, "Accept-Encoding", b'{"version":"1.2.3"}')


def names_of(text: str) -> set[str]:
    """The names of the samples on a page for Prometheus."""
    return {line.partition("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["engagement_nps"], {"engagement_nps"}),
        (["engagement_nps_lower", "engagement_sessions"], {"engagement_nps_lower", "engagement_sessions"}),
        (["engagement_events_total"], {"engagement_events_total"}),
        (["engagement_session_duration_seconds"], {"engagement_session_duration_seconds"}),
        (["engagement_checkpoint_seconds_count"], {"engagement_checkpoint_seconds_count"}),
        (
            ["engagement_checkpoint_seconds"],
            {f"engagement_checkpoint_seconds_{part}" for part in ("bucket", "count", "sum")},
        ),
        (["engagement_nothing"], set()),
        ([""], set()),
    ],
)
def test_names_ask_for_some_metrics_or_samples_alone(asked: list[str], names: set[str]) -> None:
    query = "&".join(f"name[]={name}" for name in asked)
    status, _, some = get(board(), f"/metrics?{query}")
    _, _, everything = get(board(), "/metrics")

    assert status == 200
    assert names_of(some) == names
    assert set(some.splitlines()) <= set(everything.splitlines())
