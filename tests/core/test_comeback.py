"""Who is new, comes again, comes back or stays away: the contract's examples, told by hand."""

import msgspec
import pytest

from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, Days
from tests.native import READERS

MIDNIGHT_MS = 1_704_067_200_000
DAY = MIDNIGHT_MS // DAY_MS

Found = dict[tuple[str, ...], float]


def login(user: str, day: float) -> bytes:
    told = {"topic": "logins", "user_id": user, "event_time": MIDNIGHT_MS + int(day * DAY_MS)}
    return msgspec.json.encode(told)


def closed(lines: list[bytes], at_day: float, *, cohorts_from: int | None = 0, zone: str = "UTC") -> dict[int, Found]:
    """What each closed day says, the first of the month being day 0."""
    from_day = None if cohorts_from is None else DAY + cohorts_from
    rules = Rules(days=Days(zone), cohorts_from=from_day)
    offline = Offline(rules, READERS, at_ms=MIDNIGHT_MS + int(at_day * DAY_MS))
    assert list(offline.apply(lines)) == []
    return {
        day - DAY: {(one.name.removeprefix("engagement_"), *one.labels.values()): one.value for one in samples}
        for day, samples in offline.computed(days=200).closed
    }


def lifecycle(found: Found, window: str) -> dict[str, float]:
    return {state: users for (name, its, *state_), users in found.items() for state in state_
            if name == "lifecycle_users_closed" and its == window and users}  # fmt: skip


def test_the_example_of_the_contract() -> None:
    came = {"A": (1, 2, 4), "B": (2, 3), "C": (1, 4)}
    found = closed([login(user, day + 0.5) for user, days in came.items() for day in days], 5.1)

    assert {day: lifecycle(told, "1d") for day, told in found.items()} == {
        1: {"new": 2},
        2: {"returning": 1, "new": 1, "dormant": 1},
        3: {"returning": 1, "dormant": 1},
        4: {"resurrected": 2, "dormant": 1},
    }
    assert found[2]["quick_closed_ratio", "1d"] == 1
    assert found[4]["quick_closed_ratio", "1d"] == 2
    assert ("quick_closed_ratio", "1d") not in found[1]
    assert found[2]["return_closed_ratio", "1d"] == found[2]["inactivity_churn_closed_ratio", "1d"] == 0.5


def test_who_comes_at_23_59_and_again_at_00_01_is_retained_on_day_1() -> None:
    minute = 1 / 1_440
    found = closed([login("ann", 1 - minute), login("ann", 1 + minute), login("bob", 0.5), login("bob", 0.6)], 3.1)

    assert found[1]["retention_cohort_users_closed", "1"] == 2
    assert found[1]["retention_closed_ratio", "1", "exact"] == 0.5


def test_a_cohort_that_is_not_complete_is_absent_and_drags_nothing_down() -> None:
    lines = [login("ann", 0.5), login("ann", 7.5), login("bob", 5.5)]
    found = closed(lines, 15.1)

    assert ("retention_closed_ratio", "7", "exact") not in found[6]
    assert ("retention_cohort_users_closed", "7") not in found[6]
    assert found[7]["retention_closed_ratio", "7", "exact"] == 1  # bob's day 7 has not come
    assert found[12]["retention_closed_ratio", "7", "exact"] == 0.5
    assert ("weekly_retention_closed_ratio", "1") not in found[12]
    assert found[13]["weekly_retention_closed_ratio", "1"] == 1


def test_cohorts_older_than_28_days_are_pooled_no_more() -> None:
    found = closed([login("ann", 0.5), login("ann", 1.5), login("bob", 9.5)], 40.1)

    assert found[28]["retention_cohort_users_closed", "1"] == 2
    assert found[29]["retention_cohort_users_closed", "1"] == 1
    assert found[38]["retention_cohort_users_closed", "1"] == 0
    assert ("retention_closed_ratio", "1", "exact") not in found[38]


