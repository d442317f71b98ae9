"""Numbers that follow from the sums of several families, which keep nothing of one another.

Each is told for the windows that all of these families have.
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
        "engagement_steps_per_active_user",
        "Session steps over active users, for the windows that both have: how much those do who come.",
        WINDOW,
        unit="steps",
        parts=("engagement_steps", "engagement_active_users"),
    ),
)


def live(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    """The live numbers."""
    sessions, activity = snapshot.family("sessions").live, snapshot.family("activity").live
    windows_of_activity = rules.windows_of(ACTIVITY)
    for window in rules.windows_of(SESSIONS):
        if window in windows_of_activity:
            minutes = minutes_of(window)
            steps = sessions.get(minutes, {}).get(STEPS, 0)
            users = activity.get(minutes, {}).get(ACTIVE_USERS, 0)
            yield from mean("engagement_steps_per_active_user", {"window": window}, steps, users)
