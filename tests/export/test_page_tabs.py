"""The tabs of closed days on the live page, in Chromium, from a real server with a real board."""

import json
import re
import urllib.request
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from stream.core.catalogue import CATALOGUE
from stream.core.metrics import is_by_segment, is_closed
from stream.core.time import DAY_MS
from stream.export.board import Board
from stream.simulate.subscriptions import STEPS
from tests.browser import PAINTED, opened, wait_until
from tests.export import test_closed_api, test_cohorts_api
from tests.export.boards import NOW, board, moment, report, settings
from tests.export.crowds import crowd, of_millions
from tests.export.serving import Serving
from tests.export.test_closed_days import login, partition, put, report_of, told_of
from tests.further_kinds import WEIGHTS
from tests.timeouts import TIMEOUT_SECONDS

TABS = (
    *("Now", "Days", "Retention", "Lifecycle", "Segments"),
    *("Customers", "Support", "Adoption", "Voice", "Health", "Dimensions"),
)
# Those with numbers of now, which are shown before a day has closed.
LIVE_TABS = ("Support", "Adoption", "Voice", "Dimensions")
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
# Returns the colours of the states, and those of the newest bar from top to bottom; undefined until it is painted.
_BAR = """(canvas) => {
  const { width, height } = canvas;
  const canvasOf = (width, height) => new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const pixels = (context, x, height) => {
    const { data } = context.getImageData(x, 0, 1, height);
    return Array.from({ length: height }, (_, y) => data.slice(4 * y, 4 * y + 4).join());
  };
  const probe = canvasOf(1, 1);
  const colours = ["new", "resurrected", "returning", "dormant"].map((name) => {
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    probe.fillRect(0, 0, 1, 1);
    return pixels(probe, 0, 1)[0];
  });
  const copy = canvasOf(width, height);
  copy.drawImage(canvas, 0, 0);
  for (let x = width - 1; x >= 0; x -= 4) {
    const column = pixels(copy, x, height);
    if (colours.every((colour) => column.includes(colour))) return [colours, column];
  }
}"""
expect.set_options(timeout=TIMEOUT_SECONDS * 1_000)


@pytest.fixture(scope="module")
def crowded() -> Iterator[Serving]:
    """A server that shows a population of seven weeks. Tests share it and must not change it."""
    with Serving(crowd()) as serving:
        yield serving


@pytest.fixture(scope="module")
def many() -> Iterator[Serving]:
    """The same with five thousand times as many users, so that changes are clear and amounts are long."""
    with Serving(of_millions(crowd(), 5_000)) as serving:
        yield serving


@pytest.fixture(scope="module")
def cohorts() -> Iterator[Serving]:
    """A server that shows three weeks of four users."""
    with Serving(test_cohorts_api.shown()) as serving:
        yield serving


@pytest.fixture(scope="module")
def corrected() -> Iterator[Serving]:
    """A server that shows six days, of which late events have corrected two."""
    with Serving(test_closed_api.shown()) as serving:
        yield serving


def api(serving: Serving, path: str) -> Any:
    with urllib.request.urlopen(f"{serving.address}/api/v1/{path}", timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)


def closed(serving: Serving, metric: str, **labels: str) -> dict[str, float]:
    """A number by day."""
    days = api(serving, f"closed?metric=engagement_{metric}")["days"]
    return {
        day["day"]: sample["value"]
        for day in days
        for sample in day["samples"]
        if (sample["name"], sample["labels"]) == (f"engagement_{metric}", labels)
    }


def row(page: Page, day: str) -> Locator:
    """The row of a day in the table of the tab Days."""
    return page.get_by_role("table", name="Days").get_by_role("row").filter(has=page.get_by_role("rowheader", name=day))


def choice(page: Page, name: str) -> Locator:
    return page.get_by_role("combobox", name=name, exact=True)


def share(number: float) -> str:
    """As a browser rounds: 31.25 % is 31.3 %, where Python says 31.2 %."""
    return f"{Decimal(100 * number).quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


# -- tabs --------------------------------------------------------------------------------------------------------------


def test_each_tab_loads_what_it_shows_when_it_is_shown(browser: Browser, crowded: Serving) -> None:
    asked: list[str] = []
    with opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url.partition("/api/v1/")[2]))
        page.goto(crowded.address)
        expect(page.locator("#days canvas")).to_have_count(2)
        assert not any(url.startswith(("closed", "cohorts")) for url in asked)
        for tab, metrics in {
            "Days": {"closed?metric=engagement_active_users_closed"},
            "Retention": {"cohorts?"},
            "Lifecycle": {
                f"closed?metric=engagement_{name}"
                for name in (
                    "lifecycle_users_closed",
                    "quick_closed_ratio",
                    "return_closed_ratio",
                    "inactivity_churn_closed_ratio",
                )
            },
            "Segments": {"closed?metric=engagement_segment_active_users_closed"},
            "Customers": {
                f"closed?metric=engagement_{name}"
                for name in (
                    *("subscribers_closed", "customer_churn_closed_ratio", "first_week_onboarded_closed_ratio"),
                    *("onboarding_step_users_closed", "revenue_closed", "revenue_per_customer_closed"),
                    *("average_order_value_closed", "repeat_purchase_closed_ratio"),
                    *("ltv_simple_closed", "ltv_historic_closed"),
                )
            },
            "Support": {
                f"closed?metric=engagement_{name}" for name in ("first_reply_closed_seconds", "resolved_closed_ratio")
            },
            "Adoption": {
                f"closed?metric=engagement_{name}"
                for name in ("product_adoption_score_closed", "feature_adoption_closed_ratio")
            },
            "Voice": {
                f"closed?metric=engagement_{name}"
                for name in ("review_positive_closed_ratio", "review_stars_mean_closed")
            },
        }.items():
            asked.clear()
            page.get_by_role("link", name=tab, exact=True).click()
            expect(page.locator(f"#tab-{tab.lower()} canvas").first).to_be_visible()
            assert {url.partition("&")[0] for url in asked if url.startswith("closed")} | {
                "cohorts?" for url in asked if url.startswith("cohorts")
            } == metrics
            expect(page.locator("main > div:visible")).to_have_count(1)
            expect(page.locator("#tabs [aria-current=page]")).to_have_text(tab)


