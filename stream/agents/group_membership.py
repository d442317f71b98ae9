"""Keep a worker in its consumer group, and commit offsets without harming its membership.

Kafka assigns all partitions again whenever a member joins. So a member should join only for a reason, and always when
there is one. Four faults of aiokafka's group coordinator are corrected here:

- A refused commit resets the membership. Commits made while a broker was away arrive in a later generation, sometimes
  just after the next join has succeeded, and undo it. Meanwhile the next commits are made, and so on without end. Here
  a commit is a single request, and its answer changes nothing but what is known as committed.
- Heartbeats begin only after the worker has taken over its partitions. A worker that needs longer for this than the
  session timeout is removed from the group, joins again, and again needs too long. Here heartbeats begin with the
  assignment.
- A topic that a restarted broker does not know for a moment counts as changed, and once more when it is known again.
  Here only a new number of partitions counts as a change.
- An unexpected error is passed on to the next reader. Faust ignores it there, and the member would never join again.
  Here it is logged, and the member joins again after a pause.
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

# How long to wait for the answer to a commit. It may come later, and until then no other commit is sent.
_COMMIT_TIMEOUT_SECONDS = 2.0
# A refusal that lasts is logged again after this time.
_LOG_INTERVAL_SECONDS = 60.0

# How long a member waits before it joins again after an error. The pause grows with each error, because every join
# makes all members join. After some time without an error it is short again.
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 30.0
_PAUSE_RESET_SECONDS = 300.0

# Refusals that are usual while groups change or brokers come and go. The next commit has the same and newer offsets.
_TEMPORARY_ERRORS = (
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.GroupLoadInProgressError,
    errors.GroupCoordinatorNotAvailableError,
    errors.NotCoordinatorForGroupError,
    errors.RequestTimedOutError,
)


def is_member(coordinator: Any) -> bool:
    """Whether an aiokafka coordinator is a member of its group now, and does not have to join again."""
    heartbeat = coordinator._heartbeat_task
    return (
        coordinator.generation != OffsetCommitRequest.DEFAULT_GENERATION_ID
        and coordinator.coordinator_id is not None
        and heartbeat is not None
        and not heartbeat.done()
        and not coordinator._rejoin_needed_fut.done()
    )


def keep_membership(coordinator: Any) -> None:
    """Correct when an aiokafka coordinator joins its group again. Call this before it joins for the first time."""
    on_join_complete, metadata_snapshot = coordinator._on_join_complete, coordinator._get_metadata_snapshot
    known: dict[str, int] = {}  # the partition count of each topic, as it was known last

    async def start_heartbeats_then_complete(*arguments: Any) -> None:
        coordinator._start_heartbeat_task()
        await on_join_complete(*arguments)

    def snapshot_with_known_counts() -> dict[str, int]:
        counts: dict[str, int] = metadata_snapshot()
        known.update({topic: count for topic, count in counts.items() if count})
        return {topic: count or known.get(topic, 0) for topic, count in counts.items()}

    pause = _RejoinPause()

    async def join_after_a_pause(error: Exception) -> None:
        seconds = pause.next_seconds()
        log.error("the consumer group can't be joined, trying again", reason=repr(error), seconds=seconds)
        await asyncio.wait({coordinator._closing}, timeout=seconds)
        coordinator.request_rejoin()

    coordinator._on_join_complete = start_heartbeats_then_complete
    coordinator._push_error_to_user = join_after_a_pause
    coordinator._get_metadata_snapshot = snapshot_with_known_counts


class _RejoinPause:
    """The pause before a member joins again, which doubles with each error."""

    def __init__(self) -> None:
        self._seconds = _MIN_PAUSE_SECONDS
        self._last_error_at = -math.inf

    def next_seconds(self) -> float:
        now = time.monotonic()
        grows = now - self._last_error_at < _PAUSE_RESET_SECONDS
        self._seconds = min(2 * self._seconds, _MAX_PAUSE_SECONDS) if grows else _MIN_PAUSE_SECONDS
        self._last_error_at = now
        return self._seconds


class OffsetCommits:
    """Commits offsets to Kafka, only so that the lag of the group can be watched. Reading goes by the states' offsets.

    At most one request is sent at a time, only while the worker is a member. A request is never repeated, because the
    next one has newer offsets. All of this runs in the event loop of the aiokafka `coordinator`.
    """

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._pending_commit: asyncio.Future[bool] | None = None
        self._last_logged: dict[str, float] = {}  # by error: when it was last logged

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit the next offset of each partition. Returns whether Kafka has accepted all of them in time."""
        if not offsets or not is_member(self._coordinator):
            return False
        if self._pending_commit is not None and not self._pending_commit.done():
            return False
        sending = self._pending_commit = asyncio.ensure_future(self._send(offsets))
        await asyncio.wait({sending}, timeout=_COMMIT_TIMEOUT_SECONDS)
        return sending.done() and sending.result()

    async def wait_for_pending(self) -> None:
        """Wait for the answer to a pending commit, if there is one, but no longer than `commit` would."""
        if self._pending_commit is not None:
            await asyncio.wait({self._pending_commit}, timeout=_COMMIT_TIMEOUT_SECONDS)

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
            # Not with the coordinator's own method: it would take a failed connection for a failure of the group.
            answer = await coordinator._client.send(
                coordinator.coordinator_id, request, group=ConnectionGroup.COORDINATION
            )
        except errors.KafkaError as error:
            log.debug("a commit did not get through", reason=repr(error))
            return False
        results = ((topic, *partition) for topic, partitions in answer.topics for partition in partitions)
        refused = [(topic, partition, errors.for_code(code)) for topic, partition, code in results if code]
        for place in refused:
            self._log_refusal(*place)
        return not refused

    def _log_refusal(self, topic: str, partition: int, error: type[errors.KafkaError]) -> None:
        name, now = error.__name__, time.monotonic()
        if issubclass(error, _TEMPORARY_ERRORS) or now - self._last_logged.get(name, -math.inf) < _LOG_INTERVAL_SECONDS:
            return
        self._last_logged[name] = now
        log.warning(
            "offsets can't be committed: numbers are right, but the lag that Kafka shows for the group is too large",
            topic=topic,
            partition=partition,
            reason=name,
        )
