"""Whether a token that somebody looks at is a valid one: by the API server, or by keys.

Why not the verifiers alone: they are for services, which refuse a token that is for no audience.
Who looks at a legacy token wants to know whether it still opens the API server.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from ...core.claims import Claims
from ..errors import EXPLANATIONS, InvalidReason, InvalidToken, NotVerified
from ..jwks import JwksVerifier
from ..keys import NoKeys, check_installed, key_set, unsigned
from ..review import PATH, failure, reason_of
from ..reviewer import TokenReviewVerifier
from ..screening import screen
from ..server import MAX_ANSWER_BYTES, ApiServer, Refusal

CLUSTER = "cluster"
"""Where keys come from that the API server publishes."""
OWN_AUDIENCE = ""
"""Stands for the API server's own: a legacy token is for no other."""


class Verification(NamedTuple):
    """What came out of it. `by` says who was asked, `audience` for whom; `reason` is None where the
    token is valid.
    """

    by: str
    audience: str
    reason: InvalidReason | None

    @property
    def text(self) -> str:
        """For people."""
        place = f" for {self.audience}" if self.audience else ""
        if self.reason is None:
            return f"valid{place}, by {self.by}"
        return f"refused{place}, by {self.by}: {EXPLANATIONS[self.reason]} ({self.reason})"


class Check(Protocol):
    """Asks somebody whether a token is valid."""

    def verify(self, token: str, claims: Claims, audience: str) -> Verification:
        """What comes out. Raises: NotVerified, where it cannot be found out; ValueError, for an
        audience that cannot be one
        """
        ...


class ReviewCheck:
    """By a TokenReview: the API server looks at the account and at the bound object too."""

    by = "the API server"

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._verifier = TokenReviewVerifier(server)

    def verify(self, token: str, claims: Claims, audience: str) -> Verification:
        if audience == OWN_AUDIENCE:
            return Verification(self.by, audience, self._reason(token, claims))
        try:
            self._verifier.verify(token, audience=audience)
        except InvalidToken as problem:
            return Verification(self.by, audience, problem.reason)
        return Verification(self.by, audience, None)

    def _reason(self, token: str, claims: Claims) -> InvalidReason | None:
        """For the API server itself."""
        spec = {"spec": {"token": token}}
        try:
            status = _ANSWER.decode(self._server.post(PATH, msgspec.json.encode(spec))).status
        except Refusal as refusal:
            found = failure(refusal, token)
            raise found.exception(found.retry_after) from None
        except (ValueError, RecursionError) as problem:
            raise NotVerified(
                f"TokenReview: no usable answer of the API server: {type(problem).__name__}"
            ) from None
        if not status.authenticated:
            return reason_of(status.error)
        return None if status.user.username == claims.subject else "not-a-service-account"


class KeyCheck:
    """By the keys that an issuer publishes: the signature and the times, and nothing of whether the
    account or the bound object is still there.
    """

    def __init__(self, by: str, verifier: JwksVerifier) -> None:
        self.by = by
        self._verifier = verifier

    def verify(self, token: str, claims: Claims, audience: str) -> Verification:  # noqa: ARG002
        if audience == OWN_AUDIENCE:
            return Verification(self.by, audience, "wrong-audience")
        try:
            self._verifier.verify(token, audience=audience)
        except InvalidToken as problem:
            return Verification(self.by, audience, problem.reason)
        return Verification(self.by, audience, None)


class FileCheck:
    """By the keys in a file, which stand for any issuer that the token names.

    Raises: ValueError, where the file cannot be read or has no keys
    """

    def __init__(self, path: Path, now: float) -> None:
        self.by = f"the keys in {path}"
        self._now = now
        try:
            with path.open("rb") as file:
                self._body = file.read(MAX_ANSWER_BYTES)
            self._keys = key_set("", self._body)
        except OSError as problem:
            raise ValueError(f"{path}: must be a readable file: {problem.strerror}") from None
        except NoKeys as problem:
            raise ValueError(f"{path}: must be the keys of an issuer, and is {problem}") from None

    def verify(self, token: str, claims: Claims, audience: str) -> Verification:
        if audience == OWN_AUDIENCE:
            return Verification(self.by, audience, "wrong-audience")
        try:
            screened = screen(token, audience, self._now)
        except InvalidToken as problem:
            return Verification(self.by, audience, problem.reason)
        keys = self._keys._replace(issuer=claims.issuer)
        return Verification(self.by, audience, unsigned(keys, token, screened, audience))


def key_check(keys: str, server: ApiServer | None, ca_file: Path | None, now: float) -> Check:
    """By the keys of `keys`: CLUSTER, which is `server`; the https URL of an issuer, of which
    `ca_file` has the authorities; or a file.

    Raises: NotVerified, without PyJWT; ValueError, for a URL that cannot be an issuer's, and for a
            file that has no keys
    """
    try:
        check_installed()
    except ModuleNotFoundError as problem:
        raise NotVerified(str(problem)) from None
    if server is not None:
        return KeyCheck("the keys of the API server", JwksVerifier(server))
    if "://" in keys:
        return KeyCheck(f"the keys of {keys}", JwksVerifier(keys, ca_file=ca_file))
    return FileCheck(Path(keys), now)


def audiences_to_check(claims: Claims, given: list[str]) -> list[str]:
    """For whom a token is checked: for those who are given, else for the first that it is for,
    because one is as good as any other.
    """
    return given or list(claims.audiences[:1]) or [OWN_AUDIENCE]


class _User(msgspec.Struct):
    username: str = ""


class _Status(msgspec.Struct):
    authenticated: bool = False
    error: str = ""
    user: _User = msgspec.field(default_factory=_User)


class _Answer(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


_ANSWER = msgspec.json.Decoder(_Answer)
