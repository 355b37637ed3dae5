"""The answer to a review, written in one piece: its head is always the same, and building it anew
costs a fifth of all.
"""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web

from .connection import Connection


class Reply(web.StreamResponse):
    """200 with a JSON body. Only what `web.Server` asks of a response is there: no headers to set,
    no cookies, no chunks.
    """

    def __init__(self, body: bytes) -> None:  # without the base's: it prepares what is never used
        self._content = body
        self._goes_on = True

    @property
    def keep_alive(self) -> bool:
        return self._goes_on

    def force_close(self) -> None:
        """Say `Connection: close`, and do it."""
        self._goes_on = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the answer, and wait for who does not take it: no further request of theirs is
        begun meanwhile.

        Raises: ConnectionResetError, where the client has gone away
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone away")
        self._goes_on = self._goes_on and request.keep_alive
        connection = b""
        if not self._goes_on:
            connection = b"Connection: close\r\n"
        elif request.version != HttpVersion11:
            connection = b"Connection: keep-alive\r\n"
        body = self._content
        transport.write(_HEAD % (_date(int(time.time())), len(body), connection, body))
        client = request.protocol
        if client.writing_paused and isinstance(client, Connection):
            client.budget.answer(client, len(body))
            await client._drain_helper()  # noqa: SLF001  (aiohttp's own writer waits by it)
            client.budget.release(client)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n%b\r\n%b"


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
