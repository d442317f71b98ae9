"""A member of the group stays one: commits can't end it, and it beats while it takes its partitions over.

The coordinator is aiokafka's own; the group is a fake that answers its requests.
"""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream.agents import group_membership
from stream.agents.group_membership import OffsetCommits, is_member, keep_membership

LOGINS = TopicPartition("logins", 0)
NO_ERROR, NOT_COORDINATOR, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, DENIED, UNEXPECTED = (
    0,
    16,
    22,
    25,
    27,
    29,
    42,
)

_ASSIGNED = ConsumerProtocolMemberAssignment(0, [("logins", [0])], b"").encode()


class Assignor:
    name = "faust"

    def metadata(self, topics: set[str]) -> bytes:
        return b""

    def on_assignment(self, assignment: object) -> None:
        """It keeps nothing."""


class Group:
    """A consumer group as one member sees it: another one leads. It is also the client that asks it."""

    def __init__(self) -> None:
        self.cluster = ClusterMetadata()
        self.generation = 0
        self.heartbeats: list[int] = []  # what to answer to the next ones; then no error
        self.beats = 0
        self.commits: list[asyncio.Future[int]] = []  # of each commit: the answer it waits for
        self.committed: list[tuple[int, int]] = []  # generation and offset of each commit that was sent
        self.away = False

    async def coordinator_lookup(self, kind: object, name: str) -> int:
        return 1

    async def ready(self, node: int, *, group: object) -> bool:
        return True

    async def send(self, node: int, request: Any, *, group: object) -> Any:
        await asyncio.sleep(0)
        if self.away:
            raise KafkaConnectionError("no broker")
        return await getattr(self, "_" + type(request).__name__.removesuffix("Request").lower())(request)

    async def _joingroup(self, request: Any) -> Any:
        self.generation += 1
        names = {"member_id": "ada", "leader_id": "grace", "group_protocol": "faust"}
        return SimpleNamespace(error_code=NO_ERROR, generation_id=self.generation, **names)

    async def _syncgroup(self, request: Any) -> Any:
        return SimpleNamespace(error_code=NO_ERROR, member_assignment=_ASSIGNED)

    async def _heartbeat(self, request: Any) -> Any:
        self.beats += 1
        return SimpleNamespace(error_code=self.heartbeats.pop(0) if self.heartbeats else NO_ERROR)

    async def _offsetcommit(self, request: Any) -> Any:
        ((_, ((_, offset, _),)),) = request._topics
        self.committed.append((request._consumer_group_generation_id, offset))
        self.commits.append(asyncio.get_running_loop().create_future())
        return SimpleNamespace(topics=[("logins", [(0, await self.commits[-1])])])

    async def _offsetfetch(self, request: Any) -> Any:
        return SimpleNamespace(topics=[])

    async def _leavegroup(self, request: Any) -> Any:
        return SimpleNamespace(error_code=NO_ERROR)


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self) -> None:
        self.may_take_over = asyncio.Event()
        self.may_take_over.set()

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Nothing has to be saved."""

    async def on_partitions_assigned(self, assigned: object) -> None:
        await self.may_take_over.wait()


class World:
    def __init__(self) -> None:
        self.group, self.listener = Group(), Listener()
        self.subscription = SubscriptionState()
        self.coordinator: Any = GroupCoordinator(
            self.group,
            self.subscription,
            group_id="engagement",
            assignors=(Assignor(),),
            enable_auto_commit=False,
            heartbeat_interval_ms=10,
            retry_backoff_ms=1,
        )
        keep_membership(self.coordinator)
        self.commits = OffsetCommits(self.coordinator)

    def join(self) -> None:
        self.subscription.subscribe({"logins"}, listener=self.listener)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110  the world has no event for each thing that a test waits for
            await asyncio.sleep(0.001)

    async def until_member(self, generation: int = 1) -> None:
        await self.until(lambda: self.group.generation == generation and is_member(self.coordinator))

    async def settle(self) -> None:
        """Long enough for several heartbeats: whoever wants to join again has done so."""
        beats = self.group.beats
        await self.until(lambda: self.group.beats > beats + 3)


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        world = World()
        world.join()
        try:
            await scenario(world)
        finally:
            await world.coordinator.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


async def late_answer(world: World, commit: Coroutine[Any, Any, Any]) -> None:
    """A commit whose answer comes when the member has joined again: its generation is over."""
    await world.until_member()
    committing = asyncio.ensure_future(commit)
    await world.until(lambda: bool(world.group.commits))
    world.group.heartbeats.append(REBALANCING)
    await world.until_member(generation=2)

    world.group.commits[0].set_result(ILLEGAL_GENERATION)
    await asyncio.wait({committing})
    await world.settle()


def test_a_commit_that_is_refused_late_lets_nobody_join_again() -> None:
    async def scenario(world: World) -> None:
        await late_answer(world, world.commits.commit({LOGINS: 5}))

        assert world.group.generation == 2
        assert world.group.committed == [(1, 5)]

    run(scenario)


def test_a_commit_of_aiokafka_would() -> None:
    """Why there are commits of our own. When this fails, aiokafka has mended it."""

    async def scenario(world: World) -> None:
        async def commit() -> None:
            with pytest.raises(KafkaError):
                await world.coordinator.commit_offsets(None, {LOGINS: OffsetAndMetadata(5, "")})

        await late_answer(world, commit())

        assert world.group.generation > 2

    run(scenario)


def test_commits_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_membership, "_COMMIT_TIMEOUT_SECONDS", 0.001)

    async def scenario(world: World) -> None:
        await world.until_member()

        assert [await world.commits.commit({LOGINS: offset}) for offset in (5, 6, 7)] == [False, False, False]
        world.group.commits[0].set_result(NO_ERROR)
        await world.settle()
        monkeypatch.setattr(group_membership, "_COMMIT_TIMEOUT_SECONDS", 60)
        last = asyncio.ensure_future(world.commits.commit({LOGINS: 8}))
        await world.until(lambda: len(world.group.commits) == 2)
        world.group.commits[1].set_result(NO_ERROR)

        assert await last
        assert world.group.committed == [(1, 5), (1, 8)]

    run(scenario)


def test_who_commits_for_the_last_time_waits_for_the_answer_before() -> None:
    async def scenario(world: World) -> None:
        await world.commits.wait_for_pending()  # nothing is on its way
        await world.until_member()
        before = asyncio.ensure_future(world.commits.commit({LOGINS: 5}))
        await world.until(lambda: bool(world.group.commits))

        async def last() -> bool:
            await world.commits.wait_for_pending()
            return await world.commits.commit({LOGINS: 6})

        leaving = asyncio.ensure_future(last())
        await world.settle()
        assert len(world.group.commits) == 1
        world.group.commits[0].set_result(NO_ERROR)
        await world.until(lambda: len(world.group.commits) == 2)
        world.group.commits[1].set_result(NO_ERROR)

        assert await before
        assert await leaving
        assert world.group.committed == [(1, 5), (1, 6)]

    run(scenario)


def test_nothing_is_committed_by_who_is_no_member() -> None:
    async def scenario(world: World) -> None:
        assert not await world.commits.commit({LOGINS: 5})
        await world.until_member()
        world.coordinator.request_rejoin()
        assert not await world.commits.commit({LOGINS: 5})
        await world.until_member(generation=2)
        assert not await world.commits.commit({})

        assert world.group.commits == []

    run(scenario)


@pytest.mark.parametrize("answer", [ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, NOT_COORDINATOR, DENIED])
def test_a_refused_commit_changes_nothing(answer: int) -> None:
    async def scenario(world: World) -> None:
        await world.until_member()
        for _ in range(2):
            world.group.commits.clear()
            committing = asyncio.ensure_future(world.commits.commit({LOGINS: 5}))
            await world.until(lambda: bool(world.group.commits))
            world.group.commits[0].set_result(answer)
            assert not await committing
        await world.settle()

        assert (world.group.generation, world.coordinator.coordinator_id) == (1, 1)

    run(scenario)


def test_a_commit_that_does_not_get_through_leaves_the_coordinator_alone() -> None:
    async def scenario(world: World) -> None:
        await world.until_member()
        world.group.away = True
        assert not await world.commits.commit({LOGINS: 5})
        world.group.away = False

        assert world.coordinator.coordinator_id == 1

    run(scenario)


def test_a_worker_beats_while_it_takes_its_partitions_over() -> None:
    async def scenario(world: World) -> None:
        world.listener.may_take_over.clear()
        await world.settle()

        assert world.group.generation == 1
        world.listener.may_take_over.set()
        await world.until_member()

    run(scenario)


def test_a_rebalance_that_begins_meanwhile_is_joined_afterwards() -> None:
    async def scenario(world: World) -> None:
        world.listener.may_take_over.clear()
        world.group.heartbeats.append(REBALANCING)
        await world.settle()
        assert world.group.generation == 1

        world.listener.may_take_over.set()
        await world.until_member(generation=2)

    run(scenario)


def test_only_another_number_of_partitions_is_a_change() -> None:
    async def scenario(world: World) -> None:
        await world.until_member()
        coordinator, counts = world.coordinator, {"logins": 4}
        coordinator._cluster.partitions_for_topic = lambda topic: set(range(counts[topic]))
        coordinator._group_subscription = {"logins"}
        coordinator._metadata_snapshot = coordinator._get_metadata_snapshot()

        for count, generation in ((0, 1), (4, 1), (8, 2)):
            counts["logins"] = count
            coordinator._handle_metadata_update(coordinator._cluster)
            await world.settle()
            assert world.group.generation == generation

    run(scenario)


def test_who_meets_an_error_joins_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_membership, "_MIN_PAUSE_SECONDS", 0.001)

    async def scenario(world: World) -> None:
        await world.until_member()
        world.group.heartbeats.append(UNEXPECTED)
        await world.until_member(generation=2)

    run(scenario)


def test_pauses_grow_up_to_a_limit() -> None:
    pause = group_membership._RejoinPause()

    assert [pause.next_seconds() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_after_a_while_without_errors_a_pause_is_short_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = group_membership._RejoinPause()
    assert [pause.next_seconds() for _ in range(2)] == [1, 2]

    monkeypatch.setattr(group_membership, "_PAUSE_RESET_SECONDS", 0)
    assert pause.next_seconds() == 1
