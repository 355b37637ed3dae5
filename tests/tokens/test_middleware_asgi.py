"""The middleware for ASGI: by the messages of the specification, and in a real uvicorn."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from tests.support.callers import AUDIENCE, Memory, Reply, call
from tests.support.reviewing import Reviewer
from tests.support.waiting import eventually
from webhook.tokens import JwksVerifier, NotVerified, TokenReviewVerifier
from webhook.tokens.adapters.asgi import IDENTITY, TokenMiddleware

Json = dict[str, Any]


class App:
    """An application that says whose request it is, and remembers its scopes."""

    def __init__(self) -> None:
        self.scopes: list[Json] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        body = json.dumps({"account": str(scope.get(IDENTITY))}).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def app() -> App:
    return App()


def guarded(app: App, verifier: Any) -> TokenMiddleware:
    return TokenMiddleware(
        app,
        verifier,
        audience=AUDIENCE,
        accounts=["shop/*", "*/builder"],
        open_paths=["/healthz"],
    )


def a_scope(kind: str = "http", *fields: str, path: str = "/", **more: Any) -> Json:
    headers = [(b"authorization", field.encode("latin-1")) for field in fields]
    return {"type": kind, "path": path, "headers": [(b"host", b"x"), *headers], **more}


async def sent(middleware: TokenMiddleware, scope: Json) -> list[Json]:
    """The messages that answer a connection."""
    messages: list[Json] = []
    events = [{"type": f"{scope['type']}.connect"}, {"type": f"{scope['type']}.disconnect"}]

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        messages.append(message)

    await middleware(scope, receive, send)
    if messages and messages[0]["type"].startswith("websocket"):
        assert len(events) == 1  # an answer comes after websocket.connect
    return messages


async def test_the_application_knows_whose_request_it_is(memory: Memory, app: App) -> None:
    scope = a_scope("http", "Bearer cart-token")
    messages = await sent(guarded(app, memory), scope)
    assert messages[0]["status"] == 200
    assert str(app.scopes[0][IDENTITY]) == "shop/cart"
    assert IDENTITY not in scope  # a copy: what stands around it sees no change


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], 401),
        (["Basic x"], 401),
        (["Bearer wrong"], 401),
        (["Bearer stranger-token"], 403),
        (["Bearer a b"], 400),
        (["Bearer \xff"], 400),
        (["Bearer cart-token", "Bearer cart-token"], 400),
        (["Bearer " + "A" * 20_000], 431),
    ],
)
async def test_others_never_reach_the_application(
    memory: Memory, app: App, fields: list[str], status: int
) -> None:
    start, body = await sent(guarded(app, memory), a_scope("http", *fields))
    assert (start["type"], start["status"]) == ("http.response.start", status)
    assert (body["type"], json.loads(body["body"])["error"] != "") == ("http.response.body", True)
    headers = dict(start["headers"])
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert headers[b"content-type"] == b"application/json"
    assert (b"www-authenticate" in headers) is (status != 431)
    assert app.scopes == []


async def test_a_header_in_capitals_is_one_all_the_same(memory: Memory, app: App) -> None:
    scope = a_scope("http", "Bearer cart-token")
    scope["headers"].append((b"Authorization", b"Bearer builder-token"))
    start, _ = await sent(guarded(app, memory), scope)
    assert start["status"] == 400


async def test_a_websocket_is_closed_before_it_is_accepted(memory: Memory, app: App) -> None:
    middleware = guarded(app, memory)
    for fields, reason in [([], "a bearer token is needed"), (["Bearer wrong"], "bad-signature: ")]:
        (message,) = await sent(middleware, a_scope("websocket", *fields))
        assert (message["type"], message["code"]) == ("websocket.close", 1008)
        assert message["reason"].startswith(reason)
        assert len(message["reason"].encode()) <= 123  # RFC 6455 section 5.5
    assert app.scopes == []
    await sent(middleware, a_scope("websocket", "Bearer cart-token"))
    assert str(app.scopes[0][IDENTITY]) == "shop/cart"


@pytest.mark.parametrize("extensions", [{"websocket.http.response": {}}, {}, None])
async def test_a_websocket_gets_an_answer_where_the_server_can_send_one(
    memory: Memory, app: App, extensions: Any
) -> None:
    memory.problem = NotVerified("away", 3)
    scope = a_scope("websocket", "Bearer cart-token", extensions=extensions)
    messages = await sent(guarded(app, memory), scope)
    if extensions:
        start, body = messages
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
        assert (b"retry-after", b"3") in start["headers"]
        assert body["type"] == "websocket.http.response.body"
    else:
        assert [message["type"] for message in messages] == ["websocket.close"]
    assert app.scopes == []


async def test_a_lifespan_passes(memory: Memory, app: App) -> None:
    messages = await sent(guarded(app, memory), {"type": "lifespan"})
    assert [message["type"] for message in messages] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_a_kind_of_connection_that_nobody_knows_does_not_pass(
    memory: Memory, app: App
) -> None:
    with pytest.raises(ValueError, match="scope type 'webtransport': must be http, websocket"):
        await sent(guarded(app, memory), a_scope("webtransport", "Bearer cart-token"))
    assert app.scopes == []


@pytest.mark.parametrize(
    ("path", "raw", "is_open"),
    [
        ("/healthz", None, True),
        ("/healthz", b"/healthz", True),
        ("/healthz", b"/%68ealthz", False),
        ("/healthz/", b"/healthz/", False),
        ("/x/healthz", b"/healthz", False),
        ("/\u00e9", b"/%C3%A9", False),
        ("/\udce9", b"/healthz", False),
    ],
)
async def test_an_open_path_is_open_by_both_its_forms(
    memory: Memory, app: App, path: str, raw: bytes | None, is_open: bool
) -> None:
    more: Json = {} if raw is None else {"raw_path": raw}
    scope = a_scope(path=path, **more)
    start, _ = await sent(guarded(app, memory), scope)
    assert start["status"] == (200 if is_open else 401)
    if is_open:
        assert IDENTITY not in app.scopes[0]


async def test_an_identity_that_stood_there_before_is_not_believed(
    memory: Memory, app: App
) -> None:
    scope = a_scope("http", **{IDENTITY: "root"})
    assert (await sent(guarded(app, memory), scope))[0]["status"] == 401
    scope = a_scope("http", "Bearer cart-token", **{IDENTITY: "root"})
    await sent(guarded(app, memory), scope)
    assert str(app.scopes[0][IDENTITY]) == "shop/cart"


def test_a_mistake_is_told_when_it_is_made(memory: Memory, app: App) -> None:
    with pytest.raises(ValueError, match=r"accounts\[0\]: 'shop' must be namespace/account"):
        TokenMiddleware(app, memory, audience=AUDIENCE, accounts=["shop"])


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """The port of a uvicorn that serves an application."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", lifespan="on")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listening]))
        await eventually(lambda: server.started or task.done())
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def ask(port: int, *arguments: Any, **options: Any) -> Reply:
    return await asyncio.to_thread(call, port, *arguments, **options)


