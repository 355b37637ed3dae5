"""aiohttp: what only it can do."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.receiver import UNAUTHORIZED, Answer, Receiver
from tests.support.tokens import Tokens
from webhook.tokens.adapters.aiohttp_auth import BearerMiddleware


async def test_only_the_origin_gets_the_token(
    tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    other.script.append(UNAUTHORIZED)
    middleware = BearerMiddleware(tokens, server.url + "/some/path?a=b")
    async with aiohttp.ClientSession(server.url, middlewares=[middleware]) as session:
        async with session.get("/relative") as answer:
            assert answer.status == 200
        async with session.get(other.url) as answer:
            assert answer.status == 401
    assert (server.tokens, other.tokens) == (["secret-1"], [None])
    assert tokens.ways == ["aget"]


@pytest.mark.parametrize("origin", ["orders", "/orders", ""])
def test_an_origin_is_a_url(tokens: Tokens, origin: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        BearerMiddleware(tokens, origin)


async def test_a_default_port_is_the_same_origin(tokens: Tokens) -> None:
    assert (
        BearerMiddleware(tokens, "https://orders")._origin
        == BearerMiddleware(tokens, "HTTPS://orders:443/a")._origin
    )


async def test_a_middleware_around_it_that_sends_again(tokens: Tokens, server: Receiver) -> None:
    async def twice(request: Any, handler: Any) -> Any:
        (await handler(request)).release()
        tokens.number = 5
        return await handler(request)

    middleware = BearerMiddleware(tokens, server.url)
    async with (
        aiohttp.ClientSession(middlewares=[twice, middleware]) as session,
        session.get(server.url),
    ):
        pass
    assert server.tokens == ["secret-1", "secret-5"]


async def test_what_an_exception_shows(tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED] * 2
    middleware = BearerMiddleware(tokens, server.url)
    async with aiohttp.ClientSession(middlewares=[middleware], raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError) as raised:
            await session.get(server.url)
    assert "Authorization" in repr(raised.value)
    assert "secret" not in f"{raised.value!r} {raised.value}"


async def test_a_long_answer_costs_its_connection(tokens: Tokens, server: Receiver) -> None:
    server.script.append(Answer(401, b"x" * (4 << 20)))
    middleware = BearerMiddleware(tokens, server.url)
    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        for _ in range(2):
            async with session.get(server.url) as answer:
                assert (answer.status, await answer.json()) == (200, {"items": []})
    assert server.connections == 2


class Hasty:
    """A server that answers 401 to the first request without reading its body, and never does."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._count = 0
        self._end = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with asyncio.timeout(20):
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._end.set()
        server.close()
        await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self._count += 1
        if self._count == 1:
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            await self._end.wait()
            writer.close()
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_server_that_rejects_before_it_has_read_the_body(
    tokens: Tokens, kind: str, tmp_path: Path
) -> None:
    hasty, content = Hasty(), bytes(range(256)) * (1 << 16)
    path = tmp_path / "upload"
    path.write_bytes(content)
    with io.BytesIO(content) if kind == "memory" else path.open("rb") as body:
        async with (
            hasty.serving() as url,
            aiohttp.ClientSession(middlewares=[BearerMiddleware(tokens, url)]) as session,
            session.post(url, data=body) as answer,
        ):
            assert answer.status == 200
    assert hasty.bodies == [content]


async def test_a_generator_that_was_begun_is_not_sent_again(tokens: Tokens) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1 << 12):
            yield b"x" * (1 << 12)

    hasty = Hasty()
    async with (
        hasty.serving() as url,
        aiohttp.ClientSession(middlewares=[BearerMiddleware(tokens, url)]) as session,
        session.post(url, data=chunks()) as answer,
    ):
        assert answer.status == 401
    assert hasty.bodies == []


async def test_a_websocket(tokens: Tokens) -> None:
    tokens_seen: list[str | None] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        tokens_seen.append(request.headers.get("Authorization"))
        if len(tokens_seen) == 1:
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    middleware = BearerMiddleware(tokens, f"http://127.0.0.1:{port}")
    async with (
        aiohttp.ClientSession(middlewares=[middleware]) as session,
        session.ws_connect(f"ws://127.0.0.1:{port}") as socket,
    ):
        assert await socket.receive_str() == "hello"
    await runner.cleanup()
    assert tokens_seen == ["Bearer secret-1", "Bearer secret-2"]
