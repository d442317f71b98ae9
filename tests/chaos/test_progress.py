"""When a deployment is well again, and when it never will be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.progress import CALM_SECONDS, Limits, Sample, is_over, judge, well_since

LIMITS = Limits(well_within_seconds=30, lag=1_000, workers=2)
REBALANCE_SECONDS = 2.5


def seen(at_seconds: float, *, unready: str = "", lag: float | None = 0, takeovers: tuple[int, ...] = (1, 1)) -> Sample:
    return Sample(at_seconds=at_seconds, unready=(unready,) if unready else (), lag=lag, takeovers=takeovers)


def watched(samples: list[Sample], limits: Limits = LIMITS) -> list[Sample]:
    """What is seen of these until the pause is over."""
    for count in range(1, len(samples) + 1):
        if is_over(samples[:count], limits):
            return samples[:count]
    raise AssertionError("the pause does not end")


def rebalancing(*, look_seconds: float) -> list[Sample]:
    """Two workers that take over every 2.5 s without end, and are well in between."""
    times = [number * look_seconds for number in range(2_000)]
    return [seen(at, takeovers=(5 + int(at / REBALANCE_SECONDS),) * 2) for at in times]


def test_who_is_well_and_calm_waits_for_a_few_seconds_only() -> None:
    samples = watched([seen(at) for at in range(100)])

    assert samples[-1].at_seconds == CALM_SECONDS
    assert judge(samples, LIMITS).well_after_seconds == 0
    assert judge(samples, LIMITS).complaint == ""


def test_the_way_back_is_measured_to_the_last_thing_that_was_not_well() -> None:
    behind = [seen(at, unready="server-0: partition 1 is still reading logins") for at in range(5)]
    lagging = [seen(at, lag=1_001) for at in range(5, 9)]
    moving = [seen(at, takeovers=(1, 1)) for at in range(9, 12)]
    samples = watched([*behind, *lagging, *moving, *(seen(at, takeovers=(2, 2)) for at in range(12, 90))])

    verdict = judge(samples, LIMITS)

    assert (verdict.well_after_seconds, verdict.takeovers, verdict.complaint) == (12, 1, "")


def test_events_may_wait_up_to_the_limit() -> None:
    assert well_since([seen(0, lag=1_000)], LIMITS) == 0
    assert well_since([seen(0, lag=1_001)], LIMITS) is None


@pytest.mark.parametrize("look_seconds", [0.5, 1.0, 2.0])
def test_endless_rebalancing_is_found_by_its_count_however_long_a_machine_may_take(look_seconds: float) -> None:
    patient = Limits(well_within_seconds=100_000, lag=1_000, workers=2)

    samples = watched(rebalancing(look_seconds=look_seconds), patient)

    complaint = "a worker took partitions over 9 times without a new fault, of which 8 can have a reason"
    assert judge(samples, patient).complaint == complaint


def test_takeovers_that_a_fault_explains_are_none_too_many() -> None:
    returning = [seen(at, takeovers=(1 + min(at, 8), 1)) for at in range(100)]

    verdict = judge(watched(returning), LIMITS)

    assert (verdict.takeovers, verdict.complaint) == (8, "")


def test_who_is_not_well_in_time_is_told_with_what_is_not() -> None:
    stuck = [seen(at, unready="server-0: no report for 4s of partitions 2") for at in range(100)]
    piling = [seen(at, lag=5_000 + at) for at in range(100)]
    silent = [seen(at, lag=None) for at in range(100)]

    told = [judge(watched(samples), LIMITS) for samples in (stuck, piling, silent)]

    assert [verdict.well_after_seconds for verdict in told] == [None] * 3
    assert [verdict.complaint for verdict in told] == [
        "not well within 60 s: server-0: no report for 4s of partitions 2",
        "not well within 60 s: 5,061 events wait",
        "not well within 60 s: no server tells how many events wait",
    ]


def test_well_a_little_too_late_is_too_late() -> None:
    def back_after(seconds: int) -> list[Sample]:
        return [seen(at, unready="server-0: does not answer" if at < seconds else "") for at in range(100)]

    assert judge(watched(back_after(30)), LIMITS).complaint == ""
    assert judge(watched(back_after(31)), LIMITS).complaint == "well after 31.0 s, not within 30 s"


def test_who_is_well_for_moments_only_is_not_well() -> None:
    flickering = [seen(at, unready="" if at % 4 else "server-1: does not answer") for at in range(100)]

    verdict = judge(watched(flickering), LIMITS)

    assert verdict.complaint == "not well within 60 s: server-1: does not answer"


def test_who_becomes_well_just_before_it_is_given_up_is_looked_at_until_it_is_calm() -> None:
    late = [seen(at, unready="server-0: does not answer" if at < 58 else "") for at in range(100)]

    assert judge(watched(late), LIMITS).complaint == "well after 58.0 s, not within 30 s"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2_000), st.integers(0, 2)), min_size=1, max_size=60))
def test_every_pause_ends_and_one_without_complaint_was_calm_at_its_end(seen_: list[tuple[bool, int, int]]) -> None:
    takeovers, samples = 0, []
    for at, (is_ready, lag, more) in enumerate(seen_):
        takeovers += more
        samples.append(seen(at, unready="" if is_ready else "no", lag=lag, takeovers=(takeovers,)))
    samples += [seen(len(seen_) + at, takeovers=(takeovers,)) for at in range(20)]

    pause = watched(samples)
    verdict = judge(pause, LIMITS)

    if not verdict.complaint:
        last = [sample for sample in pause if sample.at_seconds >= pause[-1].at_seconds - CALM_SECONDS]
        assert all(not sample.unready and sample.lag is not None and sample.lag <= LIMITS.lag for sample in last)
        assert len({sample.takeovers for sample in last}) == 1
