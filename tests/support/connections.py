"""Connections that a test holds itself, and reviews as bytes of HTTP."""

import asyncio
import json
from typing import Any

from tests.support.service import REVIEW, Running

HEAD = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def http_request(review: Any = REVIEW) -> bytes:
    """A POST of a review to /mutate."""
    body = json.dumps(review).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


_opened: list[asyncio.StreamWriter] = []


async def from_address(
    service: Running, address: str, *, tls: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of a client at another address of the loopback network."""
    trust: dict[str, Any] = {"ssl": service.trust(), "server_hostname": "localhost"} if tls else {}
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", service.port, local_addr=(address, 0), **trust
    )
    _opened.append(writer)
    return reader, writer


def end_connections() -> int:
    """End every connection that `from_address` opened; gives how many there were."""
    number = len(_opened)
    while _opened:
        writer = _opened.pop()
        writer.close()
        writer.transport.abort()
    return number
