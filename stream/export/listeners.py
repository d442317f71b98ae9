"""One message to many listeners, none of whom can hold up the rest.

Each listener has a short queue. Whoever leaves it full is let go; who is one too many is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager


class TooManyListeners(Exception):
    """There is room for no more. The text says for how many there is."""


class Listener:
    """Who hears: iterate over it for the messages, until it is let go or all is over."""

    def __init__(self, *, backlog: int, disconnect: Callable[[], None]) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(backlog)
        self.disconnect = disconnect

    def offer(self, message: bytes | None) -> bool:
        """Take a message, or None for the end. False when too many are waiting already."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._queue.get()) is not None:
            yield message


class Listeners:
    """Tells at most `most` listeners, each of whom may be `backlog` messages behind."""

    def __init__(self, *, most: int = 64, backlog: int = 16) -> None:
        self._most = most
        self._backlog = backlog
        self._listeners: set[Listener] = set()
        self._is_over = False

    def __len__(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listening(self, *, disconnect: Callable[[], None]) -> Iterator[Listener]:
        """A listener as long as the context lasts. `disconnect` cuts it off at once. Raises TooManyListeners."""
        if self._is_over or len(self._listeners) >= self._most:
            raise TooManyListeners(f"{self._most} listen already")
        listener = Listener(backlog=self._backlog, disconnect=disconnect)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def send(self, message: bytes) -> None:
        """Tell all; let go of those who can't keep up."""
        self._send(message)

    def close(self) -> None:
        """All is over: no more listeners, and those there are hear the end."""
        self._is_over = True
        self._send(None)

    def _send(self, message: bytes | None) -> None:
        for listener in [listener for listener in self._listeners if not listener.offer(message)]:
            self._listeners.discard(listener)
            listener.disconnect()
