"""grpc.aio: `secure_channel(target, source)`, or its two parts: the call credentials of grpc_auth,
which send the token, and interceptors, which renew it after UNAUTHENTICATED.

What is sent where, and what is repeated, is as in grpc_auth. grpc.aio reports INTERNAL in the place
of some rejections of a stream of requests (grpc/grpc#36066); those renew nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from ..errors import NoToken
from ..source import TokenSource
from .grpc_auth import REJECTED, Attempt, channel_credentials, has_own
from .shared import Header, arenewed, lacking

try:
    import grpc
    from grpc import aio
except ImportError as problem:
    raise lacking(problem, __name__, "boundtoken[grpc]") from problem


CORRECTION_SECONDS = 0.1
"""Where a server ends a call while a request is written to it, grpc.aio reports INTERNAL at first,
and for a single response soon the status of the server.
"""


def secure_channel(
    target: str,
    source: TokenSource,
    tls: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] | None = None,
    compression: grpc.Compression | None = None,
) -> aio.Channel:
    """A channel that sends a token of `source` with each call, and renews it once after
    UNAUTHENTICATED.

    `tls` verifies the server; without it gRPC's own authorities do. A NoToken of the source is
    raised where the call is awaited.
    """
    credentials = channel_credentials(source, tls)
    return aio.secure_channel(
        target, credentials, options, compression, renewing_interceptors(source)
    )


def renewing_interceptors(source: TokenSource) -> list[aio.ClientInterceptor]:
    """One for each kind of call: grpc.aio takes one kind of each object."""
    return [
        _UnaryUnary(source),
        _UnaryStream(source),
        _StreamUnary(source),
        _StreamStream(source),
    ]


class _Renewing:
    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._tasks: set[asyncio.Task[None]] = set()

    async def attempt(self, details: Any) -> Attempt:
        header = None if has_own(details) else Header.of(await self._source.aget())
        return Attempt(details, header, time.monotonic())

    async def again(self, attempt: Attempt) -> aio.ClientCallDetails | None:
        """How to repeat a call that was rejected, or None. Raises: NoToken"""
        if attempt.header is None or await arenewed(self._source, attempt.header) is None:
            return None
        left, details = attempt.left(), attempt.details
        if left is not None and left <= 0:
            return None
        return aio.ClientCallDetails(
            details.method, left, details.metadata, details.credentials, details.wait_for_ready
        )

    async def renewing_later(self, call: Any, attempt: Attempt) -> None:
        """Renew the token for the next call where this one is rejected."""

        async def renew() -> None:
            if await call.code() is grpc.StatusCode.INTERNAL:
                await asyncio.sleep(CORRECTION_SECONDS)
            if await call.code() is REJECTED:
                with suppress(NoToken):  # the next call hears of it
                    await self.again(attempt)

        def ended(_: Any) -> None:
            task = asyncio.get_running_loop().create_task(renew())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        call.add_done_callback(ended)


class _UnaryUnary(_Renewing, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        attempt = await self.attempt(client_call_details)
        call = await continuation(client_call_details, request)
        try:
            code = await call.code()
        except asyncio.CancelledError:
            call.cancel()
            raise
        if code is not REJECTED or (again := await self.again(attempt)) is None:
            return call
        return await continuation(again, request)


class _UnaryStream(_Renewing, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        attempt = await self.attempt(client_call_details)

        async def repeat() -> Any:
            again = await self.again(attempt)
            return None if again is None else await continuation(again, request)

        return _Responses(await continuation(client_call_details, request), repeat)


class _StreamUnary(_Renewing, aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        attempt = await self.attempt(client_call_details)
        call = await continuation(client_call_details, request_iterator)
        await self.renewing_later(call, attempt)
        return call


class _StreamStream(_Renewing, aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        attempt = await self.attempt(client_call_details)
        call = await continuation(client_call_details, request_iterator)
        await self.renewing_later(call, attempt)
        return call


class _Responses(aio.UnaryStreamCall[Any, Any]):
    """The responses of a call with one request: those of its repetition where the call is rejected
    before the first. Everything else is of the call that is under way.
    """

    def __init__(self, call: Any, repeat: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._repeat = repeat

    async def __aiter__(self) -> AsyncIterator[Any]:
        is_first = True
        try:
            async for response in self._call:
                is_first = False
                yield response
        except aio.AioRpcError as problem:
            if not is_first or problem.code() is not REJECTED:
                raise
            if (call := await self._repeat()) is None:
                raise
            self._call = call
        else:
            return
        async for response in self._call:
            yield response

    async def read(self) -> Any:
        """Not called: grpc.aio reads what it gives to the caller by `__aiter__`."""
        return await self._call.read()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._call.add_done_callback(callback)

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    def cancelled(self) -> bool:
        return bool(self._call.cancelled())

    def done(self) -> bool:
        return bool(self._call.done())

    def time_remaining(self) -> float | None:
        left: float | None = self._call.time_remaining()
        return left

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._call.code()
        return code

    async def details(self) -> str:
        text: str = await self._call.details()
        return text

    async def initial_metadata(self) -> aio.Metadata:
        metadata: aio.Metadata = await self._call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> aio.Metadata:
        metadata: aio.Metadata = await self._call.trailing_metadata()
        return metadata

    async def wait_for_connection(self) -> None:
        await self._call.wait_for_connection()
