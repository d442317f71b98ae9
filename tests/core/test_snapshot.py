"""Snapshots add: the order of partitions and the way they are grouped do not matter."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.core.snapshot import Snapshot, Sums

amounts = st.integers(1, 9)
tallies = st.dictionaries(st.sampled_from((1, 2, 3)), amounts, max_size=2)
windows = st.dictionaries(st.sampled_from((60, 1_440)), tallies, max_size=2)
counts = st.dictionaries(st.sampled_from(("sessions", "logins")), amounts, max_size=2)
outcomes = st.dictionaries(st.sampled_from(("sessions", "logins")), counts, max_size=2)
sums = st.builds(
    Sums,
    live=windows,
    ahead=tallies,
    segments=st.dictionaries(
        st.sampled_from((60, 1_440)), st.dictionaries(st.sampled_from(("Bufree", "Bupro")), amounts), max_size=2
    ),
    closed=st.dictionaries(
        st.integers(18_000, 18_009), st.dictionaries(st.sampled_from((1, 7)), tallies, max_size=2), max_size=3
    ),
)
snapshots = st.builds(
    Snapshot,
    now_ms=st.integers(-1, 9),
    families=st.dictionaries(st.sampled_from(("activity", "sessions")), sums),
    last_closed_day=st.none() | st.integers(18_000, 18_009),
    outcomes=outcomes,
    reasons=outcomes,
    newest_ms=counts,
    rows=counts,
)  # fmt: skip


@given(snapshots, snapshots)
def test_the_order_of_partitions_does_not_matter(one: Snapshot, other: Snapshot) -> None:
    assert one + other == other + one


@given(snapshots, snapshots, snapshots)
def test_workers_may_add_their_partitions_first(one: Snapshot, other: Snapshot, third: Snapshot) -> None:
    assert (one + other) + third == one + (other + third)


@given(snapshots)
def test_a_partition_that_saw_nothing_changes_nothing(one: Snapshot) -> None:
    assert one + Snapshot() == one


def test_a_day_is_closed_when_it_is_for_all_and_the_clock_is_the_newest() -> None:
    def snapshot(**told: Any) -> Snapshot:
        return Snapshot(**told)

    merged = snapshot(now_ms=5, last_closed_day=7, newest_ms={"logins": 3}) + snapshot(
        now_ms=4, last_closed_day=6, newest_ms={"logins": 4}
    )

    assert (merged.now_ms, merged.last_closed_day, merged.newest_ms) == (5, 6, {"logins": 4})
