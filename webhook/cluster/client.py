"""One call to the API server. It never retries, and never waits longer than it is told to.

A Status object becomes an exception of `errors` with its truncated message; nothing else of a
response body is ever shown. Any other failure of a call or of its answer is an ApiError too: a
proxy in between may send anything, and no loop may end because of it.
"""

import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from ..core.text import truncate_at_word
from ..errors import ApiError, BoundtokenError, Conflict, Gone, NotFound, TooLarge
from .credentials import Credentials

CONNECT_SECONDS = 5.0
"""To a server in the same cluster; a lost packet costs one second, or three."""
CLOCK_TOLERANCE = timedelta(seconds=2)
MAX_LINE_BYTES = 16 << 20
"""One watch event: an object in etcd has at most 1.5 MiB. A longer line is no event."""
MAX_OBJECT_BYTES = 10 << 20
"""One object: etcd's 1.5 MiB, six times that where JSON escapes every character."""
MAX_LIST_BYTES = 16 << 20
"""One page of a list: 500 objects of 32 KiB. A replica may use 448 MiB, and a body is in memory
twice for a moment."""
MAX_STATUS_BYTES = 64 << 10
"""Of the body of a refusal: one sentence. The rest is not read."""
MAX_MESSAGE_CHARS = 1000
"""Of the message of a Status: a denial of two findings as a whole, with what to do."""
MAX_RETRY_AFTER = 30.0
"""Seconds that we wait at most when the API server asks for it; in practice it asks for one."""
_SSL_CONTEXT = re.compile(r" ssl:(<[^>]*>|\w+)")
"""What aiohttp puts behind a host: the repr of an object of Python."""
LAST_YEAR = 9000
"""A later Date is an error, and adding a lifetime to it would overflow."""

JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


T = TypeVar("T")


class _Status(msgspec.Struct):
    message: str = ""


_STATUS = msgspec.json.Decoder(_Status)


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """The decoded answer.

    Raises: ApiError, whatever is wrong with the body: no JSON, no UTF-8, nested too deeply, a
    missing field, a field of another type
    """
    try:
        return decoder.decode(body)
    except Exception as problem:
        # Only the text of a DecodeError is safe to show: it has a path and types, and no value.
        detail = f": {str(problem)[:200]}" if isinstance(problem, msgspec.DecodeError) else ""
        raise ApiError(f"the answer cannot be read: {type(problem).__name__}{detail}") from problem


