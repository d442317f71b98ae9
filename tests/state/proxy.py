"""A way to a server that can be cut in the middle of a question: what was asked is done, and nobody hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class Proxy:
    """Listens on a free port and passes all on to another, alive inside `with`."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._swallowing = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where to connect."""
        return int(self._listener.getsockname()[1])

    def lead_to(self, port: int) -> None:
        """Pass those who connect from now on to another server."""
        self._server = ("127.0.0.1", port)

    def cut_answers(self) -> None:
        """From now on pass questions on, and close the connection when their answer comes."""
        self._swallowing.set()

    def pass_answers(self) -> None:
        """Pass answers on again."""
        self._swallowing.clear()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for opened in (self._listener, *self._open):
            _close(opened)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += (client, server)
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while asked := client.recv(65_536):
                server.sendall(asked)
        _close(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answered := server.recv(65_536):
                if self._swallowing.is_set():
                    break
                client.sendall(answered)
        _close(client)


def _close(opened: socket.socket) -> None:
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    opened.close()
