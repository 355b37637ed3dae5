"""One call to the API server: a verb, a path, typed bytes back; it never retries and never waits longer than it was told.

Status objects become exceptions of `errors`, with their message cut; a response body is never shown otherwise.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from ..errors import ApiError, Conflict, Gone, NotFound
from .credentials import Credentials

CONNECT_SECONDS = 5.0
"""To a server in the same cluster; a lost packet costs one second or three."""
CLOCK_TOLERANCE = timedelta(seconds=2)
MAX_LINE_BYTES = 16 << 20
"""One watch event: etcd holds at most 1.5 MiB for an object; far above that the stream is broken."""

JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


class ApiClient:
    """Calls the API server with the given credentials; use it as an asynchronous context manager."""

    def __init__(self, credentials: Credentials, user_agent: str) -> None:
        self._credentials = credentials
        self._agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._known = (datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME))

    def now(self) -> datetime:
        """The time as the API server has it; our own clock's before it said any.

        Why: the API server is who verifies certificates, and all replicas shall agree, whatever their machines believe.
        What it says is in whole seconds, so a clock that differs by less than two is followed as it runs.
        """
        return self._known[0] + timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - self._known[1])

    def _hear_the_time(self, date: str | None) -> None:
        with contextlib.suppress(TypeError, ValueError):
            told = parsedate_to_datetime(date or "").astimezone(UTC)
            if abs(told - self.now()) > CLOCK_TOLERANCE:
                self._known = (told, time.clock_gettime(time.CLOCK_BOOTTIME))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"User-Agent": self._agent}, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, accept: str = JSON, query: Mapping[str, str] | None = None, seconds: float = 30) -> bytes:
        """The body of a GET.

        Units:   seconds for the whole call
        Raises:  NotFound, Gone, ApiError; Unauthenticated where our own credential cannot be read
        """
        async with self._call("GET", path, accept=accept, query=query, total=seconds) as answer:
            return await answer.read()

    async def send(
        self,
        verb: str,
        path: str,
        body: object,
        *,
        kind: str = JSON,
        query: Mapping[str, str] | None = None,
        seconds: float = 30,
    ) -> bytes:
        """The body of the answer to a POST, PUT or PATCH of `body`, any JSON value; raises as `get` does, and Conflict."""
        encoded = msgspec.json.encode(body)
        async with self._call(verb, path, accept=JSON, query=query, total=seconds, body=encoded, kind=kind) as answer:
            return await answer.read()

    @asynccontextmanager
    async def lines(
        self, path: str, *, accept: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a watch, each whole, however long; a connection silent for `silence_seconds` raises ApiError.

        Why not `readline`: aiohttp's refuses a line of more than 128 KiB, and annotations alone may have 256.
        """
        async with self._call("GET", path, accept=accept, query=query, total=None, silence=silence_seconds) as answer:
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
        kind: str = JSON,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use it as a context manager"  # noqa: S101
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = kind
        if (authorization := await self._credentials.authorization()) is not None:
            headers["Authorization"] = authorization
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
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
                self._hear_the_time(answer.headers.get("Date"))
                if answer.status >= 300:  # noqa: PLR2004
                    raise _refusal(answer.status, await answer.content.read(1 << 16))
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ApiError(f"{verb} {path}: {type(problem).__name__}: {str(problem)[:200]}") from problem


def _refusal(status: int, body: bytes) -> ApiError:
    try:
        said = msgspec.json.decode(body, type=_Status).message
    except (msgspec.DecodeError, RecursionError):
        said = ""
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Gone}
    return kinds.get(status, ApiError)(f"{status} {said[:300]}".strip(), status)


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        held.append(first)
        size += len(first)
        for part in rest:
            if line := b"".join(held):
                yield line
            held, size = [part], len(part)
        if size > MAX_LINE_BYTES:
            raise ApiError(f"a watch event of more than {MAX_LINE_BYTES} bytes")
