"""A limit on the bytes that are being sent to Kafka at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PendingSends:
    """Allows at most `max_bytes` to be sent at the same time. A larger send waits until it is the only one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._changed = asyncio.Condition()
        self.bytes = 0

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` more bytes may be sent. They stop counting when the `async with` block ends."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.bytes or self.bytes + size <= self._max_bytes)
            self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size
            async with self._changed:
                self._changed.notify_all()
