"""A middleware for aiohttp.web: requests need a token.

app = web.Application(
    middlewares=[token_middleware(verifier, audience="https://cart.shop", accounts="shop/*")]
)

async def handler(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request[IDENTITY]}")
"""

from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..guard import Denial, Guard
from ..identity import Identity
from ..verifier import Verifier

IDENTITY = web.RequestKey("boundtoken.identity", Identity)
"""Of a request, in handlers: whose it is. Not there on open paths."""


def token_middleware(
    verifier: Verifier,
    *,
    audience: str,
    accounts: str | Iterable[str],
    open_paths: str | Iterable[str] = (),
) -> Middleware:
    """A middleware that lets in requests with a token for `audience` of one of `accounts`
    (shop/cart, shop/*, */builder), and those of `open_paths`. Put it first: what stands before it
    in the list runs without a token.

    It answers 401 where there is no valid token, 403 where its account is not allowed, 503 where
    nobody can tell, and 400 or 431 to an Authorization header that is none. WebSockets too are
    refused before they are accepted.

    Raises: ValueError, naming the argument, its value and what would be right
    """
    guard = Guard(verifier, audience=audience, accounts=accounts, open_paths=open_paths)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The raw path: the router does not take /a%2Fb for /a/b, so neither may we.
        if guard.is_open(request.rel_url.raw_path):
            return await handler(request)
        found = await guard.identify(request.headers.getall("Authorization", ()))
        if isinstance(found, Denial):
            return web.Response(status=found.status, headers=found.headers, body=found.body)
        request[IDENTITY] = found
        return await handler(request)

    return middleware
