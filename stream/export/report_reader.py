"""Reads what workers tell from Kafka: the newest report of each partition and all closed days, then what is new."""

import asyncio
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.export.board import Board
from stream.kafka.headers import DELETED_BY
from stream.telemetry import NOBODY, Owner, decode_report

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# The last things told of a partition may be that nobody owns it, and who stands by: its numbers lie before them.
_LOOKED_BACK = 40


class ReportReader:
    """Fills a board from the snapshots topic. Joins no group: each server reads all of it."""

    def __init__(self, board: Board, client_options: dict[str, Any], *, request_timeout_seconds: float) -> None:
        """A connection on which a request is not answered for `request_timeout_seconds` is given up for a new one."""
        self._board = board
        self._client_options = {**client_options, "request_timeout_ms": int(request_timeout_seconds * 1_000)}

    async def run(self) -> None:
        """Put each report on the board until cancelled. Without Kafka it tries again, and the board grows stale."""
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
                await consumer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Begin with the closed days and the last reports of each partition, then take each new one."""
        settings = self._board.settings
        partitions = [TopicPartition(settings.snapshots_topic, number) for number in range(settings.topics.partitions)]
        days = [TopicPartition(settings.days_topic, number) for number in range(settings.topics.partitions)]
        consumer.assign([*partitions, *days])
        await consumer.seek_to_beginning(*days)
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(first[partition], end[partition] - _LOOKED_BACK))
        while True:
            fetched = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
            for place, records in fetched.items():
                take = self._take_day if place.topic == settings.days_topic else self._take
                for record in records:
                    take(record)

    def _take(self, record: Any) -> None:
        try:
            self._board.put(decode_report(record.value))
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
    """Cancel a task and wait until it is gone."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
