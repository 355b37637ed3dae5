"""Tokens that nobody signed."""

import base64
import json
from typing import Any


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
