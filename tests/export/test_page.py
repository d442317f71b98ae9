"""The live page as people see it: in Chromium, from a real server with a real board."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.export.board import Board
from stream.telemetry import ClockReading, Unowned
from tests.browser import PAINTED, opened, wait_until
from tests.core.live import with_sums
from tests.export.boards import NOW, WORLD, board, change_hands, moment, report, view
from tests.export.crowds import crowd, later, of_millions
from tests.export.serving import Serving
from tests.timeouts import TIMEOUT_SECONDS

LIVE = "Live updated every second"
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
expect.set_options(timeout=TIMEOUT_SECONDS * 1_000)


@pytest.fixture(scope="module")
def crowded() -> Iterator[Serving]:
    """A server that shows a population of seven weeks. Tests share it and must not change it."""
    with Serving(crowd()) as serving:
        yield serving


def api(serving: Serving, path: str = "/api/v1/metrics?days=35") -> Any:
    with urllib.request.urlopen(
        f"{serving.address}{path}", timeout=TIMEOUT_SECONDS
    ) as answer:  # this test's own server
        return json.load(answer)


def value(samples: list[Any], name: str, **labels: str) -> float | None:
    return next((s["value"] for s in samples if (s["name"], s["labels"]) == (name, labels)), None)


def count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def share(number: float | None) -> str:
    return "–" if number is None else f"{100 * number:.1f}%"


def score(number: float | None) -> str:
    return "–" if number is None else f"{number:,.1f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if round(seconds) < 60 else f"{round(seconds) // 60} min {round(seconds) % 60} s"


def card(page: Page, title: str) -> Locator:
    return page.locator(f'[data-card="{title}"]')


def is_live(page: Page) -> None:
    expect(page.get_by_role("status")).to_have_text(LIVE)


def reasons(page: Page) -> Locator:
    """Why the numbers are not live, in the server's words."""
    return page.get_by_role("list", name="Why")


CARDS: list[tuple[str, Callable[[float | None], str], str, dict[str, str]]] = [
    ("Daily active users", count, "engagement_active_users", {"window": "1d"}),
    ("Weekly active users", count, "engagement_active_users", {"window": "7d"}),
    ("Monthly active users", count, "engagement_active_users", {"window": "30d"}),
    ("Stickiness", share, "engagement_stickiness_ratio", {"window": "30d"}),
    ("Session time", duration, "engagement_session_duration_seconds", {"window": "1d", "quantile": "0.5"}),
    ("Bounce", share, "engagement_bounce_ratio", {"window": "1d", "rule": "ga4"}),
    ("CSAT", share, "engagement_csat_ratio", {"window": "30d"}),
    ("NPS", score, "engagement_nps", {"window": "30d"}),
]


# -- the numbers -------------------------------------------------------------------------------------------------------


def test_each_headline_number_is_that_of_the_api_with_its_interval(browser: Browser, crowded: Serving) -> None:
    live = api(crowded)["live"]

    with opened(browser, crowded.address) as page:
        is_live(page)
        for title, shown, name, labels in CARDS:
            expect(card(page, title).locator(".value")).to_have_text(shown(value(live, name, **labels)))
            lower, upper = (value(live, f"{name}_{end}", **labels) for end in ("lower", "upper"))
            if lower is not None:
                told = f"95% interval {shown(lower).removesuffix('%')} to {shown(upper)}"
                expect(card(page, title).locator(".range")).to_have_text(told)


@pytest.mark.parametrize(
    ("panel", "place", "shown", "name", "labels"),
    [
        ("#sessions", 0, share, "engagement_bounce_ratio", {"rule": "ga4"}),
        ("#sessions", 1, share, "engagement_bounce_ratio", {"rule": "single_page"}),
        ("#surveys", 0, share, "engagement_csat_ratio", {}),
        ("#surveys", 1, score, "engagement_nps", {}),
        ("#surveys", 2, share, "engagement_ces_ratio", {}),
    ],
)
def test_each_row_of_a_panel_is_that_of_the_api_with_its_sample(
    browser: Browser,
    crowded: Serving,
    panel: str,
    place: int,
    shown: Callable[[float | None], str],
    name: str,
    labels: dict[str, str],
) -> None:
    samples = [s for s in api(crowded)["live"] if s["name"] == name and labels.items() <= s["labels"].items()]

    with opened(browser, crowded.address) as page:
        rows = page.locator(f"{panel} table.forest").nth(place).locator("tbody tr")
        is_live(page)
        known = [row for row in rows.all() if row.locator("td.wide").text_content() != "no data yet"]
        assert len(known) >= 4
        for row, sample in zip(known, samples, strict=True):
            window = sample["labels"]["window"]
            expect(row.locator("th")).to_have_text(f"{window[:-1]} {window[-1]}")
            expect(row.locator("b")).to_have_text(shown(sample["value"]))
            expect(row.locator("td").last).to_have_text(count(sample["sample_size"]))


