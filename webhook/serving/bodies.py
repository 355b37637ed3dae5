"""Reading the body of a request, within limits of length, time and memory."""

import asyncio
from typing import TYPE_CHECKING, cast

from aiohttp import web

from .. import metrics
from ..errors import BoundtokenError

if TYPE_CHECKING:
    from .connection import Connection

MAX_BODY_BYTES = 20 << 20
"""Longer than any review: a JSON request has at most 3 MiB, `<`, `>` and `&` become six bytes each
(encoding/json), which makes 18 MiB, and the old object of an update comes from etcd, which stores
at most 1.5 MiB."""
BESIDE_BYTES = 256 << 10
"""What a connection needs besides the body that it receives, in TLS and in aiohttp's buffers; 200
KiB were measured."""
BODY_SECONDS = 10.0
"""For the whole body: the API server itself waits for less (timeoutSeconds: 3)."""


Body = bytes | bytearray


class BodyTooLarge(BoundtokenError):
    """The body is longer than the limit: 413."""


class TooSlow(BoundtokenError):
    """The body did not arrive in time: 408."""


async def read_body(
    http: web.BaseRequest, limit: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS
) -> Body:
    """The whole body.

    Units:   `limit` in bytes, `seconds` for the whole body
    Raises:  BodyTooLarge, before a byte is read if the header says so; TooSlow;
             ConnectionResetError
    """
    if (http.content_length or 0) > limit:
        raise BodyTooLarge(
            f"the body must have at most {limit} bytes, and its header says {http.content_length}"
        )
    content = http.content
    if content.is_eof():
        return content.read_nowait()
    connection = cast("Connection", http.protocol)
    connection.is_reading = True
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            await connection.budget.take(connection, BESIDE_BYTES)
            while chunk := await content.readany():
                if connection.transport is None:
                    raise ConnectionResetError("the client has gone away")
                await connection.budget.take(connection, len(chunk))
                body += chunk
                if len(body) > limit:
                    raise BodyTooLarge(f"the body must have at most {limit} bytes")
    except TimeoutError as problem:
        metrics.CONNECTIONS_CUT.labels("tls", "body").inc()
        raise TooSlow(f"the body must arrive within {seconds:.0f} seconds") from problem
    finally:
        connection.is_reading = False
    connection.budget.completed(connection, BESIDE_BYTES)
    return body
