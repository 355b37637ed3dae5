"""grpc.aio over TLS: a token with each call, one renewal and one repetition."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.support.grpc_server import BOTH, REQUESTS, RESPONSES, UNARY, GrpcServer
from tests.support.tokens import Tokens
from tests.support.waiting import eventually
from webhook.tokens import NoToken
from webhook.tokens.adapters import grpc_aio_auth

REJECTED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def grpc_server(tmp_path: Path) -> Iterator[GrpcServer]:
    with GrpcServer(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def channel(grpc_server: GrpcServer, tokens: Tokens) -> AsyncIterator[Any]:
    async with grpc_aio_auth.secure_channel(
        grpc_server.target, tokens, grpc_server.tls()
    ) as channel:
        yield channel


def reject_first(server: GrpcServer) -> None:
    server.accepts = lambda token: token != "secret-1"


async def collected(responses: Any) -> list[bytes]:
    return [response async for response in responses]


async def test_each_call_of_each_kind_has_the_token_of_its_time(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    assert await channel.unary_unary(UNARY)(b"a") == b"a"
    tokens.number = 2
    assert await collected(channel.unary_stream(RESPONSES)(b"ab")) == [b"a", b"b"]
    tokens.number = 3
    assert await channel.stream_unary(REQUESTS)(iter([b"a", b"b"])) == b"ab"
    tokens.number = 4
    assert await collected(channel.stream_stream(BOTH)(iter([b"a", b"b"]))) == [b"a", b"b"]
    assert grpc_server.tokens == [f"secret-{number}" for number in range(1, 5)]
    assert tokens.rejected == []
    assert "aget" in tokens.ways


async def test_a_rejected_call_is_renewed_once_and_repeated_once(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    call = channel.unary_unary(UNARY)(b"a")
    assert await call == b"a"
    assert await call.code() is grpc.StatusCode.OK
    assert grpc_server.tokens == ["secret-1", "secret-2"]
    assert tokens.rejected == ["secret-1"]
    assert "arenew" in tokens.ways


async def unary(channel: Any) -> Any:
    return await channel.unary_unary(UNARY)(b"a")


async def responses(channel: Any) -> Any:
    return await collected(channel.unary_stream(RESPONSES)(b"a"))


@pytest.mark.parametrize("call", [unary, responses])
async def test_a_second_rejection_is_the_callers(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, call: Callable[[Any], Any]
) -> None:
    grpc_server.accepts = lambda _: False
    with pytest.raises(grpc.RpcError, match="not this token") as raised:
        await call(channel)
    assert "secret" not in f"{raised.value!r}{raised.value}"
    assert grpc_server.tokens == ["secret-1", "secret-2"]
    assert tokens.rejected == ["secret-1"]


@pytest.mark.parametrize("call", [unary, responses])
async def test_without_another_token_it_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, call: Callable[[Any], Any]
) -> None:
    tokens.last = 1
    reject_first(grpc_server)
    with pytest.raises(grpc.RpcError, match="not this token"):
        await call(channel)
    assert grpc_server.tokens == ["secret-1"]


async def test_a_stream_of_responses_is_repeated_before_its_first(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    call = channel.unary_stream(RESPONSES)(b"abc")
    ended: list[Any] = []
    call.add_done_callback(ended.append)
    assert await collected(call) == [b"a", b"b", b"c"]
    assert await call.code() is grpc.StatusCode.OK
    assert (call.done(), call.cancelled(), ended != []) == (True, False, True)
    assert dict(await call.initial_metadata() or ()) == {}
    assert dict(await call.trailing_metadata() or ()) == {}
    assert await call.details() == ""
    assert grpc_server.tokens == ["secret-1", "secret-2"]
    other = channel.unary_stream(RESPONSES)(b"a")
    await other.wait_for_connection()
    assert await other.read() == b"a"


async def test_a_repeated_stream_can_be_cancelled(grpc_server: GrpcServer, channel: Any) -> None:
    reject_first(grpc_server)
    grpc_server.hold.clear()
    call = channel.unary_stream(RESPONSES)(b"abc")
    assert await call.read() == b"a"
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_call_that_is_cancelled_while_it_waits(
    grpc_server: GrpcServer, channel: Any
) -> None:
    release = threading.Event()
    grpc_server.accepts = lambda _: release.wait(10)
    call = channel.unary_unary(UNARY)(b"a")
    await eventually(lambda: grpc_server.seen)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(grpc_server.ended.is_set)
    release.set()


async def test_a_stream_that_breaks_after_a_response_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    grpc_server.ends_with = REJECTED
    call = channel.unary_stream(RESPONSES)(b"abc")
    assert await call.read() == b"a"
    with pytest.raises(grpc.RpcError, match="in the middle"):
        await call.read()
    assert tokens.rejected == []


async def slow_requests() -> AsyncIterator[bytes]:
    """None before the server has rejected the call: grpc.aio reports INTERNAL for some calls that
    end while a request is written (grpc/grpc#36066).
    """
    await asyncio.sleep(0.5)
    yield b"a"


@pytest.mark.parametrize("kind", ["requests", "both"])
async def test_what_cannot_be_repeated_renews_for_the_next_call(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, kind: str
) -> None:
    async def call(requests: Any) -> Any:
        if kind == "requests":
            return await channel.stream_unary(REQUESTS)(requests)
        return await collected(channel.stream_stream(BOTH)(requests))

    reject_first(grpc_server)
    with pytest.raises(grpc.RpcError, match="not this token"):
        await call(slow_requests())
    await eventually(lambda: tokens.rejected == ["secret-1"])
    assert await call(iter([b"a"])) in (b"a", [b"a"])
    assert grpc_server.tokens == ["secret-1", "secret-2"]


async def test_a_status_that_grpc_corrects(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    reject_first(grpc_server)
    for number in range(1, 11):
        tokens.number, tokens.rejected = 1, []
        with pytest.raises(grpc.RpcError, match="not this token"):
            await channel.stream_unary(REQUESTS)(iter([b"a"]))
        await eventually(lambda: tokens.rejected == ["secret-1"])
        assert len(grpc_server.seen) == number


@pytest.mark.parametrize("call", [unary, responses])
async def test_a_source_without_a_token_is_heard_of(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, call: Callable[[Any], Any]
) -> None:
    tokens.problem = NoToken("none today")
    with pytest.raises(NoToken, match="none today"):
        await call(channel)
    assert grpc_server.seen == []


@pytest.mark.parametrize("call", [unary, responses])
async def test_a_renewal_that_fails_is_heard_of(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens, call: Callable[[Any], Any]
) -> None:
    reject_first(grpc_server)
    tokens.renewal_problem = NoToken("expired")
    with pytest.raises(NoToken, match="expired"):
        await call(channel)


async def test_the_callers_own_authorization_is_not_repeated(
    grpc_server: GrpcServer, channel: Any, tokens: Tokens
) -> None:
    grpc_server.accepts = lambda _: False
    with pytest.raises(grpc.RpcError):
        await channel.unary_unary(UNARY)(b"a", metadata=(("authorization", "Bearer own"),))
    assert (tokens.rejected, len(grpc_server.seen)) == ([], 1)


async def test_the_repetition_has_the_rest_of_the_time(
    grpc_server: GrpcServer, channel: Any
) -> None:
    def accepts(token: str) -> bool:
        time.sleep(0.6)
        return token != "secret-1"

    grpc_server.accepts = accepts
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        await channel.unary_unary(UNARY)(b"a", timeout=1)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.9 < time.monotonic() - start < 5
