"""Responses, which are compressed by zstd or gzip if the client asks for it.

Prometheus asks for gzip; browsers accept both. Five weeks of numbers shrink to a tenth of their size.
"""

import asyncio
import gzip
from collections.abc import Callable, Mapping

import cramjam
from aiohttp import web

# To compress more than this takes milliseconds, so it is done in a thread, while the event loop serves other requests.
_LONG_BYTES = 100_000
# To compress less than this saves no packet.
_SHORTEST_BYTES = 256

# If a client prefers none of them, the first one is used. zstd makes a body as small as gzip does, in a third of the
# time.
_CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: bytes(cramjam.zstd.compress(body, level=3)),
    "gzip": lambda body: gzip.compress(body, compresslevel=5, mtime=0),
}
_OTHER_NAMES = {"x-gzip": "gzip"}  # RFC 9110, 8.4.1.3


async def compressed_response(
    request: web.Request, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with this body, compressed as the request asks. `headers` has its Content-Type."""
    response_headers = {**(headers or {}), "Vary": "Accept-Encoding"}
    coding = coding_of(request.headers.get("Accept-Encoding", "")) if len(body) >= _SHORTEST_BYTES else None
    if coding is not None:
        compress = _CODINGS[coding]
        body = await asyncio.to_thread(compress, body) if len(body) > _LONG_BYTES else compress(body)
        response_headers["Content-Encoding"] = coding
    return web.Response(body=body, status=status, headers=response_headers)


def coding_of(accepted: str) -> str | None:
    """The coding that a header Accept-Encoding prefers, according to RFC 9110; None for no compression."""
    weights: dict[str, float] = {}
    for one in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        weights[_OTHER_NAMES.get(name, name)] = _weight(parameters)
    preferences = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in _CODINGS}
    best = max(preferences, key=lambda coding: preferences[coding])
    return best if preferences[best] > 0 and preferences[best] >= weights.get("identity", 0.0) else None


def _weight(parameters: list[str]) -> float:
    """The value of `q=`; 1 if there is none, 0 if it is not a number."""
    for parameter in parameters:
        name, _, number = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(number)
            except ValueError:
                return 0.0
    return 1.0
