"""The middleware for aiohttp.web in a real server, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web

from tests.support.callers import AUDIENCE, Memory, Reply, call
from tests.support.reviewing import Reviewer
from webhook.tokens import InvalidToken, JwksVerifier, NotVerified, TokenReviewVerifier
from webhook.tokens.adapters.aiohttp_web import IDENTITY, token_middleware


async def whoami(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path, "account": str(request.get(IDENTITY))})


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(str(request[IDENTITY]))
    await socket.close()
    return socket


async def upload(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


class Service:
    """A guarded application at a port."""

    def __init__(self, verifier: Any, **options: Any) -> None:
        self.app = web.Application(
            middlewares=[
                token_middleware(
                    verifier,
                    audience=AUDIENCE,
                    accounts=["shop/*", "*/builder"],
                    open_paths=["/healthz", "/open/path"],
                    **options,
                )
            ]
        )
        self.app.router.add_get("/", whoami)
        self.app.router.add_get("/ws", echo)
        self.app.router.add_post("/upload", upload)
        self.app.router.add_get("/healthz", whoami)
        self.app.router.add_get("/{name}", whoami)
        self.port = 0

    async def __aenter__(self) -> Self:
        self.runner = web.AppRunner(self.app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def call(self, *arguments: Any, **options: Any) -> Reply:
        return await asyncio.to_thread(call, self.port, *arguments, **options)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def service(memory: Memory) -> AsyncIterator[Service]:
    async with Service(memory) as service:
        yield service


async def test_a_handler_knows_whose_request_it_is(service: Service) -> None:
    reply = await service.call("/", "Bearer cart-token")
    assert (reply.status, json.loads(reply.body)["account"]) == (200, "shop/cart")


@pytest.mark.parametrize(
    ("fields", "status", "challenge"),
    [
        ([], 401, 'Bearer realm="kubernetes"'),
        (["Basic x"], 401, 'Bearer realm="kubernetes"'),
        (
            ["Bearer wrong"],
            401,
            'Bearer realm="kubernetes", error="invalid_token", '
            'error_description="bad-signature: its signature is wrong"',
        ),
        (
            ["Bearer stranger-token"],
            403,
            'Bearer realm="kubernetes", error="insufficient_scope", '
            'error_description="this service account is not allowed here"',
        ),
        (
            ["Bearer cart-token", "Bearer cart-token"],
            400,
            'Bearer realm="kubernetes", error="invalid_request", '
            'error_description="more than one Authorization header"',
        ),
    ],
)
async def test_others_get_a_challenge(
    service: Service, fields: list[str], status: int, challenge: str
) -> None:
    reply = await service.call("/", *fields)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (status, challenge)
    assert reply.headers["Content-Type"] == "application/json"
    assert json.loads(reply.body)["error"]


async def test_bytes_that_are_no_text_are_a_bad_request(service: Service) -> None:
    assert (await service.call("/", b"Bearer \xff\xfe")).status == 400


async def test_where_nobody_can_tell_it_is_503(service: Service, memory: Memory) -> None:
    memory.problem = NotVerified("away", 7.2)
    reply = await service.call("/", "Bearer cart-token")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "8")


async def test_a_head_request_has_no_body(service: Service) -> None:
    reply = await service.call("/", method="HEAD")
    assert (reply.status, reply.body) == (401, b"")


async def test_open_paths_need_no_token_and_have_no_identity(
    service: Service, memory: Memory
) -> None:
    for fields in ([], ["Bearer wrong"], ["Bearer cart-token"]):
        reply = await service.call("/healthz", *fields)
        assert (reply.status, json.loads(reply.body)["account"]) == (200, "None")
    assert (await service.call("/healthz?verbose=1")).status == 200
    assert memory.judged == []


@pytest.mark.parametrize("path", ["/open%2Fpath", "/healthz/", "//healthz", "/other"])
async def test_a_path_that_only_looks_open_is_closed(service: Service, path: str) -> None:
    assert (await service.call(path)).status == 401


async def test_a_path_that_is_not_there_is_told_to_nobody_without_a_token(
    service: Service,
) -> None:
    assert (await service.call("/a/b/c")).status == 401
    assert (await service.call("/a/b/c", "Bearer cart-token")).status == 404
    assert (await service.call("/upload", method="PUT", body=b"x")).status == 401


async def test_a_body_is_read_by_nobody_before_the_token(service: Service) -> None:
    body = b"x" * 100_000
    assert (await service.call("/upload", method="POST", body=body)).status == 401
    reply = await service.call("/upload", "Bearer cart-token", method="POST", body=body)
    assert (reply.status, reply.body) == (200, b"100000")


async def test_a_websocket_is_refused_before_it_is_accepted(service: Service) -> None:
    url = f"http://127.0.0.1:{service.port}/ws"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 401
        headers = {"Authorization": "Bearer builder-token"}
        async with session.ws_connect(url, headers=headers) as socket:
            assert await socket.receive_str() == "ci/builder"


async def test_a_mistake_is_told_when_it_is_made(memory: Memory) -> None:
    with pytest.raises(ValueError, match=r"accounts\[0\]: 'shop' must be namespace/account"):
        token_middleware(memory, audience=AUDIENCE, accounts=["shop"])


@pytest.mark.parametrize("kind", [TokenReviewVerifier, JwksVerifier])
async def test_with_real_verifiers(kind: Any) -> None:
    with Reviewer() as api:
        verifier = kind(api.api())
        async with Service(verifier) as service:
            token = api.token(aud=[AUDIENCE])
            for _ in range(3):
                assert (await service.call("/", f"Bearer {token}")).status == 200
            other = await service.call("/", f"Bearer {api.token(aud=['other'])}")
            assert (other.status, "wrong-audience" in other.headers["WWW-Authenticate"]) == (
                401,
                True,
            )
            forged = token[:-8] + "AAAAAAAA"
            assert (await service.call("/", f"Bearer {forged}")).status == 401
            with pytest.raises(InvalidToken):
                await verifier.averify(forged, audience=AUDIENCE)
        assert len(api.reviews) == (2 if kind is TokenReviewVerifier else 0)