def test_nobody_of_the_day_of_the_first_event_is_of_a_cohort() -> None:
    lines = [login("ann", 0.5), login("bob", 1.5), login("ann", 2.5), login("bob", 2.5)]
    found = closed(lines, 4.1, cohorts_from=None)

    assert found[2]["retention_cohort_users_closed", "1"] == 1
    assert found[2]["tenure_active_users_closed", "1d", "new"] == 1
    assert found[2]["tenure_active_users_closed", "1d", "established"] == 1
    assert found[2]["user_tenure_users_closed", "1d"] == 1
    assert found[2]["user_tenure_closed_seconds", "1d", "0.5"] == pytest.approx(86_400, rel=0.01)
    assert ("lifecycle_users_closed", "1d", "new") not in found[1]
    assert lifecycle(found[2], "1d") == {"returning": 1, "resurrected": 1}


def test_days_are_those_of_the_zone() -> None:
    evening = 1 - 5 / 24  # 19:00 UTC is 00:45 of the next day in Kathmandu
    lines = [login("ann", 0.5), login("ann", evening)]

    assert closed(lines, 3.1)[0]["daily_active_users_summed_closed", "7d"] == 1
    assert closed(lines, 3.1, zone="Asia/Kathmandu")[1]["daily_active_users_summed_closed", "7d"] == 2


def test_an_answer_edited_the_next_day_leaves_its_day_as_it_was() -> None:
    def answer(score: int, day: float, **told: object) -> bytes:
        content = {"response_id": "r", "kind": "csat", "score": score, **told}
        return msgspec.json.encode({"topic": "surveys", "user_id": "ann", **content} | {
            "event_time": MIDNIGHT_MS + int(day * DAY_MS)})  # fmt: skip

    edited = closed([answer(5, 0.5), answer(1, 1.5)], 4.1)
    assert edited[0]["csat_closed_ratio", "7d"] == 1
    assert edited[1]["csat_answers_closed", "7d"] == 1
    assert edited[1]["csat_closed_ratio", "7d"] == edited[2]["csat_closed_ratio", "7d"] == 0

    retracted = closed([answer(5, 0.5), answer(5, 1.5, status="retracted")], 4.1)
    assert retracted[0]["csat_answers_closed", "7d"] == 1
    assert retracted[1]["csat_answers_closed", "7d"] == 0


def test_a_session_taken_up_again_counts_once_where_it_closed_last_and_its_first_day_stays() -> None:
    def view(day: float) -> bytes:
        told = {"topic": "sessions", "user_id": "ann", "type": "page_view", "session_id": "s"}
        return msgspec.json.encode(told | {"event_time": MIDNIGHT_MS + int(day * DAY_MS)})

    found = closed([view(0.5), view(1.25)], 4.1)
    assert [found[day]["sessions_closed", "1d"] for day in range(3)] == [1, 1, 0]
    assert [found[day]["sessions_closed", "7d"] for day in range(3)] == [1, 1, 1]
    assert [found[day]["page_views_closed", "7d"] for day in range(3)] == [1, 2, 2]
    assert [found[day]["bounce_closed_ratio", "7d", "single_page"] for day in range(3)] == [1, 0, 0]
    assert [found[day]["session_time_closed_seconds", "7d"] for day in range(3)] == [0, 64_800, 64_800]
    assert found[1]["visitors_closed", "1d"] == found[1]["visitors_closed", "7d"] == 1


