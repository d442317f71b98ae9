"""The numbers of active users, calculated from sums."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stream.core.days import OfWindows
from stream.core.families.activity import closing
from stream.core.families.activity.calendar import ACTIVE_USERS, NEW_USERS, WEEKS_DAYS
from stream.core.families.activity.closing import RETURNING, USER_DAYS
from stream.core.histogram import QUANTILES, nearest_rank
from stream.core.samples import Sample, mean, share
from stream.core.snapshot import Sums
from stream.core.time import DAY_SECONDS, minutes_of

_DAY = 1_440

# Among the windows of a closed day: active days of the first weeks of those who signed up (`core.first_week`).
FIRST_WEEKS = -1


def live(sums: Sums, lengths: Mapping[str, int]) -> Iterator[Sample]:
    """The live numbers; `lengths` are the windows in minutes."""
    active = {window: sums.live.get(length, {}).get(ACTIVE_USERS, 0) for window, length in lengths.items()}
    for window, users in active.items():
        yield Sample("engagement_active_users", {"window": window}, users)
    daily = next((users for window, users in active.items() if lengths[window] == _DAY), None)
    for window, users in active.items():
        if daily is not None and lengths[window] > _DAY:
            yield from share("engagement_stickiness_ratio", {"window": window}, daily, users)


def of_value(of_windows: Mapping[int, Mapping[int, int]], lengths: Mapping[str, int]) -> Iterator[Sample]:
    """The numbers of one value of a segment; `lengths` are the windows, in minutes or, of closed days, in days."""
    active = {window: of_windows.get(length, {}).get(ACTIVE_USERS, 0) for window, length in lengths.items()}
    daily = next((users for window, users in active.items() if minutes_of(window) == _DAY), None)
    for window, users in active.items():
        yield Sample("engagement_active_users", {"window": window}, users)
        if daily is not None and minutes_of(window) > _DAY:
            yield from share("engagement_stickiness_ratio", {"window": window}, daily, users)


def closed(
    of_windows: OfWindows, day: int, lengths: Sequence[int], *, whole_since: int, memory_days: int
) -> Iterator[Sample]:
    """The numbers of a closed day; `lengths` are the closed windows in days. All is known from `whole_since` on."""
    sums = {length: closing.whole(amounts, whole_since) for length, amounts in of_windows.items()}
    daily = sums.get(1, {}).get(ACTIVE_USERS, 0)
    for length in lengths:
        labels, amounts = {"window": f"{length}d"}, sums.get(length, {})
        active = amounts.get(ACTIVE_USERS, 0)
        yield Sample("engagement_active_users_closed", labels, active)
        if length == 1:
            continue
        yield from share("engagement_stickiness_closed_ratio", labels, daily, active)
        days = amounts.get(USER_DAYS, 0)
        yield Sample("engagement_daily_active_users_summed_closed", labels, days)
        # The independent things are the users, each of whom has a share of days between 0 and 1.
        yield from share("engagement_stickiness_smoothed_closed_ratio", labels, days / length, active)
    weeks = sums.get(WEEKS_DAYS, {})
    for count in range(1, WEEKS_DAYS + 1):
        users = weeks.get(closing.FIRST_L28 + count, 0)
        yield Sample("engagement_l28_users_closed", {"days": str(count)}, users)
    if memory_days < closing.reach(lengths):
        return  # of who is forgotten sooner than that nobody knows whether they are new
    for length in closing.WINDOWS:
        if day - 2 * length + 1 >= whole_since:
            yield from _lifecycle(f"{length}d", sums.get(length, {}))
    if day >= whole_since:
        yield from _tenure(sums)
        yield from _retention(weeks, known_days=day - whole_since)


def _lifecycle(window: str, amounts: Mapping[Any, int]) -> Iterator[Sample]:
    """Who is new, came again, came back, or stayed away, compared with the window before."""
    labels = {"window": window}
    new, returning, before = amounts.get(NEW_USERS, 0), amounts.get(RETURNING, 0), amounts.get(closing.BEFORE, 0)
    resurrected, dormant = amounts.get(ACTIVE_USERS, 0) - new - returning, before - returning
    for state, users in (
        ("new", new),
        ("returning", returning),
        ("resurrected", resurrected),
        ("dormant", dormant),
    ):
        yield Sample("engagement_lifecycle_users_closed", {**labels, "state": state}, users)
    yield Sample("engagement_previous_active_users_closed", labels, before)
    yield from mean("engagement_quick_closed_ratio", labels, new + resurrected, dormant)
    yield from share("engagement_return_closed_ratio", labels, returning, before)
    yield from share("engagement_inactivity_churn_closed_ratio", labels, dormant, before)


def _tenure(sums: Mapping[int, Mapping[Any, int]]) -> Iterator[Sample]:
    """How long ago the active users were first active, and how often the new and the old ones come."""
    daily: dict[str, int] = {}
    for length in closing.WINDOWS:
        amounts, window = sums.get(length, {}), f"{length}d"
        new = amounts.get(closing.OF_NEW_TENURE, 0)
        for tenure, users in (("new", new), ("established", amounts.get(ACTIVE_USERS, 0) - new)):
            labels = {"window": window, "tenure": tenure}
            yield Sample("engagement_tenure_active_users_closed", labels, users)
            if length == 1:
                daily[tenure] = users
            else:
                yield from share("engagement_tenure_stickiness_closed_ratio", labels, daily[tenure], users)
        tenures = [
            (field - closing.FIRST_TENURE, users) for field, users in amounts.items() if field >= closing.FIRST_TENURE
        ]
        yield Sample("engagement_user_tenure_users_closed", {"window": window}, sum(users for _, users in tenures))
        for rank in QUANTILES:
            days = nearest_rank(tenures, rank)
            if days is not None:
                labels = {"window": window, "quantile": str(rank)}
                yield Sample("engagement_user_tenure_closed_seconds", labels, days * DAY_SECONDS)


def _retention(amounts: Mapping[Any, int], *, known_days: int) -> Iterator[Sample]:
    """Of the cohorts that have had so much time, who has come back; none while there is no such cohort."""
    for days in closing.RETENTION_DAYS:
        if days > known_days:
            continue
        cohort = amounts.get(closing.COHORT + days, 0)
        yield Sample("engagement_retention_cohort_users_closed", {"day": str(days)}, cohort)
        for mode, field in (("exact", closing.EXACTLY), ("on_or_after", closing.ON_OR_AFTER)):
            labels, retained = {"day": str(days), "mode": mode}, amounts.get(field + days, 0)
            yield Sample("engagement_retention_retained_users_closed", labels, retained)
            yield from share("engagement_retention_closed_ratio", labels, retained, cohort)
    for weeks in closing.RETENTION_WEEKS:
        if 7 * weeks + 6 > known_days:
            continue
        labels, cohort = {"week": str(weeks)}, amounts.get(closing.WEEKLY_COHORT + weeks, 0)
        retained = amounts.get(closing.WEEKLY + weeks, 0)
        yield Sample("engagement_weekly_retention_cohort_users_closed", labels, cohort)
        yield Sample("engagement_weekly_retention_retained_users_closed", labels, retained)
        yield from share("engagement_weekly_retention_closed_ratio", labels, retained, cohort)