class ApiClient:
    """Calls the API server with the given credentials.

    Construct it in a running event loop, and use it as an asynchronous context manager, which
    closes the connections. `most_seconds` bounds each call whose answer is awaited whole.
    """

    def __init__(
        self, credentials: Credentials, user_agent: str, *, most_seconds: float = math.inf
    ) -> None:
        self._credentials, self._most_seconds = credentials, most_seconds
        self._session = aiohttp.ClientSession(headers={"User-Agent": user_agent}, trust_env=False)
        self._known = (datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME))

    def now(self) -> datetime:
        """The time by the API server's clock; by our own clock before its first answer.

        Why: the API server verifies our certificates, and all replicas must agree on the time even
        if their machines do not. Its Date has whole seconds, so a difference of less than two
        seconds is not corrected.
        """
        return self._known[0] + timedelta(
            seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - self._known[1]
        )

    def _follow_server_clock(self, date: str | None) -> None:
        server_time = _date(date)
        if server_time is not None and abs(server_time - self.now()) > CLOCK_TOLERANCE:
            self._known = (server_time, time.clock_gettime(time.CLOCK_BOOTTIME))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        content_type: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(
        self,
        path: str,
        *,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
        seconds: float = 30,
        limit: int = MAX_OBJECT_BYTES,
    ) -> bytes:
        """The body of the answer to a GET.

        Units:   `seconds` for the whole call, `limit` in bytes
        Raises:  NotFound, Gone, TooLarge, ApiError; Unauthenticated where our own credential
                 cannot be read
        """
        async with self._call("GET", path, accept=accept, query=query, total=seconds) as answer:
            return await _body(answer, limit)

    async def proxied(self, path: str, *, seconds: float, limit: int) -> tuple[bytes, float | None]:
        """The body of the answer that a pod gives through the API server's proxy, and how many
        seconds the pod's clock is ahead of the API server's, by the Date of its answer; None where
        it has none.

        Raises: as `get` does
        """
        async with self._call(
            "GET", path, accept="*/*", query=None, total=seconds, is_proxied=True
        ) as answer:
            body = await _body(answer, limit)
            date = _date(answer.headers.get("Date"))
            return body, None if date is None else (date - self.now()).total_seconds()

    @property
    def ahead_seconds(self) -> float:
        """How many seconds the API server's clock is ahead of this machine's; 0 before its first
        answer, and where it is less than it can say.
        """
        return (self.now() - datetime.now(UTC)).total_seconds()

    async def send(
        self,
        verb: str,
        path: str,
        body: object,
        *,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
        seconds: float = 30,
        keeps_connection: bool = True,
    ) -> bytes:
        """The body of the answer to a POST, PUT or PATCH of `body`, which is any JSON value. The
        next call may use the same connection, and so reach the same one of several API servers,
        unless it is not kept.

        Raises: as `get` does, and Conflict
        """
        encoded = msgspec.json.encode(body)
        async with self._call(
            verb,
            path,
            accept=JSON,
            query=query,
            total=seconds,
            body=encoded,
            content_type=content_type,
            keeps_connection=keeps_connection,
        ) as answer:
            return await _body(answer, MAX_OBJECT_BYTES)

    @asynccontextmanager
    async def stream_lines(
        self, path: str, *, accept: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The complete lines of a watch.

        Why not `readline`: aiohttp refuses a line of more than 128 KiB, and annotations alone may
        have 256.

        Raises: ApiError, also where nothing is received for `silence_seconds`
        """
        async with self._call(
            "GET", path, accept=accept, query=query, total=None, silence=silence_seconds
        ) as answer:
            yield _split(answer.content.iter_any())

    @asynccontextmanager
    async def _call(
        self,
        verb: str,
        path: str,
        *,
        accept: str,
        query: Mapping[str, str] | None,
        total: float | None,
        silence: float | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        is_proxied: bool = False,
        keeps_connection: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": accept}
        if not keeps_connection:
            headers["Connection"] = "close"
        if body is not None:
            headers["Content-Type"] = content_type
        most = None if total is None else min(total, self._most_seconds)
        timeout = aiohttp.ClientTimeout(total=most, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            if (authorization := await self._credentials.authorization()) is not None:
                headers["Authorization"] = authorization
            async with self._session.request(
                verb,
                self._credentials.server + path,
                params=query,
                data=body,
                headers=headers,
                timeout=timeout,
                ssl=self._credentials.tls(),
                allow_redirects=False,
                read_bufsize=1 << 18,
            ) as answer:
                if not is_proxied:  # the Date of a pod is not the API server's
                    self._follow_server_clock(answer.headers.get("Date"))
                if answer.status >= 300:  # noqa: PLR2004
                    raise await _refusal(answer)
                yield answer
        except BoundtokenError:
            raise
        except Exception as problem:
            # Only the text of these is safe to show: that of another exception may quote the header
            # with our token.
            is_safe = isinstance(problem, aiohttp.ClientError | OSError)
            detail = f": {_SSL_CONTEXT.sub('', str(problem))[:200]}" if is_safe else ""
            raise ApiError(f"{verb} {path}: {type(problem).__name__}{detail}") from problem


def _date(text: str | None) -> datetime | None:
    """The time in a Date header; None where it is none that can be used."""
    with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
        date = parsedate_to_datetime(text or "").astimezone(UTC)
        return date if date.year < LAST_YEAR else None
    return None


async def _refusal(answer: aiohttp.ClientResponse) -> ApiError:
    message = ""
    with contextlib.suppress(ApiError):
        message = decode(_STATUS, await _body(answer, MAX_STATUS_BYTES)).message
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Gone}
    text = f"{answer.status} {truncate_at_word(message, MAX_MESSAGE_CHARS)}".strip()
    return kinds.get(answer.status, ApiError)(
        text, answer.status, _retry_after(answer.headers.get("Retry-After", ""))
    )


def _retry_after(text: str) -> float:
    """The seconds of a Retry-After header, 0 for its other form, a date. The API server sends
    seconds (apiserver/pkg/server/filters/maxinflight.go).
    """
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"an answer of more than {limit} bytes")
    return b"".join(chunks)


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    parts: list[bytes] = []  # of a line that is not complete yet
    size = 0
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        size += len(first)
        for part in rest:
            if line := b"".join(parts):
                yield line
            parts, size = [part], len(part)
        if size > MAX_LINE_BYTES:
            raise ApiError(f"a watch event of more than {MAX_LINE_BYTES} bytes")
