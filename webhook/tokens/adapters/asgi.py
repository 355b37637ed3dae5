"""A middleware for any ASGI application: requests need a token.

    app = TokenMiddleware(app, verifier, audience="https://cart.shop", accounts="shop/*")

The application finds whose request it is in `scope["boundtoken.identity"]`.

Source: ASGI specification 3.0, HTTP and WebSocket message format 2.5, and the extension
"websocket.http.response" (WebSocket denial response).
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ..guard import Denial, Guard
from ..verifier import Verifier

IDENTITY = "boundtoken.identity"
"""The key of the Identity in a scope. Not there on open paths."""
POLICY_VIOLATION = 1008
"""The code that closes a WebSocket (RFC 6455 section 7.4.1)."""
DENIAL_EXTENSION = "websocket.http.response"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenMiddleware:
    """Lets in requests and WebSockets with a token for `audience` of one of `accounts` (shop/cart,
    shop/*, */builder), and those of `open_paths`. Put it outermost: what stands around it runs
    without a token.

    It answers 401 where there is no valid token, 403 where its account is not allowed, 503 where
    nobody can tell, and 400 or 431 to an Authorization header that is none. A WebSocket gets the
    same answer before it is accepted, or is closed with 1008 where the server cannot send one.

    Raises: ValueError, naming the argument, its value and what would be right
    """

    def __init__(
        self,
        app: Application,
        verifier: Verifier,
        *,
        audience: str,
        accounts: str | Iterable[str],
        open_paths: str | Iterable[str] = (),
    ) -> None:
        self._app = app
        self._guard = Guard(verifier, audience=audience, accounts=accounts, open_paths=open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: ValueError, for a kind of connection that is not known here"""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise ValueError(f"scope type {kind!r}: must be http, websocket or lifespan")
        if self._is_open(scope):
            await self._app(scope, receive, send)
            return
        found = await self._guard.identify(
            [
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name.lower() == b"authorization"
            ]
        )
        if not isinstance(found, Denial):
            await self._app({**scope, IDENTITY: found}, receive, send)
        elif kind == "http":
            await _answer(send, "http.response", found)
        else:
            await _deny(scope, receive, send, found)

    def _is_open(self, scope: Scope) -> bool:
        """By both paths where there are two: an application may look at either."""
        raw = scope.get("raw_path")
        path = scope["path"]
        return self._guard.is_open(path) and raw in (None, path.encode())


async def _deny(scope: Scope, receive: Receive, send: Send, denial: Denial) -> None:
    """Refuse a WebSocket that is not accepted yet."""
    await receive()  # websocket.connect, which an answer follows
    if DENIAL_EXTENSION in (scope.get("extensions") or {}):
        await _answer(send, DENIAL_EXTENSION, denial)
    else:
        await send(
            {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": denial.description}
        )


async def _answer(send: Send, kind: str, denial: Denial) -> None:
    body = denial.body
    headers = [(name.lower().encode(), value.encode()) for name, value in denial.headers.items()]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": f"{kind}.start", "status": denial.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
