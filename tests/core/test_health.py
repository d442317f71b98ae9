"""Customer health: examples counted by hand, what each part says, who is scored, and other weights."""

from collections.abc import Sequence
from typing import Any

import pytest

from stream.core.families.health.family import HealthFamily
from stream.core.families.health.part import UserHealth
from stream.core.partition.partition import Partition
from stream.core.partition.rows import USER_PREFIX
from stream.core.report import closed_samples
from stream.core.rules import Health, Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.live import Stream, Worker, message
from tests.core.numbers import closed_numbers
from tests.core.oracle_events import EventFields

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
RULES = Rules(health=Health(), features={"search": 3, "export": 1})
ONLY = dict.fromkeys(("activity", "adoption", "satisfaction", "support", "subscription"), 0.0)


def rules(**changed: Any) -> Rules:
    """Rules with these weights alone."""
    weights = (changed.pop(name, 0) for name in ONLY)
    return Rules(health=Health(weights=tuple(weights), **changed), features={"search": 3, "export": 1})


def login(day: int = 0, user: str = "ann") -> dict[str, Any]:
    return {"topic": "logins", "user_id": user, "event_time": NOON_MS + day * DAY_MS}


def used(feature: str, day: int = 0) -> dict[str, Any]:
    return {**login(day), "topic": "features", "type": "used", "feature": feature}


def answer(score: object, day: int = 0, kind: str = "csat", response: str = "r", **fields: Any) -> dict[str, Any]:
    told = {"response_id": response, "kind": kind, "score": score, "status": "completed"}
    return {**login(day), "topic": "surveys", **told, **fields}


def contact(kind: str, day: int = 0, conversation: str = "c") -> dict[str, Any]:
    return {**login(day), "topic": "contacts", "type": kind, "conversation_id": conversation}


def account(kind: str, day: int = 0, **fields: Any) -> dict[str, Any]:
    return {**login(day), "topic": "accounts", "type": kind, **fields}


def days(*events: dict[str, Any], last: int = 0, by: Rules = RULES) -> list[dict[str, float]]:
    """What closed days say of health, up to this one."""
    at_ms = NOON_MS + (last + 1) * DAY_MS
    told = closed_numbers(*(event for event in events if event["event_time"] <= at_ms), at_ms=at_ms, rules=by)
    return [{name.removeprefix("health_"): day[name] for name in day if name.startswith("health_")} for day in told]


def score(*events: dict[str, Any], last: int = 0, by: Rules = RULES) -> float | None:
    """The score of the only user at the end of a day."""
    return days(*events, last=last, by=by)[-1].get("score_mean_closed")


def test_missing_parts_are_left_out_and_the_weights_renormalised() -> None:
    by = rules(adoption=1, satisfaction=2, support=1, at_risk_below=40)
    found = days(login(), answer(8, kind="nps", response="n"), used("x"), contact("opened"), by=by)[-1]
    # Satisfaction is 80, adoption 0, support 0 with one who waits: (2 x 80 + 0 + 0) / 4
    assert found["score_mean_closed"] == 40

    by = Rules(health=Health(weights=(1, 0, 2, 1, 0), target_days=2))
    found = days(login(), answer(8, kind="nps"), by=by)[-1]
    assert found["score_mean_closed"] == 70  # 80 with weight 2, 50 with weight 1; no conversation
    assert found["coverage_mean_closed"] == 0.75
    assert [found[f"users_closed {band}"] for band in ("at_risk", "neutral", "healthy")] == [0, 0, 1]


def test_activity_is_active_days_of_28_over_the_target_and_at_most_100() -> None:
    by = rules(activity=1)
    events = [login(day) for day in range(12)]
    assert [score(*events, last=last, by=by) for last in (0, 3, 7, 11)] == [12.5, 50, 100, 100]
    # The last of the 12 days leaves the window 28 days later.
    assert [score(*events, last=last, by=by) for last in (31, 32, 38, 39)] == [100, 87.5, 12.5, 0]


def test_who_was_not_active_for_90_days_and_is_no_customer_has_no_score() -> None:
    assert score(login(), last=89) == 0
    assert days(login(), last=90)[-1] == {}
    assert days(login(), login(1, "bob"), last=90)[-1]["users_closed at_risk"] == 1
    subscribed = [account("subscribed"), login()]
    assert score(*subscribed, last=300, by=rules(subscription=1)) == 100
    assert days(*subscribed, account("cancelled", 200), last=200)[-1] == {}


