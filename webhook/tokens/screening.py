"""What a token says of itself, before anybody is asked about it. Pure.

It may only refuse: nothing here is verified, and whoever sends a token writes all of it. So that
garbage costs neither a call nor a signature, whatever can be seen to be wrong is refused here.
"""

import base64
import re
from typing import NamedTuple

import msgspec

from ..core.claims import Claims, NotAToken, claims_of
from .errors import InvalidReason, InvalidToken
from .identity import username_of

MAX_TOKEN_CHARS = 16 << 10
"""Ten times what the API server writes for an account, a pod and a node with the longest names and
one audience; most HTTP servers take 8 KiB for a header.
"""
MAX_HEADER_CHARS = 4 << 10
MAX_KEY_ID_CHARS = 256
"""The API server's have 43."""
MAX_AUDIENCE_BYTES = 4 << 10
LEEWAY_SECONDS = 10.0
"""By which clocks may differ. The API server itself allows a minute."""
MAX_LEEWAY_SECONDS = 3600.0
ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in ("256", "384", "512")
)
"""Those with a private key. The API server and its external signers use RS256, ES256, ES384 and
ES512.
"""
_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
"""Stricter than base64 of Python, which passes over any other character."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Screened(NamedTuple):
    """What a token says of itself. `key_id` is empty where it names no key."""

    algorithm: str
    key_id: str
    claims: Claims
    expires_at: float


def screen(token: str, audience: str, now: float, leeway: float = LEEWAY_SECONDS) -> Screened:
    """The parts of a token in which nothing speaks against it. `now` is in seconds since 1970.

    Raises: InvalidToken
    """
    is_text = isinstance(token, str) and len(token) <= MAX_TOKEN_CHARS
    if not is_text or (parts := _JWT.fullmatch(token)) is None:
        raise InvalidToken("malformed")
    header = _header(parts[1])
    if header.alg not in ALGORITHMS:
        raise InvalidToken("bad-algorithm")
    if not (parts[3] and all(map(_is_canonical, parts.groups()))):
        raise InvalidToken("malformed")
    try:
        claims = claims_of(token)
    except NotAToken:
        raise InvalidToken("malformed") from None
    if (reason := _against(claims, audience, now, leeway)) is not None:
        raise InvalidToken(reason)
    if claims.expires_at is None:  # the API server writes one into each that has an audience
        raise InvalidToken("malformed")
    return Screened(header.alg, header.kid, claims, claims.expires_at)


def check_audience(audience: object) -> None:
    """Raises: ValueError, where it is no audience that a service can have"""
    if not isinstance(audience, str) or not audience or len(audience.encode()) > MAX_AUDIENCE_BYTES:
        raise ValueError(
            f"audience: {audience!r:.100} must be a text of 1 to {MAX_AUDIENCE_BYTES} bytes"
        )


def check_leeway(seconds: float) -> None:
    """Raises: ValueError"""
    if not 0 <= seconds <= MAX_LEEWAY_SECONDS:
        raise ValueError(f"leeway: {seconds!r} must be 0 to {MAX_LEEWAY_SECONDS:.0f} seconds")


def _against(claims: Claims, audience: str, now: float, leeway: float) -> InvalidReason | None:
    """What in the claims speaks against a token."""
    if not (
        _NAMESPACE.fullmatch(claims.namespace)
        and _ACCOUNT.fullmatch(claims.account)
        and claims.subject == username_of(claims.namespace, claims.account)
    ):
        return "not-a-service-account"
    if audience not in claims.audiences:
        return "wrong-audience"
    if max(claims.not_before or 0.0, claims.issued_at or 0.0) > now + leeway:
        return "not-yet-valid"
    if claims.expires_at is not None and now >= claims.expires_at + leeway:
        return "expired"
    return None


class _Header(msgspec.Struct):
    """Of a JWS. `jwk`, `jku`, `x5c` and `x5u`, by which a token would bring its own key, are not
    looked at.
    """

    alg: str
    kid: str = ""
    crit: msgspec.UnsetType | msgspec.Raw = msgspec.UNSET
    b64: msgspec.UnsetType | msgspec.Raw = msgspec.UNSET


_HEADER = msgspec.json.Decoder(_Header)


def _header(text: str) -> _Header:
    """Raises: InvalidToken"""
    if len(text) > MAX_HEADER_CHARS:
        raise InvalidToken("malformed")
    try:
        header = _HEADER.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    is_extended = header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET
    if is_extended or len(header.kid) > MAX_KEY_ID_CHARS:
        raise InvalidToken("malformed")
    return header


def _is_canonical(part: str) -> bool:
    """Whether no other text means the same part: else one token has many texts, and each is another
    key in a cache.
    """
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == part.encode()
