"""A bound on what is on its way at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InFlight:
    """Lets at most so many bytes be on their way; what is larger than that goes alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._changed = asyncio.Condition()
        self.bytes = 0

    @asynccontextmanager
    async def room_for(self, size: int) -> AsyncIterator[None]:
        """Wait until this many bytes may go too; their room is free again when the block ends."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.bytes or self.bytes + size <= self._most)
            self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size
            async with self._changed:
                self._changed.notify_all()
