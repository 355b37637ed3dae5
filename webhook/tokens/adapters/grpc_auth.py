"""gRPC: `secure_channel(target, source)`, or its two parts: call credentials, which send the token,
and an interceptor, which renews it after UNAUTHENTICATED. For grpc.aio see grpc_aio_auth.

gRPC sends call credentials over TLS only, and to no other host than the channel is for; it knows no
redirects. Metadata `authorization` of the caller is sent beside the token, as gRPC does with all
call credentials; such a call is not repeated.
Repeated after UNAUTHENTICATED: a call with one request. Where its responses are a stream: as long
as none has come. Not: a stream of requests, and the `future` of a call, which may not wait. The
renewal is then for the next call.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from ..errors import NoToken
from ..source import TokenSource
from ..workers import Workers
from .shared import Header, lacking, renewed

try:
    import grpc
except ImportError as problem:
    raise lacking(problem, __name__, "boundtoken[grpc]") from problem

KEY = "authorization"
"""Of the metadata; gRPC wants lower case."""
REJECTED = grpc.StatusCode.UNAUTHENTICATED


def secure_channel(
    target: str,
    source: TokenSource,
    tls: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] | None = None,
    compression: grpc.Compression | None = None,
) -> grpc.Channel:
    """A channel that sends a token of `source` with each call, and renews it once after
    UNAUTHENTICATED.

    `tls` verifies the server; without it gRPC's own authorities do. A NoToken of the source is
    raised by the call, or where it would be given its responses.
    """
    channel = grpc.secure_channel(target, channel_credentials(source, tls), options, compression)
    return grpc.intercept_channel(channel, RenewingInterceptor(source))


def channel_credentials(
    source: TokenSource, tls: grpc.ChannelCredentials | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a channel: `tls`, and the token with each call."""
    return grpc.composite_channel_credentials(
        tls or grpc.ssl_channel_credentials(), call_credentials(source)
    )


def call_credentials(source: TokenSource) -> grpc.CallCredentials:
    """Credentials of a call, or to be composed with those of a channel. Where the source raises,
    the call fails with UNAVAILABLE and the text of the exception.
    """
    return grpc.metadata_call_credentials(TokenPlugin(source), "boundtoken")


class TokenPlugin(grpc.AuthMetadataPlugin):
    """Sends a token of `source`. gRPC calls it in a thread of its own, so it may wait for one."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002  (the channel has one server)
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        try:
            header = Header.of(self._source.get())
        except NoToken as problem:
            callback((), problem)
        else:
            callback(((KEY, header),), None)


class RenewingInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Renews the token once after UNAUTHENTICATED, and repeats the call where that can be done.

    The token itself is sent by call credentials of the same source.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        attempt = self._attempt(client_call_details)
        call = continuation(client_call_details, request)
        if not call.done():  # it is a `future` under way
            return self._renewing_later(call, attempt)
        if call.code() is not REJECTED or (again := self._again(attempt)) is None:
            return call
        return continuation(again, request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        attempt = self._attempt(client_call_details)

        def repeat() -> Any:
            again = self._again(attempt)
            return None if again is None else continuation(again, request)

        return _Responses(continuation(client_call_details, request), repeat)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        attempt = self._attempt(client_call_details)
        return self._renewing_later(continuation(client_call_details, request_iterator), attempt)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        attempt = self._attempt(client_call_details)
        return self._renewing_later(continuation(client_call_details, request_iterator), attempt)

    def _attempt(self, details: Any) -> "Attempt":
        header = None if has_own(details) else Header.of(self._source.get())
        return Attempt(details, header, time.monotonic())

    def _again(self, attempt: "Attempt") -> "Details | None":
        """How to repeat a call that was rejected, or None. Raises: NoToken"""
        if attempt.header is None or renewed(self._source, attempt.header) is None:
            return None
        left = attempt.left()
        return None if left is not None and left <= 0 else Details(attempt.details, left)

    def _renewing_later(self, call: Any, attempt: "Attempt") -> Any:
        """Renew the token for the next call where this one is rejected, in another thread."""

        def renew() -> None:
            with suppress(Exception):  # the next call hears of it
                self._again(attempt)

        def ended(call: Any) -> None:
            if call.code() is REJECTED:
                _renewals().submit(renew)

        call.add_done_callback(ended)
        return call


class Attempt(NamedTuple):
    """A call as it is first made; `header` is None where a rejection may not be of our token."""

    details: Any
    header: Header | None
    start: float

    def left(self) -> float | None:
        """Seconds of its time; None where it has no end."""
        timeout: float | None = self.details.timeout
        return None if timeout is None else timeout - (time.monotonic() - self.start)


class Details(grpc.ClientCallDetails):
    """The details of another call, with another timeout."""

    def __init__(self, details: Any, timeout: float | None) -> None:
        self.method = details.method
        self.timeout = timeout
        self.metadata = details.metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _Responses:
    """The responses of a call with one request: those of its repetition where the call is rejected
    before the first. Everything else is of the call that is under way.
    """

    def __init__(self, call: Any, repeat: Callable[[], Any]) -> None:
        self._call = call
        self._repeat: Callable[[], Any] | None = repeat

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        repeat, self._repeat = self._repeat, None
        try:
            return next(self._call)
        except grpc.RpcError:
            if repeat is None or self._call.code() is not REJECTED or (call := repeat()) is None:
                raise
            self._call = call
        return next(self._call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


grpc.Call.register(_Responses)


def has_own(details: Any) -> bool:
    """Whether the caller sends its own authorization."""
    return any(key.lower() == KEY for key, _ in details.metadata or ())


@cache
def _renewals() -> Workers:
    """Not the threads of the sources: a renewal waits for one of those."""
    return Workers()
