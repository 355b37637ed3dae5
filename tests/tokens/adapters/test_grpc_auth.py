"""gRPC over TLS: a token with each call, one renewal and one repetition after UNAUTHENTICATED."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.grpc_server import BOTH, REQUESTS, RESPONSES, UNARY, GrpcServer
from tests.support.tokens import Tokens
from tests.support.waiting import wait_for
from webhook.tokens import NoToken
from webhook.tokens.adapters import grpc_auth

REJECTED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def grpc_server(tmp_path: Path) -> Iterator[GrpcServer]:
    with GrpcServer(tmp_path) as server:
        yield server


@pytest.fixture
def channel(grpc_server: GrpcServer, tokens: Tokens) -> Iterator[grpc.Channel]:
    with grpc_auth.secure_channel(grpc_server.target, tokens, grpc_server.tls()) as channel:
        yield channel


def reject_first(server: GrpcServer) -> None:
    server.accepts = lambda token: token != "secret-1"


def test_each_call_of_each_kind_has_the_token_of_its_time(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    assert channel.unary_unary(UNARY)(b"a") == b"a"
    tokens.number = 2
    assert list(channel.unary_stream(RESPONSES)(b"ab")) == [b"a", b"b"]
    tokens.number = 3
    assert channel.stream_unary(REQUESTS)(iter([b"a", b"b"])) == b"ab"
    tokens.number = 4
    assert list(channel.stream_stream(BOTH)(iter([b"a", b"b"]))) == [b"a", b"b"]
    tokens.number = 5
    assert channel.unary_unary(UNARY).future(b"a").result() == b"a"
    assert grpc_server.tokens == [f"secret-{number}" for number in range(1, 6)]
    assert tokens.rejected == []


def test_a_rejected_call_is_renewed_once_and_repeated_once(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    assert channel.unary_unary(UNARY)(b"a") == b"a"
    response, call = channel.unary_unary(UNARY).with_call(b"a")
    assert (response, call.code()) == (b"a", grpc.StatusCode.OK)
    assert grpc_server.tokens == ["secret-1", "secret-2", "secret-2"]
    assert tokens.rejected == ["secret-1"]


def test_a_second_rejection_is_the_callers(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    grpc_server.accepts = lambda _: False
    for call in (channel.unary_unary(UNARY), lambda a: list(channel.unary_stream(RESPONSES)(a))):
        with pytest.raises(grpc.RpcError, match="not this token") as raised:
            call(b"a")
        assert raised.value.code() is REJECTED
        assert "secret" not in f"{raised.value!r}{raised.value}"
    assert len(grpc_server.tokens) == 4
    assert tokens.rejected == ["secret-1", "secret-2"]


@pytest.mark.parametrize("status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE])
def test_no_other_status_renews(
    grpc_server: GrpcServer,
    channel: Any,
    tokens: Tokens,
    status: grpc.StatusCode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        GrpcServer, "_check", lambda _, context: context.abort(status, "another reason")
    )
    for call in (channel.unary_unary(UNARY), lambda a: list(channel.unary_stream(RESPONSES)(a))):
        with pytest.raises(grpc.RpcError, match="another reason"):
            call(b"a")
    assert tokens.rejected == []


def test_without_another_token_it_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    tokens.last = 1
    reject_first(grpc_server)
    for call in (channel.unary_unary(UNARY), lambda a: list(channel.unary_stream(RESPONSES)(a))):
        with pytest.raises(grpc.RpcError, match="not this token"):
            call(b"a")
    assert grpc_server.tokens == ["secret-1", "secret-1"]


def test_a_stream_of_responses_is_repeated_before_its_first(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    responses = channel.unary_stream(RESPONSES)(b"abc")
    assert list(responses) == [b"a", b"b", b"c"]
    assert responses.code() is grpc.StatusCode.OK
    assert isinstance(responses, grpc.Call)
    assert grpc_server.tokens == ["secret-1", "secret-2"]


def test_a_repeated_stream_can_be_cancelled(grpc_server: GrpcServer, channel: Any) -> None:
    reject_first(grpc_server)
    grpc_server.hold.clear()
    responses = channel.unary_stream(RESPONSES)(b"abc")
    assert next(responses) == b"a"
    responses.cancel()
    with pytest.raises(grpc.RpcError):
        next(responses)
    assert responses.code() is grpc.StatusCode.CANCELLED


def test_a_stream_that_breaks_after_a_response_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    grpc_server.ends_with = REJECTED
    responses = channel.unary_stream(RESPONSES)(b"abc")
    assert next(responses) == b"a"
    with pytest.raises(grpc.RpcError, match="in the middle"):
        list(responses)
    assert tokens.rejected == []


@pytest.mark.parametrize("kind", ["requests", "both", "future", "future of requests"])
def test_what_cannot_be_repeated_renews_for_the_next_call(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, kind: str
) -> None:
    def call() -> Any:
        match kind:
            case "requests":
                return channel.stream_unary(REQUESTS)(iter([b"a"]))
            case "both":
                return list(channel.stream_stream(BOTH)(iter([b"a"])))
            case "future":
                return channel.unary_unary(UNARY).future(b"a").result()
            case _:
                return channel.stream_unary(REQUESTS).future(iter([b"a"])).result()

    def accepts(token: str) -> bool:
        time.sleep(0.3)  # a future that has ended before it is looked at may well be repeated
        return token != "secret-1"

    grpc_server.accepts = accepts
    with pytest.raises(grpc.RpcError, match="not this token"):
        call()
    wait_for(lambda: tokens.rejected == ["secret-1"], 5)
    assert call() in (b"a", [b"a"])
    assert grpc_server.tokens == ["secret-1", "secret-2"]


def test_a_future_does_not_wait(grpc_server: GrpcServer, channel: Any) -> None:
    release = threading.Event()
    grpc_server.accepts = lambda _: release.wait(20)
    future = channel.unary_unary(UNARY).future(b"a")
    assert not future.done()
    release.set()
    assert future.result(60) == b"a"


def test_a_source_without_a_token_is_heard_of(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    tokens.problem = NoToken("none today")
    for call in (
        channel.unary_unary(UNARY),
        lambda a: channel.unary_unary(UNARY).future(a).result(),
        lambda a: list(channel.unary_stream(RESPONSES)(a)),
        lambda a: channel.stream_unary(REQUESTS)(iter([a])),
        lambda a: list(channel.stream_stream(BOTH)(iter([a]))),
    ):
        with pytest.raises(NoToken, match="none today"):
            call(b"a")
    assert grpc_server.seen == []


def test_a_renewal_that_fails_is_heard_of(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    tokens.renewal_problem = NoToken("expired")
    for call in (channel.unary_unary(UNARY), lambda a: list(channel.unary_stream(RESPONSES)(a))):
        with pytest.raises(NoToken, match="expired"):
            call(b"a")


def test_credentials_alone_tell_of_a_source_without_a_token(
    grpc_server: GrpcServer, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.problem = NoToken("none today")
    credentials = grpc_auth.channel_credentials(tokens, grpc_server.tls())
    channel: Any = grpc.secure_channel(grpc_server.target, credentials)
    with channel, pytest.raises(grpc.RpcError, match="none today") as raised:
        channel.unary_unary(UNARY)(b"a")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caplog.text == ""


def test_the_callers_own_authorization_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    grpc_server.accepts = lambda _: False
    with pytest.raises(grpc.RpcError):
        channel.unary_unary(UNARY)(b"a", metadata=(("authorization", "Bearer own"),))
    assert tokens.rejected == []
    (seen,) = grpc_server.seen
    assert set(seen) == {"own", "secret-1"}


def test_the_repetition_has_the_rest_of_the_time(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    def accepts(token: str) -> bool:
        time.sleep(0.6)
        return token != "secret-1"

    grpc_server.accepts = accepts
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(UNARY)(b"a", timeout=1)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.9 < time.monotonic() - start < 5


def test_without_tls_no_token_is_sent(tokens: Tokens) -> None:
    """A rule of gRPC."""
    seen: list[Any] = []

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return request

    server = grpc.server(ThreadPoolExecutor(1))
    handlers: Any = {"Unary": grpc.unary_unary_rpc_method_handler(unary)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
        channel: Any = grpc.intercept_channel(plain, grpc_auth.RenewingInterceptor(tokens))
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(UNARY)(b"a", credentials=grpc_auth.call_credentials(tokens))
        assert channel.unary_unary(UNARY)(b"a") == b"a"
    server.stop(0).wait()
    assert seen == [None]


def test_a_slow_source_holds_up_no_other_channel(grpc_server: GrpcServer, tokens: Tokens) -> None:
    class Slow(Tokens):
        def get(self) -> str:
            time.sleep(1)
            return super().get()

    slow: Any = grpc.secure_channel(
        grpc_server.target, grpc_auth.channel_credentials(Slow(), grpc_server.tls())
    )
    channel: Any = grpc_auth.secure_channel(grpc_server.target, tokens, grpc_server.tls())
    with slow, channel:
        channel.unary_unary(UNARY)(b"a")
        futures = [slow.unary_unary(UNARY).future(b"a") for _ in range(20)]
        start = time.monotonic()
        channel.unary_unary(UNARY)(b"a")
        assert time.monotonic() - start < 0.9
        assert [future.result(60) for future in futures] == [b"a"] * 20


def test_no_log_has_a_token(
    grpc_server: GrpcServer, channel: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reject_first(grpc_server)
    channel.unary_unary(UNARY)(b"a")
    assert "secret" not in caplog.text