def test_quantiles_and_views_are_those_of_the_api(browser: Browser, crowded: Serving) -> None:
    live = api(crowded)["live"]
    quantiles = [
        value(live, "engagement_session_duration_seconds", window="30d", quantile=share)
        for share in ("0.5", "0.75", "0.9", "0.95", "0.99")
    ]

    with opened(browser, crowded.address) as page:
        cells = page.get_by_role("table", name="Session time").locator("tbody tr").last.locator("td.number, td + td")
        expect(cells).to_have_text([f"{round(q or 0) // 60}:{round(q or 0) % 60:02}" for q in quantiles])
        views = page.get_by_role("row", name="Views per session").locator("td").last
        expect(views).to_have_text(score(value(live, "engagement_page_views_per_session", window="30d")))


def test_the_trend_is_that_of_the_same_closed_day_last_week(browser: Browser, crowded: Serving) -> None:
    closed = {one["day"]: one["samples"] for one in api(crowded)["closed"]}
    now, before = (value(closed[day], "engagement_active_users_closed", window="1d") for day in _MONDAYS)
    assert now is not None
    assert before is not None

    with opened(browser, crowded.address) as page:
        trend = f"{100 * (now / before - 1):+.1f}%".replace("-", "−")
        expect(card(page, "Daily active users").locator(".trend")).to_contain_text(f"{trend} vs Mon 2 Mar")
        told = f"Mon 9 Mar: {count(now)}, before {count(before)}"
        expect(card(page, "Daily active users").locator(".parts")).to_have_text(told)


_MONDAYS = ("2026-03-09", "2026-03-02")


def with_stickiness(share_of_day: float) -> Board:
    """The crowd, with this number of the month's users active on its last closed day.

    Nothing else is reported of that day's users, because their other sums, such as new users, are parts of the real
    number of active users. A day whose parts contradict the whole has no numbers. Users of features are parts too.
    """
    shown = crowd()
    for told in shown.reports:
        users = dict(told.snapshot.families["activity"].closed)
        last = told.snapshot.last_closed_day
        assert last is not None
        # Windows have a length; the other sums of that day are of first weeks and last activities.
        active = {length: fields.get(ACTIVE_USERS, 0) for length, fields in users[last].items() if length > 0}
        daily = round(share_of_day * active[30])
        users[last] = {
            length: {ACTIVE_USERS: daily if length == 1 else max(daily, active[length])} for length in active
        }
        snapshot = with_sums(told.snapshot, "activity", closed=users)
        shown.put(msgspec.structs.replace(told, snapshot=with_sums(snapshot, "features", closed={})))
    return shown


@pytest.mark.parametrize(
    ("share_of_day", "told"),
    [(0.05, "clear fall"), (0.8, "clear rise"), (0.3, "no clear change"), (0.2, "no clear change")],
)
def test_a_move_beyond_the_intervals_is_said_in_words(browser: Browser, share_of_day: float, told: str) -> None:
    with Serving(with_stickiness(share_of_day)) as serving, opened(browser, serving.address) as page:
        expect(card(page, "Stickiness").locator(".trend")).to_contain_text(told)
        expect(page.locator(".mark:visible")).to_have_count(0 if told == "no clear change" else 1)


def test_what_happens_is_on_the_page_without_a_reload(browser: Browser) -> None:
    shown = board()
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        expect(card(page, "Daily active users").locator(".value")).to_have_text("2")
        arrived = report(1, [*WORLD[1], view("eve", "2026-03-10T11:59:30Z")])
        serving.change(lambda: shown.put(arrived))

        expect(card(page, "Daily active users").locator(".value")).to_have_text("3")


