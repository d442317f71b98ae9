"""What a server says of clocks: those of workers, its own, and those of partitions."""

from __future__ import annotations

from msgspec.structs import replace

from stream.export.board import Board
from stream.export.readiness import board_status, state_of
from stream.telemetry import ClockReading
from tests.export.boards import NOW, board, moment, settings
from tests.export.test_http import get


def reading(worker: str, skew_seconds: float | None, *, at: str = NOW, why_own: str = "") -> ClockReading:
    return ClockReading(worker, moment(at), 1, skew_seconds=skew_seconds, why_own=why_own)


def test_how_far_the_clock_of_each_worker_is_off_is_told_for_as_long_as_it_is_heard_of() -> None:
    shown = board(now="2026-03-10T12:00:20Z")
    shown.put(reading("ada", 3_000.0))
    shown.put(reading("bob", 0.002))
    shown.put(reading("bob", -31.0))
    shown.put(reading("eve", None, why_own="topic 's' has CreateTime"))
    shown.put(reading("gone", 99.0, at="2026-03-10T11:59:59Z"))

    told = {one.labels["worker"]: one.value for one in shown.health() if one.name == "engagement_clock_skew_seconds"}
    assert told == {"ada": 3_000.0, "bob": -31.0}
    assert shown.notes() == [
        "the clock of worker ada is 50 min ahead of the brokers' time, by which numbers go",
        "the clock of worker bob is 31 s behind the brokers' time, by which numbers go",
        "numbers of worker eve go by its own clock, for the brokers' time is not told: topic 's' has CreateTime",
    ]


def test_a_wrong_clock_of_the_server_is_told_too() -> None:
    shown = Board(settings(), now_ms=lambda: moment(NOW), own_notes=lambda: ["the clock of this server is wrong"])

    assert shown.notes() == ["the clock of this server is wrong"]


def test_a_report_is_as_old_as_kafka_says_whatever_the_clock_of_its_worker() -> None:
    for reported in ("2026-03-08T12:00:00Z", "2026-04-19T12:00:00Z"):
        shown = board()
        for report in shown.reports:
            wrong = replace(report, reported_ms=moment(reported))
            shown.put(wrong, appended_ms=moment("2026-03-10T11:59:58Z"))

        assert [shown.age_seconds(report) for report in shown.reports] == [2.0, 2.0]
        assert shown.stale() == []


def test_a_partition_that_was_counted_by_a_clock_ahead_is_not_ready_until_that_time_comes() -> None:
    now = [moment(NOW)]
    shown = board()
    shown.now_ms = lambda: now[0]
    first, second = shown.reports
    ahead_ms = moment("2026-03-10T12:50:00Z")
    ahead = replace(first, snapshot=replace(first.snapshot, now_ms=ahead_ms))
    shown.put(ahead)

    (reason,) = shown.unready()
    stands = "its clock has gone by a wrong time, 50 min ahead of the time now: its numbers stand still until"
    assert reason == f"partition 0: {stands} 2026-03-10T12:50:00Z"
    assert (state_of(shown), shown.partitions()[0].reason) == ("ahead", reason.removeprefix("partition 0: "))

    now[0] = ahead_ms - 30_000
    for report in (ahead, second):
        shown.put(report, appended_ms=now[0])
    assert shown.unready() == []
    assert state_of(shown) == "live"


def test_with_the_clock_of_the_events_none_is_ahead() -> None:
    shown = Board(settings(clock="event"), now_ms=lambda: moment(NOW))
    for report in board().reports:
        ahead = replace(report.snapshot, now_ms=moment("2030-03-10T12:50:00Z"))
        shown.put(replace(report, snapshot=ahead, settings=settings(clock="event").shared))

    assert not shown.is_ahead()


def test_what_is_told_of_clocks_is_on_readyz_in_the_api_and_leaves_the_server_ready() -> None:
    shown = board()
    shown.put(reading("ada", -2 * 86_400.0))
    note = "the clock of worker ada is 2 days behind the brokers' time, by which numbers go"

    assert get(shown, "/readyz")[::2] == (200, f"ok\n{note}\n")
    assert (board_status(shown)["ready"], board_status(shown)["notes"]) == (True, [note])
