"""Tokens that nobody signed, and one that was issued long ago."""

import base64
import copy
import json
from typing import Any

import jwt

from tests.controlplane.cluster import ControlPlane


def a_token(claims: Any) -> str:
    """A JWT with these claims, or with these bytes in their place, and a signature that is none."""
    return assembled(b"{}", claims, b"sig")


def assembled(header: Any, claims: Any, signature: bytes = b"signature") -> str:
    """A JWT of these three parts; header and claims as JSON, or the bytes in their place."""
    texts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)
    ]
    return ".".join(encoded(part) for part in (*texts, signature))


def encoded(part: bytes) -> str:
    """Base64url without padding, as JWTs have it."""
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def a_stale_token(plane: ControlPlane, token: str) -> str:
    """The same token of a pod as if it had been issued two hours ago."""
    key = (plane.folder / "sa.key").read_text()
    claims = copy.deepcopy(jwt.decode(token, options={"verify_signature": False}))
    for name in ("iat", "nbf"):
        claims[name] -= 7200
    claims["kubernetes.io"]["warnafter"] = claims["iat"] + 3607
    claims["jti"] = "11111111-2222-4333-8444-555555555555"
    return jwt.encode(claims, key, "RS256", headers=jwt.get_unverified_header(token))
