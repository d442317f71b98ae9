"""Active users by segment on the live page, in Chromium."""

import json
import urllib.request
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from stream.export.board import Board
from stream.export.table import number
from tests.browser import opened
from tests.core.live import with_sums
from tests.export.boards import NOW, moment, report, settings, view
from tests.export.crowds import crowd
from tests.export.serving import Serving
from tests.timeouts import TIMEOUT_SECONDS

METRIC = "engagement_segment_active_users"
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
expect.set_options(timeout=TIMEOUT_SECONDS * 1_000)


def address(serving: Serving) -> str:
    return f"{serving.address}/#tab=segments"


def rows(page: Page, title: str) -> list[list[str]]:
    """The texts of a table: value, share, users."""
    table = page.get_by_role("table", name=title, exact=True)
    expect(table.locator("tbody tr").first).to_be_visible()
    return [row.locator("th, td:not(.drawn)").all_inner_texts() for row in table.locator("tbody tr").all()]


def many() -> Board:
    """Twelve versions of the app, one of them with a long name, and a user of whom none is known."""
    shown = Board(settings(), now_ms=lambda: moment(NOW))
    versions = [f"{version}.0" for version in range(1, 12) for _ in range(version)] + ["x" * 64] * 20
    views = [view(f"u{place}", NOW, app_version=version) for place, version in enumerate(versions)]
    shown.put(report(0, [*views, view("ann", NOW)]))
    shown.put(report(1, []))
    return shown


@pytest.mark.parametrize(
    ("title", "segment"),
    [("Platform", "platform"), ("Plan", "plan"), ("Country", "country"), ("App version", "app_version")],
)
def test_each_table_is_what_the_api_tells_with_shares_of_all(browser: Browser, title: str, segment: str) -> None:
    with Serving(crowd()) as serving:
        with urllib.request.urlopen(f"{serving.address}/api/v1/metrics", timeout=TIMEOUT_SECONDS) as answer:
            live = json.load(answer)["live"]
        with opened(browser, address(serving)) as page:
            found = rows(page, title)

    labels = {"window": "30d", "segment": segment}
    told = [one for one in live if one["name"] == METRIC and labels.items() <= one["labels"].items()]
    (users,) = (
        one["value"] for one in live if (one["name"], one["labels"]) == ("engagement_active_users", {"window": "30d"})
    )
    assert found == [
        [one["labels"]["value"], f"{100 * one['value'] / users:.1f}%", number(one["value"])] for one in told
    ]
    assert sum(one["value"] for one in told) == users


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_of_many_values_the_largest_have_a_row_and_the_others_a_line(browser: Browser, options: dict[str, Any]) -> None:
    with Serving(many()) as serving, opened(browser, address(serving), **options) as page:
        found = rows(page, "App version")
        about = page.locator("#segments .block", has=page.get_by_role("table", name="App version")).locator(".about")

        assert [value for value, _, _ in found] == ["x" * 64, *(f"{v}.0" for v in range(11, 4, -1)), "unknown"]
        expect(about).to_have_text("4 more: 4.0 4, 3.0 3, 2.0 2 and 1.0 1.")
        assert rows(page, "Plan") == [["unknown", "100.0%", "87"]]
        assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_tables_of_segments(browser: Browser, scheme: Any) -> None:
    with Serving(many()) as serving, opened(browser, address(serving), color_scheme=scheme) as page:
        rows(page, "App version")
        found = Axe().run(page)

        assert found.violations_count == 0, found.generate_report()


def test_a_deployment_that_counts_no_segments_shows_none(browser: Browser) -> None:
    shown = Board(settings(**{"segments.by": ""}), now_ms=lambda: moment(NOW))
    for told in many().reports:
        snapshot = with_sums(told.snapshot, "activity", segments={})  # as a worker with this setting tells it
        shown.put(msgspec.structs.replace(told, snapshot=snapshot, settings=shown.settings.shared))
    with Serving(shown) as serving, opened(browser, address(serving)) as page:
        expect(page.locator("#closed-segments")).to_contain_text("No closed day yet")
        expect(page.locator("#by-segment")).to_be_hidden()
