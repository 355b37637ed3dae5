"""The keys of an issuer, and signatures by them. PyJWT does both; it is imported when the first
verifier is made.

Source: RFC 7517 for key sets, RFC 7518 section 3 for which key is for which algorithm, RFC 8725 for
what not to believe of a token.
"""

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .errors import InvalidReason
from .screening import ALGORITHMS, Screened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_KEYS = 100
"""An API server has two while it rotates them, a large identity provider ten."""
MAX_TRIED = 8
"""Signatures that are computed for a token that names no key: a forged one costs as much."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""Below it is weak; above it a signature takes ms."""
MAX_NUMBER_CHARS = MAX_RSA_BITS // 6 + 8
"""In base64."""
MAX_EXPONENT_CHARS = 8
"""In base64; nearly all keys have AQAB. A large one makes a signature slow."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class NoKeys(Exception):
    """The bytes are no key set, or have no key that could have signed a token."""


class Key(NamedTuple):
    """A public key, and the algorithms that it may be used with."""

    public: "RSAPublicKey | EllipticCurvePublicKey"
    algorithms: frozenset[str]


class KeySet(NamedTuple):
    """The keys of an issuer, by their id; an id may be of several."""

    issuer: str
    by_id: dict[str, tuple[Key, ...]]

    def knows(self, issuer: str, key_id: str) -> bool:
        """Whether newer keys would say nothing else of a token with these."""
        return issuer == self.issuer and (not key_id or key_id in self.by_id)

    def candidates(self, key_id: str) -> tuple[Key, ...]:
        """The keys that may have signed a token: all of them where it names none."""
        if key_id:
            return self.by_id.get(key_id, ())
        return tuple(key for keys in self.by_id.values() for key in keys)


def key_set(issuer: str, body: bytes) -> KeySet:
    """The keys of an answer. Those of other kinds or for other uses are left out.

    Raises: NoKeys
    """
    try:
        entries = _KEYS.decode(body).keys
    except (ValueError, RecursionError) as problem:
        raise NoKeys(f"no key set: {type(problem).__name__}") from None
    if len(entries) > MAX_KEYS:
        raise NoKeys(f"{len(entries)} keys, which are more than {MAX_KEYS}")
    by_id: dict[str, tuple[Key, ...]] = {}
    for raw in entries:
        if (found := _key(raw)) is not None:
            key_id, key = found
            by_id[key_id] = (*by_id.get(key_id, ()), key)
    if not by_id:
        raise NoKeys("a key set without a key that could have signed a token")
    return KeySet(issuer, by_id)


def unsigned(keys: KeySet, token: str, screened: Screened, audience: str) -> InvalidReason | None:
    """Why a token is not one that this issuer has signed for an audience; None where it is.

    Whether it is still valid is not looked at: `screen` did, by a clock that can be injected.
    """
    if screened.claims.issuer != keys.issuer:
        return "wrong-issuer"
    candidates = keys.candidates(screened.key_id)
    fitting = [key for key in candidates if screened.algorithm in key.algorithms]
    if not fitting:
        return "bad-algorithm" if candidates else "unknown-key"
    reason: InvalidReason | None = "bad-signature"
    for key in fitting[:MAX_TRIED]:
        reason = _unsigned_by(key, token, screened.algorithm, keys.issuer, audience)
        if reason != "bad-signature":
            break
    return reason


def _unsigned_by(
    key: Key, token: str, algorithm: str, issuer: str, audience: str
) -> InvalidReason | None:
    import jwt  # noqa: PLC0415

    try:
        jwt.decode(
            token,
            key.public,
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            options={
                "require": ["aud", "exp", "iss", "sub"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError:
        return "bad-signature"
    except jwt.InvalidAudienceError:
        return "wrong-audience"
    except jwt.InvalidIssuerError:
        return "wrong-issuer"
    except jwt.InvalidAlgorithmError:
        return "bad-algorithm"
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):  # of what anybody can send
        return "malformed"
    return "malformed" if _has_duplicates(token) else None


def _has_duplicates(token: str) -> bool:
    """Whether a name stands twice in an object of its claims: one parser takes the first, another
    the last. The API server refuses it too.
    """
    payload = token.split(".")[1]
    try:
        json.loads(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)),
            object_pairs_hook=_without_duplicates,
        )
    except (ValueError, RecursionError):
        return True
    return False


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name twice")


def check_installed() -> None:
    """Raises: ModuleNotFoundError, which names the extra"""
    try:
        import jwt  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "JwksVerifier needs PyJWT: pip install 'boundtoken[jwks]'", name="jwt"
        ) from None


class _Entry(msgspec.Struct):
    """A JWK: what is read of it. A private key in it is not."""

    kty: str = ""
    kid: str = ""
    use: str = "sig"
    alg: str = ""
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


class _Keys(msgspec.Struct):
    keys: tuple[msgspec.Raw, ...]


_KEYS = msgspec.json.Decoder(_Keys)
_ENTRY = msgspec.json.Decoder(_Entry)


def _key(raw: msgspec.Raw) -> tuple[str, Key] | None:
    """The id and the key of an entry; None where it cannot have signed a token."""
    import jwt  # noqa: PLC0415

    try:
        entry = _ENTRY.decode(raw)
        if entry.use != "sig" or len(entry.n) > MAX_NUMBER_CHARS:
            return None
        if len(entry.e) > MAX_EXPONENT_CHARS:
            return None
        if entry.kty == "RSA":
            rsa: Any = jwt.algorithms.RSAAlgorithm.from_jwk(
                {"kty": "RSA", "n": entry.n, "e": entry.e}
            )
            if not MIN_RSA_BITS <= rsa.key_size <= MAX_RSA_BITS:
                return None
            public, possible = rsa, {name for name in ALGORITHMS if name[0] in "RP"}
        elif entry.kty == "EC" and entry.crv in _CURVES:
            public = jwt.algorithms.ECAlgorithm.from_jwk(
                {"kty": "EC", "crv": entry.crv, "x": entry.x, "y": entry.y}
            )
            possible = {_CURVES[entry.crv]}
        else:
            return None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None  # one bad entry must not take the good ones with it
    algorithms = frozenset(possible & {entry.alg} if entry.alg else possible)
    return (entry.kid, Key(public, algorithms)) if algorithms else None