def test_a_tab_that_is_opened_by_its_address_loads_nothing_of_the_others_until_they_are_shown(
    browser: Browser, crowded: Serving
) -> None:
    asked: list[str] = []
    with opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{crowded.address}/#tab=retention")
        expect(page.locator("#retention canvas")).to_be_visible()
        assert not any("days=35" in url or url.endswith("/history") for url in asked)

        page.get_by_role("link", name="Now", exact=True).click()
        expect(page.locator("#days canvas")).to_have_count(2)
        expect(page.locator('[data-card="Daily active users"] .parts')).to_contain_text(", before ")


def test_the_address_keeps_what_is_chosen_and_back_goes_back(browser: Browser, crowded: Serving) -> None:
    with opened(browser, f"{crowded.address}/#tab=days") as page:
        choice(page, "Number").select_option(label="NPS")
        expect(page.get_by_role("heading", name="NPS")).to_be_visible()
        assert "metric=engagement_nps_closed" in page.url
        page.get_by_role("link", name="Lifecycle").click()
        expect(page.locator("#lifecycle canvas").first).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="NPS")).to_be_visible()
        page.get_by_role("link", name="Now", exact=True).click()
        page.get_by_role("link", name="Days", exact=True).click()  # as it was left
        expect(page.get_by_role("heading", name="NPS")).to_be_visible()
        page.reload()
        expect(choice(page, "Number")).to_have_value("engagement_nps_closed")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("tab=days&metric=engagement_sessions", "metric: 'engagement_sessions' is no number of closed days"),
        ("tab=days&from=yesterday", "yesterday is no day such as 2026-11-21"),
        ("tab=retention&mode=ever", "mode: 'ever' is none of exact, on_or_after, weekly"),
        ("tab=lifecycle&span=0", "0 days before 2026-03-09 is no day"),
        ("tab=segments&segment=city", "segment: 'city' is none of platform, plan, country, app_version"),
    ],
)
def test_an_address_that_asks_for_something_unknown_is_answered_in_words(
    browser: Browser, crowded: Serving, asked: str, told: str
) -> None:
    with opened(browser, f"{crowded.address}/#{asked}", may_fail=True) as page:
        expect(page.get_by_role("alert")).to_contain_text(told)


def test_before_a_day_has_closed_each_tab_says_so(browser: Browser) -> None:
    shown = Board(settings(), now_ms=lambda: moment(NOW))
    with Serving(shown) as serving, opened(browser, serving.address) as page:
        for tab in TABS[1:]:
            if tab in LIVE_TABS:
                continue
            page.get_by_role("link", name=tab).click()
            expect(page.locator(f"#tab-{tab.lower()} .empty:visible").first).to_contain_text("No closed day yet")


# -- days --------------------------------------------------------------------------------------------------------------


def test_any_closed_number_is_shown_over_any_days_beside_the_same_weekday_of_the_week_before(
    browser: Browser, crowded: Serving
) -> None:
    told = closed(crowded, "sessions_closed", window="7d")
    with opened(browser, f"{crowded.address}/#tab=days") as page:
        choice(page, "Number").select_option("engagement_sessions_closed")
        choice(page, "Window").select_option("7d")
        page.get_by_label("From", exact=True).fill("2026-03-01")
        page.get_by_label("From", exact=True).blur()
        page.get_by_label("To", exact=True).fill("2026-03-05")
        page.get_by_label("To", exact=True).blur()
        rows = page.get_by_role("table", name="Days").locator("tbody tr")
        expect(rows).to_have_count(5)
        now, before = told["2026-03-05"], told["2026-02-26"]
        change = f"{100 * (now / before - 1):+.1f}%".replace("-", "−").replace("+0.0", "±0.0")
        expect(rows.first.locator("th, td")).to_have_text(
            ["Thu 5 Mar", f"{now:,.0f}", f"{before:,.0f}", change, "may still change"], use_inner_text=True
        )
        wait_until(page, PAINTED, "#any-days canvas")

        names = choice(page, "Number").locator("option").evaluate_all("them => them.map((one) => one.value)")
        every = {metric.name for metric in CATALOGUE if is_closed(metric.name)}
        assert set(names) == {name for name in every if not is_by_segment(name)}


def test_the_last_day_can_be_chosen_before_the_first_one_is_shown(browser: Browser, crowded: Serving) -> None:
    with opened(browser, f"{crowded.address}/#tab=days") as page:
        expect(page.get_by_role("table", name="Days")).to_be_visible()
        page.route("**/api/v1/closed*", lambda route: None)  # as long as it is routed nothing is answered
        for label, day in (("From", "2026-03-01"), ("To", "2026-03-05")):
            page.get_by_label(label, exact=True).fill(day)
            page.get_by_label(label, exact=True).blur()
        page.unroute("**/api/v1/closed*")

        expect(page.get_by_role("table", name="Days").locator("tbody tr")).to_have_count(5)


