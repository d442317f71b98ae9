"""Is it alive, is it ready: the two pages of a worker, and the question that a container asks.

A worker serves no numbers, so by default it opens no port. Where something must decide whether to restart it or to go
on with the next one (Kubernetes, Compose), `worker.port` opens two pages:

- `/livez`: the event loop turns, for it is what answers. It never depends on Kafka.
- `/readyz`: the worker is in its group, and the state of every partition it was given is recovered.
"""

import http.client
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from aiohttp import web

from stream.export.address import place_of

# An answer takes milliseconds; who is silent for longer is not alive.
_PATIENCE_SECONDS = 4.0


class Probes:
    """Serves `/livez` and `/readyz` on one address. `unready` tells why not; nothing means ready."""

    def __init__(self, host: str, port: int, *, unready: Callable[[], list[str]]) -> None:
        self._host = host
        self._unready = unready
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        app = web.Application()
        app.router.add_get("/livez", self._live)
        app.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        return readiness(self._unready())


def readiness(reasons: list[str]) -> web.Response:
    """The page /readyz: 200, or 503 and the reasons."""
    return web.Response(text="\n".join(reasons or ["ok"]) + "\n", status=503 if reasons else 200)


def ask(host: str, port: int) -> tuple[bool, str]:
    """Ask a server or worker whether it is ready; returns the answer and its text. Raises OSError as `fetch` does."""
    status, body = fetch(host, port, "/readyz")
    return status == 200, body.decode(errors="replace").strip()


def fetch(host: str, port: int, path: str, query: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Ask a server or worker for a page; returns the status and the body.

    Asked on this machine where it listens on every address. Raises OSError when nobody answers.
    """
    # No proxy is asked, whatever the environment of the container says.
    connection = http.client.HTTPConnection(_ANY.get(host, host), port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP is spoken at {place_of(host, port)}: {error!r}") from None
    finally:
        connection.close()


_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  asked about, not listened on
