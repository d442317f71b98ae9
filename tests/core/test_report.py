"""Samples that follow from sums: undefined ones are absent, and each ratio has its parts."""

from typing import Any

import pytest

from stream.core.days import OfWindows
from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.activity.closing import USER_DAYS
from stream.core.report import closed_days, closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot, Sums

DAY = 19_800


def snapshot(last_closed_day: int | None = None, **activity: Any) -> Snapshot:
    families = {"activity": Sums(**activity)}
    return Snapshot(now_ms=DAY * 86_400_000, last_closed_day=last_closed_day, families=families)


def values(samples: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == name}


def test_before_the_first_event_there_is_no_sample() -> None:
    assert live_samples(Snapshot(), Rules()) == []
    assert closed_samples(Snapshot(), Rules(), DAY) == []
    assert closed_days(Snapshot(), count=9) == []


def test_counts_of_nothing_are_0_and_ratios_of_nothing_are_absent() -> None:
    samples = live_samples(snapshot(), Rules())

    assert {sample.value for sample in samples} == {0}
    undefined = ("_ratio", "_mean", "_seconds", "_nps", "_cxi", "_dimension", "_session", "_lower", "_upper")
    counted = ("_session_time_seconds", "_engaged_time_seconds")
    assert not [name for name, *_ in samples if name.endswith(undefined) and not name.endswith(counted)]


def test_stickiness_is_the_day_over_the_window_and_needs_the_day() -> None:
    traffic = {5: {}, 1_440: {ACTIVE_USERS: 2}, 10_080: {ACTIVE_USERS: 8}}
    rules = Rules(windows={"activity": ("5m", "1d", "7d")})
    samples = live_samples(snapshot(live=traffic), rules)

    assert values(samples, "engagement_stickiness_ratio") == {("7d",): 0.25}
    lower, upper = (values(samples, f"engagement_stickiness_ratio_{end}")["7d",] for end in ("lower", "upper"))
    assert 0 < lower < 0.25 < upper < 1
    samples = live_samples(snapshot(live=traffic), Rules(windows={"activity": ("5m", "7d")}))
    assert values(samples, "engagement_stickiness_ratio") == {}


def test_a_day_is_told_when_it_is_closed_and_something_is_known_of_it() -> None:
    users = {ACTIVE_USERS: 2, USER_DAYS: 3}
    days = {day: {1: {ACTIVE_USERS: 1}, 7: users} for day in (DAY - 1, DAY, DAY + 1)}
    told, rules = snapshot(closed=days, last_closed_day=DAY), Rules(windows={"activity": ("7d",)})

    assert closed_days(told, count=1) == [DAY]
    assert closed_days(told, count=9) == [DAY - 1, DAY]
    assert closed_samples(told, rules, DAY + 1) == []
    assert closed_samples(told, rules, DAY - 2) == []
    samples = closed_samples(told, rules, DAY)
    assert values(samples, "engagement_active_users_closed") == {("1d",): 1, ("7d",): 2}
    assert values(samples, "engagement_stickiness_closed_ratio") == {("7d",): 0.5}
    assert values(samples, "engagement_daily_active_users_summed_closed") == {("7d",): 3}
    smoothed = values(samples, "engagement_stickiness_smoothed_closed_ratio")
    assert smoothed == {("7d",): pytest.approx(3 / 7 / 2)}


def test_a_closed_day_without_users_has_counts_but_no_ratios() -> None:
    samples = closed_samples(snapshot(closed={DAY: {}}, last_closed_day=DAY), Rules(), DAY)

    assert {sample.value for sample in samples} == {0}
    assert not [sample.name for sample in samples if sample.name.endswith(("_ratio", "_lower", "_upper"))]


def test_nobody_is_of_a_cohort_before_all_was_known() -> None:
    """A stream begins on a day: everybody seems new on it, and no window that reaches back to it says who is."""
    first_ms, day_ms = DAY * 86_400_000, 86_400_000
    closed: dict[int, OfWindows] = {DAY + after: {1: {ACTIVE_USERS: 3}, 7: {}, 28: {}, 30: {}} for after in range(20)}

    def names(after: int, rules: Rules) -> set[tuple[str, ...]]:
        told = Snapshot(
            now_ms=first_ms + 30 * day_ms,
            first_ms=first_ms,
            last_closed_day=DAY + after,
            families={"activity": Sums(closed=closed)},
        )
        samples = closed_samples(told, rules, DAY + after)
        return {(one.name, *one.labels.values()) for one in samples}

    lifecycle = ("engagement_lifecycle_users_closed", "7d", "new")
    cohort = ("engagement_retention_cohort_users_closed", "7")
    for rules, lifecycle_after, cohort_after in (
        (Rules(), 14, 8),
        (Rules(cohorts_from=DAY - 30), 0, 0),
        (Rules(cohorts_from=DAY + 5), 18, 12),
    ):
        assert [after for after in range(20) if lifecycle in names(after, rules)] == [*range(lifecycle_after, 20)]
        assert [after for after in range(20) if cohort in names(after, rules)] == [*range(cohort_after, 20)]
