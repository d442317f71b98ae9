"""The membership of a worker in its consumer group, and commits that can't hurt it.

Kafka shares the partitions out anew whenever a member joins, so a member must join only for a reason, and must not stay
away without one. Four things of aiokafka's group coordinator are mended here:

- A refused commit resets the membership. Commits that were made while a broker was away arrive under a generation that
  is over, sometimes just as the next join succeeds, and undo it; the next commits are made meanwhile, without end.
  Here a commit is one request of one generation. Its answer changes nothing but what is known as committed.
- Heartbeats begin only after the worker has taken its partitions over. Whoever needs longer for that than the session
  timeout is thrown out of the group, joins again, and needs as long as before. Here they begin with the assignment.
- A topic that a restarted broker does not know for a moment counts as one that was changed, and once more when it is
  known again. Here only another number of partitions is a change.
- An error that it does not expect is left to whoever reads next, and Faust reads past it: the member would never join
  again. Here it is logged, and the member joins again after a pause.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.structs import TopicPartition

log = structlog.get_logger(__name__)

# So long a commit is waited for. Its answer may come later: until then no other is sent.
_ANSWER_SECONDS = 2.0
# A refusal that lasts is told again after so long.
_TELL_AGAIN_SECONDS = 60.0

# How long a member waits before it joins again after an error. Longer with each error, for everybody else must join
# again too; as short as at first when there was none for a while.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
_FORGOTTEN_AFTER_SECONDS = 300.0

# What Kafka answers while groups change or brokers come and go: the next commit tells the same and more.
_PASSING = (
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.GroupLoadInProgressError,
    errors.GroupCoordinatorNotAvailableError,
    errors.NotCoordinatorForGroupError,
    errors.RequestTimedOutError,
)


def is_member(coordinator: Any) -> bool:
    """Whether a coordinator of aiokafka is a member of its group now, and does not have to join again."""
    beating = coordinator._heartbeat_task
    return (
        coordinator.generation != OffsetCommitRequest.DEFAULT_GENERATION_ID
        and coordinator.coordinator_id is not None
        and beating is not None
        and not beating.done()
        and not coordinator._rejoin_needed_fut.done()
    )


def keep_membership(coordinator: Any) -> None:
    """Let a coordinator of aiokafka join again only for a reason, and always for one; call it before it joins."""
    on_join_complete, metadata_snapshot = coordinator._on_join_complete, coordinator._get_metadata_snapshot
    known: dict[str, int] = {}  # partitions of each topic, as last told

    async def beat_then_complete(*arguments: Any) -> None:
        coordinator._start_heartbeat_task()
        await on_join_complete(*arguments)

    def snapshot_of_known() -> dict[str, int]:
        told: dict[str, int] = metadata_snapshot()
        known.update({topic: count for topic, count in told.items() if count})
        return {topic: count or known.get(topic, 0) for topic, count in told.items()}

    pause = _Pause()

    async def join_after_a_pause(error: Exception) -> None:
        seconds = pause.next_seconds()
        log.error("the consumer group can't be joined, trying again", reason=repr(error), seconds=seconds)
        await asyncio.wait({coordinator._closing}, timeout=seconds)
        coordinator.request_rejoin()

    coordinator._on_join_complete = beat_then_complete
    coordinator._push_error_to_user = join_after_a_pause
    coordinator._get_metadata_snapshot = snapshot_of_known


class _Pause:
    """How long to wait before the next try."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS
        self._asked_at = -math.inf

    def next_seconds(self) -> float:
        now = time.monotonic()
        grows = now - self._asked_at < _FORGOTTEN_AFTER_SECONDS
        self._seconds = min(2 * self._seconds, _LONGEST_PAUSE_SECONDS) if grows else _FIRST_PAUSE_SECONDS
        self._asked_at = now
        return self._seconds


class Commits:
    """Tells Kafka how far a group has read, for those who watch its lag. The state of each partition decides offsets.

    At most one request is on its way at a time, sent only while the worker is a member, and never repeated: the next
    one has newer offsets. `coordinator` is aiokafka's, in whose event loop all of this runs.
    """

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._on_its_way: asyncio.Future[bool] | None = None
        self._told_at: dict[str, float] = {}  # by error: when it was logged

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit the next offset of each of these partitions; returns whether Kafka has taken all of them in time."""
        if not offsets or not is_member(self._coordinator):
            return False
        if self._on_its_way is not None and not self._on_its_way.done():
            return False
        sending = self._on_its_way = asyncio.ensure_future(self._send(offsets))
        await asyncio.wait({sending}, timeout=_ANSWER_SECONDS)
        return sending.done() and sending.result()

    async def answered(self) -> None:
        """Wait for the answer to the one that is on its way, if there is one, for so long as a commit is waited for."""
        if self._on_its_way is not None:
            await asyncio.wait({self._on_its_way}, timeout=_ANSWER_SECONDS)

    async def _send(self, offsets: Mapping[TopicPartition, int]) -> bool:
        coordinator = self._coordinator
        by_topic: dict[str, list[tuple[int, int, str]]] = {}
        for place, offset in offsets.items():
            by_topic.setdefault(place.topic, []).append((place.partition, offset, ""))
        request = OffsetCommitRequest(
            coordinator.group_id,
            coordinator.generation,
            coordinator.member_id,
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            list(by_topic.items()),
        )
        try:
            # Not by the coordinator's own way of sending, which takes a connection that fails for its own.
            answer = await coordinator._client.send(
                coordinator.coordinator_id, request, group=ConnectionGroup.COORDINATION
            )
        except errors.KafkaError as error:
            log.debug("a commit did not get through", reason=repr(error))
            return False
        told = ((topic, *partition) for topic, partitions in answer.topics for partition in partitions)
        refused = [(topic, partition, errors.for_code(code)) for topic, partition, code in told if code]
        for place in refused:
            self._tell(*place)
        return not refused

    def _tell(self, topic: str, partition: int, error: type[errors.KafkaError]) -> None:
        name, now = error.__name__, time.monotonic()
        if issubclass(error, _PASSING) or now - self._told_at.get(name, -math.inf) < _TELL_AGAIN_SECONDS:
            return
        self._told_at[name] = now
        log.warning(
            "offsets can't be committed: numbers are right, but the lag that Kafka tells of the group is too large",
            topic=topic,
            partition=partition,
            reason=name,
        )
