"""Reads the reports of workers from Kafka: first the newest ones of each partition, then each new one."""

import asyncio
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.export.board import Board
from stream.telemetry import decode_report

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# How many messages of each partition are read at the start. The last ones may say only that nobody owns it, or which
# workers stand by; the report with its numbers is before these.
_MESSAGES_TO_READ_BACK = 40


class ReportReader:
    """Fills a board from the snapshots topic. It joins no group, because each server reads the whole topic."""

    def __init__(self, board: Board, client_options: dict[str, Any], *, request_timeout_seconds: float) -> None:
        """A connection that does not answer a request within `request_timeout_seconds` is replaced by a new one."""
        self._board = board
        self._client_options = {**client_options, "request_timeout_ms": int(request_timeout_seconds * 1_000)}

    async def run(self) -> None:
        """Put each report on the board until cancelled. If Kafka can't be reached, try again."""
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
        """Begin with the last reports of each partition, and continue with each new one."""
        settings = self._board.settings
        partitions = [TopicPartition(settings.snapshots_topic, number) for number in range(settings.topics.partitions)]
        consumer.assign(partitions)
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(first[partition], end[partition] - _MESSAGES_TO_READ_BACK))
        while True:
            fetched = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
            for records in fetched.values():
                for record in records:
                    self._take(record)

    def _take(self, record: Any) -> None:
        try:
            self._board.put(decode_report(record.value))
        except (msgspec.MsgspecError, TypeError) as error:
            log.warning("ignored a report that can't be read", offset=record.offset, reason=str(error))


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
