"""Connections and their limits: their number, the share of one source, and the time that a request
and its answer may take.

Beyond the limit a connection is cut, but never the newest: else an attacker could keep all others
out. If one source address has more than its share, one of its own is cut; else the one that has
been idle for the longest time.

aiohttp has a timer for idle connections, and none for a client that sends or reads byte by byte.
One sweep a second checks all connections, which is cheaper than a timer for each request.
"""

import asyncio
import traceback
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol, cast, runtime_checkable

from aiohttp import web, web_protocol
from aiohttp.web_protocol import RequestHandler

from .. import metrics
from ..log import Log
from .byte_budget import ByteBudget

MAX_CONNECTIONS = 512
"""On the TLS port. An API server keeps at most 25 idle ones to a host; the rest is for several API
servers and for storms."""
MAX_METRICS_CONNECTIONS = 64
"""On the metrics port, for kubelets and scrapers."""
SHARE = 4
"""One source may have a quarter of the connections while others need some; alone it may have
all."""
HOG_SECONDS = 1.0
"""Delay of the next handshake of a source with more than its share. A handshake costs half a
millisecond, so a client that reconnects at once would take the whole CPU."""
KEEPALIVE_SECONDS = 120.0
"""Longer than the 90 s after which the API server's client closes an idle connection: if we close
first, a request may fail."""
HANDSHAKE_SECONDS = 10.0
HEADER_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""From a header to the last byte of its answer: the API server itself gives up after
timeoutSeconds, at most 30."""
MAX_HEADERS, MAX_HEADER_BYTES = 32, 2048
"""An API server sends eight short ones. Incomplete headers are in memory and in no budget."""
WRITE_BYTES = 1 << 15
"""Of an unread answer, before we stop writing; by default TLS would buffer half a MiB."""
READ_BYTES = 1 << 15
"""Of a body that we have not read, before the client must wait."""
FULL_SECONDS = 5.0
"""How long a port counts as full after a connection was cut: longer than two probes of the
kubelet."""
REPEAT_SECONDS = 60.0
"""Between two log lines about the same lack."""


@runtime_checkable
class _HasLimits(Protocol):
    """uvloop's TLS transport. Its buffers have 256 KiB for reading and 512 KiB for writing by
    default.
    """

    def set_read_buffer_limits(self, high: int) -> None: ...

    def set_write_buffer_limits(self, high: int) -> None: ...


web_protocol.MAX_MSG_QUEUE_SIZE = 2
"""The number of requests of a client that wait for an answer. aiohttp reads on and keeps 32 of
them, each with up to 64 KiB of a body that is in no budget. An API server sends one at a time; with
a limit of one, aiohttp would pause and resume reading for each."""


class Connection(RequestHandler):
    """One connection, from the moment when it is accepted, before its TLS handshake."""

    __slots__ = (
        "_owner",
        "_turn",
        "busy_since",
        "delay",
        "handshake",
        "is_reading",
        "since",
        "source",
    )

    def __init__(self, owner: "Connections", source: str, **options: Any) -> None:
        super().__init__(owner.server, loop=asyncio.get_running_loop(), **options)
        self._owner = owner
        self.source = source
        self.delay = 0.0
        """Seconds before its handshake."""
        self.handshake: asyncio.Task[None] | None = None
        self.since: float | None = None
        """When we began to wait for a request's header; None while we do not."""
        self.busy_since = 0.0
        """When the header of the request under way was complete."""
        self.is_reading = False
        """Whether the body of that request is incomplete."""
        self._turn: asyncio.Future[None] | None = None

    @property
    def budget(self) -> ByteBudget["Connection"]:
        """The memory budget of all connections of the port."""
        return self._owner.budget

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._request_in_progress

    @property
    def is_answered(self) -> bool:
        """Whether we work on its request and do not wait for the client. Then it is not cut for a
        newcomer, unless there is no other.
        """
        return (
            self._request_in_progress
            and not self.is_reading
            and not self.writing_paused
            and self._turn is None
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, _HasLimits):
            transport.set_read_buffer_limits(high=READ_BYTES)
            transport.set_write_buffer_limits(high=WRITE_BYTES)
        self.handshake = None
        self.since = self._loop.time()

    def waits(self, turn: asyncio.Future[None]) -> None:
        """The body is complete and waits for its `turn`; until then the connection may be cut."""
        self._turn = turn

    def served(self) -> None:
        """The body is being worked on."""
        self._turn = None
        self.budget.begun(self)

    def _wait_no_more(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(ConnectionResetError("the caller has hung up, or was cut"))
        self._turn = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wait_no_more()
        self._owner.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.since is None and self._current_request is None:
            self.since = self._loop.time()
        super().data_received(data)

    def abort(self) -> None:
        """Close it at once, in any state."""
        self._wait_no_more()
        if self.handshake is not None:
            self.handshake.cancel()
        elif self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  (aiohttp's signature)
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The answer to bad HTTP, or to a bug of ours. Neither the answer nor the log quotes the
        request.
        """
        # A connection that the client closed, or that was cut, is counted already.
        if not isinstance(exc, ConnectionError):
            self._owner.log_error(status, exc)
        if exc is not None:
            # aiohttp keeps the exception, the exception its frames, and these the body, until the
            # next garbage collection.
            exc.__traceback__ = exc.__context__ = exc.__cause__ = None
        answer = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
        answer.force_close()
        return answer


class Connections:
    """All connections of one port. `answer` answers each request; `port` names them in metrics."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        log: Log,
        *,
        port: str = "tls",
        limit: int = MAX_CONNECTIONS,
    ) -> None:
        self.answer = answer
        self.draining = False
        """While True, every answer has `Connection: close`, so that clients go to another
        replica."""
        self.server = web.Server(self._serve, access_log=None)
        self.budget: ByteBudget[Connection] = ByteBudget(
            lambda connection: self.cut(connection, "memory")
        )
        self._log = log
        self._port = port
        self._open: OrderedDict[Connection, None] = OrderedDict()
        self._sources: Counter[str] = Counter()
        self._full_at = self._logged_at = -REPEAT_SECONDS
        self.limit = limit
        metrics.CONNECTIONS.labels(port).set_function(lambda: len(self._open))
        metrics.CONNECTIONS_LIMIT.labels(port).set_function(lambda: self.limit)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether a connection was cut for another one within the last FULL_SECONDS."""
        return asyncio.get_running_loop().time() - self._full_at < FULL_SECONDS

    def accepted(self, source: str) -> Connection:
        """A new connection from this address. Beyond the limit another one is cut."""
        connection = Connection(
            self,
            source,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,
            lingering_time=0,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
            max_headers=MAX_HEADERS,
            max_field_size=MAX_HEADER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
        )
        self._open[connection] = None
        self._sources[source] += 1
        if len(self._open) > self.limit and self.make_room(connection) == source:
            connection.delay = HOG_SECONDS
        return connection

    def make_room(self, newcomer: Connection | None = None) -> str | None:
        """Cut the connection that has been idle for the longest time, of the source that has too
        many, if there is one; never the newcomer.

        Where none is idle, cut the one whose request has been under way for the longest time.
        Returns the source that has too many connections, or None.
        """
        now = asyncio.get_running_loop().time()
        self._full_at = now
        source, number = max(self._sources.items(), key=lambda entry: entry[1], default=("", 0))
        if now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            self._log.warning(
                "connections are full, the longest idle goes",
                port=self._port,
                connections=len(self),
                busiest_source=source,
                of_this_source=number,
            )
        only = source if number > self.limit // SHARE else None
        others = [other for other in self._open if other is not newcomer]
        if others:
            # `_open` is ordered by the last request, so of equal ones `min` takes the first: the
            # longest idle.
            victim = min(
                others, key=lambda other: (other.is_answered, only not in (None, other.source))
            )
            self.cut(victim, "full")
        return only

    def left(self, connection: Connection) -> None:
        """Forget a connection that has ended, or is about to end. Bytes are released at every call,
        because more may have been counted since the last.
        """
        self.budget.release(connection)
        if connection not in self._open:
            return
        del self._open[connection]
        self._sources[connection.source] -= 1
        if not self._sources[connection.source]:
            del self._sources[connection.source]

    def cut(self, connection: Connection, reason: str) -> None:
        """Close a connection, and count it."""
        metrics.CONNECTIONS_CUT.labels(self._port, reason).inc()
        self.left(connection)
        connection.abort()

    async def sweep(self, header_seconds: float = HEADER_SECONDS, every: float = 1.0) -> None:
        """Cut connections whose header or whose answer takes too long, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(every)
            now = clock()
            for connection in list(self._open):
                if connection.since is not None and connection.since < now - header_seconds:
                    self.cut(connection, "header")
                elif connection.is_busy and connection.busy_since < now - ANSWER_SECONDS:
                    self.cut(connection, "answer")

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return sum(connection.is_busy for connection in self._open)

    def close_idle(self) -> None:
        """Close the connections without a request."""
        for connection in list(self._open):
            if connection.handshake is not None:
                connection.abort()
            elif connection._current_request is None:  # noqa: SLF001
                connection.close()

    def log_error(self, status: int, problem: BaseException | None) -> None:
        """Log and count bad HTTP, or a bug of ours."""
        metrics.HTTP_REFUSALS.labels(str(status)).inc()
        error = type(problem).__name__
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.untrusted("warning", "bad HTTP", port=self._port, error=error)
        else:
            frames = (
                "".join(traceback.format_tb(problem.__traceback__)) if problem is not None else ""
            )
            self._log.untrusted(
                "error", "internal error", port=self._port, error=error, traceback=frames
            )

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", http.protocol)
        if connection not in self._open:
            raise ConnectionResetError("it was cut")
        connection.since, connection.busy_since = None, connection._loop.time()  # noqa: SLF001
        self._open.move_to_end(connection)
        try:
            answer = await self.answer(http)
        finally:
            if self.budget.total:
                self.budget.release(connection)
        if self.draining:
            answer.force_close()
        return answer
