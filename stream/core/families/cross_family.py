"""Numbers that can't be calculated from the sums of one family alone.

They need the sums of several families, which store nothing of one another, or the time of the first event of the whole
stream.
"""

from collections.abc import Iterator

from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.sessions.numbers import STEPS
from stream.core.metrics import WINDOW, Metric, closed_name, closed_twins
from stream.core.rules import Rules
from stream.core.samples import Sample, mean
from stream.core.snapshot import Snapshot
from stream.core.time import minutes_of
from stream.core.windows import ACTIVITY, SESSIONS, whole_days

_STEPS_PER_USER = Metric(
    "engagement_steps_per_active_user",
    "Session steps over active users, for the windows that both have: how much those do who come.",
    WINDOW,
    unit="steps",
    parts=("engagement_steps", "engagement_active_users"),
)
METRICS = (
    Metric(
        "engagement_new_users",
        "Users whose first activity ever lies in the rolling window. Whoever was heard of in the 400 days (setting"
        " memory) before is not new. The day of the stream's first event is left out, for on it everybody seems new, or"
        " all days before the setting cohorts_from.",
        WINDOW,
        unit="users",
    ),
    _STEPS_PER_USER,
    *closed_twins((_STEPS_PER_USER,)),
)


def live(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    """The live numbers."""
    first_whole_day = rules.whole_since(snapshot.first_ms)
    new = snapshot.family("activity").by_day
    for window in rules.windows_of(ACTIVITY):
        by_day = new.get(minutes_of(window), {})
        users = sum(users for day, users in by_day.items() if day >= first_whole_day)
        yield Sample("engagement_new_users", {"window": window}, users)
    sessions, activity = snapshot.family("sessions").live, snapshot.family("activity").live
    windows_of_activity = rules.windows_of(ACTIVITY)
    for window in rules.windows_of(SESSIONS):
        if window in windows_of_activity:
            minutes = minutes_of(window)
            steps = sessions.get(minutes, {}).get(STEPS, 0)
            users = activity.get(minutes, {}).get(ACTIVE_USERS, 0)
            yield from mean("engagement_steps_per_active_user", {"window": window}, steps, users)


def closed(snapshot: Snapshot, rules: Rules, day: int) -> Iterator[Sample]:
    """The numbers of a closed day."""
    sessions, activity = (snapshot.family(name).closed.get(day, {}) for name in ("sessions", "activity"))
    of_activity = whole_days(rules.windows_of(ACTIVITY))
    for length in whole_days(rules.windows_of(SESSIONS)):
        if length in of_activity:
            steps, users = sessions.get(length, {}).get(STEPS, 0), activity.get(length, {}).get(ACTIVE_USERS, 0)
            name = closed_name("engagement_steps_per_active_user")
            yield from mean(name, {"window": f"{length}d"}, steps, users)