def test_adoption_is_the_weighted_share_of_vital_features_used() -> None:
    by = rules(adoption=1)
    events = [used("search"), used("export", 5), used("other", 5)]
    assert [score(*events, last=last, by=by) for last in (4, 5, 27, 28, 33)] == [75, 100, 100, 25, 0]
    assert days(used("search"), by=Rules(health=Health(weights=(0, 1, 0, 0, 0))))[-1] == {}  # no feature is vital


def test_satisfaction_is_the_mean_of_the_newest_answer_of_each_kind() -> None:
    by = rules(satisfaction=1)
    events = [login(), login(80), answer(5), answer(1, 2, response="s"), answer(10, 3, "nps", "n")]
    assert [score(*events, last=last, by=by) for last in (0, 2, 3)] == [100, 0, 50]
    # The answers leave after 90 days, each at its own time.
    assert [score(*events, last=last, by=by) for last in (91, 92, 93)] == [50, 100, None]
    scores = {"effort": 5, "empathy": 4, "understanding": 3, "efficiency": 2}
    assert score(login(), answer(None, kind="cxi", scores=scores), by=by) == 62.5
    assert score(login(), answer(6, kind="ces", higher_is="harder"), by=by) == pytest.approx(100 / 6, abs=1e-6)


def test_an_answer_that_is_edited_on_a_later_day_leaves_the_day_before_as_it_was() -> None:
    told = days(login(), answer(5), answer(1, 1), last=1, by=rules(satisfaction=1))
    assert [day["score_mean_closed"] for day in told[-2:]] == [100, 0]


def test_support_is_resolved_minus_waiting_of_the_conversations_begun() -> None:
    by = rules(support=1)
    events = [login(), *(contact("opened", 0, name) for name in "abcd")]
    events += [contact("resolved", 1, name) for name in "abc"]
    assert [score(*events, last=last, by=by) for last in (0, 1, 60)] == [0, 50, 50]
    assert score(*events, contact("deleted", 1, "d"), last=1, by=by) == 100


def test_a_subscription_counts_by_its_status_at_the_end_of_the_day() -> None:
    by = rules(subscription=1)
    events = [account("trial_started"), account("subscribed", 1), account("paused", 2), account("resumed", 3)]
    events += [account("cancelled", 4, effective_at=NOON_MS + 6 * DAY_MS), login()]
    assert [score(*events, last=last, by=by) for last in range(7)] == [60, 100, 30, 100, 100, 100, 0]


def told(partition: Partition, day: int) -> dict[str, float]:
    """What a partition says of a closed day."""
    samples = closed_samples(partition.snapshot(closed_days=9), partition.rules, day)
    return {sample.name.removeprefix("engagement_health_"): sample.value for sample in samples}


def test_a_late_event_corrects_the_days_that_it_reaches() -> None:
    worker = Worker(rules(activity=1))
    for event in (login(), login(2), login(1)):
        worker.apply("logins", [message(event)], not_after_ms=NOON_MS + 9 * DAY_MS)
        worker.partition.tick(NOON_MS + 3 * DAY_MS, behind=())
        worker.forget()
    day = worker.rules.days.day_of(NOON_MS)
    assert [told(worker.partition, day + later)["score_mean_closed"] for later in range(3)] == [12.5, 25, 37.5]


@pytest.mark.parametrize("when", ["before a checkpoint", "after it"])
def test_other_weights_count_when_the_stored_rows_were_looked_at(when: str) -> None:
    worker = Worker(Rules())
    logins = [message(login(user=f"user-{number}")) for number in range(3)]
    worker.apply("logins", logins, not_after_ms=NOON_MS)
    worker.checkpoint()

    for target_days, expected in ((2, 50), (1, 100), (4, 25)):
        worker.rules = rules(activity=1, target_days=target_days)
        worker.restart()
        for _ in range(2):  # what was looked at once does not change any more
            worker.partition.sweep(worker.store.pages(USER_PREFIX.encode()))
            worker.partition.note_all_users_swept()
            if when == "after it":
                worker.restart()
        worker.partition.tick(NOON_MS + DAY_MS, behind=())
        found = told(worker.partition, worker.rules.days.day_of(NOON_MS))
        assert found["score_mean_closed"] == expected
        assert found["coverage_mean_closed"] == 1
        worker.forget()
        delta = worker.partition.collect_delta()
        assert not [key for key, _ in delta if key.startswith(USER_PREFIX.encode())]


