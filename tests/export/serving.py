"""A server that serves a board on a port of its own, in a thread of its own, for tests by HTTP."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import msgspec

from stream.export.board import Board
from stream.export.http import Server
from tests.open_loop import end_all
from tests.timeouts import TIMEOUT_SECONDS


class Serving:
    """Serves `board` while the context lasts."""

    def __init__(self, board: Board, *, port: int = 0) -> None:
        server = msgspec.structs.replace(board.settings.server, port=port)
        board.settings = msgspec.structs.replace(board.settings, server=server)
        self.board = board
        self._server = Server(board, version="1.2.3")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "Serving":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(timeout=TIMEOUT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=TIMEOUT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self._server.stop()
        # A connection that a browser opens while the server stops would end with the process. Here the process goes on.
        await end_all()

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def listeners(self) -> int:
        """The number of clients that follow the stream."""
        return len(self._server._live_page._updates.listeners)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server from sending anything for a while, though its connections stay open."""
        thaw = threading.Event()
        self._loop.call_soon_threadsafe(thaw.wait, TIMEOUT_SECONDS)
        try:
            yield
        finally:
            thaw.set()

    def change(self, what: Callable[[], None]) -> None:
        """Do something to the board where the server reads it."""

        async def do() -> None:
            what()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(timeout=TIMEOUT_SECONDS)
