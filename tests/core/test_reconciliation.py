"""Our numbers beside those of other tools: ours are those of `compute`, and each difference is explained in full."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.offline import Offline
from stream.core.reconciliation.actions import Recorder
from stream.core.reconciliation.comparison import ComparedDay, compare
from stream.core.reconciliation.conventions import Tool
from stream.core.reconciliation.numbers import NUMBERS
from stream.core.reconciliation.tools import TOOLS
from stream.core.rules import Rules
from stream.core.time import Days, day_number
from tests.core.live import line
from tests.core.oracle_events import EventFields
from tests.core.worlds import World, features, logins, steps_by_gap, steps_by_id, summaries, worlds
from tests.native import READERS

DAYS = 60
everything = worlds(
    *(logins, steps_by_id, steps_by_gap, summaries, features),
    zones=("UTC", "America/New_York", "Asia/Kathmandu"),
    span_days=40,
)
tools = st.sampled_from(list(TOOLS.values()))


def recorded(lines: Iterable[bytes], rules: Rules, *, at_ms: int, late: int | None = None) -> tuple[Offline, Recorder]:
    """What compute finds in lines, and what is kept of them beside it."""
    recorder = Recorder(not_after_ms=at_ms, late_after_ms=late)
    readers = {topic: recorder.recording(reader) for topic, reader in READERS.items()}
    offline = Offline(rules, readers, at_ms=at_ms)
    list(offline.apply(lines))
    return offline, recorder


def compared(world: World, tool: Tool, events: list[EventFields]) -> list[ComparedDay]:
    rules = Rules(days=world.rules.days)
    offline, recorder = recorded(map(line, events), rules, at_ms=world.clocks[-1])
    return compare(recorder.people, tool, rules, [day for day, _ in offline.computed(days=DAYS).closed])


@given(everything, tools)
def test_our_column_has_the_numbers_that_compute_tells(world: World, tool: Tool) -> None:
    rules = Rules(days=world.rules.days, session_timeout_ms=world.rules.session_timeout_ms)
    offline, recorder = recorded(map(line, world.events), rules, at_ms=world.clocks[-1])
    told = dict(offline.computed(days=DAYS).closed)

    found = compare(recorder.people, tool, rules, told)

    assert [one.day for one in found] == list(told)
    for one in found:
        samples = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in told[one.day]}
        for number in one.numbers:
            described = NUMBERS[number.number]
            labels = dict(described.labels)
            if number.number == "bounce":
                labels["rule"] = tool.our_bounce
            ours = samples.get((described.metric, *sorted(labels.items())))
            assert (None if number.ours is None else float(number.ours)) == pytest.approx(ours), number


@given(everything, tools)
def test_the_contributions_of_rules_add_up_to_each_difference(world: World, tool: Tool) -> None:
    for one in compared(world, tool, world.events):
        for number in one.numbers:
            total = sum((contribution.amount for contribution in number.contributions), Fraction())
            assert total == (number.difference or 0)
            assert all(contribution.amount for contribution in number.contributions)


@given(everything, tools, st.data())
def test_neither_the_order_of_events_nor_a_copy_makes_a_difference(
    world: World, tool: Tool, data: st.DataObject
) -> None:
    copies = data.draw(st.lists(st.sampled_from(world.events), max_size=4))
    shuffled = data.draw(st.permutations([*world.events, *copies]))

    assert compared(world, tool, shuffled) == compared(world, tool, world.events)


@given(everything)
def test_where_a_tool_has_no_rule_of_its_own_its_numbers_are_ours(world: World) -> None:
    nothing = Tool(name="same", title="Same", sources={}, our_bounce="ga4", rules=())

    for one in compared(world, nothing, world.events):
        assert all(number.theirs == number.ours and not number.difference for number in one.numbers)


@given(everything, tools)
def test_days_that_are_compared_together_are_as_each_by_itself(world: World, tool: Tool) -> None:
    rules = Rules(days=world.rules.days)
    offline, recorder = recorded(map(line, world.events), rules, at_ms=world.clocks[-1])
    days = [day for day, _ in offline.computed(days=3).closed]

    together = compare(recorder.people, tool, rules, days)

    assert together == [one for day in days for one in compare(recorder.people, tool, rules, [day])]


# -- worked examples ---------------------------------------------------------------------------------------------------

DAY = "2026-03-04"  # a Wednesday


def step(time: str, type_: str = "event", user: str = "ann", **more: Any) -> dict[str, Any]:
    """A step at a time of the day, or of a date."""
    at = time if "T" in time else f"{DAY}T{time}"
    return {"topic": "sessions", "user_id": user, "event_time": f"{at}Z", "type": type_, **more}


def view(time: str, user: str = "ann", **more: Any) -> dict[str, Any]:
    return step(time, "page_view", user, **more)


def login(time: str, user: str = "ann", **more: Any) -> dict[str, Any]:
    at = time if "T" in time else f"{DAY}T{time}"
    return {"topic": "logins", "user_id": user, "event_time": f"{at}Z", **more}


def of_day(
    name: str, events: list[dict[str, Any]], *, day: str = DAY, zone: str = "UTC", late: bool = False, **more: Any
) -> dict[str, tuple[float | None, float | None, dict[str, float]]]:
    """By number: ours, theirs, and what each rule contributes."""
    tool, rules = TOOLS[name], Rules(days=Days(zone), **more)
    late_ms = tool.late_after_ms if late else None
    _, recorder = recorded(map(msgspec.json.encode, events), rules, at_ms=1 << 50, late=late_ms)
    (found,) = compare(recorder.people, tool, rules, [day_number(day)])
    return {
        one.number: (
            _rounded(one.ours),
            _rounded(one.theirs),
            {each.rule.text: round(float(each.amount), 9) for each in one.contributions},
        )
        for one in found.numbers
    }


def _rounded(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), 9)


def theirs(name: str, events: list[dict[str, Any]], **more: Any) -> dict[str, float | None]:
    return {number: values[1] for number, values in of_day(name, events, **more).items()}


def why(name: str, number: str, events: list[dict[str, Any]], **more: Any) -> dict[str, float]:
    return of_day(name, events, **more)[number][2]


def test_mixpanel_example_1_two_sessions_of_10_and_35_minutes() -> None:
    """Sessions, "Timeout-Based Sessions", example 1: events A to E of one user."""
    events = [step(time) for time in ("13:00:00", "13:10:00", "13:50:00", "14:10:00", "14:25:00")]

    found = theirs("mixpanel", events)

    assert (found["sessions"], found["duration"]) == (2, (10 + 35) * 60 / 2)
    assert of_day("mixpanel", events)["sessions"] == (2, 2, {})


def test_mixpanel_example_2_midnight_resets_a_session() -> None:
    """The same, example 2: 23:30 and 23:50 are a session of 20 minutes, 0:05 and 0:10 one of 5."""
    night = [step(time) for time in ("23:30:00", "23:50:00", "2026-03-05T00:05:00", "2026-03-05T00:10:00")]

    first, second = theirs("mixpanel", night), theirs("mixpanel", night, day="2026-03-05")

    assert (first["sessions"], first["duration"]) == (1, 20 * 60)
    assert (second["sessions"], second["duration"]) == (1, 5 * 60)
    assert of_day("mixpanel", night)["sessions"][0] == 0  # with us one session, which closes on the next day
    assert of_day("mixpanel", night, day="2026-03-05")["sessions"][:2] == (1, 1)


def test_mixpanel_says_that_an_event_within_the_timeout_starts_the_clock_again() -> None:
    """The same, "Session Timeout", whose timeout is 15 minutes: after 14 minutes the clock restarts, 16 end it."""
    events = [step(time) for time in ("09:00:00", "09:14:00", "09:30:00")]
    tool = TOOLS["mixpanel"]
    quarter = Rules(session_timeout_ms=15 * 60_000)
    _, recorder = recorded(map(msgspec.json.encode, events), quarter, at_ms=1 << 50)
    without = Tool(name="m", title="M", sources={}, our_bounce="ga4", rules=tool.rules[1:])

    (found,) = compare(recorder.people, without, quarter, [day_number(DAY)])

    by_number = {one.number: _rounded(one.theirs) for one in found.numbers}
    assert (by_number["sessions"], by_number["duration"]) == (2, 14 * 60 / 2)


def test_mixpanel_cuts_by_timeout_where_steps_carry_session_ids() -> None:
    """By default ids mean nothing: 45 minutes of silence in one session id are two sessions, with us one."""
    events = [view("09:00:00", session_id="s"), view("09:45:00", session_id="s")]

    assert of_day("mixpanel", events)["sessions"] == (
        *(1, 2),
        {"by default a session ends by timeout: ids of sessions mean nothing": 1},
    )


def test_mixpanel_example_of_sessions_by_a_property_that_midnight_resets_too() -> None:
    """The same, "Property-Based Sessions", example 1: one session_id, 30 minutes before midnight and 15 after it."""
    times = ("23:15:00", "23:45:00", "2026-03-05T00:15:00", "2026-03-05T00:30:00")
    events = [step(time, session_id="456") for time in times]
    tool = TOOLS["mixpanel"]
    by_property = replace(tool, rules=tuple(rule for rule in tool.rules if "uses_ids" not in rule.changes))
    _, recorder = recorded(map(msgspec.json.encode, events), Rules(), at_ms=1 << 50)

    found = compare(recorder.people, by_property, Rules(), [day_number(DAY), day_number("2026-03-05")])

    told = [{one.number: _rounded(one.theirs) for one in day.numbers} for day in found]
    assert [(one["sessions"], one["duration"]) for one in told] == [(1, 30 * 60), (1, 15 * 60)]


def test_mixpanel_mau_of_a_day_holds_who_came_within_30_days() -> None:
    """Insights, "Example of MAU": the MAU of November 1 counts from October 3 on; WAU of April 25 from April 19."""
    came = [login("2023-10-02T23:59:59", "early"), login("2023-10-03T00:00:00", "first"), login("2023-11-01T12:00:00")]
    april = [login("2026-04-18T23:59:59", "early"), login("2026-04-19T00:00:00", "first")]

    assert theirs("mixpanel", came, day="2023-11-01")["active_30d"] == 2
    assert theirs("mixpanel", april, day="2026-04-25")["active_7d"] == 1


def test_plausible_counts_a_visitor_on_both_days_of_a_visit_over_midnight_and_once_in_the_month() -> None:
    """Dashboard FAQ: 5 minutes before the reset and until 5 minutes after it."""
    night = [view("23:55:00"), view("2026-03-05T00:05:00")]

    assert theirs("plausible", night)["active_1d"] == 1
    assert theirs("plausible", night, day="2026-03-05")["active_1d"] == 1
    assert theirs("plausible", night, day="2026-03-05")["active_30d"] == 1


def test_plausible_counts_who_comes_on_several_days_as_several_visitors() -> None:
    """Metrics definitions, "Unique visitors"; PostHog's FAQ has the example of seven days in a row."""
    week = [view(f"2026-03-0{day}T10:00:00") for day in range(1, 8)]

    assert of_day("plausible", week, day="2026-03-07")["active_7d"] == (
        *(1, 7),
        {"who comes on two days is two visitors, unless one visit goes on over midnight": 6},
    )


