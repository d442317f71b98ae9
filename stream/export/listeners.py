"""Sends messages to many listeners, none of whom can delay the others.

Each listener has a short queue. A listener whose queue is full is disconnected. There is a largest number of listeners;
further ones are refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager


class TooManyListeners(Exception):
    """The largest number of listeners is reached. The text says how many that is."""


class Listener:
    """One listener. Iterate over it to get its messages, until it is disconnected or everything is closed."""

    def __init__(self, *, backlog: int, disconnect: Callable[[], None]) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(backlog)
        self.disconnect = disconnect

    def offer(self, message: bytes | None) -> bool:
        """Put a message into the queue, or None for the end. Returns False if the queue is full."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._queue.get()) is not None:
            yield message


class Listeners:
    """Sends messages to at most `most` listeners. Each may have up to `backlog` messages in its queue."""

    def __init__(self, *, most: int = 64, backlog: int = 16) -> None:
        self._most = most
        self._backlog = backlog
        self._listeners: set[Listener] = set()
        self._is_over = False

    def __len__(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listening(self, *, disconnect: Callable[[], None]) -> Iterator[Listener]:
        """A listener for as long as the context lasts. `disconnect` ends its connection. Raises TooManyListeners."""
        if self._is_over or len(self._listeners) >= self._most:
            raise TooManyListeners(f"{self._most} listen already")
        listener = Listener(backlog=self._backlog, disconnect=disconnect)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def send(self, message: bytes) -> None:
        """Send a message to all listeners. Disconnect those whose queue is full."""
        self._send(message)

    def close(self) -> None:
        """End the iteration of all listeners, and refuse new ones."""
        self._is_over = True
        self._send(None)

    def _send(self, message: bytes | None) -> None:
        for listener in [listener for listener in self._listeners if not listener.offer(message)]:
            self._listeners.discard(listener)
            listener.disconnect()
