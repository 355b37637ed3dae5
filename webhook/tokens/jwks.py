"""JwksVerifier: signatures by the issuer's public keys, without a call for each token."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import InvalidToken
from .identity import Identity, identity_of
from .issuer import ClusterIssuer, WebIssuer
from .keyring import Keyring
from .keys import KeySet, check_installed, unsigned
from .screening import LEEWAY_SECONDS, Screened, check_audience, check_leeway, screen
from .server import ApiServer
from .workers import Workers

if TYPE_CHECKING:
    from pathlib import Path


class JwksVerifier:
    """Verifies the signature, issuer, audience and times of a token by the keys that its issuer
    publishes. `issuer` is an ApiServer, or for a service outside of the cluster the issuer's https
    URL, of which `ca_file` holds the authorities (the system's where it is None).

    It cannot see that a service account, Pod, Secret or Node is gone: a token is accepted until it
    expires, whatever happened since it was issued. Use it for short lives, or where the API server
    cannot be asked. It knows the issuer of today only: of an API server with several issuers, and
    of keys that it leaves out of its discovery document, TokenReview alone knows.

    Keys are fetched when the first token comes, with the first one after an hour, and when a token
    names a key that is not known, at most every 10 seconds. Meanwhile, and while the issuer is
    away, the last ones serve, for a day.

    With an ApiServer its credentials need ClusterRole system:service-account-issuer-discovery, to
    which all service accounts are bound by default. `leeway` is the number of seconds by which
    clocks may differ. `clock` gives seconds since 1970 and may jump. Safe under threads, in
    coroutines of any loop, and across fork.

    Raises: ModuleNotFoundError, without PyJWT; ValueError, for a URL that cannot be an issuer's,
            and for a leeway out of its bounds
    """

    def __init__(
        self,
        issuer: ApiServer | str,
        *,
        ca_file: "str | Path | None" = None,
        leeway: float = LEEWAY_SECONDS,
        clock: Callable[[], float] = time.time,
        pool: Workers | None = None,
    ) -> None:
        check_installed()
        check_leeway(leeway)
        source = (
            ClusterIssuer(issuer) if isinstance(issuer, ApiServer) else WebIssuer(issuer, ca_file)
        )
        self._fixed_issuer = source.fixed
        self._keyring = Keyring(source, clock=clock, pool=pool)
        self._leeway = leeway
        self._clock = clock

    def verify(self, token: str, *, audience: str) -> Identity:
        """Whose token it is.

        Raises: InvalidToken; NotVerified, where the issuer's keys cannot be had; ValueError, for an
                empty audience
        """
        screened = self._screened(token, audience)
        keys = self._keyring.get(screened.claims.issuer, screened.key_id)
        return _identity(keys, token, screened, audience)

    async def averify(self, token: str, *, audience: str) -> Identity:
        """The same, in a coroutine."""
        screened = self._screened(token, audience)
        keys = await self._keyring.aget(screened.claims.issuer, screened.key_id)
        return _identity(keys, token, screened, audience)

    def _screened(self, token: str, audience: str) -> Screened:
        check_audience(audience)
        screened = screen(token, audience, self._clock(), self._leeway)
        if self._fixed_issuer not in (None, screened.claims.issuer):
            raise InvalidToken("wrong-issuer")
        return screened


def _identity(keys: KeySet, token: str, screened: Screened, audience: str) -> Identity:
    if (reason := unsigned(keys, token, screened, audience)) is not None:
        raise InvalidToken(reason)
    return identity_of(screened.claims, screened.expires_at)
