"""What adapters need of a source of tokens; `TokenFile` and `TokenRequestSource` are two."""

from typing import Protocol


class TokenSource(Protocol):
    """A source of tokens that are valid now. Safe under threads and in coroutines."""

    def get(self) -> str:
        """A token that has not expired. It blocks only where there is none at hand.

        Raises: NoToken
        """
        ...

    async def aget(self) -> str:
        """The same, without blocking the loop."""
        ...

    def renew(self, rejected: str) -> str:
        """Another token than the one that a server has just answered with 401, where one can be
        had; else the same. Many callers that were rejected at once make one request, and there is
        a least time between two renewals, so that a server that rejects every token costs little.

        Raises: NoToken
        """
        ...

    async def arenew(self, rejected: str) -> str:
        """The same, without blocking the loop."""
        ...