def test_plausible_bounces_without_a_second_view_or_an_interactive_custom_event_and_lasts_0_s() -> None:
    """Metrics definitions, "Bounce rate" and "Visit duration"."""
    bounced = [view("10:00:00", "a"), step("10:05:00", "heartbeat", "a")]
    passive = [view("10:00:00", "b"), step("10:05:00", "event", "b", interactive=False)]
    custom = [view("10:00:00", "c"), step("10:05:00", "event", "c")]
    two = [view("10:00:00", "d"), view("10:02:00", "d")]

    found = of_day("plausible", [*bounced, *passive, *custom, *two])

    assert found["bounce"][:2] == (0.75, 0.5)
    assert found["duration"][:2] == ((300 + 0 + 300 + 120) / 4, (0 + 0 + 300 + 120) / 4)
    assert found["duration"][2] == {
        "events with interactive:false are recorded as others are, and belong to visits": 75,
        "a visit that bounced lasts 0 s, and is in the mean": -150,
    }


def test_a_pause_of_exactly_30_minutes_ends_a_visit_of_plausible_alone() -> None:
    """Dashboard FAQ: "at least 30 minutes"; Matomo: "more than 30 minutes"."""
    exactly = [view("10:00:00"), view("10:30:00")]
    longer = [view("10:00:00"), view("10:30:01")]

    found = [{name: theirs(name, events)["sessions"] for name in TOOLS} for events in (exactly, longer)]
    assert found == [{**dict.fromkeys(TOOLS, 1), "plausible": 2}, dict.fromkeys(TOOLS, 2)]
    assert why("plausible", "sessions", exactly) == {
        "at least 30 minutes end a visit: a pause of exactly 30:00 does": 1
    }