def test_a_late_event_corrects_a_closed_day_on_the_page(browser: Browser) -> None:
    shown = board()
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        expect(card(page, "Daily active users").locator(".parts")).to_have_text("Mon 9 Mar: 1")
        arrived = report(1, [*WORLD[1], view("eve", "2026-03-09T11:59:30Z")])
        serving.change(lambda: shown.put(arrived))

        expect(card(page, "Daily active users").locator(".parts")).to_have_text("Mon 9 Mar: 2")


# -- what is not there -------------------------------------------------------------------------------------------------


def test_before_every_partition_has_reported_each_number_is_a_dash_and_none_is_0(browser: Browser) -> None:
    with Serving(board(partitions=(0,))) as serving, opened(browser, serving.address) as page:
        expect(page.get_by_role("status")).to_contain_text("Starting")
        expect(reasons(page)).to_contain_text("no report for 15s of partitions 1")
        expect(page.locator(".value")).to_have_text(["–"] * 8)
        expect(page.locator(".range")).to_have_text(["no data yet"] * 8)
        expect(page.locator("main td.number")).to_have_text(["–"] * page.locator("main td.number").count())


def test_what_is_undefined_is_a_dash_with_its_reason(browser: Browser) -> None:
    with Serving(board()) as serving, opened(browser, serving.address) as page:
        is_live(page)
        easy = page.get_by_role("table", name="CES")
        expect(easy.locator("tbody b")).to_have_text(["–"] * 5)
        expect(easy.locator("tbody td.wide")).to_have_text(["no data yet"] * 5)
        expect(card(page, "Monthly active users").locator(".trend")).to_have_text("no 30 days of closed days yet")
        expect(card(page, "CSAT").locator(".value")).to_have_text("50.0%")


def test_a_single_session_is_drawn_too(browser: Browser) -> None:
    shown = board()
    for number, events in ((0, [view("ann", "2026-03-10T11:00:00Z"), view("ann", "2026-03-10T11:04:00Z")]), (1, [])):
        shown.put(report(number, events))
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        rows = page.get_by_role("table", name="Session time").locator("tbody tr")
        expect(rows.nth(1).locator("td.number")).to_have_text(["4:00"] * 5)
        expect(rows.nth(1).locator("svg .dot")).to_have_attribute("d", "M50.00 9h0")


def test_lines_begin_where_their_windows_are_whole(browser: Browser, crowded: Serving) -> None:
    first = api(crowded)["first_day"]
    with opened(browser, crowded.address) as page:
        page.locator("#days summary").first.click()
        rows = page.get_by_role("region", name="Active users, as a table").locator("tbody tr")
        expect(rows).to_have_count(35)
        whole = [row.locator("td").last.inner_text() for row in rows.all()]

    assert first == "2026-01-24"
    assert len(whole) == 35
    assert all(text != "–" for text in whole[:15])  # from 23 February on, 30 days after the first
    assert whole[15:] == ["–"] * 20


# -- the state of the stream -------------------------------------------------------------------------------------------


def test_a_backlog_is_told_with_its_reasons(browser: Browser) -> None:
    with Serving(board(behind=("sessions",))) as serving, opened(browser, serving.address) as page:
        expect(page.get_by_role("status")).to_contain_text("Catching up")
        expect(reasons(page)).to_contain_text("partition 0 is still reading sessions")
        assert page.title() == "Catching up – Engagement"


def test_while_a_backlog_is_read_0_is_not_known_and_nothing_is_compared(browser: Browser) -> None:
    shown = board()
    for number in (0, 1):
        shown.put(report(number, [], behind=("sessions",)))
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        expect(page.get_by_role("status")).to_contain_text("Catching up")
        expect(page.locator(".value")).to_have_text(["–"] * 8)
        expect(page.locator("main td.number")).to_have_text(["–"] * page.locator("main td.number").count())

        serving.change(lambda: shown.put(report(0, WORLD[0], behind=("sessions",))))
        users = card(page, "Daily active users")
        expect(users.locator(".value")).to_have_text("1")
        expect(users.locator(".range")).to_have_text("read so far, last 24 hours")
        expect(users.locator(".trend")).to_have_text("compared when the backlog is read")

        for number in (0, 1):
            serving.change(lambda number=number: shown.put(report(number, [])))  # type: ignore[misc]
        is_live(page)
        expect(users.locator(".value")).to_have_text("0")


