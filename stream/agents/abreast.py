"""Batches of several partitions at once: while the store of one is asked for rows, those of another are applied.

Faust gives an agent one batch after the other. A store across a network answers after some milliseconds, in which a
worker that waits for it does nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

from stream.agents.transport import Records

Apply = Callable[[str, Records], Awaitable[int]]


class Abreast:
    """Hands batches on: those of one partition one after the other, at most `most` of different ones at once."""

    def __init__(self, apply: Apply, *, most: int) -> None:
        """`apply` is given a topic and a batch, and raises nothing."""
        self._apply = apply
        self._room = asyncio.Semaphore(most)
        self._newest: dict[int, asyncio.Task[None]] = {}  # by partition: what must end before its next batch

    async def begin(self, topic: str, records: Records) -> None:
        """Begin with a batch as soon as there is room for it."""
        await self._room.acquire()
        partition = records[0].partition
        before = self._newest.get(partition)
        begun = self._newest[partition] = asyncio.create_task(self._after(before, topic, records))
        begun.add_done_callback(lambda _: self._room.release())

    async def _after(self, before: asyncio.Task[None] | None, topic: str, records: Records) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._apply(topic, records)
