"""Partitions are dealt out whole, whatever brokers and members know at the moment."""

from collections.abc import Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from hypothesis import given
from hypothesis import strategies as st

from stream.agents.app import Worker
from stream.settings import load
from stream.state.memory import MemoryStore

OURS = {"sessions", "logins", "surveys", "engagement-rekey", "engagement-state-changelog"}

Dealt = dict[str, dict[str, list[int]]]  # by member and topic


def worker(partitions: int = 4, standbys: int = 0) -> Worker:
    told = {"ENGAGEMENT_TOPICS_PARTITIONS": str(partitions), "ENGAGEMENT_STATE_STANDBYS": str(standbys)}
    return Worker(load(None, told), open_store=lambda _: MemoryStore())


def dealt(leader: Worker, members: Mapping[str, set[str]]) -> Dealt:
    """Who gets what, by what each member reads. The brokers tell of no topic at all."""
    assignor: Any = leader.app.assignor
    told = {name: assignor.metadata(topics) for name, topics in members.items()}
    assigned = assignor.assign(ClusterMetadata(), told)
    return {name: {topic: sorted(numbers) for topic, numbers in given.assignment} for name, given in assigned.items()}


@given(st.integers(1, 40), st.integers(1, 8))
def test_each_partition_goes_to_one_member_with_all_of_its_topics(partitions: int, members: int) -> None:
    told = dealt(worker(partitions), {f"worker-{number}": OURS for number in range(members)})

    shares = []
    for topics in told.values():
        first, *others = topics.values() or [[]]
        assert all(other == first for other in others)
        shares.append(first)
    assert sorted(number for share in shares for number in share) == list(range(partitions))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_topic_that_brokers_do_not_know_for_a_moment_is_dealt_out_too() -> None:
    assert dealt(worker(2), {"ada": OURS}) == {"ada": {topic: [0, 1] for topic in OURS}}


def test_a_topic_that_an_older_worker_does_not_read_waits_and_the_others_stay_together() -> None:
    told = dealt(worker(2), {"old": OURS, "new": OURS | {"orders"}})

    assert {name: topics.keys() for name, topics in told.items()} == {"old": OURS, "new": OURS}
    assert {name: topics["logins"] == topics["sessions"] for name, topics in told.items()} == {"old": True, "new": True}
    assert dealt(worker(2), {"new": OURS | {"orders"}})["new"]["orders"] == [0, 1]


def test_members_that_have_no_topic_in_common_get_nothing() -> None:
    assert dealt(worker(2), {"ada": {"logins"}, "grace": {"clicks"}}) == {"ada": {}, "grace": {}}