def test_partitions_that_change_hands_again_and_again_are_named(browser: Browser) -> None:
    shown = board()
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        serving.change(lambda: change_hands(shown, times=7))

        expect(page.get_by_role("status")).to_contain_text("Rebalancing partitions change hands again and again")
        told = "taken over 7 times in the last 30 s, though no worker came or left; last by worker-1"
        expect(reasons(page)).to_have_text(f"partitions 0, 1 change hands again and again: {told}")
        assert page.title() == "Rebalancing – Engagement"


def test_a_wrong_clock_is_told_on_a_page_that_stays_live(browser: Browser) -> None:
    shown = crowd()
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        for skew_seconds in (3_000.0, 0.0):
            serving.change(
                lambda skew=skew_seconds: shown.put(ClockReading("ada", moment(NOW), 1, skew_seconds=skew))  # type: ignore[misc]
            )
            note = "the clock of worker ada is 50 min ahead of the brokers' time, by which numbers go"
            expect(reasons(page)).to_have_text(note if skew_seconds else "")
            is_live(page)
            expect(page.locator("body")).to_have_attribute("data-trusted", "yes")


def test_a_partition_counted_by_a_clock_ahead_makes_the_page_say_that_it_stands_still(browser: Browser) -> None:
    shown = board()
    told = shown.reports[0]
    snapshot = msgspec.structs.replace(told.snapshot, now_ms=moment("2026-03-10T12:50:00Z"))
    shown.put(msgspec.structs.replace(told, snapshot=snapshot))
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        expect(page.get_by_role("status")).to_contain_text("Standing still")
        expect(reasons(page)).to_contain_text("its numbers stand still until 2026-03-10T12:50:00Z")


def test_a_silent_worker_makes_the_page_stale_and_a_report_makes_it_live_again(browser: Browser) -> None:
    now = [NOW]
    shown = crowd(now=lambda: now[0])
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        now[0] = "2026-03-10T12:00:16Z"
        expect(page.get_by_role("status")).to_contain_text("Stale")
        expect(reasons(page)).to_contain_text("no report for 15s of partitions 0, 1")
        expect(page.locator("body")).to_have_attribute("data-trusted", "no")

        for told in shown.reports:
            serving.change(lambda told=told: shown.put(later(told, 16_000)))  # type: ignore[misc]
        is_live(page)


def test_a_recovery_is_told_with_the_time_it_will_take(browser: Browser) -> None:
    shown = board()
    left = Unowned(1, "worker-2", moment(NOW), "worker-2 reads its state back", rows_left=1_200, seconds_left=42.0)
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        serving.change(lambda: shown.put(left))
        expect(page.get_by_role("status")).to_contain_text("Recovering state is being read back, about 50 s left")
        expect(reasons(page)).to_contain_text("worker-2 reads its state back, 1,200 records to go, about 42 s")
        expect(card(page, "Daily active users").locator(".value")).to_have_text("2")
        expect(card(page, "Daily active users").locator(".range")).to_have_text("not live, last 24 hours")


def test_settings_that_differ_are_told(browser: Browser) -> None:
    shown = board()
    shown.put(msgspec.structs.replace(shown.reports[0], settings={"timezone": "Asia/Tokyo"}))
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        expect(reasons(page)).to_contain_text("timezone is UTC here and Asia/Tokyo at worker worker-1")


def test_a_page_that_is_cut_off_says_since_when_and_comes_back(browser: Browser) -> None:
    shown = board()
    with ExitStack() as pages:
        with Serving(shown) as serving:
            page = pages.enter_context(opened(browser, serving.address, may_fail=True))
            is_live(page)
        expect(page.get_by_role("status")).to_contain_text("Not live since ")
        expect(card(page, "Daily active users").locator(".value")).to_have_text("2")

        shown.put(report(1, [*WORLD[1], view("eve", "2026-03-10T11:59:30Z")]))
        with Serving(shown, port=serving.port):
            is_live(page)
            expect(card(page, "Daily active users").locator(".value")).to_have_text("3")
            pages.close()


def test_a_page_for_which_there_is_no_room_still_has_numbers_and_says_that_they_are_not_live(browser: Browser) -> None:
    with Serving(board()) as serving, ExitStack() as stack:
        for _ in range(64):
            stream = urllib.request.urlopen(
                f"{serving.address}/api/v1/stream", timeout=TIMEOUT_SECONDS
            )  # this test's own server
            stack.enter_context(stream)
        with opened(browser, serving.address, may_fail=True) as page:
            expect(page.get_by_role("status")).to_contain_text("Not live since ")
            expect(card(page, "Daily active users").locator(".value")).to_have_text("2")