def test_who_was_asked_has_a_week_to_answer() -> None:
    def state(status: str, day: float, response: str) -> bytes:
        told = {"response_id": response, "kind": "nps", "status": status, "score": 9 if status == "completed" else None}
        return msgspec.json.encode({"topic": "surveys", "user_id": response, **told} | {
            "event_time": MIDNIGHT_MS + int(day * DAY_MS)})  # fmt: skip

    told = [
        state("shown", 0.5, "r1"),
        state("completed", 6.5, "r1"),
        state("shown", 0.5, "r2"),
        state("shown", 3, "r3"),
    ]
    found = closed(told, 12.1)
    assert ("survey_response_closed_ratio", "7d", "nps") not in found[6]
    assert [found[7][f"survey_shown_{which}_closed", "7d", "nps"] for which in ("completed", "matured")] == [1, 2]
    assert found[7]["survey_response_closed_ratio", "7d", "nps"] == 0.5
    assert found[10]["survey_response_closed_ratio", "7d", "nps"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("America/New_York", 69, 23),
        ("Australia/Lord_Howe", 97, 24.5),
        ("Antarctica/Troll", 90, 22),
        ("Asia/Kathmandu", 69, 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_zone_says(zone: str, date: int, hours: float) -> None:
    days = Days(zone)
    day = days.day_of(MIDNIGHT_MS) + date
    starts_ms = next(days.starts_ms(one) for one in range(day - 2, day + 3)
                     if days.starts_ms(one + 1) - days.starts_ms(one) == hours * HOUR_MS)  # fmt: skip
    length_ms = int(hours * HOUR_MS)
    told = [msgspec.json.encode({"topic": "logins", "user_id": user, "event_time": at_ms}) for user, at_ms in (
        ("before", starts_ms - 1), ("first", starts_ms), ("last", starts_ms + length_ms - 1),
        ("after", starts_ms + length_ms))]  # fmt: skip
    offline = Offline(Rules(days=days), READERS, at_ms=starts_ms + length_ms + HOUR_MS)
    assert list(offline.apply(told)) == []
    ((closed_day, samples),) = offline.computed(days=1).closed

    assert closed_day == days.day_of(starts_ms)
    found = {one.name: one.value for one in samples if one.labels.get("window") == "1d"}
    assert found["engagement_active_users_closed"] == found["engagement_logins_closed"] == 2


def test_what_happens_between_two_versions_of_a_thing_counts_from_its_own_day() -> None:
    def answer(response: str, score: int, day: float) -> bytes:
        told = {"topic": "surveys", "user_id": "ann", "response_id": response, "kind": "csat", "score": score}
        return msgspec.json.encode(told | {"event_time": MIDNIGHT_MS + int(day * DAY_MS)})

    def session(revision: int, first: float, last: float, name: str) -> bytes:
        told = {"topic": "sessions", "user_id": "ann", "type": "summary", "session_id": name, "page_views": 1}
        times = {"started_at": MIDNIGHT_MS + int(first * DAY_MS), "ended_at": MIDNIGHT_MS + int(last * DAY_MS)}
        return msgspec.json.encode({**told, **times, "event_time": times["ended_at"], "revision": revision})

    found = closed([answer("r", 5, 0.5), answer("s", 5, 1.5), answer("r", 1, 2.5)], 5.1)
    assert [found[day]["csat_satisfied_closed", "7d"] for day in range(3)] == [1, 2, 1]

    lines = [session(1, 0.5, 0.6, "s"), session(2, 0.5, 2.5, "s"), session(1, 1.5, 1.6, "t")]
    found = closed(lines, 5.1)
    assert [found[day]["daily_active_users_summed_closed", "7d"] for day in range(3)] == [1, 2, 3]
    assert [found[day]["sessions_closed", "7d"] for day in range(3)] == [1, 2, 2]


@pytest.mark.parametrize("cohorts_from", [None, 1])
@pytest.mark.parametrize("age", [121, 124, 200, 412, 1_330])
def test_who_came_before_all_was_known_has_no_known_tenure_however_long_ago_that_is(
    cohorts_from: int | None, age: int
) -> None:
    days = [age - 1 - 80 * back for back in range((age - 2) // 80)]  # so often that nobody is forgotten
    lines = [login("old", day + 0.5) for day in (0, *days, age)] + [login("new", day + 0.5) for day in (1, *days, age)]
    last = closed(lines, age + 1.1, cohorts_from=cohorts_from)[age]

    assert last["active_users_closed", "1d"] == 2
    assert last["user_tenure_users_closed", "1d"] == 1
    assert last["user_tenure_closed_seconds", "1d", "0.5"] == pytest.approx(86_400 * (age - 1), rel=0.01)
