"""What a scrape of /metrics costs with everything on: series, bytes and milliseconds."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from stream.export.board import Board
from stream.export.prometheus import MetricsPage
from stream.garbage import seldom_collected
from stream.telemetry import Report
from tests.bench.figures import percentile, show
from tests.export.everything import MOST_BYTES, MOST_SERIES, PEOPLE, filled, series_of, settings

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

MOST_MS = 50
ROUNDS = 200


async def scrapes(board: Board, reports: list[Report]) -> tuple[list[bytes], list[float]]:
    """Pages, each after all partitions have reported again, and the milliseconds that each took."""
    page, pages, took = MetricsPage(board, version="1"), [], []
    async with seldom_collected():  # as in a server
        for number in range(ROUNDS + 1):
            for report in reports:
                board.put(msgspec.structs.replace(report, reported_ms=report.reported_ms + number))
            # Of the CPU: what others do on the machine is not the page's.
            started = time.thread_time()
            pages.append(page.text())
            took.append(1_000 * (time.thread_time() - started))
    return pages[1:], took[1:]  # the first one looks at what was closed long ago


def test_a_scrape_with_everything_on_and_four_full_segments() -> None:
    loads = {"all by all four segments": {}, "nothing by segment": {"segments.by": ""}}
    pages: dict[str, bytes] = {}
    for name, overrides in loads.items():
        board, reports, day_bytes = filled(settings(**overrides))
        found, took = asyncio.run(scrapes(board, reports))
        pages[name] = found[-1]
        show(f"a scrape, {name}", "series", [float(len(series_of(page))) for page in found], against=f"{MOST_SERIES:,}")
        show("  its size", "bytes", [float(len(page)) for page in found], against=f"{MOST_BYTES:,}")
        show("  its CPU, all partitions having reported anew, p50", "ms", [percentile(took, 0.5)], against=f"{MOST_MS}")
        show("  the same, p99", "ms", [percentile(took, 0.99)], against=f"{MOST_MS}")
        show("  a closed day of a partition", "bytes", day_bytes, against=f"{PEOPLE} people, a fourth in a partition")
        assert percentile(took, 0.5) < MOST_MS

    assert len(series_of(pages["all by all four segments"])) < MOST_SERIES
    assert len(pages["all by all four segments"]) < MOST_BYTES
