"""What a scrape of /metrics costs with everything on: series, bytes and milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle
from statistics import median
from typing import Any

import msgspec
import pytest

from stream.core.partition.partition import Partition
from stream.core.segments import NAMED_VALUES, SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from stream.export.board import Board
from stream.export.prometheus import MetricsPage
from stream.settings import Settings, load
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, ClosedDayReport, Report, Timings, encode_closed_day
from tests.bench.figures import show
from tests.core.live import deliver
from tests.native import Message

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

MOST_SERIES, MOST_BYTES, MOST_MS = 10_000, 2_000_000, 50

ROUNDS = 15
PARTITIONS = 4
# More values than have a name, and some users who tell none.
VALUES = NAMED_VALUES + 5
PEOPLE = 3 * VALUES
# As long as cohorts are followed, so that there is a number of every kind.
DAYS = 100
NOW_MS = 1_767_225_600_000 + DAYS * DAY_MS + 12 * HOUR_MS


def happened() -> Iterator[tuple[int, str, dict[str, Any]]]:
    """What some people do on each day: the partition, the topic and the message."""
    turn = cycle(range(5))
    for ago in range(DAYS, -1, -1):
        for number in range(PEOPLE):
            if ago and (number + ago) % 4 and number > PEOPLE - DAYS + ago:  # some begin later, and not all come daily
                continue
            at_ms = NOW_MS - ago * DAY_MS - HOUR_MS
            labels = {} if number % 13 == 0 else dict.fromkeys(SEGMENTS, f"value {number % VALUES:02}")
            told = {"user_id": f"u{number}", "event_time": at_ms, **labels}
            yield number % PARTITIONS, "logins", {**told, "success": next(turn) > 0}
            views = 1 + next(turn)
            for view in range(views):
                step = {"type": "page_view", "session_id": f"s{ago}", "event_time": at_ms + view * MINUTE_MS}
                yield number % PARTITIONS, "sessions", {**told, **step, "engaged_ms": 5_000, "prompted": views > 3}
            for kind, score in (("csat", 1 + next(turn)), ("nps", 2 * next(turn) + 2), ("ces", 1 + next(turn))):
                answer = {"kind": kind, "response_id": f"{kind}-{ago}", "score": score}
                yield number % PARTITIONS, "surveys", {**told, **answer, "status": "shown", "event_time": at_ms - 1}
                yield number % PARTITIONS, "surveys", {**told, **answer}
            scores = {name: 1 + next(turn) for name in ("effort", "empathy", "understanding", "efficiency")}
            cxi = {"kind": "cxi", "response_id": f"cxi-{ago}", "scores": scores}
            yield number % PARTITIONS, "surveys", {**told, **cxi}


def filled(settings: Settings) -> tuple[Board, list[Report], list[float]]:
    """A board on which all of that has left its numbers, the reports that it has last heard, and the bytes of days."""
    day_bytes: list[float] = []
    partitions = [Partition(settings.rules) for _ in range(PARTITIONS)]
    board = Board(settings, now_ms=lambda: NOW_MS)
    for number, topic, told in happened():
        deliver(partitions[number], topic, [Message(msgspec.json.encode(told))], not_after_ms=NOW_MS)
    reports = []
    for number, partition in enumerate(partitions):
        partition.tick(NOW_MS, behind=())
        partition.update_totals()
        while closed := partition.close_days(count=50):
            for one in closed:
                value = encode_closed_day(ClosedDayReport(number, "worker", NOW_MS, one, 1))
                board.put_day(number, one.day, value)
                day_bytes.append(len(value))
        reports.append(
            Report(
                partition=number,
                worker="worker",
                reported_ms=NOW_MS,
                snapshot=partition.live_snapshot(),
                lag=dict.fromkeys(settings.input_topics, 0),
                behind=(),
                event_latency=Timings((1,) * (len(LATENCY_BOUNDS) + 1), 1.0),
                checkpoints=Timings((1,) * (len(CHECKPOINT_BOUNDS) + 1), 1.0),
                recovery_seconds=0.5,
                settings=settings.shared,
                epoch=1,
                days_since=partition.progress.closed_since,
                generation=1,
                started_ms=1,
            )
        )
    for report in reports:
        board.put(report)
    return board, reports, day_bytes[-30:]


def scrapes(board: Board, reports: list[Report]) -> tuple[list[bytes], list[float]]:
    """Pages, each after all partitions have reported again, and the milliseconds that each took."""
    page, pages, took = MetricsPage(board, version="1"), [], []
    for number in range(ROUNDS + 1):
        for report in reports:
            board.put(msgspec.structs.replace(report, reported_ms=report.reported_ms + number))
        # Of the CPU: what others do on the machine is not the page's.
        started = time.thread_time()
        pages.append(page.text())
        took.append(1_000 * (time.thread_time() - started))
    return pages[1:], took[1:]  # the first one looks at what was closed long ago


def series_of(page: bytes) -> list[str]:
    return [line for line in page.decode().splitlines() if not line.startswith("#")]


def test_a_scrape_with_everything_on_and_four_full_segments() -> None:
    loads = {"all by all four segments": {}, "nothing by segment": {"segments.by": ""}}
    pages: dict[str, bytes] = {}
    for name, overrides in loads.items():
        board, reports, day_bytes = filled(load(None, {}, {"topics.partitions": PARTITIONS, **overrides}))
        found, took = scrapes(board, reports)
        pages[name] = found[-1]
        show(f"a scrape, {name}", "series", [float(len(series_of(page))) for page in found], against="10,000")
        show("  its size", "bytes", [float(len(page)) for page in found], against="2,000,000")
        show("  its CPU, all partitions having reported anew", "ms", took, against="50")
        show("  a closed day of a partition", "bytes", day_bytes, against="75 people, of whom 19 in a partition")
        assert median(took) < MOST_MS

    told = series_of(pages["all by all four segments"])
    by_segment = [line for line in told if line.startswith("engagement_segment_")]
    assert len({line for line in by_segment if line.startswith("engagement_segment_active_users{")}) == 3 * 4 * 22
    assert len(told) < MOST_SERIES
    assert len(pages["all by all four segments"]) < MOST_BYTES
