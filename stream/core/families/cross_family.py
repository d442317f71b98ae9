"""Numbers that can't be calculated from the sums of one family alone.

They need the sums of several families, which store nothing of one another, or the time of the first event of the whole
stream.
"""

from collections.abc import Iterator

from stream.core.families.activity.samples import ACTIVE_USERS
from stream.core.families.sessions.numbers import STEPS
from stream.core.metrics import WINDOW, Metric
from stream.core.rules import Rules
from stream.core.samples import Sample, mean
from stream.core.snapshot import Snapshot
from stream.core.time import minutes_of
from stream.core.windows import ACTIVITY, SESSIONS

METRICS = (
    Metric(
        "engagement_new_users",
        "Users whose first activity ever lies in the rolling window. Whoever was heard of in the 400 days (setting"
        " memory) before is not new. The day of the stream's first event is left out: on it everybody seems new.",
        WINDOW,
        unit="users",
    ),
    Metric(
        "engagement_steps_per_active_user",
        "Session steps over active users, for the windows that both have: how much those do who come.",
        WINDOW,
        unit="steps",
        parts=("engagement_steps", "engagement_active_users"),
    ),
)


def live(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    """The live numbers."""
    first_whole_day = 0 if snapshot.first_ms is None else rules.days.day_of(snapshot.first_ms) + 1
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