def test_one_weekday_can_be_chosen_and_a_ratio_has_its_interval(browser: Browser, crowded: Serving) -> None:
    name = "stickiness_closed_ratio"
    told = closed(crowded, name, window="30d")
    days = api(crowded, f"closed?metric=engagement_{name}&from=2026-03-09")["days"][0]["samples"]
    lower, upper = (
        next(s["value"] for s in days if (s["name"], s["labels"]) == (f"engagement_{name}_{end}", {"window": "30d"}))
        for end in ("lower", "upper")
    )
    with opened(browser, f"{crowded.address}/#tab=days&metric=engagement_{name}") as page:
        expect(choice(page, "Window")).to_have_value("30d")
        choice(page, "Weekday").select_option("Mondays")
        rows = page.get_by_role("table", name="Days").locator("tbody tr")
        mondays = ["Mon 9 Mar", "Mon 2 Mar", "Mon 23 Feb", "Mon 16 Feb", "Mon 9 Feb"]
        expect(rows.locator("th")).to_have_text(mondays, use_inner_text=True)
        interval = f"{100 * lower:.1f} to {share(upper)}"
        expect(rows.first.locator("td").nth(0)).to_have_text(share(told["2026-03-09"]), use_inner_text=True)
        expect(rows.first.locator("td").nth(1)).to_have_text(interval)
        # Of the first day only a part is known: no window that holds it is shown.
        expect(rows.last.locator("td").first).to_have_text("–")


@pytest.mark.parametrize("metric", ["stickiness_closed_ratio", "return_closed_ratio", "revenue_closed"])
def test_a_phone_shows_of_each_day_what_a_desk_shows(browser: Browser, many: Serving, metric: str) -> None:
    """The state stands below the day, the interval below the value, and the week before below the change."""

    def shown(page: Page) -> list[list[str]]:
        rows = page.get_by_role("table", name="Days").locator("tbody tr")
        expect(rows.nth(20)).to_be_visible()
        return [one.locator("th:visible, td:visible").all_inner_texts() for one in rows.all()]

    address = f"{many.address}/#tab=days&metric=engagement_{metric}"
    with opened(browser, address) as page:
        desk = shown(page)
    with opened(browser, address, **PHONE) as page:
        phone = shown(page)
        region = page.get_by_role("region", name="The same days as a table")
        assert region.evaluate("region => region.scrollWidth <= region.clientWidth"), "all columns fit"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page does not scroll sideways"

    assert len(desk) == len(phone)
    for (day, value, *interval, before, change, state), cells in zip(desk, phone, strict=True):
        assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells] == [
            f"{day}\n{state}",
            "\n".join([value, *(one for one in interval if one != "–")]).replace("\N{NO-BREAK SPACE}", " "),
            change if before == "–" else f"{change}\nfrom {before}".replace("\N{NO-BREAK SPACE}", " "),
        ]
    assert {before == "–" for *_, before, _, _ in desk} == {True, False}
    assert any("clear" in change for *_, change, _ in desk) == metric.endswith("_ratio")


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_days_that_late_events_have_corrected_are_marked(
    browser: Browser, corrected: Serving, options: dict[str, Any]
) -> None:
    with opened(browser, f"{corrected.address}/#tab=days", **options) as page:
        told = "corrected once, last Tue 10 Mar 2026, 13:00"
        for day in ("Sun 8 Mar", "Mon 9 Mar"):
            expect(row(page, day)).to_have_class("corrected")
            expect(row(page, day).get_by_text(f"{told}; may still change").locator("visible=true")).to_have_count(1)
        for day, state in (("Sat 7 Mar", "may still change"), ("Fri 6 Mar", "final")):
            expect(row(page, day).get_by_text(state, exact=True).locator("visible=true")).to_have_count(1)
        expect(page.locator("tr.corrected")).to_have_count(2)
        region = page.get_by_role("region", name="The same days as a table")
        assert region.evaluate("region => region.scrollWidth <= region.clientWidth"), "all columns fit"
        expect(page.locator("#any-days .legend")).to_contain_text("corrected2")


