"""What the simulated world looks like, measured the naive way on 35 days of 1,000 users."""

from collections import Counter, defaultdict
from statistics import mean
from typing import Any, NamedTuple

import msgspec
import pytest

from stream.core.events import Login, Step, Summary
from stream.simulate.population import DAY_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.native import DECODERS

END_DAY = 20_777  # a Friday
USERS = 1_000
SCALES = {"csat": (1, 5), "nps": (0, 10), "ces": (1, 7), "cxi": (1, 5)}


class History(NamedTuple):
    """A simulated history, and who was active on each UTC day of it."""

    events: list[SimulatedEvent]
    fields: list[dict[str, Any]]
    active: dict[int, set[str]]

    def mau(self, day: int) -> int:
        return len(set().union(*(self.active[near] for near in range(day - 29, day + 1))))

    def stickiness(self, day: int) -> float:
        return len(self.active[day]) / self.mau(day)

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [fields for event, fields in zip(self.events, self.fields, strict=True) if event.topic == topic]


def history(asked: SimulatorSettings) -> History:
    start_ms, end_ms = (END_DAY - 35) * DAY_MS, END_DAY * DAY_MS
    events = list(simulate(asked, start_ms=start_ms, end_ms=end_ms))
    active: defaultdict[int, set[str]] = defaultdict(set)
    for event in events:
        told = DECODERS[event.topic](event.value)
        assert told.at_ms == event.at_ms
        counts = isinstance(told, Summary)
        counts |= isinstance(told, Step) and told.is_interactive
        counts |= isinstance(told, Login) and told.success
        if counts:
            active[told.at_ms // DAY_MS].add(told.user)
    return History(events, [msgspec.json.decode(event.value) for event in events], active)


@pytest.fixture(scope="module")
def steady() -> History:
    return history(SimulatorSettings(users=USERS))


@pytest.fixture(scope="module")
def drop() -> History:
    return history(SimulatorSettings(users=USERS, scenario="drop"))


def test_every_event_has_an_id_of_its_own_and_the_key_of_its_user(steady: History) -> None:
    ids = {fields["event_id"] for fields in steady.fields}

    assert len(ids) == len(steady.events)
    for event, fields in zip(steady.events, steady.fields, strict=True):
        assert event.key == fields.get("user_id", fields.get("anonymous_id"))


def test_there_are_four_to_six_events_per_user_and_day(steady: History) -> None:
    assert 4 < len(steady.events) / USERS / 35 < 6


def test_times_come_in_utc_in_local_time_and_as_epoch_numbers(steady: History) -> None:
    times = [fields["event_time"] for fields in steady.fields]

    assert any(isinstance(time, int) for time in times)
    assert any(str(time).endswith("Z") for time in times)
    assert {"-05:00", "+05:30", "+09:00", "+11:00"} <= {str(time)[-6:] for time in times}


def test_stickiness_is_believable_on_every_day_of_the_last_week(steady: History) -> None:
    for day in range(END_DAY - 6, END_DAY - 1):
        assert 0.18 < steady.stickiness(day) < 0.36


def test_weekends_are_quieter(steady: History) -> None:
    by_weekday = defaultdict(list)
    for day in range(END_DAY - 28, END_DAY):
        by_weekday[(day + 3) % 7].append(len(steady.active[day]))
    weekday, weekend = (mean(n for at in span for n in by_weekday[at]) for span in ((1, 2, 3), (5, 6)))

    assert 0.65 < weekend / weekday < 0.9


def test_nights_are_quieter_in_every_country(steady: History) -> None:
    for country, hours_ahead in (("JP", 9), ("DE", 1), ("BR", -3)):
        hours = Counter(
            (event.at_ms // 3_600_000 + hours_ahead) % 24
            for event, fields in zip(steady.events, steady.fields, strict=True)
            if fields["country"] == country
        )
        night, morning = sum(hours[at] for at in range(1, 5)), sum(hours[at] for at in range(9, 13))

        assert night < 0.25 * morning


def test_users_sign_up_and_lapse_while_about_as_many_stay(steady: History) -> None:
    weeks = [set().union(*(steady.active[END_DAY - at - n] for n in range(1, 8))) for at in (0, 28)]
    before = set().union(*(steady.active[day] for day in range(END_DAY - 35, END_DAY - 7)))

    assert 0.9 < len(weeks[0]) / len(weeks[1]) < 1.1
    assert len(weeks[0] - before) > 0.04 * len(weeks[0])
    assert len(weeks[1] - weeks[0]) > 0.1 * len(weeks[1])


def test_two_in_five_sessions_bounce_by_either_rule(steady: History) -> None:
    sessions = defaultdict(list)
    for fields in steady.of("sessions"):
        if "session_id" in fields and fields["type"] != "summary":
            sessions[fields["session_id"]].append(fields)
    views = {
        session: sum(step["type"] in ("page_view", "screen_view") for step in steps)
        for session, steps in sessions.items()
    }
    keys = {session: sum("key_event" in step for step in steps) for session, steps in sessions.items()}
    single = sum(views[session] == 1 and keys[session] == 0 for session in sessions)
    long_reads = sum(
        views[session] == 1 and sum(step.get("engaged_ms", 0) for step in steps) >= 10_000
        for session, steps in sessions.items()
    )

    assert 0.37 < single / len(sessions) < 0.45
    assert 0.33 < (single - long_reads) / len(sessions) < 0.43


def test_a_bad_release_makes_sessions_bounce_on_android(steady: History) -> None:
    steps = Counter(fields["session_id"] for fields in steady.of("sessions") if "session_id" in fields)
    bounced: dict[bool, dict[str, bool]] = {True: {}, False: {}}
    for fields in steady.of("sessions"):
        if fields.get("platform") == "android" and fields["type"] == "screen_view" and "session_id" in fields:
            is_bad = fields["app_version"] in ("17.5.0", "17.9.0")  # the 175th release, and each fourth after it
            bounced[is_bad][fields["session_id"]] = steps[fields["session_id"]] <= 3  # with its start and its end

    assert len(bounced[True]) > 150
    assert mean(bounced[True].values()) > 1.25 * mean(bounced[False].values())


def test_sessions_come_in_all_the_ways_producers_send_them(steady: History) -> None:
    sessions = steady.of("sessions")
    types = Counter(fields["type"] for fields in sessions)
    told = Counter(fields["session_id"] for fields in sessions if fields["type"] == "summary")

    assert set(types) == {
        "page_view",
        "screen_view",
        "heartbeat",
        "event",
        "start",
        "end",
        "summary",
    }
    assert 0.1 < mean("session_id" not in fields for fields in sessions) < 0.25
    assert any(fields.get("key_event") for fields in sessions)
    assert any(fields.get("interactive") is False for fields in sessions)
    assert max(told.values()) == 2
    assert all(fields["revision"] in (1, 2) for fields in sessions if fields["type"] == "summary")


def test_a_step_is_never_half_an_hour_after_the_one_before_it(steady: History) -> None:
    last: dict[str, int] = {}
    for event, fields in zip(steady.events, steady.fields, strict=True):
        session = fields.get("session_id")
        if session is None or fields["type"] == "summary":
            continue
        assert event.at_ms - last.get(session, event.at_ms) in range(30 * 60_000)
        last[session] = event.at_ms


def test_one_login_in_fifteen_fails(steady: History) -> None:
    assert 0.05 < mean(not fields["success"] for fields in steady.of("logins")) < 0.08


def test_segments_have_few_values_and_the_app_moves_on(steady: History) -> None:
    seen = {name: {fields.get(name) for fields in steady.fields} for name in ("platform", "country", "plan")}
    releases = [[int(part) for part in fields["app_version"].split(".")] for fields in steady.fields]

    assert seen["platform"] == {"web", "ios", "android"}
    assert seen["plan"] == {"free", "pro", "team", None}
    assert len(seen["country"]) == 8
    assert max(releases[-5_000:]) > max(releases[:5_000])


def test_every_score_is_within_its_scale(steady: History) -> None:
    for fields in steady.of("surveys"):
        lowest, highest = SCALES[fields["kind"]]
        highest = fields.get("scale_max", highest)
        scores = [*fields.get("scores", {}).values(), *([fields["score"]] if "score" in fields else [])]
        assert all(score in range(lowest, highest + 1) for score in scores)
        answered = fields["status"] in ("completed", "partial")
        assert len(scores) == answered * (4 if fields["kind"] == "cxi" else 1)


def test_surveys_of_all_kinds_and_statuses_are_answered(steady: History) -> None:
    seen = Counter((fields["kind"], fields["status"]) for fields in steady.of("surveys"))

    assert {kind for kind, _ in seen} == set(SCALES)
    assert {status for _, status in seen} == {"shown", "completed", "partial", "dismissed", "retracted"}
    assert seen["nps", "completed"] > 120
    assert seen["csat", "completed"] > 200


def test_a_response_is_shown_before_it_is_answered(steady: History) -> None:
    story = defaultdict(list)
    for fields in steady.of("surveys"):
        story[fields["response_id"]].append(fields["status"])

    assert any(statuses[:2] == ["shown", "completed"] for statuses in story.values())
    for statuses in story.values():
        assert "shown" not in statuses[1:]
        assert "retracted" not in statuses or statuses[-1] == "retracted"


def test_who_is_satisfied_once_tends_to_be_satisfied_again(steady: History) -> None:
    answers = defaultdict(list)
    for fields in steady.of("surveys"):
        if fields["kind"] == "csat" and fields["status"] == "completed":
            answers[fields["user_id"]].append(fields["score"])
    again = {
        first: [scores[1] for scores in answers.values() if len(scores) > 1 and (scores[0] == 5) == first]
        for first in (True, False)
    }

    assert mean(again[True]) > mean(again[False])


def test_a_drop_lowers_stickiness_and_hardly_mau(steady: History, drop: History) -> None:
    for day in range(END_DAY - 3, END_DAY):
        assert drop.stickiness(day) < 0.75 * steady.stickiness(day)
        assert len(drop.active[day]) < 0.7 * len(steady.active[day])
        assert drop.mau(day) > 0.97 * steady.mau(day)


def test_nothing_differs_before_the_drop(steady: History, drop: History) -> None:
    drop_ms = (END_DAY - 4) * DAY_MS
    before = [[event for event in past.events if event.arrives_at_ms < drop_ms] for past in (steady, drop)]

    assert before[0] == before[1]


def test_a_drop_spoils_the_scores(steady: History, drop: History) -> None:
    def scores(past: History) -> list[int]:
        return [
            fields["score"]
            for event, fields in zip(past.events, past.fields, strict=True)
            if event.at_ms >= (END_DAY - 4) * DAY_MS and fields.get("kind") == "csat" and "score" in fields
        ]

    assert mean(scores(drop)) < mean(scores(steady)) - 0.3
