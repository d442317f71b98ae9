"""The liveness and readiness pages of a worker, and the readiness check of a container.

A worker serves no numbers, so by default it opens no port. An orchestrator (Kubernetes, Compose) must know whether to
restart it, and when to go on with the next worker. For that, `worker.port` opens two pages:

- `/livez` responds as long as the event loop runs. It does not depend on Kafka.
- `/readyz` says whether the worker is in its group and has recovered the state of all partitions assigned to it. It
  also says when the machine's clock is wrong. The worker is ready all the same: numbers go by the brokers' time.
"""

import http.client
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from aiohttp import web

from stream.export.address import host_and_port

# A response takes milliseconds. A process that has not responded after this time is not alive.
_TIMEOUT_SECONDS = 4.0


class Probes:
    """Serves `/livez` and `/readyz` on one address. `unready` returns why the worker is not ready; empty if it is.

    `notes` tells what people should know besides.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        unready: Callable[[], list[str]],
        notes: Callable[[], list[str]] = list,
    ) -> None:
        self._host = host
        self._unready, self._notes = unready, notes
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        """Start to listen. Raises OSError if the address is in use."""
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
        return readiness(self._unready(), self._notes())


def readiness(reasons: list[str], notes: list[str]) -> web.Response:
    """The response of /readyz: status 200, or 503 with the reasons; after them what else people should know."""
    return web.Response(text="\n".join([*(reasons or ["ok"]), *notes]) + "\n", status=503 if reasons else 200)


def ask(host: str, port: int) -> tuple[bool, str]:
    """Ask a server or worker whether it is ready. Returns whether it is, and the text of the response.

    Raises OSError as `fetch` does.
    """
    status, body = fetch(host, port, "/readyz")
    return status == 200, body.decode(errors="replace").strip()


def fetch(host: str, port: int, path: str, query: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Ask a server or worker for a page; returns the status and the body.

    If it listens on all addresses, it is asked on this machine. Raises OSError if there is no response.
    """
    # http.client uses no proxy, whatever the environment of the container says.
    connection = http.client.HTTPConnection(_ANY.get(host, host), port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP is spoken at {host_and_port(host, port)}: {error!r}") from None
    finally:
        connection.close()


_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  nothing listens on these addresses here
