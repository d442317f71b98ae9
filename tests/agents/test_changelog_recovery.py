"""Stores that follow changelogs: what is given up meanwhile, and what an empty one holds."""

from stream.agents.changelog_recovery import OpenStores
from stream.core.changelog import SEAL, Seal, encode_seal
from stream.state.memory import MemoryStore
from tests.agents.world import Entry


def run(first: int, *items: tuple[bytes, bytes | None], epoch: int = 1) -> list[Entry]:
    """A run of one writer, whose first record has this offset."""
    seal = Seal(epoch=epoch, writer="w", records=len(items) + 1, written_ms=2**53)
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
