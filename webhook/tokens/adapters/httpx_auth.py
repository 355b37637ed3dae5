"""httpx: `httpx.Client(auth=BearerAuth(source))`, and the same for an AsyncClient.

Redirects: httpx takes the header off a request to another origin; the one exception is from http
to https on the same host and the default ports. A 401 from there is returned as it is.
A request that has its own Authorization header is sent as it is.
Sent again after a 401: bodies of bytes, text, JSON and forms, with files that can seek. Not:
generators, iterators, async iterables, and a file given as `content`.
"""

from collections.abc import AsyncGenerator, Generator
from typing import Any

from ..source import TokenSource
from .shared import AUTHORIZATION, UNAUTHORIZED, Header, arenewed, can_rewind, lacking, renewed

try:
    import httpx
except ImportError as problem:
    raise lacking(problem, __name__, "boundtoken[httpx]") from problem

_OURS = "boundtoken"
"""The extension of a request that has the header we gave it: httpx's headers are bytes."""


class BearerAuth(httpx.Auth):
    """Sends a token of `source` with each request, and renews it once when the server answers 401.

    Safe under threads and in coroutines of asyncio. A NoToken of the source is raised by the call.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        if _is_callers(request):
            yield request
            return
        header = Header.of(self._source.get())
        response = yield _with(request, header)
        if not _is_rejected(response, header):
            return
        another = renewed(self._source, header)
        if another is not None and _can_be_sent_again(response.request):
            yield _with(response.request, another)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if _is_callers(request):
            yield request
            return
        header = Header.of(await self._source.aget())
        response = yield _with(request, header)
        if not _is_rejected(response, header):
            return
        another = await arenewed(self._source, header)
        if another is not None and _can_be_sent_again(response.request):
            yield _with(response.request, another)


def _is_callers(request: httpx.Request) -> bool:
    """Whether the header is not one that we gave the request when it was sent before; also where
    httpx has taken ours off, because a redirect led to another origin.
    """
    header = request.headers.get(AUTHORIZATION)
    ours = request.extensions.get(_OURS)
    return header != ours and (header is not None or ours is not None)


def _with(request: httpx.Request, header: Header) -> httpx.Request:
    request.headers[AUTHORIZATION] = header
    request.extensions = {**request.extensions, _OURS: header}
    return request


def _is_rejected(response: httpx.Response, header: Header) -> bool:
    """Whether the server that rejected the request had our token; after redirects it is the last
    of them.
    """
    return (
        response.status_code == UNAUTHORIZED
        and response.request.headers.get(AUTHORIZATION) == header
    )


def _can_be_sent_again(request: httpx.Request) -> bool:
    stream: Any = request.stream
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)  # of a form with files, whose class is private
    return isinstance(fields, list) and all(map(_is_replayable, fields))


def _is_replayable(field: Any) -> bool:
    file = getattr(field, "file", b"")
    return isinstance(file, str | bytes) or can_rewind(file)
