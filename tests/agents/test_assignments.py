"""What a worker takes over is what it was assigned last, and nothing once that was given up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from faust.types import TP

from stream.agents.app import Worker
from stream.settings import load
from stream.state.memory import MemoryStore


class Assigned:
    """A worker that is in no group: partitions come and go as a test says, and what it takes over is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
        self.worker = Worker(load(None, {}), open_store=lambda partition: MemoryStore(), shared=shared)
        self.taken: list[set[int]] = []
        self.still_ours: list[Callable[[], bool]] = []

        async def take(partitions: set[int], *, recovery_seconds: float, still_ours: Callable[[], bool]) -> None:
            self.taken.append(set(partitions))
            self.still_ours.append(still_ours)

        async def whole(partitions: set[int]) -> None:
            """Every changelog is."""

        monkeypatch.setattr(self.worker.tasks, "open", take)
        monkeypatch.setattr(self.worker, "_require_complete_changelogs", whole)

    def assign(self, *partitions: int) -> None:
        self.worker.app.on_assigned({TP("logins", partition) for partition in partitions})

    async def give_up(self) -> None:
        await self.worker.app.on_partitions_revoked.send(set())

    def recovered(self, *partitions: int) -> Awaitable[None]:
        """Faust says that what was assigned is recovered; a shared store is asked for all that is assigned."""
        return (
            self.worker._open_assigned() if self.worker._shared else self.worker._open_recovered(set(partitions), 0.0)
        )


@pytest.mark.parametrize("shared", [False, True])
def test_partitions_are_taken_over_when_they_are_recovered(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    async def scenario() -> Assigned:
        assigned = Assigned(monkeypatch, shared=shared)
        assigned.assign(0, 1)
        await assigned.recovered(0, 1)
        return assigned

    assigned = asyncio.run(scenario())

    assert assigned.taken == [{0, 1}]
    assert assigned.still_ours[0]()


@pytest.mark.parametrize("shared", [False, True])
def test_a_recovery_that_ends_after_its_partitions_were_given_up_takes_nothing_over(
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    async def scenario() -> list[set[int]]:
        assigned = Assigned(monkeypatch, shared=shared)
        assigned.assign(0, 1)
        await assigned.give_up()
        await assigned.recovered(0, 1)
        return assigned.taken

    assert asyncio.run(scenario()) == []


def test_a_recovery_that_ends_after_others_were_assigned_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> list[set[int]]:
        assigned = Assigned(monkeypatch, shared=False)
        assigned.assign(0, 1)
        await assigned.give_up()
        assigned.assign(1)
        await assigned.recovered(0, 1)
        await assigned.recovered(1)
        return assigned.taken

    assert asyncio.run(scenario()) == [{1}]


@pytest.mark.parametrize("shared", [False, True])
def test_a_takeover_is_not_wanted_any_more_when_the_same_partitions_are_assigned_anew(
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    async def scenario() -> list[bool]:
        assigned = Assigned(monkeypatch, shared=shared)
        assigned.assign(0, 1)
        await assigned.recovered(0, 1)
        await assigned.give_up()
        assigned.assign(0, 1)
        await assigned.recovered(0, 1)
        return [still_ours() for still_ours in assigned.still_ours]

    assert asyncio.run(scenario()) == [False, True]


def test_a_worker_hears_of_an_assignment_before_faust_recovers_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[set[TP]] = []

    async def scenario() -> None:
        worker = Worker(load(None, {}), open_store=lambda partition: MemoryStore())
        monkeypatch.setattr(worker.app, "on_assigned", heard.append)
        worker.app._stopped.set()  # Faust does nothing then
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(worker.app, "_on_rebalance_when_stopped", lambda: None)
            await worker.app._on_partitions_assigned({TP("logins", 3)})

    asyncio.run(scenario())

    assert heard == [{TP("logins", 3)}]
