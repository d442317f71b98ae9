"""Chromium for the tests of the live page: the one that is installed, never one that is downloaded."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.timeouts import TIMEOUT_SECONDS

# The first is the same Chromium without windows, tabs and menus around the page, at which no test looks. It takes 0.8 s
# of CPU to show the live page, and the others take 2.1 s.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGE = "chromium-headless-shell"


class BrowserMissing(Exception):
    """There is no Chromium here. The text says how to get one."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window. Raises BrowserMissing."""
    path = os.environ.get("ENGAGEMENT_TEST_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise BrowserMissing(f"no Chromium here: apt-get install {_PACKAGE}, or name one with ENGAGEMENT_TEST_CHROMIUM")
    # Chromium's sandbox refuses to run as root, as whom CI mostly runs.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


# Whether something is painted on each chart that a selector finds. Pixels are read from a copy, for Chromium complains
# where those of a chart itself are read again and again.
PAINTED = """
  charts => [...document.querySelectorAll(charts)].every((canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte);
  })
"""


def wait_until(page: Page, expression: str, arg: Any = None) -> Any:
    """Wait until a JavaScript expression, or a function of `arg`, is true in a page; returns its value.

    Playwright's own `wait_for_function` evaluates text again in the page, which its Content Security Policy forbids.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (value := page.evaluate(expression, arg)):
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS} s: {expression}"
        page.wait_for_timeout(50)
    return value


@contextmanager
def opened(browser: Browser, address: str, *, may_fail: bool = False, **options: Any) -> Iterator[Page]:
    """A page in a profile of its own. Whatever its console complains of fails the test, unless the server is to go."""
    complaints: list[str] = []
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_SECONDS * 1_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if not may_fail:
            page.on("console", lambda it: complaints.append(it.text) if it.type in ("error", "warning") else None)
        page.goto(address)
        yield page
    assert complaints == [], complaints
