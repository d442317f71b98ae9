"""The numbers of active users, calculated from sums."""

from collections.abc import Iterator, Mapping, Sequence

from stream.core import segments
from stream.core.samples import Sample, share
from stream.core.snapshot import Sums
from stream.core.tally import Tally

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
ACTIVE_USERS = 1

_DAY = 1_440


def live(sums: Sums, lengths: Mapping[str, int], counted: Sequence[str]) -> Iterator[Sample]:
    """The live numbers; `lengths` are the windows in minutes, `counted` the segments."""
    active = {window: sums.live.get(length, {}).get(ACTIVE_USERS, 0) for window, length in lengths.items()}
    for window, users in active.items():
        yield Sample("engagement_active_users", {"window": window}, users)
    daily = next((users for window, users in active.items() if lengths[window] == _DAY), None)
    for window, users in active.items():
        if daily is not None and lengths[window] > _DAY:
            yield from share("engagement_stickiness_ratio", {"window": window}, daily, users)
    for segment in counted:
        yield from _segment(segment, sums.segments.get(segment, {}), active, lengths)


def _segment(
    segment: str, of_value: Mapping[str, Tally], active: Mapping[str, int], lengths: Mapping[str, int]
) -> Iterator[Sample]:
    """Active users by value of a segment.

    A value without users in the longest window is absent. In shorter windows a value may be 0.
    """
    longest = max(lengths, key=lambda window: lengths[window])
    users = segments.named(of_value, lengths[longest])
    unknown = {window: active[window] - sum(of.get(lengths[window], 0) for of in users.values()) for window in active}
    if min(unknown.values()) < 0:
        raise ValueError(f"active users of {segment} {-min(unknown.values())} more than there are")
    for window, length in lengths.items():
        labels = {"window": window, "segment": segment}
        for value, of in users.items():
            yield Sample("engagement_segment_active_users", {**labels, "value": value}, of.get(length, 0))
        if unknown[longest]:
            unknown_labels = {**labels, "value": segments.UNKNOWN}
            yield Sample("engagement_segment_active_users", unknown_labels, unknown[window])


def closed(sums: Sums, day: int, lengths: Sequence[int]) -> Iterator[Sample]:
    """The numbers of a closed day; `lengths` are the closed windows in days."""
    users = sums.closed
    daily = users[day].get(1, 0)
    for length in lengths:
        labels = {"window": f"{length}d"}
        active = users[day].get(length, 0)
        yield Sample("engagement_active_users_closed", labels, active)
        if length == 1:
            continue
        yield from share("engagement_stickiness_closed_ratio", labels, daily, active)
        days = sum(users.get(earlier, {}).get(1, 0) for earlier in range(day - length + 1, day + 1))
        yield Sample("engagement_daily_active_users_summed_closed", labels, days)
        # The independent things are the users, each of whom has a share of days between 0 and 1.
        yield from share("engagement_stickiness_smoothed_closed_ratio", labels, days / length, active)
