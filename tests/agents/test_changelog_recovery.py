"""Stores that follow changelogs: what is given up meanwhile, and what an empty one holds."""

from stream.agents.changelog_recovery import OpenStores
from stream.core.changelog import SEAL, Seal, encode_seal
from stream.state.memory import MemoryStore
from tests.agents.world import Entry


def run(first: int, *items: tuple[bytes, bytes | None], epoch: int = 1, topic_id: str = "") -> list[Entry]:
    """A run of one writer, whose first record has this offset."""
    seal = Seal(epoch=epoch, writer="w", records=len(items) + 1, written_ms=2**53, topic_id=topic_id)
    records = [*items, (SEAL, encode_seal(seal))]
    return [Entry(first + place, key, value) for place, (key, value) in enumerate(records)]


def test_a_partition_that_was_given_up_takes_nothing_that_was_on_its_way() -> None:
    stores = OpenStores(lambda partition: MemoryStore())
    stores.start_following(3)
    stores.close([3])

    stores.recover(3, run(0, (b"user/a", b"1")))
    assert stores.stored_offset(3) is None


def test_half_a_run_read_before_a_rebalance_is_read_again() -> None:
    stores = OpenStores(lambda partition: MemoryStore())
    records = run(0, (b"user/a", b"1"), (b"user/b", b"2"))
    stores.start_following(3)
    stores.recover(3, records[:1])

    assert stores.stored_offset(3) is None
    assert stores.start_following(3) is None
    stores.recover(3, records)
    assert stores.stored_offset(3) == 2
    assert stores.open_store(3).read([b"user/a", b"user/b"]) == [b"1", b"2"]


def test_a_run_that_was_written_for_the_changelog_before_this_one_is_no_whole_state() -> None:
    stores = OpenStores(lambda partition: MemoryStore())
    stores.topic_id = "new"
    stores.start_following(3)
    stores.recover(3, run(0, (b"user/a", b"1"), topic_id="old"))
    assert stores.follows_another_topic(3)

    stores.recover(3, run(2, (b"user/a", b"2"), epoch=2, topic_id="new"))
    assert not stores.follows_another_topic(3)
    assert not stores.follows_another_topic(4)
