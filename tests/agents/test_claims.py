"""Who takes a partition over when two claim it at once: the changelog knows who came first, the group whose it is."""

import asyncio

import pytest

from stream.agents.task_state import ChangelogState
from stream.core.changelog import SEAL, decode_seal
from stream.core.store import PartitionTakenOver, Store
from stream.state.memory import MemoryStore
from tests.agents.world import Log


def claim(log: Log, store: Store | None = None) -> ChangelogState:
    """The state of a worker that has read the changelog up to what its store holds."""
    return ChangelogState(store or MemoryStore(), log)


class Outrun(Log):
    """A changelog to which others append a claim just before the next ones of whoever is tested."""

    def __init__(self, *, times: int) -> None:
        super().__init__()
        self._times = times

    async def append(self, run: list[tuple[bytes, bytes | None]]) -> int:
        if self._times:
            self._times -= 1
            others = Log()
            others.entries, others.end = self.entries, self.end
            held = MemoryStore()
            for entry in self.entries:
                held.write([(entry.key or b"", entry.value)], offset=entry.offset)
            await claim(others, held).take_over()
            self.end = others.end
        return await super().append(run)


def test_who_was_outrun_by_a_claim_of_the_same_epoch_begins_the_next_one() -> None:
    async def scenario() -> tuple[int, int, int]:
        log, store = Outrun(times=1), MemoryStore()
        state = claim(log, store)
        await state.take_over()
        await state.save([(b"a", b"1")])
        (value,) = store.read([SEAL])
        assert value is not None
        return state.epoch, decode_seal(value).epoch, (store.offset() or 0) + 1 - log.end

    assert asyncio.run(scenario()) == (2, 2, 0)


def test_who_was_outrun_is_the_one_whose_runs_count_for_whoever_reads_the_log() -> None:
    async def scenario() -> list[bytes | None]:
        log = Outrun(times=1)
        state = claim(log)
        await state.take_over()
        await state.save([(b"a", b"1")])
        reader = MemoryStore()
        await claim(log, reader).take_over()
        return reader.read([b"a"])

    assert asyncio.run(scenario()) == [b"1"]


def test_who_was_outrun_and_has_given_the_partition_up_leaves_it_to_the_other() -> None:
    async def scenario() -> None:
        with pytest.raises(PartitionTakenOver, match="with epoch 1"):
            await claim(Outrun(times=1)).take_over(lambda: False)

    asyncio.run(scenario())


def test_who_is_outrun_again_and_again_gives_up() -> None:
    async def scenario() -> None:
        with pytest.raises(PartitionTakenOver, match="with epoch 3"):
            await claim(Outrun(times=9)).take_over()

    asyncio.run(scenario())