def test_matomo_records_another_visit_after_midnight_of_the_site() -> None:
    """FAQ 36: active across midnight is a new visit for the new day, in the site's time zone."""
    night = [view("22:50:00"), view("23:10:00"), view("23:30:00")]  # midnight is at 23:00 UTC in Berlin

    by_day = [theirs("matomo", night, day=day, zone="Europe/Berlin") for day in (DAY, "2026-03-05")]

    assert [(one["sessions"], one["duration"], one["bounce"]) for one in by_day] == [(1, 0, 1), (1, 20 * 60, 0)]
    ga4 = [theirs("ga4", night, day=day, zone="Europe/Berlin")["sessions"] for day in (DAY, "2026-03-05")]
    assert ga4 == [1, 0]


def test_a_bounce_of_matomo_has_one_view_and_no_other_interaction_however_long_one_stays() -> None:
    """The FAQ on the bounce rate: 5 seconds or 5 minutes make no difference."""
    stays = [view("10:00:00", "a"), step("10:05:00", "heartbeat", "a")]
    acts = [view("10:00:00", "b"), step("10:00:05", "event", "b")]

    found = of_day("matomo", [*stays, *acts])

    assert found["bounce"][:2] == (1, 0.5)
    assert found["bounce"][2] == {"a bounce has one view, and no event of any kind": -0.5}
    assert found["duration"][1] == 5 / 2


