"""The server's ear: reads the newest report of each partition from Kafka, then each new one."""

import asyncio
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.export.board import Board
from stream.telemetry import decode_report

log = structlog.get_logger(__name__)


class Feed:
    """Fills a board from the snapshots topic. Joins no group: each server reads all of it."""

    def __init__(self, board: Board, client_options: dict[str, Any]) -> None:
        self._board = board
        self._client_options = client_options
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Seek to the last report of each partition. Raises what aiokafka raises when Kafka is away."""
        settings = self._board.settings
        self._consumer = AIOKafkaConsumer(
            **self._client_options, enable_auto_commit=False, auto_offset_reset="latest", fetch_max_wait_ms=500
        )
        await self._consumer.start()
        partitions = [TopicPartition(settings.snapshots_topic, number) for number in range(settings.topics.partitions)]
        self._consumer.assign(partitions)
        first = await self._consumer.beginning_offsets(partitions)
        end = await self._consumer.end_offsets(partitions)
        for partition in partitions:
            self._consumer.seek(partition, max(first[partition], end[partition] - 1))

    async def run(self) -> None:
        """Put each report on the board until cancelled."""
        assert self._consumer is not None, "the feed is started before it runs"
        while True:
            fetched = await self._consumer.getmany(timeout_ms=1_000, max_records=1_000)
            for records in fetched.values():
                for record in records:
                    self._take(record)

    def _take(self, record: Any) -> None:
        try:
            self._board.put(decode_report(record.value))
        except (msgspec.MsgspecError, TypeError) as error:
            log.warning("ignored a report that can't be read", offset=record.offset, reason=str(error))

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is gone."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
