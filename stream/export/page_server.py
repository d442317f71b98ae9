"""Serves the live page, and what it reads besides the API: the stream of changes and the history.

The page and its scripts are loaded from this server and connect to no other. The headers tell the browser to allow
nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog
from aiohttp import web

from stream.export.assets import Asset, page_assets
from stream.export.compression import compressed_response
from stream.export.listeners import Listener, TooManyListeners
from stream.export.page_updates import PageUpdates

log = structlog.get_logger(__name__)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_RETRY_SECONDS = 30  # after so long a client may try again, if there were too many listeners


class PageServer:
    """Adds the page to an application, and keeps it up to date while the application runs."""

    def __init__(self, updates: PageUpdates) -> None:
        self._updates = updates

    def add_to(self, app: web.Application) -> None:
        """Add routes and headers, and the task that runs as long as the application."""
        for path, asset in page_assets().items():
            app.router.add_get(path, _serving(asset))
        app.router.add_get("/api/v1/stream", self._stream, allow_head=False)
        app.router.add_get("/api/v1/history", self._history)
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._close)
        app.cleanup_ctx.append(self._running_updates)

    async def _history(self, request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._updates.history.document())
        return await compressed_response(request, body, headers={"Content-Type": "application/json"})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None, "a request comes over a connection"
        try:
            with self._updates.listeners.listening(disconnect=transport.abort) as listener:
                return await self._send_updates(request, listener)
        except TooManyListeners as error:
            again = {"Retry-After": str(_RETRY_SECONDS)}
            return web.json_response({"error": str(error)}, status=503, headers=again)

    async def _send_updates(self, request: web.Request, listener: Listener) -> web.StreamResponse:
        # `no` asks proxies such as nginx to pass each message on at once.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        response.content_type = "text/event-stream"
        first = self._updates.whole()
        with suppress(ConnectionError):  # the client has left, or was disconnected
            await response.prepare(request)
            await response.write(first)
            async for message in listener:
                await response.write(message)
        return response

    async def _close(self, app: web.Application) -> None:
        self._updates.listeners.close()

    async def _running_updates(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._updates.run())
        task.add_done_callback(_log_failure)
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _serving(asset: Asset) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        # The paths are the same in each version. So a browser must ask each time whether a file has changed.
        headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.etag}"'}
        known = request.if_none_match
        if known is not None and any(tag.value in (asset.etag, "*") for tag in known):
            return web.Response(status=304, headers={**headers, "Vary": "Accept-Encoding"})
        return await compressed_response(request, asset.body, headers={**headers, "Content-Type": asset.content_type})

    return serve


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the live page stands still, for its updates have failed", reason=repr(error))