def test_matomo_counts_visitors_of_calendar_weeks_and_months() -> None:
    """FAQ 113: unique visitors are processed for days, weeks and months."""
    came = [
        *(view(f"{date}T10:00:00", date) for date in ("2026-02-26", "2026-02-28", "2026-03-01", "2026-03-02", DAY)),
    ]

    found = of_day("matomo", came)

    assert found["active_7d"][:2] == (5, 2)  # from Monday, 2 March
    assert found["active_30d"][:2] == (5, 3)
    assert found["active_7d"][2] == {"visitors are of the calendar week and month so far": -3}


def test_engaged_in_ga4_is_10_seconds_two_views_or_a_key_event_of_all_sessions() -> None:
    """Engagement metrics: a visit of four seconds tells 4,000 ms of engagement, and is not engaged."""
    four = [view("10:00:00", "a"), step("10:00:04", "heartbeat", "a", engaged_ms=4_000)]
    ten = [view("10:00:00", "b"), step("10:00:10", "heartbeat", "b")]
    key = [view("10:00:00", "c", key_event=True)]
    two = [view("10:00:00", "d"), view("10:00:01", "d")]
    no_view = [step("10:00:00", "start", "e")]

    found = of_day("ga4", [*four, *ten, *key, *two, *no_view])

    assert found["bounce"] == (
        *(0.25, 0.4),
        {"the bounce rate is of all sessions, also of those without a view": 0.15},
    )
    assert found["views"][:2] == (5 / 4, 1)
    assert found["active_1d"][:2] == (5, 5)  # whose first visit it is, is active


