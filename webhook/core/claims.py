"""What a service account token says of itself. Nothing here verifies a signature.

Source: kubernetes/pkg/serviceaccount/claims.go and legacy.go, and what a 1.37 API server issued.
"""

import base64
import re
from typing import NamedTuple

import msgspec

MAX_TOKEN_BYTES = 64 << 10
"""A token of the API server has about 1 KiB; HTTP servers refuse headers of more than 8 to 64."""
MAX_AUDIENCES = 1000
"""More is no token that somebody asked for."""
LAST_SECOND = 253_402_300_799
"""Of the year 9999: a later one is no time that can be shown."""
LEGACY_ISSUER = "kubernetes/serviceaccount"
TOKEN_TEXT = re.compile(r"[!-~]+")
"""Printable ASCII without whitespace: other bytes would break a header."""


class NotAToken(ValueError):
    """The text is not a JWT that can be read. The message never quotes it."""


class ObjectReference(NamedTuple):
    """An object that a token is bound to: the token is refused when the object is gone."""

    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Claims(NamedTuple):
    """The claims of a service account token. Times are seconds since 1970, by the issuer's clock.

    `expires_at` is None where the token never expires: a legacy one, from a Secret. `warn_after` is
    set where the API server made a token of 3607 seconds live for a year: after that time each use
    is audited as stale. `account` is empty where the token is not of a service account.
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    issued_at: float | None
    not_before: float | None
    expires_at: float | None
    warn_after: float | None
    credential_id: str
    namespace: str
    account: str
    account_uid: str
    pod: ObjectReference | None
    node: ObjectReference | None
    secret: ObjectReference | None

    @property
    def bound_to(self) -> ObjectReference | None:
        """The object whose end is the token's end. The node of a pod's token is only said in it."""
        return self.pod or self.secret or self.node

    @property
    def is_legacy(self) -> bool:
        """Made for a Secret: no expiry and no audience."""
        return self.issuer == LEGACY_ISSUER

    @property
    def lifetime_seconds(self) -> float | None:
        """From its issue to its expiry; None where one of the two is not known."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return self.expires_at - self.issued_at


def claims_of(token: str) -> Claims:
    """The claims of a JWT.

    Raises: NotAToken
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise NotAToken(f"a token has at most {MAX_TOKEN_BYTES} bytes, this text has {len(token)}")
    parts = token.split(".")
    if len(parts) != 3 or not TOKEN_TEXT.fullmatch(token):  # noqa: PLR2004
        raise NotAToken("a token is three parts of base64url with dots between them")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = _DECODER.decode(payload)
    except (ValueError, RecursionError) as problem:
        raise NotAToken(f"its claims cannot be read: {type(problem).__name__}") from None
    for time in (claims.iat, claims.nbf, claims.exp, claims.private.warnafter):
        if time is not None and not 0 <= time <= LAST_SECOND:
            raise NotAToken("its times must be seconds since 1970, up to the year 9999")
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if len(audiences) > MAX_AUDIENCES:
        raise NotAToken(f"a token has at most {MAX_AUDIENCES} audiences")
    return _of_a_service_account(claims, audiences)


def audiences_of(token: str) -> tuple[str, ...]:
    """The `aud` claim of a JWT, empty where it cannot be read."""
    try:
        return claims_of(token).audiences
    except NotAToken:
        return ()


def _of_a_service_account(claims: "_Claims", audiences: tuple[str, ...]) -> Claims:
    private = claims.private
    account = private.account
    secret = private.secret.reference("Secret")
    if claims.legacy_account:
        account = _Named(claims.legacy_account, claims.legacy_account_uid)
        secret = _Named(claims.legacy_secret).reference("Secret")
    return Claims(
        issuer=claims.iss,
        subject=claims.sub,
        audiences=audiences,
        issued_at=claims.iat,
        not_before=claims.nbf,
        expires_at=claims.exp,
        warn_after=private.warnafter,
        credential_id=claims.jti,
        namespace=private.namespace or claims.legacy_namespace,
        account=account.name,
        account_uid=account.uid,
        pod=private.pod.reference("Pod"),
        node=private.node.reference("Node"),
        secret=secret,
    )


class _Named(msgspec.Struct):
    name: str = ""
    uid: str = ""

    def reference(self, kind: str) -> ObjectReference | None:
        return ObjectReference(kind, self.name, self.uid) if self.name else None


class _Private(msgspec.Struct):
    namespace: str = ""
    account: _Named = msgspec.field(name="serviceaccount", default_factory=_Named)
    pod: _Named = msgspec.field(default_factory=_Named)
    node: _Named = msgspec.field(default_factory=_Named)
    secret: _Named = msgspec.field(default_factory=_Named)
    warnafter: float | None = None


class _Claims(msgspec.Struct):
    iss: str = ""
    sub: str = ""
    aud: str | tuple[str, ...] = ()
    iat: float | None = None
    nbf: float | None = None
    exp: float | None = None
    jti: str = ""
    private: _Private = msgspec.field(name="kubernetes.io", default_factory=_Private)
    legacy_namespace: str = msgspec.field(name="kubernetes.io/serviceaccount/namespace", default="")
    legacy_account: str = msgspec.field(
        name="kubernetes.io/serviceaccount/service-account.name", default=""
    )
    legacy_account_uid: str = msgspec.field(
        name="kubernetes.io/serviceaccount/service-account.uid", default=""
    )
    legacy_secret: str = msgspec.field(name="kubernetes.io/serviceaccount/secret.name", default="")


_DECODER = msgspec.json.Decoder(_Claims)
