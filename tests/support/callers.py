"""Those who call a service that is guarded by tokens, and a verifier that knows them by heart."""

import http.client
from collections.abc import Mapping
from typing import NamedTuple

from webhook.tokens import Identity, InvalidToken

AUDIENCE = "https://cart.shop"
TOKENS = {"cart-token": "shop/cart", "builder-token": "ci/builder", "stranger-token": "x/stranger"}


class Memory:
    """Knows three tokens; `problem` is what it raises instead; `judged` has what it was given."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.judged: list[tuple[str, str]] = []

    def verify(self, token: str, *, audience: str) -> Identity:
        self.judged.append((token, audience))
        if self.problem is not None:
            raise self.problem
        if token not in TOKENS:
            raise InvalidToken("bad-signature")
        namespace, account = TOKENS[token].split("/")
        return Identity(
            namespace=namespace,
            account=account,
            uid="u",
            audiences=(audience,),
            expires_at=2e9,
        )

    async def averify(self, token: str, *, audience: str) -> Identity:
        return self.verify(token, audience=audience)


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def call(
    port: int, path: str = "/", *fields: str | bytes, method: str = "GET", body: bytes | None = None
) -> Reply:
    """A request with these Authorization headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path)
        for field in fields:
            connection.putheader("Authorization", field)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.headers.items()), answer.read())
    finally:
        connection.close()