def test_active_in_ga4_is_who_engages_or_comes_for_the_first_time() -> None:
    known = view("2026-02-01T10:00:00")
    short, logs_in = view("10:00:00"), login("10:00:00", "bob")

    assert of_day("ga4", [known, short])["active_1d"][:2] == (1, 0)
    assert of_day("ga4", [short])["active_1d"][:2] == (1, 1)
    assert of_day("ga4", [known, short, view("10:00:10")])["active_1d"][:2] == (1, 1)
    assert of_day("ga4", [known, {**short, "engaged_ms": 4_000}])["active_1d"][:2] == (1, 1)
    assert of_day("ga4", [logs_in])["active_1d"][:2] == (1, 0)


def test_a_session_of_ga4_is_not_cut_and_a_session_of_posthog_ends_after_24_hours() -> None:
    hours = [view(f"2026-03-0{3 + hour // 24}T{hour % 24:02}:45:00", session_id="s") for hour in range(31)]

    ga4, posthog = (of_day(name, hours, day="2026-03-03") for name in ("ga4", "posthog"))
    next_day = of_day("posthog", hours)

    assert ga4["duration"][:2] == (None, 30 * 3_600)
    assert posthog["sessions"][:2] == (0, 1)
    assert posthog["duration"][1] == 23 * 3_600
    assert next_day["sessions"][:2] == (1, 1)
    assert next_day["duration"] == (
        *(86_400, 6 * 3_600),
        {
            "a session that has lasted 24 h ends: the next event begins another": ((23 + 6) / 2 - 24) * 3_600,
            "a session counts on each day on which it has an event, and whole": (6 - (23 + 6) / 2) * 3_600,
        },
    )


def test_a_bounce_of_posthog_has_one_view_nothing_autocaptured_and_less_than_10_seconds() -> None:
    """Web analytics dashboard, "Bounce rate"."""
    bounced = [view("10:00:00", "a"), step("10:00:09", "heartbeat", "a")]
    ten = [view("10:00:00", "b"), step("10:00:10", "heartbeat", "b")]
    clicked = [view("10:00:00", "c"), step("10:00:01", "event", "c")]
    two = [view("10:00:00", "d"), view("10:00:01", "d")]

    found = of_day("posthog", [*bounced, *ten, *clicked, *two])

    assert found["bounce"] == (
        *(0.5, 0.25),
        {"a bounce has one view, no autocaptured event, and lasts less than 10 s": -0.25},
    )


def test_a_session_of_posthog_counts_on_each_day_on_which_it_has_an_event() -> None:
    """Trends, "Unique sessions": those within the period where the event was performed."""
    night = [view("23:50:00"), view("2026-03-05T00:10:00")]

    assert [theirs("posthog", night, day=day)["sessions"] for day in (DAY, "2026-03-05")] == [1, 1]
    assert [of_day("posthog", night, day=day)["sessions"][0] for day in (DAY, "2026-03-05")] == [0, 1]


def test_any_event_is_activity_for_mixpanel_and_posthog() -> None:
    passive = [step("10:00:00", interactive=False), login("10:00:00", "bob", success=False)]

    assert of_day("posthog", passive)["active_1d"][:2] == (0, 2)
    assert of_day("mixpanel", passive)["active_1d"][:2] == (0, 2)
    assert of_day("posthog", passive)["sessions"][:2] == (0, 1)
    assert of_day("mixpanel", passive)["sessions"][:2] == (0, 2)  # a login too
    assert [of_day(name, passive)["active_1d"][1] for name in ("plausible", "matomo")] == [1, 1]