def test_a_correction_comes_without_a_reload(browser: Browser) -> None:
    shown = Board(settings(), now_ms=lambda: moment(NOW))
    one = partition("ann")
    put(shown, 0, told_of(one))
    shown.put(report_of(0, one))
    other = partition("bob")
    put(shown, 1, told_of(other))
    shown.put(report_of(1, other))
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab=days") as page:
        expect(row(page, "Sun 8 Mar").locator("td").first).to_have_text("2")
        one.tick(moment(NOW) + DAY_MS // 24, behind=())
        login(one, "eve", ago=2)
        late = told_of(one)
        serving.change(lambda: put(shown, 0, late))
        expect(row(page, "Sun 8 Mar").locator("td").first).to_have_text("3")
        expect(row(page, "Sun 8 Mar")).to_have_class("corrected")


# -- retention ---------------------------------------------------------------------------------------------------------


def heat(page: Page) -> list[list[str]]:
    """The rows of the heat map: name, users, and what is in the cells."""
    grid = page.get_by_role("grid")
    expect(grid).to_be_visible()
    return [one.locator("th, td").all_inner_texts() for one in grid.locator("tbody tr").all()]


def test_the_triangle_is_that_of_the_api_and_days_that_are_not_over_are_empty(
    browser: Browser, cohorts: Serving
) -> None:
    told = api(cohorts, "cohorts?mode=exact&by=day&from=2026-02-17&to=2026-03-09")["cohorts"]
    with opened(browser, f"{cohorts.address}/#tab=retention&mode=exact&by=day") as page:
        found = heat(page)

    ages = range(1, len(found[0]) - 1)
    assert [texts[1] for texts in found] == [str(one["users"]) for one in told]
    for texts, one in zip(found, told, strict=True):
        for age, text in zip(ages, texts[2:], strict=True):
            count, users = one["cells"][age], one["users"]
            assert text == ("" if count is None else "–" if not users else f"{100 * count / users:.0f}")
    assert any("" in texts for texts in found)
    assert any("–" in texts for texts in found)


def test_each_cell_shows_its_counts_on_hover_and_by_keyboard(browser: Browser, cohorts: Serving) -> None:
    told = "Tue 24 Feb, day {}: {} of 2 users, {}%, 95% interval {}%"
    with opened(browser, f"{cohorts.address}/#tab=retention&mode=exact&by=day") as page:
        cell = page.get_by_role("gridcell", name="Tue 24 Feb, day 3:")
        cell.hover()
        box = page.locator("#definition")
        expect(box).to_have_text(told.format(3, 1, "50.0", "9.5 to 90.5"))
        page.locator("h1").hover()
        expect(box).to_be_hidden()

        cell.focus()
        expect(box).to_have_text(told.format(3, 1, "50.0", "9.5 to 90.5"))
        for key, day in (("ArrowRight", 4), ("End", 13), ("Home", 1), ("ArrowLeft", 1)):
            page.keyboard.press(key)
            expect(page.locator(":focus")).to_have_accessible_name(re.compile(rf"Tue 24 Feb, day {day}:"))
        page.keyboard.press("ArrowDown")
        expect(page.locator(":focus")).to_have_accessible_name("Wed 25 Feb, day 1: 0 of 0 users")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("End")
        page.keyboard.press("ArrowDown")  # there the younger cohort has none
        expect(page.locator(":focus")).to_have_accessible_name(re.compile("Tue 24 Feb, day 13: 0 of 2 users"))
        expect(page.locator("[role=grid] [tabindex='0']")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(box).to_be_hidden()


def test_the_curve_of_all_pools_those_that_have_reached_its_last_day_so_that_it_never_rises(
    browser: Browser, cohorts: Serving
) -> None:
    told = api(cohorts, "cohorts?mode=on_or_after&by=day&from=2026-02-17&to=2026-03-09")["cohorts"]
    with opened(browser, f"{cohorts.address}/#tab=retention&by=day") as page:
        choice(page, "Beside all cohorts").select_option("2026-02-24")
        expect(page.locator("#retention .legend")).to_contain_text("Tue 24 Feb")
        page.locator("#retention summary").click()
        cells = page.get_by_role("region", name="Retention curves, as a table").locator("tbody tr")
        expect(cells.last.locator("th")).to_have_text("day 0")
        expect(cells.first.locator("th")).to_have_text("day 7")
        found = {one.locator("th").inner_text(): one.locator("td").all_inner_texts() for one in cells.all()}

    reached = [one for one in told if one["cells"][7] is not None]
    for age in range(8):
        pooled = sum(one["cells"][age] for one in reached) / sum(one["users"] for one in reached)
        own = next(one for one in told if one["from"] == "2026-02-24")
        assert found[f"day {age}"] == [share(pooled), share(own["cells"][age] / own["users"])]


# -- lifecycle and segments --------------------------------------------------------------------------------------------


def test_the_lifecycle_is_stacked_with_the_dormant_below_zero(browser: Browser, crowded: Serving) -> None:
    told = [
        closed(crowded, "lifecycle_users_closed", window="7d", state=state)["2026-03-09"]
        for state in ("new", "resurrected", "returning", "dormant")
    ]
    ratios = [
        closed(crowded, f"{name}_closed_ratio", window="7d")["2026-03-09"]
        for name in ("quick", "return", "inactivity_churn")
    ]
    with opened(browser, f"{crowded.address}/#tab=lifecycle") as page:
        canvas = page.locator("#lifecycle canvas")
        expect(canvas).to_have_count(3)
        expect(page.locator("#lifecycle .legend").first.locator("b")).to_have_text([f"{users:,.0f}" for users in told])
        expect(page.locator("#lifecycle .legend").nth(1).locator("b").first).to_have_text(f"{ratios[0]:.2f}")
        expect(page.locator("#lifecycle .legend").nth(2).locator("b")).to_have_text([share(one) for one in ratios[1:]])

        # The bar of the newest day from its top: new, resurrected, returning, and below zero dormant.
        colours, column = wait_until(page, _BAR, canvas.first.element_handle())
    heights = [column.count(colour) for colour in colours]
    assert [colour for at, colour in enumerate(column) if colour in colours and column[at - 1] != colour] == colours
    whole = sum(heights)
    for height, users in zip(heights, told, strict=True):
        assert abs(height / whole - users / sum(told)) < 0.03


def test_bars_of_the_lifecycle_step_by_their_window(browser: Browser, crowded: Serving) -> None:
    with opened(browser, f"{crowded.address}/#tab=lifecycle") as page:
        page.locator("#lifecycle summary").first.click()
        days = page.get_by_role("region", name="Users by state, as a table").locator("tbody th")
        expect(days.nth(1)).to_have_text("Mon 2 Mar")
        found = days.all_inner_texts()
        choice(page, "Window").select_option("1d")
        expect(days.nth(1)).to_have_text("Sun 8 Mar")

    assert found[:3] == ["Mon 9 Mar", "Mon 2 Mar", "Mon 23 Feb"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("segment_active_users_closed", {"window": "1d"}),
        ("segment_bounce_closed_ratio", {"window": "1d", "rule": "ga4"}),
    ],
)
def test_a_number_by_segment_is_that_of_the_api(
    browser: Browser, crowded: Serving, name: str, labels: dict[str, str]
) -> None:
    day = api(crowded, f"closed?metric=engagement_{name}&segment=plan")["days"][-1]
    told = {
        sample["labels"]["value"]: sample["value"]
        for sample in day["samples"]
        if sample["name"] == f"engagement_{name}" and labels.items() <= sample["labels"].items()
    }
    with opened(browser, f"{crowded.address}/#tab=segments&number=engagement_{name}") as page:
        choice(page, "Segment").select_option("Plan")
        rows = page.locator("#closed-segments table.forest tbody tr")
        expect(rows.locator("th")).to_have_text(list(told))
        shown = [share(one) if "ratio" in name else f"{one:,.0f}" for one in told.values()]
        expect(rows.locator("b")).to_have_text(shown)
        expect(page.locator("#closed-segments .legend li")).to_have_count(min(5, len(told)))
        expect(page.locator("#closed-segments .plain")).to_have_count(0 if "ratio" in name else 1)


# -- customers ---------------------------------------------------------------------------------------------------------


def money(amount: float, currency: str, decimals: int) -> str:
    """An amount as the page shows it, with a space that does not break."""
    return f"{currency}\u00a0{amount:,.{decimals}f}".replace("\u00a0-", "\u00a0−")


def test_the_funnel_shows_how_many_reach_each_step_and_where_most_of_them_stop(
    browser: Browser, crowded: Serving
) -> None:
    steps = [closed(crowded, "onboarding_step_users_closed", step=step)["2026-03-09"] for step in STEPS]
    signed_up = closed(crowded, "first_week_signups_closed")["2026-03-09"]
    onboarded = closed(crowded, "first_week_onboarded_users_closed")["2026-03-09"]
    reached = [signed_up, *steps, onboarded]
    lost = [before - after for before, after in pairwise(reached)]
    with opened(browser, f"{crowded.address}/#tab=customers") as page:
        rows = page.get_by_role("table", name="Onboarding in the first week").locator("tbody tr")
        expect(rows.locator("th")).to_have_text(["signed up", *(step.replace("_", " ") for step in STEPS), "onboarded"])
        expect(rows.locator("td:nth-of-type(2)")).to_have_text([share(users / signed_up) for users in reached])
        expect(rows.locator("td:nth-of-type(3)")).to_have_text([f"{users:,.0f}" for users in reached])
        expect(rows.locator("td:nth-of-type(4)")).to_have_text(["–", *(f"{users:,.0f}" for users in lost)])
        expect(rows.locator(".mark")).to_have_text([f"{max(lost):,.0f}"] * lost.count(max(lost)))


def test_subscribers_churn_and_repeat_purchases_are_those_of_the_api(browser: Browser, crowded: Serving) -> None:
    statuses = ("trialing", "paused", "active")
    subscribers = [closed(crowded, "subscribers_closed", status=status)["2026-03-09"] for status in statuses]
    churn = {
        window: closed(crowded, "customer_churn_closed_ratio", window=window)["2026-03-09"]
        for window in ("7d", "28d", "30d")
    }
    repeat = closed(crowded, "repeat_purchase_closed_ratio", window="30d")["2026-03-09"]
    with opened(browser, f"{crowded.address}/#tab=customers") as page:
        legends = page.locator("#customers .legend")
        expect(legends.first.locator("b")).to_have_text([f"{users:,.0f}" for users in subscribers])
        expect(legends.nth(1).locator("b")).to_have_text(share(churn["30d"]))
        expect(legends.nth(3).locator("b")).to_have_text(share(repeat))
        table = page.get_by_role("table", name="Churn by window")
        for window, told in churn.items():
            row_of = table.get_by_role("row").filter(has_text=f"{window[:-1]} d")
            expect(row_of.locator("b")).to_have_text(share(told))
            expect(row_of).to_contain_text("to")  # the interval
        wait_until(page, PAINTED, "#customers canvas")
        choice(page, "Window").select_option("7d")
        expect(legends.nth(1).locator("b")).to_have_text(share(churn["7d"]))


def test_lifetime_values_stand_beside_the_numbers_that_they_are_made_of(browser: Browser, crowded: Serving) -> None:
    decimals = {"USD": 2, "JPY": 0, "KWD": 3}
    churn = closed(crowded, "customer_churn_closed_ratio", window="30d")["2026-03-09"]
    with opened(browser, f"{crowded.address}/#tab=customers") as page:
        expect(page.get_by_role("table", name="Revenue by currency").locator("tbody th")).to_contain_text(
            ["EUR", "GBP"]
        )
        for currency in [
            code for code in decimals if code in choice(page, "Currency").locator("option").all_inner_texts()
        ]:
            arpa = closed(crowded, "revenue_per_customer_closed", window="30d", currency=currency)["2026-03-09"]
            simple = closed(crowded, "ltv_simple_closed", currency=currency)["2026-03-09"]
            historic = closed(crowded, "ltv_historic_closed", currency=currency)["2026-03-09"]
            ever = closed(crowded, "revenue_ever_closed", currency=currency)["2026-03-09"]
            payers = closed(crowded, "payers_ever_closed", currency=currency)["2026-03-09"]
            choice(page, "Currency").select_option(currency)
            places = decimals[currency]
            cells = page.get_by_role("table", name="Lifetime value").locator("td")
            expect(cells).to_contain_text(
                [
                    money(simple, currency, places),
                    money(arpa, currency, places),
                    share(simple * churn / arpa),
                    share(churn),
                    money(historic, currency, places),
                    money(ever, currency, places),
                    f"{payers:,.0f}",
                ]
            )
            assert f"currency={currency}" in page.url


def test_a_deployment_that_reads_neither_accounts_nor_orders_says_so(browser: Browser, cohorts: Serving) -> None:
    with opened(browser, f"{cohorts.address}/#tab=customers") as page:
        expect(page.locator("#customers").get_by_role("alert")).to_contain_text(
            "this deployment reads neither accounts nor orders; the settings topics.accounts and topics.orders name"
        )


def test_what_of_both_is_not_read_and_what_has_not_come_is_said_apart(browser: Browser) -> None:
    shown = test_cohorts_api.shown()
    topics = msgspec.structs.replace(shown.settings.topics, accounts="accounts")
    shown.settings = msgspec.structs.replace(shown.settings, topics=topics)
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab=customers") as page:
        expect(page.locator("#customers .empty")).to_have_text(
            [
                "No event of accounts has come yet.",
                "This deployment reads no orders: the setting topics.orders names their topic.",
            ]
        )


# -- support, adoption, voice ------------------------------------------------------------------------------------------


def live(serving: Serving, metric: str, **labels: str) -> float:
    """A number of now."""
    name = f"engagement_{metric}"
    samples = api(serving, "metrics")["live"]
    return float(next(one["value"] for one in samples if (one["name"], one["labels"]) == (name, labels)))


def card_of(page: Page, tab: str, title: str) -> Locator:
    """The card of a tab with that title."""
    return page.locator(f"#tab-{tab} .card").filter(has=page.get_by_role("heading", name=title, exact=True))


def brief(seconds: float) -> str:
    for limit, unit, of in ((60, "s", 1), (5_400, "min", 60), (172_800, "h", 3_600)):
        if seconds < limit:
            return f"{seconds / of:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def bounds(serving: Serving, metric: str, **labels: str) -> str:
    """The interval of a share as the page shows it."""
    lower, upper = (live(serving, f"{metric}_{end}", **labels) for end in ("lower", "upper"))
    return f"{share(lower).removesuffix('%')} to {share(upper)}"


def test_support_shows_who_waits_the_times_and_what_is_resolved(browser: Browser, crowded: Serving) -> None:
    with opened(browser, f"{crowded.address}/#tab=support") as page:
        expect(card_of(page, "support", "Waiting now").locator(".value")).to_have_text(
            f"{live(crowded, 'waiting_conversations'):.0f}"
        )
        oldest = live(crowded, "oldest_waiting_seconds")
        expect(card_of(page, "support", "Oldest waiting").locator(".value")).to_have_text(f"{oldest / 86_400:.1f} days")
        for window in ("28d", "30d"):
            choice(page, "Window").select_option(window)
            channels = {
                name: live(crowded, "contacts", window=window, channel=name) for name in ("chat", "mail", "phone")
            }
            rows = page.get_by_role("table", name="Contacts by channel").locator("tbody tr")
            expect(rows.locator("th")).to_have_text(list(channels))
            expect(rows.locator("td:nth-of-type(3)")).to_have_text([f"{count:.0f}" for count in channels.values()])
            begun = sum(channels.values())
            expect(rows.locator("td:nth-of-type(2)")).to_have_text(
                [share(count / begun) for count in channels.values()]
            )
            expect(card_of(page, "support", "Contacts").locator(".value")).to_have_text(f"{begun:.0f}")
            resolved = card_of(page, "support", "Resolved")
            expect(resolved.locator(".value")).to_have_text(share(live(crowded, "resolved_ratio", window=window)))
            expect(resolved).to_contain_text(f"95% interval {bounds(crowded, 'resolved_ratio', window=window)}")
            times = page.get_by_role("table", name="Times").locator("tbody tr")
            for place, (name, count) in enumerate(
                {"first_reply": "first_replies", "reply": "replies", "resolution": "resolutions"}.items()
            ):
                told = [
                    *(
                        brief(live(crowded, f"{name}_seconds", window=window, quantile=quantile))
                        for quantile in ("0.5", "0.75", "0.9", "0.95", "0.99")
                    ),
                    brief(live(crowded, f"{name}_mean_seconds", window=window)),
                    f"{live(crowded, count, window=window):.0f}",
                ]
                expect(times.nth(place).locator("td.number")).to_have_text(told)
        table = page.get_by_role("table", name="Resolved")
        for window in ("7d", "28d", "30d", "90d"):
            row_of = table.get_by_role("row").filter(has_text=f"{window[:-1]} d")
            expect(row_of.locator("b")).to_have_text(share(live(crowded, "resolved_ratio", window=window)))
            expect(row_of).to_contain_text(bounds(crowded, "resolved_ratio", window=window))
        closed_share = closed(crowded, "resolved_closed_ratio", window="30d")["2026-03-09"]
        expect(page.locator("#support .legend").last.locator("b")).to_have_text(share(closed_share))
        expect(page.locator("#support")).to_contain_text("Waits are told in all time")


def test_support_says_in_which_hours_customers_are_said_to_wait(browser: Browser) -> None:
    shown = crowd()
    contacts = msgspec.structs.replace(shown.settings.contacts, hours={"mon": ("09:00-17:30",)}, zone="Europe/Berlin")
    shown.settings = msgspec.structs.replace(shown.settings, contacts=contacts)
    shown.rules = shown.settings.rules
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab=support") as page:
        expect(page.locator("#support")).to_contain_text("business time: Europe/Berlin: mon 09:00-17:30.")


def test_adoption_shows_the_score_and_what_each_feature_adds_to_it(browser: Browser, crowded: Serving) -> None:
    with opened(browser, f"{crowded.address}/#tab=adoption") as page:
        expect(choice(page, "Window").locator("option")).to_have_text(["1 day", "7 days", "28 days", "30 days"])
        for window in ("28d", "7d"):
            choice(page, "Window").select_option(window)
            score = live(crowded, "product_adoption_score", window=window)
            expect(card_of(page, "adoption", "Adoption score").locator(".value")).to_have_text(f"{score:.1f}")
            rows = page.get_by_role("table", name="Features").locator("tbody tr")
            expect(rows.locator("th")).to_have_text([*WEIGHTS, "other"])
            told = 0.0
            for place, feature in enumerate([*WEIGHTS, "other"]):
                adopted = live(crowded, "feature_adoption_ratio", window=window, feature=feature)
                weight = WEIGHTS.get(feature, 0)
                points = 100 * weight * adopted / sum(WEIGHTS.values())
                told += points
                expect(rows.nth(place).locator("b")).to_have_text(share(adopted))
                expect(rows.nth(place)).to_contain_text(
                    bounds(crowded, "feature_adoption_ratio", window=window, feature=feature)
                )
                users = f"{live(crowded, 'active_users', window=window):.0f}"
                cells = rows.nth(place).locator("td.n, td.n ~ td")
                expect(cells).to_have_text([users, f"{weight:.0f}", f"{points:.1f}" if weight else "–"])
            assert told == pytest.approx(score)
        expect(page.locator("#adoption .legend").last.locator("li")).to_contain_text(["search", "export", "invite"])


def test_health_shows_the_bands_and_the_means(browser: Browser, crowded: Serving) -> None:
    told = {
        (sample["name"].removeprefix("engagement_health_"), sample["labels"].get("band")): sample["value"]
        for sample in api(crowded, "metrics?days=1")["closed"][-1]["samples"]
        if sample["name"].startswith("engagement_health_")
    }
    users = sum(count for (name, _), count in told.items() if name == "users_closed")
    with opened(browser, f"{crowded.address}/#tab=health") as page:
        for title, band in (("At risk", "at_risk"), ("Healthy", "healthy")):
            count = told["users_closed", band]
            expect(card_of(page, "health", title).locator(".value")).to_have_text(share(count / users))
            expect(card_of(page, "health", title).locator(".range")).to_have_text(f"{count:.0f} of {users:.0f} users")
        score, coverage = told["score_mean_closed", None], told["coverage_mean_closed", None]
        expect(card_of(page, "health", "Mean score").locator(".value")).to_have_text(f"{score:.1f}")
        expect(card_of(page, "health", "Coverage").locator(".value")).to_have_text(share(coverage))
        expect(page.locator("#health .legend").first.locator("li")).to_contain_text(["at risk", "neutral", "healthy"])


def test_health_says_where_nobody_is_scored(browser: Browser) -> None:
    with Serving(board()) as serving, opened(browser, f"{serving.address}/#tab=health", may_fail=True) as page:
        expect(page.locator("#health").get_by_role("alert")).to_contain_text(
            "the setting health.enabled turns scores on"
        )


def test_voice_shows_reviews_networks_mentions_and_surveys(browser: Browser, crowded: Serving) -> None:
    window = "30d"
    with opened(browser, f"{crowded.address}/#tab=voice&window={window}") as page:
        stars = {n: live(crowded, "reviews", window=window, stars=str(n)) for n in (5, 4, 3, 2, 1)}
        rows = page.get_by_role("table", name="Reviews by stars").locator("tbody tr")
        expect(rows.locator("th")).to_have_text(["5 stars", "4 stars", "3 stars", "2 stars", "1 star"])
        expect(rows.locator("td:nth-of-type(3)")).to_have_text([f"{count:.0f}" for count in stars.values()])
        mean = card_of(page, "voice", "Mean stars")
        expect(mean.locator(".value")).to_have_text(f"{live(crowded, 'review_stars_mean', window=window):.2f}")
        expect(mean).to_contain_text(f"of {sum(stars.values()):.0f} reviews")
        positive = card_of(page, "voice", "Positive")
        expect(positive.locator(".value")).to_have_text(share(live(crowded, "review_positive_ratio", window=window)))
        expect(positive).to_contain_text(bounds(crowded, "review_positive_ratio", window=window))
        to_negative = live(crowded, "review_positive_to_negative_ratio", window=window)
        expect(card_of(page, "voice", "Positive to negative").locator(".value")).to_have_text(f"{to_negative:.2f}")

        networks = page.get_by_role("table", name="Interactions by network").locator("tbody tr")
        expect(networks.locator("th")).to_have_text(["instagram", "linkedin", "mastodon"])
        for place, network in enumerate(("instagram", "linkedin", "mastodon")):
            of = {"window": window, "network": network}
            known = ("followers", "reach") if network == "instagram" else ("followers",)
            counts = [
                live(crowded, "social_interactions", **of, type=kind)
                for kind in ("like", "comment", "share", "save", "mention", "follow")
            ]
            of_bases = [
                share(live(crowded, "social_engagement_ratio", **of, base=base)) if base in known else "–"
                for base in ("followers", "reach")
            ]
            expect(networks.nth(place).locator("td")).to_have_text([*(f"{count:.0f}" for count in counts), *of_bases])
        mentions = [
            sum(live(crowded, "brand_mentions", window=window, network=network, sentiment=sentiment)
                for network in ("instagram", "linkedin", "mastodon"))
            for sentiment in ("positive", "neutral", "negative", "unknown")
        ]  # fmt: skip
        cells = page.get_by_role("table", name="Mentions").locator("td:nth-of-type(3)")
        expect(cells).to_have_text([f"{count:.0f}" for count in mentions])

        surveys = page.get_by_role("table", name="Surveys").locator("tbody b")
        csat, ces = (live(crowded, f"{kind}_ratio", window=window) for kind in ("csat", "ces"))
        nps = f"{live(crowded, 'nps', window=window):.1f}".replace("-", "−")
        expect(surveys).to_have_text([share(csat), nps, share(ces)])
        page.get_by_role("link", name="more on Now").click()
        expect(page.locator("#surveys")).to_be_visible()


def test_what_is_live_follows_the_stream(browser: Browser) -> None:
    shown = crowd()
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab=support") as page:
        waiting = card_of(page, "support", "Waiting now").locator(".value")
        before = int(live(serving, "waiting_conversations"))
        expect(waiting).to_have_text(str(before))
        asks: dict[str, object] = {
            "topic": "contacts",
            "user_id": "eve",
            "event_time": NOW,
            "type": "opened",
            "conversation_id": "c",
        }
        more = report(0, [asks]).snapshot
        told = shown.reports[0]
        newer = msgspec.structs.replace(told, snapshot=told.snapshot + more)
        serving.change(lambda: shown.put(newer))
        expect(waiting).to_have_text(str(before + 1))


def test_dimensions_shows_what_the_api_says_of_now_and_of_a_month_ago(browser: Browser) -> None:
    shown = crowd()
    for told in shown.reports:  # as if the stream had begun earlier, so that a month ago is known
        snapshot = msgspec.structs.replace(told.snapshot, first_ms=moment("2025-12-01T00:00:00Z"))
        shown.put(msgspec.structs.replace(told, snapshot=snapshot))
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab=dimensions") as page:
        document = api(serving, "dimensions")
        table = page.get_by_role("table", name="Dimensions")
        groups = table.locator("tbody")
        expect(groups).to_have_count(5)
        expect(table.locator("thead th")).to_contain_text(["now", "95% interval", "Mon 9 Feb", "change"])
        compared = 0
        for place, dimension in enumerate(document["dimensions"]):
            rows = groups.nth(place).locator("tr")
            expect(rows.first).to_have_text(f"{dimension['name'].capitalize()} {dimension['question']}")
            expect(rows).to_have_count(1 + len(dimension["numbers"]))
            for row, number in enumerate(dimension["numbers"], start=1):
                now, before = number["now"], number["before"]
                expect(rows.nth(row).locator("th")).to_have_text(number["title"])
                expect(rows.nth(row).locator("td").first).to_have_text(_as_shown(number, now))
                expect(rows.nth(row).locator("td").nth(2)).to_have_text(_as_shown(number, before) if before else "–")
                if "lower" in now:
                    interval = f"{share(now['lower']).removesuffix('%')} to {share(now['upper'])}"
                    expect(rows.nth(row).locator("td").nth(1)).to_have_text(interval)
                compared += before is not None
        assert compared > 8


def _as_shown(number: dict[str, Any], told: dict[str, float]) -> str:
    value = told["value"]
    if "lower" in told:
        return share(value)
    return {"seconds": f"{value / 86_400:.1f} days", "users": f"{value:,.0f}"}.get(number["unit"], f"{value:.2f}")


@pytest.mark.parametrize("tab", ["support", "adoption", "voice"])
def test_a_tab_whose_topics_are_not_read_says_which_settings_name_them(
    browser: Browser, cohorts: Serving, tab: str
) -> None:
    kinds = {"support": ["contacts"], "adoption": ["features"], "voice": ["reviews", "social"]}[tab]
    with opened(browser, f"{cohorts.address}/#tab={tab}") as page:
        expect(page.locator(f"#{tab} .empty")).to_have_text(
            [f"This deployment reads no {kind}: the setting topics.{kind} names their topic." for kind in kinds]
        )


@pytest.mark.parametrize("tab", ["support", "adoption", "voice"])
def test_a_tab_of_which_nothing_has_come_says_so(browser: Browser, tab: str) -> None:
    shown = test_cohorts_api.shown()
    topics = msgspec.structs.replace(
        shown.settings.topics, contacts="contacts", features="features", reviews="reviews", social="social"
    )
    shown.settings = msgspec.structs.replace(shown.settings, topics=topics)
    kinds = {"support": ["contacts"], "adoption": ["features"], "voice": ["reviews", "social"]}[tab]
    with Serving(shown) as serving, opened(browser, f"{serving.address}/#tab={tab}") as page:
        expect(page.locator(f"#{tab} > .empty")).to_have_text([f"No event of {kind} has come yet." for kind in kinds])


def test_on_a_phone_the_strip_of_tabs_shows_that_there_is_more_and_scrolls(browser: Browser, crowded: Serving) -> None:
    with opened(browser, crowded.address, **PHONE) as page:
        nav = page.get_by_role("navigation", name="Views")
        cues = "nav => ['::before', '::after'].map((end) => getComputedStyle(nav, end).content)"
        assert nav.evaluate(cues) == ["none", '"›"']
        links = nav.get_by_role("link")
        expect(links).to_have_text(TABS)
        assert min(box["height"] for box in (link.bounding_box() for link in links.all()) if box) >= 40

        links.first.focus()
        for _ in TABS[1:]:
            page.keyboard.press("Tab")
        expect(links.last).to_be_focused()
        expect(links.last).to_be_in_viewport(ratio=0.99)
        wait_until(page, "getComputedStyle(document.querySelector('#tabs'), '::after').content == 'none'")
        assert nav.evaluate(cues) == ['"‹"', "none"]

        page.keyboard.press("Enter")
        expect(page.locator(f"#tab-{TABS[-1].lower()}")).to_be_visible()
        page.goto(f"{crowded.address}/#tab=lifecycle")
        current = nav.locator("[aria-current=page]")
        expect(current).to_have_text("Lifecycle")
        expect(current).to_be_in_viewport(ratio=0.99)


# -- for everybody -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_in_any_tab_and_nothing_is_wider_than_the_window(
    browser: Browser, crowded: Serving, options: dict[str, Any]
) -> None:
    with opened(browser, crowded.address, bypass_csp=True, **options) as page:
        for tab in TABS[1:]:
            page.get_by_role("link", name=tab, exact=True).click()
            drawn = "table" if tab == "Dimensions" else "canvas"
            expect(page.locator(f"#tab-{tab.lower()} {drawn}").first).to_be_visible()
            expect(page.locator("main [aria-busy]")).to_have_count(0)  # what is loaded is pale
            found = Axe().run(page).response["violations"]
            told = [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
            # Links before the first one to another page count as skip links while they are left of the window: on a
            # phone those of the strip are, when it has scrolled to the tab that is shown.
            assert [one for one in told if not one.startswith("skip-link: ") or "#tab=" not in one] == [], tab
            assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth"), tab
            if options is PHONE:
                boxes = [link.bounding_box() for link in page.locator("#tabs a").all()]
                assert len({box["y"] for box in boxes if box}) == 1, "all tabs side by side"