async def test_in_uvicorn(memory: Memory, app: App) -> None:
    async with serving(guarded(app, memory)) as port:
        reply = await ask(port, "/", "Bearer cart-token")
        assert (reply.status, json.loads(reply.body)) == (200, {"account": "shop/cart"})
        cases: list[tuple[list[Any], int]] = [
            ([], 401),
            (["Bearer wrong"], 401),
            (["Bearer stranger-token"], 403),
            (["Bearer cart-token", "Bearer cart-token"], 400),
            ([b"Bearer \xff"], 400),
            (["Bearer " + "A" * 20_000], 431),
        ]
        for fields, status in cases:
            reply = await ask(port, "/", *fields)
            assert (reply.status, json.loads(reply.body)["error"] != "") == (status, True)
        assert (await ask(port, "/healthz")).status == 200
        assert (await ask(port, "/%68ealthz")).status == 401
        assert (await ask(port, "/", method="HEAD")).body == b""
        assert (await ask(port, "/", method="POST", body=b"x" * 100_000)).status == 401
    assert [scope["type"] for scope in app.scopes] == ["lifespan", "http", "http"]


@pytest.mark.parametrize("kind", [TokenReviewVerifier, JwksVerifier])
async def test_in_uvicorn_with_real_verifiers(app: App, kind: Any) -> None:
    with Reviewer() as api:
        async with serving(guarded(app, kind(api.api()))) as port:
            token = api.token(aud=[AUDIENCE])
            assert (await ask(port, "/", f"Bearer {token}")).status == 200
            other = await ask(port, "/", f"Bearer {api.token(aud=['other'])}")
            assert other.status == 401
            assert "wrong-audience" in other.headers["www-authenticate"]