def test_who_came_while_nobody_was_scored_is_scored_when_all_rows_were_looked_at() -> None:
    """Though the weights are those with which the rows were looked at before."""
    worker = Worker(RULES)
    for number, chosen in enumerate((RULES, Rules(), RULES)):
        worker.rules = chosen
        worker.restart()
        if chosen is RULES:
            worker.partition.sweep(worker.store.pages(USER_PREFIX.encode()))
            worker.partition.note_all_users_swept()
        if number < 2:
            worker.apply("logins", [message(login(number))], not_after_ms=NOON_MS + number * DAY_MS)
    worker.partition.tick(NOON_MS + 2 * DAY_MS, behind=())
    day = worker.rules.days.day_of(NOON_MS + DAY_MS)

    always = Worker(RULES)
    always.apply("logins", [message(login(0)), message(login(1))], not_after_ms=NOON_MS + DAY_MS)
    always.partition.tick(NOON_MS + 2 * DAY_MS, behind=())
    assert told(worker.partition, day) == told(always.partition, day)


def test_rows_that_were_looked_at_once_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[object] = []
    look_at = HealthFamily.look_at

    def counted(self: HealthFamily, part: UserHealth, others: Sequence[Any], first_open: int) -> bool:
        looked_at.append(part)
        return look_at(self, part, others, first_open)

    order = {**login(), "topic": "orders", "type": "paid", "order_id": "o", "amount": 1, "currency": "EUR"}
    worker = Worker(RULES)
    worker.apply("orders", [message(order)], not_after_ms=NOON_MS)  # which gives its user no score
    worker.apply("logins", [message(login(user="bob"))], not_after_ms=NOON_MS)
    worker.checkpoint()
    monkeypatch.setattr(HealthFamily, "look_at", counted)
    for expected in (2, 2, 2):
        worker.restart()
        worker.partition.sweep(worker.store.pages(USER_PREFIX.encode()))
        worker.partition.note_all_users_swept()
        assert len(looked_at) == expected


def test_whoever_is_not_scored_any_more_leaves_nothing_behind() -> None:
    worker = Worker(RULES)
    worker.apply("logins", [message(login())], not_after_ms=NOON_MS)
    for later in (0, 60, 95, 120, 600, 601):
        worker.partition.tick(NOON_MS + later * DAY_MS, behind=())
        worker.partition.close_days(count=1_000)
        worker.forget()
        worker.partition.sweep(worker.store.pages(USER_PREFIX.encode()))
    worker.partition.close_days(count=1_000)
    worker.forget()
    assert not worker.store.pages(USER_PREFIX.encode())
    assert not worker.store.pages(b"days/health/")


def test_users_who_are_not_scored_cost_nothing() -> None:
    worker = Worker(Rules())
    worker.apply("logins", [message(login())], not_after_ms=NOON_MS)
    worker.checkpoint()
    assert not worker.store.pages(b"days/health/")
    assert "health" not in worker.partition.snapshot().families


@pytest.mark.parametrize("later", [3, 8, 20, 27, 40, 80])
def test_what_a_score_follows_from_is_kept_as_long_as_it_counts_however_short_the_windows_are(later: int) -> None:
    short = ("activity", "sessions", "surveys", "orders", "accounts", "reviews", "social", "contacts", "features")
    windows = {**dict.fromkeys(short, ("5m",)), "segments_activity": ("5m",)}
    by = Rules(allowed_lateness_ms=2 * DAY_MS, features={"search": 3}, health=Health(), windows=windows)
    stream, events, first_ms = Stream(by), list[EventFields](), 1_704_067_200_000
    told: list[tuple[int, EventFields]] = [
        (0, {"topic": "features", "type": "used", "feature": "search"}),
        (1, {"topic": "contacts", "type": "opened", "conversation_id": "c"}),
        (2, {"topic": "surveys", "response_id": "r", "kind": "csat", "score": 5, "status": "completed"}),
        (24 * later, {"topic": "logins"}),
        (24 * later + 1, {"topic": "contacts", "type": "opened", "conversation_id": "d"}),
        (24 * later + 25, {"topic": "logins"}),
    ]
    for hours, event in told:
        at_ms = first_ms + hours * HOUR_MS
        events.append({"user_id": "ann", "event_time": at_ms, **event})
        assert stream.apply(event["topic"], [events[-1]], not_after_ms=at_ms) == ([], [])
        stream.tick(at_ms)
        stream.workers[0].restart()
    stream.agrees_with_recount(events, first_ms + (24 * later + 25) * HOUR_MS)
