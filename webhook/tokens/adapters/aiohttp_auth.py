"""aiohttp, as a client: `ClientSession(middlewares=[BearerMiddleware(source, "https://orders")])`.

Redirects: aiohttp calls a middleware for each of them, and with every URL that a session is used
for, so it has to be told the one origin that gets the token. Other requests are sent as they are.
A request that has its own Authorization header, or an `auth`, is sent as it is.
Sent again after a 401: what aiohttp itself sends again after a redirect: bodies of bytes, text,
JSON and forms, and files that can seek. Not: async iterables, streams.
"""

from ..source import TokenSource
from .shared import (
    AUTHORIZATION,
    MAX_DRAINED_BYTES,
    UNAUTHORIZED,
    Header,
    arenewed,
    lacking,
)

try:
    from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse
    from yarl import URL
except ImportError as problem:
    raise lacking(problem, __name__, "aiohttp>=3.12") from problem

_HTTP = {"ws": "http", "wss": "https"}
"""A WebSocket begins as a request to the same server."""


class BearerMiddleware:
    """Sends a token of `source` with each request to `origin`, and renews it once when the server
    answers 401. `origin` is a URL, of which scheme, host and port count.

    A NoToken of the source is raised by the call. Raises: ValueError, where `origin` is no such URL
    """

    def __init__(self, source: TokenSource, origin: str | URL) -> None:
        self._source = source
        self._origin = _origin(URL(origin))

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        before = request.headers.get(AUTHORIZATION)
        if _origin(request.url) != self._origin or not isinstance(before, Header | None):
            return await handler(request)
        header = Header.of(await self._source.aget())
        request.headers[AUTHORIZATION] = header
        response = await handler(request)
        if response.status != UNAUTHORIZED:
            return response
        try:
            another = await arenewed(self._source, header)
        except BaseException:
            response.close()
            raise
        if another is None or getattr(request.body, "consumed", False):
            return response
        await drain(response)
        await request.close()  # waits for what still writes the body
        request.headers[AUTHORIZATION] = another
        return await handler(request)


def _origin(url: URL) -> tuple[str, str, int | None]:
    """Scheme, host and port. Raises: ValueError, for a URL without them"""
    url = url.origin()
    return _HTTP.get(url.scheme, url.scheme), url.host or "", url.port


async def drain(response: ClientResponse) -> None:
    """Let the connection be used again, or close it."""
    left = MAX_DRAINED_BYTES
    try:
        while chunk := await response.content.read(left):
            left -= len(chunk)
    except ClientError:
        left = 0
    except BaseException:
        response.close()
        raise
    if left > 0:
        response.release()
    else:
        response.close()