# -- charts ------------------------------------------------------------------------------------------------------------


def test_charts_of_closed_days_are_drawn_and_can_be_read_as_tables(browser: Browser, crowded: Serving) -> None:
    closed = api(crowded)["closed"]
    with opened(browser, crowded.address) as page:
        expect(page.locator("#days canvas")).to_have_count(2)
        wait_until(page, PAINTED, "#days canvas")
        expect(page.locator("#days .plot").first).to_have_attribute("role", "img")
        assert "DAU: last" in str(page.locator("#days .plot").first.get_attribute("aria-label"))

        page.locator("#days summary").first.click()
        newest = page.get_by_role("region", name="Active users, as a table").locator("tbody tr").first
        windows = ("1d", "7d", "30d")
        told = [value(closed[-1]["samples"], "engagement_active_users_closed", window=window) for window in windows]
        expect(newest.locator("th")).to_have_text("Mon 9 Mar")
        expect(newest.locator("td")).to_have_text([count(number) for number in told])


def test_the_last_hours_fill_while_the_server_watches(browser: Browser) -> None:
    now = [moment(NOW)]
    shown = crowd()
    shown.now_ms = lambda: now[0]
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        is_live(page)
        reports = shown.reports
        while page.locator("#hours canvas").count() == 0:
            now[0] += 1_000

            def report_again() -> None:
                for told in reports:
                    shown.put(later(told, now[0] - moment(NOW)))

            serving.change(report_again)
            page.wait_for_timeout(100)

        expect(page.locator("#hours-note")).to_contain_text("Watching since 12:00")
        expect(page.locator("#hours canvas")).to_have_count(1)
        wait_until(page, PAINTED, "#hours canvas")


# -- for everybody -----------------------------------------------------------------------------------------------------


