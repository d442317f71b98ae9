"""The HTTP server: the live page, /metrics, the API, and the pages for orchestrators."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from stream.core.samples import Sample
from stream.core.time import date_of
from stream.export import closed_api, cohorts_api, contract, past_days
from stream.export.board import Board
from stream.export.compression import compressed_response
from stream.export.definitions import definitions
from stream.export.dimensions import dimensions
from stream.export.documents import EncodedSamples, encoded, samples_of, with_sample_sizes
from stream.export.page_server import PageServer
from stream.export.page_updates import PageUpdates
from stream.export.probes import readiness
from stream.export.prometheus import MetricsPage
from stream.export.readiness import board_status

_MOST_DAYS = 35


class Server:
    """Serves a board on one address."""

    def __init__(self, board: Board, *, version: str) -> None:
        self._board = board
        self._version = version
        self._metrics_page = MetricsPage(board, version=version)
        self._live_page = PageServer(PageUpdates(board))
        self._encoded = EncodedSamples(kept=1 + _MOST_DAYS)
        self._definitions = definitions(board.settings.rules)
        self._runner: web.AppRunner | None = None
        self.port = board.settings.server.port

    def application(self) -> web.Application:
        """The routes, for the server and for tests."""
        app = web.Application()
        routes: dict[str, Callable[[web.Request], Any]] = {
            "/metrics": self._metrics,
            "/api/v1/metrics": self._api_metrics,
            "/api/v1/closed": self._api_closed,
            "/api/v1/cohorts": self._api_cohorts,
            "/api/v1/dimensions": self._api_dimensions,
            "/api/v1/definitions": self._api_definitions,
            "/api/v1/schema": self._api_schema,
            "/api/v1/schema/{kind}": self._api_schema_of_kind,
            "/livez": self._live,
            "/readyz": self._ready,
            "/version": self._tell_version,
        }
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        self._live_page.add_to(app)
        return app

    async def start(self) -> None:
        """Start to listen. Raises OSError if the address is in use."""
        server = self._board.settings.server
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, server.host, server.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        # As in Prometheus's own client libraries, these are names of metrics or of samples such as *_bucket.
        page = self._metrics_page.text(request.query.getall("name[]", None))
        return await compressed_response(request, page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _api_metrics(self, request: web.Request) -> web.Response:
        asked = request.query.get("days", "1")
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= _MOST_DAYS:
            return await _json(
                request, {"error": f"days: {asked!r} is no whole number from 1 to {_MOST_DAYS}"}, status=400
            )
        board = self._board
        chosen = [name for name in request.query.get("closed", "").split(",") if name]
        return await _json(
            request,
            {
                **board_status(board),
                "live": self._encoded.of("live", board.live()),
                "closed": [
                    {"day": date_of(day).isoformat(), "samples": self._encoded_day(day, samples, chosen)}
                    for day, samples in board.closed(days=int(asked))
                ],
                "health": with_sample_sizes(board.health()),
                "partitions": board.partitions(),
                "definitions": {metric["name"]: metric for metric in self._definitions},
            },
        )

    def _encoded_day(self, day: int, samples: list[Sample], chosen: list[str]) -> msgspec.Raw:
        return encoded(samples_of(samples, chosen)) if chosen else self._encoded.of(day, samples)

    async def _api_closed(self, request: web.Request) -> web.Response:
        return await past_days.answer(self._board, request, closed_api.asked_by, closed_api.tell)

    async def _api_cohorts(self, request: web.Request) -> web.Response:
        return await past_days.answer(self._board, request, cohorts_api.asked_by, cohorts_api.tell)

    async def _api_dimensions(self, request: web.Request) -> web.Response:
        return await _json(request, dimensions(self._board))

    async def _api_definitions(self, request: web.Request) -> web.Response:
        return await _json(request, self._definitions)

    async def _api_schema(self, request: web.Request) -> web.Response:
        return await _json(request, contract.asyncapi(self._board.settings, version=self._version))

    async def _api_schema_of_kind(self, request: web.Request) -> web.Response:
        kind, schemas = request.match_info["kind"], contract.json_schemas()
        if kind not in schemas:
            told = f"{kind!r} is none of {', '.join(schemas)}"
            return await _json(request, {"error": told}, status=404)
        return await _json(request, schemas[kind])

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        return readiness(self._board.unready(), self._board.notes())

    async def _tell_version(self, request: web.Request) -> web.Response:
        return await _json(request, {"version": self._version})


async def _json(request: web.Request, content: Any, *, status: int = 200) -> web.Response:
    body = msgspec.json.encode(content)
    return await compressed_response(request, body, status=status, headers={"Content-Type": "application/json"})
