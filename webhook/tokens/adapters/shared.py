"""What the adapters of clients do alike: the header, and what an answer of 401 is worth.

A server that answers 401 has not acted on the request, so sending it again does nothing twice. An
adapter renews the token once, and sends the request once more where that gave another token and
the body can be sent again. Where it cannot, the renewal is for the next request.

A request is an adapter's to repeat only if the header that the server has rejected is a `Header`:
clients remove it on the way to another origin, and callers may have sent their own.
"""

from contextlib import suppress
from typing import Any, Self

from ..source import TokenSource

AUTHORIZATION = "Authorization"
UNAUTHORIZED = 401
SCHEME = "Bearer "
MAX_DRAINED_BYTES = 64 << 10
"""Of the body of an answer that nobody will read, so that its connection can be used again. One
with more is closed: a new connection costs less than reading on.
"""


class Header(str):
    """The value of an Authorization header that an adapter has made. Its repr has no token, so that
    requests, headers and configurations can be logged.
    """

    __slots__ = ()

    @classmethod
    def of(cls, token: str) -> Self:
        return cls(SCHEME + token)

    @property
    def token(self) -> str:
        return self[len(SCHEME) :]

    def __repr__(self) -> str:
        return "<Bearer token>"


def renewed(source: TokenSource, rejected: Header) -> Header | None:
    """Another header than one that was answered with 401; None where no other token can be had.

    Raises: NoToken
    """
    token = source.renew(rejected.token)
    return None if token == rejected.token else Header.of(token)


async def arenewed(source: TokenSource, rejected: Header) -> Header | None:
    """The same, in a coroutine."""
    token = await source.arenew(rejected.token)
    return None if token == rejected.token else Header.of(token)


def can_rewind(file: object) -> bool:
    """Whether a file can be read a second time."""
    try:
        return bool(file.seekable())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # no file, or a closed one
        return False


def drain(answer: Any) -> None:
    """Let the connection of an answer of urllib3 be used again, or close it."""
    with suppress(Exception):  # whatever is wrong with it, nobody will read it
        answer.read(MAX_DRAINED_BYTES, decode_content=False)
    answer.close()


def lacking(problem: ImportError, adapter: str, install: str) -> ImportError:
    """What to raise where an adapter's package cannot be imported; it says how to install it."""
    module = adapter.rpartition(".")[2]
    return ImportError(f"{module}: {problem}; pip install '{install}'", name=problem.name)
