"""Apply batches of several partitions at the same time.

Faust gives an agent one batch after the other. A store across a network answers after some milliseconds, during which a
worker that waits for it would be idle. So while one partition waits for its rows, batches of others are applied.
"""

import asyncio
from collections.abc import Awaitable, Callable

from stream.agents.transport import Records

Apply = Callable[[str, Records], Awaitable[int]]


class ConcurrentBatches:
    """Runs at most `max_concurrent` batches at the same time. Batches of one partition run one after the other."""

    def __init__(self, apply: Apply, *, max_concurrent: int) -> None:
        """`apply` is called with a topic and a batch, and must not raise."""
        self._apply = apply
        self._free_slots = asyncio.Semaphore(max_concurrent)
        self._last_batch: dict[int, asyncio.Task[None]] = {}  # by partition: the next batch waits for it

    async def start(self, topic: str, records: Records) -> None:
        """Wait until there is room for one more batch, and start it."""
        await self._free_slots.acquire()
        partition = records[0].partition
        before = self._last_batch.get(partition)
        started = self._last_batch[partition] = asyncio.create_task(self._after(before, topic, records))
        started.add_done_callback(lambda _: self._free_slots.release())

    async def _after(self, before: asyncio.Task[None] | None, topic: str, records: Records) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._apply(topic, records)
