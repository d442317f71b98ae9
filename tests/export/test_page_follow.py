"""How windows follow the stream: many by one connection, hidden ones by none, whatever the clock says."""

from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from tests.browser import opened
from tests.export.boards import WORLD, board, report, view
from tests.export.serving import Serving
from tests.export.test_page import LIVE, card, is_live
from tests.timeouts import TIMEOUT_SECONDS

expect.set_options(timeout=TIMEOUT_SECONDS * 1_000)

# What a browser says of a tab, for tests that hide and show it.
HIDEABLE = """
  let isHidden = %s;
  Object.defineProperty(document, "hidden", { get: () => isHidden });
  window.hide = (hidden) => { isHidden = hidden; document.dispatchEvent(new Event("visibilitychange")); };
"""
# All is loaded again after five minutes in any case.
SOON_MS = 240_000
ON_THE_CLOSED_DAY = "2026-03-09T11:59:30Z"
WITHOUT_SHARED_WORKERS = "delete window.SharedWorker"


def one_more_is_active(serving: Serving, at: str = "2026-03-10T11:59:30Z") -> None:
    told = report(1, [*WORLD[1], view("eve", at)])
    serving.change(lambda: serving.board.put(told))


def users(page: Page) -> Any:
    return card(page, "Daily active users").locator(".value")


def test_nine_windows_of_a_browser_are_all_live_by_one_connection(browser: Browser) -> None:
    with Serving(board()) as serving, opened(browser, serving.address) as first:
        pages = [first, *(first.context.new_page() for _ in range(8))]
        for page in pages[1:]:
            page.goto(serving.address)
        for page in pages:
            is_live(page)
            expect(users(page)).to_have_text("2")
        assert serving.listeners == 1

        one_more_is_active(serving)
        for page in pages:
            expect(users(page)).to_have_text("3")
        for page in pages[:8]:
            page.close()
        is_live(pages[8])
        assert serving.listeners == 1


@pytest.mark.parametrize("script", ["", WITHOUT_SHARED_WORKERS], ids=["shared", "alone"])
def test_a_tab_that_is_opened_in_the_background_waits_until_it_is_seen(browser: Browser, script: str) -> None:
    with Serving(board()) as serving, opened(browser, "about:blank") as page:
        page.add_init_script(HIDEABLE % "true")
        page.add_init_script(script)
        page.goto(serving.address)
        expect(page.get_by_role("status")).to_have_text("Paused nothing is read while nobody looks at this page")
        expect(users(page)).to_have_text("2")
        assert serving.listeners == 0
        assert page.title() == "Paused – Engagement"

        page.evaluate("hide(false)")
        is_live(page)
        assert serving.listeners == 1


@pytest.mark.parametrize("script", ["", WITHOUT_SHARED_WORKERS], ids=["shared", "alone"])
def test_a_hidden_tab_opens_no_connection_after_an_outage(browser: Browser, script: str) -> None:
    shown = board()
    with ExitStack() as pages:
        with Serving(shown) as serving:
            page = pages.enter_context(opened(browser, "about:blank", may_fail=True))
            page.add_init_script(HIDEABLE % "false")
            page.add_init_script(script)
            page.goto(serving.address)
            is_live(page)
            page.evaluate("hide(true)")
            expect(page.get_by_role("status")).to_have_text(LIVE)  # for a minute it goes on
        expect(page.get_by_role("status")).to_contain_text("Paused")

        with Serving(shown, port=serving.port) as again:
            page.wait_for_timeout(3_000)
            assert again.listeners == 0
            page.evaluate("hide(false)")
            is_live(page)
            pages.close()


def test_a_tab_that_stays_hidden_gives_its_place_away(browser: Browser) -> None:
    with Serving(board()) as serving, opened(browser, "about:blank") as page:
        page.clock.install()
        page.add_init_script(HIDEABLE % "false")
        page.goto(serving.address)
        is_live(page)
        page.evaluate("hide(true)")
        page.clock.fast_forward(61_000)
        expect(page.get_by_role("status")).to_contain_text("Paused")


def closed(page: Page) -> Any:
    return card(page, "Daily active users").locator(".parts")


def test_a_closed_day_that_changes_before_the_stream_begins_is_shown(browser: Browser) -> None:
    held: list[Route] = []
    with Serving(board()) as serving, opened(browser, "about:blank") as page:
        page.add_init_script(WITHOUT_SHARED_WORKERS)  # what a worker asks for can't be held
        page.route("**/api/v1/stream", lambda route: held.append(route))
        with page.expect_request("**/api/v1/stream"):
            page.goto(serving.address)
        expect(closed(page)).to_have_text("Mon 9 Mar: 1")

        one_more_is_active(serving, at=ON_THE_CLOSED_DAY)
        held[0].continue_()

        expect(closed(page)).to_have_text("Mon 9 Mar: 2", timeout=SOON_MS)


def test_a_closed_day_that_changes_while_all_days_are_on_their_way_is_shown(browser: Browser) -> None:
    held: list[tuple[Route, APIResponse]] = []
    with Serving(board()) as serving, opened(browser, "about:blank") as page:
        page.clock.install()
        page.route("**/api/v1/metrics*", lambda route: held.append((route, route.fetch())), times=1)
        page.goto(serving.address)
        is_live(page)

        one_more_is_active(serving, at=ON_THE_CLOSED_DAY)
        expect(card(page, "Monthly active users").locator(".value")).to_have_text("3")
        page.clock.fast_forward(11_000)  # the page loads at most every ten seconds, and does not ask twice at a time
        [(route, answer)] = held
        route.fulfill(response=answer)

        expect(closed(page)).to_have_text("Mon 9 Mar: 2", timeout=SOON_MS)


# The last message of the worker comes once more, as one does that was on its way when the window left.
HEARD_AGAIN = """
  const add = MessagePort.prototype.addEventListener;
  MessagePort.prototype.addEventListener = function (type, heard) {
    add.call(this, type, (event) => { window.hearAgain = () => heard(event); heard(event); });
  };
"""


def test_what_was_on_its_way_when_a_tab_left_does_not_make_it_live_again(browser: Browser) -> None:
    with Serving(board()) as serving, opened(browser, "about:blank") as page:
        page.clock.install()
        page.add_init_script(HIDEABLE % "false")
        page.add_init_script(HEARD_AGAIN)
        page.goto(serving.address)
        is_live(page)
        page.evaluate("hide(true)")
        page.wait_for_function("window.hearAgain !== undefined")
        page.clock.fast_forward(61_000)
        page.evaluate("hearAgain()")
        assert page.get_by_role("status").inner_text().startswith("Paused")
        page.evaluate("hide(false)")
        is_live(page)


SET_BACK = """
  const now = Date.now;
  window.setBack = () => { Date.now = () => now() - 3_600_000; };
"""


@pytest.mark.parametrize("script", ["", WITHOUT_SHARED_WORKERS], ids=["shared", "alone"])
def test_a_clock_that_is_set_back_hides_no_silence(browser: Browser, script: str) -> None:
    with Serving(board()) as serving, opened(browser, "about:blank", may_fail=True) as page:
        page.add_init_script(SET_BACK)
        page.add_init_script(script)
        page.goto(serving.address)
        is_live(page)
        page.evaluate("setBack()")
        with serving.frozen():
            expect(page.get_by_role("status")).to_contain_text("Not live since ")
        is_live(page)
