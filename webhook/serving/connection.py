"""Connections with limits: how many, how long a request may take to arrive, how large it may be; nothing of HTTP else.

aiohttp has a timer for idle connections and none for a client that sends its header or body byte by byte. One sweep a
second looks at all connections; that is cheaper than a timer for each request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .. import metrics
from ..errors import WebhookError

MAX_BODY_BYTES = 7 << 20
"""An API request has at most 3 MiB, an update carries two objects; controller-runtime has the same limit."""
MAX_CONNECTIONS = 512
"""The API server keeps 25 idle ones for each host; the rest is for many API servers and for storms. At most 60 KB each."""
KEEPALIVE_SECONDS = 120.0
"""Longer than the 90 s after which the API server's client lets go: who closes first makes a request fail."""
HANDSHAKE_SECONDS = 10.0
HEADER_SECONDS = 10.0
BODY_SECONDS = 10.0
"""The API server itself gives up after timeoutSeconds, at most 30."""


class TooLarge(WebhookError):
    """The body is longer than the limit: 413."""


class TooSlow(WebhookError):
    """The body did not arrive in time: 408."""


class Connection(RequestHandler):
    """One connection of the TLS port; `since` is when it began to owe us a request, None while it owes nothing."""

    __slots__ = ("_owner", "since")

    def __init__(self, owner: "Connections", manager: web.Server, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._owner = owner
        self.since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.entered(self)
        self.since = self._loop.time()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.since is None and self._current_request is None:
            self.since = self._loop.time()
        super().data_received(data)


class Connections:
    """All connections of the TLS port, and what becomes of each request on them."""

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, most: int = MAX_CONNECTIONS
    ) -> None:
        self.answer = answer
        self.most = most
        self._open: set[Connection] = set()
        self.draining = False
        """While true every answer carries `Connection: close`, so that clients find another replica."""
        self.server = web.Server(self._serve, access_log=None)

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> Connection:
        """A new connection, for `loop.create_server`."""
        return Connection(
            self,
            self.server,
            asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,
            lingering_time=0,
        )

    def entered(self, connection: Connection) -> None:
        self._open.add(connection)
        metrics.CONNECTIONS.set(len(self._open))
        if len(self._open) > self.most:
            self._cut(connection, "full")

    def left(self, connection: Connection) -> None:
        self._open.discard(connection)
        metrics.CONNECTIONS.set(len(self._open))

    async def sweep(self, header_seconds: float = HEADER_SECONDS, every: float = 1.0) -> None:
        """Cut, for ever, the connections whose request header takes too long."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(every)
            late = clock() - header_seconds
            for connection in [each for each in self._open if each.since is not None and each.since < late]:
                self._cut(connection, "header")

    def close_idle(self) -> None:
        """Close the connections that no request is on."""
        for connection in [each for each in self._open if each._current_request is None]:  # noqa: SLF001
            connection.close()

    @staticmethod
    def _cut(connection: Connection, reason: str) -> None:
        metrics.CONNECTIONS_CUT.labels(reason).inc()
        if connection.transport is not None:
            connection.transport.abort()

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        connection = http.protocol
        if isinstance(connection, Connection):
            connection.since = None
        answer = await self.answer(http)
        if self.draining:
            answer.force_close()
        return answer


async def read_body(http: web.BaseRequest, most: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body.

    Units:   `most` in bytes, `seconds` for all of it
    Raises:  TooLarge before a byte is read where the header says so; TooSlow
    """
    if (http.content_length or 0) > most:
        raise TooLarge(f"the body must have at most {most} bytes, and its header says {http.content_length}")
    content = http.content
    if content.is_eof():
        return content.read_nowait()
    held = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while chunk := await content.readany():
                held += chunk
                if len(held) > most:
                    raise TooLarge(f"the body must have at most {most} bytes")
    except TimeoutError as problem:
        metrics.CONNECTIONS_CUT.labels("body").inc()
        raise TooSlow(f"the body must arrive within {seconds:.0f} seconds") from problem
    return bytes(held)
