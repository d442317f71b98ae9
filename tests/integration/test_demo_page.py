"""The live page of the running demo: open while the history loads, all tabs full when it is loaded, and live then."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from stream.simulate.embedded_broker import EmbeddedBroker
from tests.browser import opened
from tests.timeouts import TIMEOUT_SECONDS

_ADDRESS = re.compile(r"watch it fill at (http://\S+)")
_TIMEOUT_MS = TIMEOUT_SECONDS * 1_000


@pytest.fixture
def demo(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[str]:
    """The address of the page of a demo, as it prints it."""
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "demo", "--users", "300", "--port", "0", "--scenario", "drop"],
            stdout=out,
            stderr=out,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    try:
        ends = time.monotonic() + TIMEOUT_SECONDS
        while (told := _ADDRESS.search(log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        yield told[1]
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=TIMEOUT_SECONDS)
    assert status == 0, log.read_text()


def users(address: str) -> str:
    """The daily active users of the API, as the page shows them."""
    with urllib.request.urlopen(
        f"{address}api/v1/metrics", timeout=TIMEOUT_SECONDS
    ) as answer:  # of this test's own demo
        live: list[dict[str, Any]] = json.load(answer)["live"]
    told = [s["value"] for s in live if (s["name"], s["labels"]) == ("engagement_active_users", {"window": "1d"})]
    return f"{told[0]:,}"


def agrees(page: Page, address: str) -> bool:
    """Whether page and API tell the same now; both go on meanwhile."""
    before = users(address)
    shown = page.locator(".value").first.inner_text()
    return shown in (before, users(address))


def test_the_page_of_the_demo_fills_goes_live_and_agrees_with_the_api(browser: Browser, demo: str) -> None:
    with opened(browser, demo) as page:
        expect(page.locator("#days-note")).to_contain_text("the first seen is", timeout=_TIMEOUT_MS)
        expect(page.locator(".value").filter(has_text="–")).to_have_count(0, timeout=_TIMEOUT_MS)
        expect(page.locator("#hours canvas")).to_have_count(1, timeout=_TIMEOUT_MS)
        expect(page.locator("#state")).to_have_attribute("data-state", "live", timeout=_TIMEOUT_MS)

        for title in ("Daily active users", "Weekly active users", "Monthly active users", "Stickiness"):
            expect(page.locator(f'[data-card="{title}"] .parts')).to_contain_text(", before ", timeout=_TIMEOUT_MS)
        fell = re.compile(r"^−\d+\.\d points vs ")
        expect(page.locator('[data-card="Stickiness"] .trend')).to_have_text(fell, timeout=_TIMEOUT_MS)
        assert any(agrees(page, demo) for _ in range(20))

        for tab in ("Days", "Retention", "Lifecycle", "Segments", "Customers"):
            page.get_by_role("link", name=tab, exact=True).click()
            shown = page.locator(f"#tab-{tab.lower()}")
            expect(shown.locator("canvas").first).to_be_visible(timeout=_TIMEOUT_MS)
            expect(shown.locator(".is-empty")).to_have_count(0)
            if tab == "Retention":
                expect(shown.locator("td[data-shade='7']")).not_to_have_count(0)
