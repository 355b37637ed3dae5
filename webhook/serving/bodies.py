"""Reading the body of a request, within a length, a time and a budget."""

import asyncio
from typing import TYPE_CHECKING, cast

from aiohttp import web

from .. import metrics
from ..errors import BoundtokenError

if TYPE_CHECKING:
    from .connection import Connection

MAX_BODY_BYTES = 20 << 20
"""No review of a JSON request reaches it: a request has at most 3 MiB, `<`, `>` and `&` become six
bytes each (encoding/json), which makes 18 MiB, and the second object of an update has been in etcd,
which takes 1.5 MiB."""
BESIDE_BYTES = 256 << 10
"""What a connection whose body is under way holds beside it, in TLS and in aiohttp's buffers; 200
KiB were measured."""
BODY_SECONDS = 10.0
"""For the whole body: the API server's own patience is shorter (timeoutSeconds: 3)."""


Body = bytes | bytearray


class TooLarge(BoundtokenError):
    """The body is longer than the limit: 413."""


class TooSlow(BoundtokenError):
    """The body did not arrive in time: 408."""


async def read_body(
    http: web.BaseRequest, limit: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS
) -> Body:
    """The whole body.

    Units:   `limit` in bytes, `seconds` for all of it
    Raises:  TooLarge, before a byte is read where the header says so; TooSlow; ConnectionResetError
    """
    if (http.content_length or 0) > limit:
        raise TooLarge(
            f"the body must have at most {limit} bytes, and its header says {http.content_length}"
        )
    content = http.content
    if content.is_eof():
        return content.read_nowait()
    connection = cast("Connection", http.protocol)
    connection.is_reading = True
    held = bytearray()
    try:
        async with asyncio.timeout(seconds):
            await connection.budget.take(connection, BESIDE_BYTES)
            while chunk := await content.readany():
                if connection.transport is None:
                    raise ConnectionResetError("the client has gone away")
                await connection.budget.take(connection, len(chunk))
                held += chunk
                if len(held) > limit:
                    raise TooLarge(f"the body must have at most {limit} bytes")
    except TimeoutError as problem:
        metrics.CONNECTIONS_CUT.labels("tls", "body").inc()
        raise TooSlow(f"the body must arrive within {seconds:.0f} seconds") from problem
    finally:
        connection.is_reading = False
    connection.budget.completed(connection, BESIDE_BYTES)
    return held