def test_bots_count_in_mixpanel_alone() -> None:
    """Block unwanted traffic: any bot beyond five that its JavaScript library knows affects the data."""
    bots = [view("10:00:00", "bot", is_bot=True), view("10:00:00")]

    assert {name: theirs(name, bots)["active_1d"] for name in TOOLS} == {**dict.fromkeys(TOOLS, 1), "mixpanel": 2}
    assert why("mixpanel", "sessions", bots) == {
        "bots count: only its own library leaves five of them out, before anything is sent": 1
    }


@pytest.mark.parametrize(("name", "hours"), [("ga4", 72), ("mixpanel", 120)])
def test_what_comes_too_late_for_a_tool_is_left_out_where_lines_are_in_order_of_arrival(name: str, hours: int) -> None:
    """72 h back in the Measurement Protocol, 5 days in Mixpanel's /track."""
    newest = f"2026-03-{4 + hours // 24:02}T10:00:0"
    late = [view(f"{newest}1", "bob"), view("10:00:00")]
    just = [view(f"{newest}0", "bob"), view("10:00:00")]

    assert of_day(name, late, late=True)["active_1d"][:2] == (1, 0)
    assert of_day(name, just, late=True)["active_1d"][:2] == (1, 1)
    assert of_day(name, late)["active_1d"][:2] == (1, 1)


def test_a_summary_can_not_be_cut_and_is_one_session_for_every_tool() -> None:
    span = {"started_at": f"{DAY}T22:00:00Z", "ended_at": f"{DAY}T23:00:00Z"}
    told = step("23:00:00", "summary", session_id="s", page_views=3, **span)
    its_step = view("22:30:00", session_id="s")

    for name in TOOLS:
        found = of_day(name, [told, its_step])
        assert (found["sessions"][:2], found["duration"][:2]) == ((1, 1), (3_600, 3_600))


def test_a_summary_makes_active_on_the_day_on_which_its_session_began_though_it_ends_on_the_next() -> None:
    span = {"started_at": f"{DAY}T22:00:00Z", "ended_at": "2026-03-05T01:00:00Z"}
    told = step("2026-03-05T01:00:00", "summary", session_id="s", page_views=3, **span)

    assert of_day("mixpanel", [told])["active_1d"][:2] == (1, 1)
    assert of_day("mixpanel", [told])["sessions"][:2] == (0, 1)
    assert of_day("mixpanel", [told], day="2026-03-05")["active_1d"][:2] == (1, 1)


def test_the_timeout_of_a_deployment_is_a_difference_too() -> None:
    events = [view("10:00:00"), view("10:20:00")]

    for name in TOOLS:
        ours, its, contributions = of_day(name, events, session_timeout_ms=10 * 60_000)["sessions"]
        assert (ours, its, list(contributions.values())) == (2, 1, [-1])


def test_what_a_tool_does_not_define_has_no_difference() -> None:
    assert of_day("mixpanel", [view("10:00:00")])["bounce"] == (1, None, {})
    assert of_day("matomo", [view("10:00:00")])["views"] == (1, None, {})


def test_without_a_session_what_is_taken_from_sessions_is_undefined() -> None:
    found = of_day("plausible", [login("10:00:00")])

    assert [found[number] for number in ("sessions", "duration", "bounce", "views")] == [
        (0, 0, {}),
        *[(None, None, {})] * 3,
    ]


# -- what a tool must say of itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_each_rule_names_a_page_of_the_tool_and_changes_something(tool: Tool) -> None:
    stages = tool.by_rule(Rules(session_timeout_ms=1, session_cap_ms=1))

    assert all(rule.source in tool.sources or "not documented" in rule.text for rule in tool.rules)
    assert all(before != after for before, after in pairwise(stages))
    assert len({rule.text for rule in tool.rules}) == len(tool.rules)
    assert all(rule.with_us for rule in tool.rules)
    assert all("." in source.rpartition(", ")[2] for source in tool.sources.values())
