"""Reads the reports of workers from Kafka: the newest ones of each partition and all closed days, then each new one.

If Kafka gives each report the time at which it was appended, that time counts, not that of the worker's clock. Then
reports also tell what time it is: a report behind what was the end of the topic a moment ago was appended between that
moment and its arrival.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.clock import Clock, TimeTold
from stream.export.board import Board
from stream.kafka.access import describe_missing
from stream.kafka.headers import DELETED_BY
from stream.kafka.rights import Right, rights_of
from stream.kafka.timeouts import missing_topic
from stream.kafka.topic_watch import TopicWatch
from stream.telemetry import NOBODY, Owner, decode_report

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# How many messages of each partition are read at the start. The last ones may say only that nobody owns it, or which
# workers stand by; the report with its numbers is before these.
_MESSAGES_TO_READ_BACK = 40
# How often the end of the topic is asked for, to know that the reports behind it are new.
_ASK_END_SECONDS = 10.0

_LOG_APPEND_TIME = 1


class ReportReader:
    """Fills a board from the snapshots topic. It joins no group, because each server reads the whole topic."""

    def __init__(
        self, board: Board, client_options: dict[str, Any], *, clock: Clock, request_timeout_seconds: float
    ) -> None:
        """A connection that does not answer a request within `request_timeout_seconds` is replaced by a new one.

        `clock` hears the time that reports tell.
        """
        self._board, self._clock = board, clock
        self._asked_at = 0.0  # when the end of each partition was asked for, by the monotonic clock
        self._ends: dict[TopicPartition, int] = {}
        self._topic_ids: dict[str, str] = {}
        self._created_again = False
        self._client_options = {**client_options, "request_timeout_ms": int(request_timeout_seconds * 1_000)}

    async def run(self) -> None:
        """Put each report on the board until cancelled. If Kafka can't be reached, try again."""
        settings = self._board.settings
        watch = TopicWatch(
            [settings.snapshots_topic, settings.days_topic],
            client_options=self._client_options,
            on_ids=self._take_topic_ids,
            rights=rights_of("serve", settings),
            on_missing_rights=self._take_missing_rights,
        )
        watch.start()
        try:
            await self._read_for_ever()
        finally:
            watch.stop()

    def _take_topic_ids(self, ids: Mapping[str, str | None]) -> None:
        """Read anew if the topic of reports or of closed days was created again; say so if there are no reports."""
        for topic, topic_id in ids.items():
            if topic == self._board.settings.snapshots_topic:
                self._board.reports_missing = missing_topic(topic) if topic_id is None else ""
            if topic_id is not None and topic_id != self._topic_ids.get(topic, topic_id):
                log.warning("a topic of the workers' reports was created again: it is read anew", topic=topic)
                self._created_again = True
            if topic_id is not None:
                self._topic_ids[topic] = topic_id

    def _take_missing_rights(self, missing: list[Right]) -> None:
        told = describe_missing(missing, self._board.settings)
        for one in told:
            if one not in self._board.missing_rights:
                log.error("a right is missing", grant=one)
        self._board.missing_rights = told

    async def _read_for_ever(self) -> None:
        while True:
            consumer = AIOKafkaConsumer(
                **self._client_options, enable_auto_commit=False, auto_offset_reset="latest", fetch_max_wait_ms=500
            )
            try:
                await consumer.start()
                await self._follow(consumer)
            except KafkaError as error:
                log.warning("can't read the workers' reports, trying again", reason=str(error))
            finally:
                # A fetch that waits for Kafka is cancelled by aiokafka, whose CancelledError would end this task.
                await asyncio.gather(consumer.stop(), return_exceptions=True)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Begin with the closed days and the last reports of each partition, and continue with each new one."""
        settings = self._board.settings
        partitions = [TopicPartition(settings.snapshots_topic, number) for number in range(settings.topics.partitions)]
        days = [TopicPartition(settings.days_topic, number) for number in range(settings.topics.partitions)]
        consumer.assign([*partitions, *days])
        await consumer.seek_to_beginning(*days)
        first = await consumer.beginning_offsets(partitions)
        await self._ask_ends(consumer, partitions)
        for partition in partitions:
            consumer.seek(partition, max(first[partition], self._ends[partition] - _MESSAGES_TO_READ_BACK))
        self._created_again = False
        asking = asyncio.create_task(self._ask_ends_again(consumer, partitions))
        try:
            while not self._created_again:
                fetched = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
                arrived_at = time.monotonic()
                for place, records in fetched.items():
                    if place.topic == settings.days_topic:
                        take = self._take_day
                    else:
                        take = self._take
                        broker = consumer._client.cluster.leader_for_partition(place)
                        self._hear(broker, place, records[-1], arrived_at)
                    for record in records:
                        take(record)
        finally:
            await cancelled(asking)

    def _hear(self, broker: int | None, place: TopicPartition, newest: Any, arrived_at: float) -> None:
        """Hear the time that the newest record of a partition tells, if it was appended since the end was asked for."""
        is_new = newest.timestamp_type == _LOG_APPEND_TIME and newest.offset >= self._ends[place]
        if is_new and broker is not None and broker >= 0:
            self._clock.hear(TimeTold(f"broker {broker}", newest.timestamp, self._asked_at, arrived_at))

    async def _ask_ends_again(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Ask for the ends from time to time. While Kafka does not answer, older ones do as well."""
        while True:
            await asyncio.sleep(_ASK_END_SECONDS)
            with suppress(KafkaError):
                await self._ask_ends(consumer, partitions)

    async def _ask_ends(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        asked_at = time.monotonic()
        self._ends = await consumer.end_offsets(partitions)
        self._asked_at = asked_at

    def _take(self, record: Any) -> None:
        appended_ms = record.timestamp if record.timestamp_type == _LOG_APPEND_TIME else None
        try:
            self._board.put(decode_report(record.value), appended_ms=appended_ms)
        except (msgspec.MsgspecError, TypeError) as error:
            log.warning("ignored a report that can't be read", offset=record.offset, reason=str(error))

    def _take_day(self, record: Any) -> None:
        try:
            self._board.put_day(record.partition, int(record.key), record.value, deleted_by=_deleted_by(record))
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            log.warning("ignored a closed day that can't be read", offset=record.offset, reason=str(error))


def _deleted_by(record: Any) -> Owner:
    """The owner who deletes a day."""
    found = dict(record.headers).get(DELETED_BY)
    return NOBODY if found is None else Owner(*map(int, found.split(b"/")))


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
