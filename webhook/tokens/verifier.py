"""What a service needs of a verifier; `TokenReviewVerifier` and `JwksVerifier` are two."""

from functools import cache
from typing import Protocol

from .errors import NoToken, NotVerified
from .identity import Identity
from .reviewer import TokenReviewVerifier
from .server import ApiServer


class Verifier(Protocol):
    """Finds out whose a token is. Safe under threads and in coroutines."""

    def verify(self, token: str, *, audience: str) -> Identity:
        """Whose token it is. `audience` is what this service is called: a token for another one is
        refused, whoever sends it.

        Raises: InvalidToken, where it is refused; NotVerified, where nobody can tell;
                ValueError, for an empty audience
        """
        ...

    async def averify(self, token: str, *, audience: str) -> Identity:
        """The same, without blocking the loop."""
        ...


def verify(token: str, *, audience: str) -> Identity:
    """Whose token it is, by a TokenReview with the credentials of this pod; see TokenReviewVerifier
    for what it needs, keeps and cannot see.

    Raises: as Verifier.verify does; NotVerified also outside of a cluster
    """
    return _of_this_pod().verify(token, audience=audience)


async def averify(token: str, *, audience: str) -> Identity:
    """The same, in a coroutine."""
    return await _of_this_pod().averify(token, audience=audience)


def _of_this_pod() -> TokenReviewVerifier:
    try:
        return _in_cluster()
    except NoToken as problem:
        raise NotVerified(str(problem)) from None


@cache
def _in_cluster() -> TokenReviewVerifier:
    return TokenReviewVerifier(ApiServer.in_cluster())