def violations(page: Page) -> list[str]:
    """What axe finds wrong, best practices too."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing(browser: Browser, crowded: Serving, options: dict[str, Any]) -> None:
    with opened(browser, crowded.address, bypass_csp=True, **options) as page:
        is_live(page)
        for summary in page.locator("#days summary").all():
            summary.click()
        page.locator(".term").first.focus()

        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_is_not_live(browser: Browser, scheme: str) -> None:
    for shown in (board(partitions=(0,)), board(now="2026-03-10T12:00:16Z"), board(behind=("logins",))):
        with Serving(shown) as serving, opened(browser, serving.address, color_scheme=scheme, bypass_csp=True) as page:
            expect(page.locator("body")).to_have_attribute("data-trusted", "no")

            assert violations(page) == []


def test_dark_is_dark_and_light_is_light(browser: Browser, crowded: Serving) -> None:
    backgrounds = {}
    for scheme in ("light", "dark"):
        with opened(browser, crowded.address, color_scheme=scheme) as page:
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            backgrounds[scheme] = sum(map(int, background.removeprefix("rgb(").rstrip(")").split(", "))) / 3

    assert backgrounds["dark"] < 40
    assert backgrounds["light"] > 220


@pytest.mark.parametrize("options", [PHONE, {"viewport": {"width": 320, "height": 600}}], ids=["360", "320"])
@pytest.mark.parametrize("make", [crowd, lambda: of_millions(crowd())], ids=["hundreds", "hundreds of millions"])
def test_nothing_has_to_be_scrolled_sideways(
    browser: Browser, options: dict[str, Any], make: Callable[[], Board]
) -> None:
    with Serving(make()) as serving, opened(browser, serving.address, **options) as page:
        is_live(page)
        expect(page.locator("#days canvas")).to_have_count(2)

        assert page.evaluate("document.documentElement.scrollWidth") == options["viewport"]["width"]


_TOO_WIDE = """() => [...document.querySelectorAll("body, table, figure, .card, .block, h1, h2, h3")]
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`)"""


@pytest.mark.parametrize("percent", [150, 200])
@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_with_larger_text_nothing_is_wider_than_the_window(
    browser: Browser, crowded: Serving, width: int, percent: int
) -> None:
    with opened(browser, crowded.address, viewport={"width": width, "height": 800}) as page:
        is_live(page)
        page.evaluate(f"document.documentElement.style.fontSize = '{percent}%'")
        expect(page.locator("#sessions table.forest").first).to_be_visible()
        wait_until(page, f"({_TOO_WIDE})().length === 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_cuts_no_card_and_no_chart_and_leaves_none_wider_than_the_paper(
    browser: Browser, crowded: Serving
) -> None:
    with opened(browser, crowded.address, viewport={"width": 1280, "height": 800}) as page:
        is_live(page)
        expect(page.locator("#days canvas")).to_have_count(2)
        page.emulate_media(media="print")
        cut = page.locator(".card, figure, .block").evaluate_all(
            "them => them.filter((one) => getComputedStyle(one).breakInside !== 'avoid').length"
        )
        alone = page.locator(".heading, h3, .title").evaluate_all(
            "them => them.filter((one) => getComputedStyle(one).breakAfter !== 'avoid').length"
        )
        paper = page.pdf(format="A4")

    assert (cut, alone) == (0, 0)
    assert 3 <= paper.count(b"/Type /Page\n") <= 8


def test_the_keyboard_reaches_every_definition_and_escape_closes_it(browser: Browser, crowded: Serving) -> None:
    told_of = {one["name"]: one for one in api(crowded, "/api/v1/definitions")}
    definitions = {name: one["definition"] for name, one in told_of.items()}
    with opened(browser, crowded.address) as page:
        is_live(page)
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to the numbers")
        reached: list[str] = []
        for _ in range(100):
            page.keyboard.press("Tab")
            metric = page.evaluate("document.activeElement.dataset.metric ?? null")
            if metric is not None:
                expect(page.locator("#definition")).to_contain_text(definitions[metric])
                told = page.evaluate(
                    "document.getElementById(document.activeElement.getAttribute('aria-describedby')).textContent"
                )
                assert told.startswith(definitions[metric])
                sample = told_of[metric]["sample"]
                assert told_of[metric]["window"]["text"] in told
                assert (sample["text"] if sample else "") in told
                page.keyboard.press("Escape")
                expect(page.locator("#definition")).to_be_hidden()
                reached.append(metric)
            if page.evaluate("document.activeElement === document.body"):
                break

        assert len(reached) == page.locator(".term:visible").count()
        assert {name for _, _, name, _ in CARDS} <= set(reached)


def test_a_definition_is_told_on_hover_and_stays_while_it_is_read(browser: Browser, crowded: Serving) -> None:
    with opened(browser, crowded.address) as page:
        is_live(page)
        card(page, "NPS").locator(".term").hover()
        expect(page.locator("#definition")).to_contain_text("Net Promoter Score")
        page.locator("#definition").hover()
        page.wait_for_timeout(500)
        expect(page.locator("#definition")).to_be_visible()

        page.locator("footer p").hover()
        expect(page.locator("#definition")).to_be_hidden()


def test_a_tap_tells_a_definition_within_the_screen(browser: Browser, crowded: Serving) -> None:
    with opened(browser, crowded.address, **PHONE) as page:
        is_live(page)
        card(page, "Stickiness").locator(".term").tap()
        expect(page.locator("#definition")).to_contain_text("DAU/MAU")
        box = page.locator("#definition").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360

        page.locator("h1").tap()
        expect(page.locator("#definition")).to_be_hidden()


def test_who_wants_no_motion_gets_none(browser: Browser, crowded: Serving) -> None:
    with opened(browser, crowded.address, reduced_motion="reduce") as page:
        is_live(page)

        assert page.evaluate("document.getAnimations().length") == 0
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_the_page_has_landmarks_and_one_heading_a_section(browser: Browser, crowded: Serving) -> None:
    with opened(browser, crowded.address) as page:
        expect(page.get_by_role("banner")).to_have_count(1)
        expect(page.get_by_role("main")).to_have_count(1)
        expect(page.get_by_role("contentinfo")).to_have_count(1)
        titles = [
            "Headline numbers",
            "Closed days",
            "Last hours",
            "Sessions",
            "Surveys",
            "Stream",
        ]
        expect(page.get_by_role("heading", level=2)).to_have_text(titles)
        for title in titles:
            expect(page.get_by_role("region", name=title, exact=True)).to_have_count(1)


def test_nobody_else_is_asked_for_anything(browser: Browser, crowded: Serving) -> None:
    asked: list[str] = []
    with opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(crowded.address)
        is_live(page)

    assert asked
    assert [url for url in asked if not url.startswith(f"{crowded.address}/")] == []
