"""Tokens of service accounts for programs: to ask for them, keep them fresh, and verify them.

Only this package is a library that other programs import; its names are here. It imports core, and
of `cluster` only the credentials. `adapters` has one module for each client and server;
none of them is imported here, nor anything that costs much time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..core.claims import Claims, NotAToken, ObjectReference, claims_of
from .cache import TokenCache
from .errors import (
    Expired,
    InvalidReason,
    InvalidToken,
    NoToken,
    NotVerified,
    RequestRefused,
    TokenError,
    Unreadable,
)
from .file import TokenFile
from .request import TokenRequest
from .requested import TokenRequestSource
from .server import ApiServer
from .source import TokenSource

if TYPE_CHECKING:
    from .identity import Identity
    from .jwks import JwksVerifier
    from .reviewer import TokenReviewVerifier
    from .verifier import Verifier, averify, verify

__all__ = [
    "ApiServer",
    "Claims",
    "Expired",
    "Identity",
    "InvalidReason",
    "InvalidToken",
    "JwksVerifier",
    "NoToken",
    "NotAToken",
    "NotVerified",
    "ObjectReference",
    "RequestRefused",
    "TokenCache",
    "TokenError",
    "TokenFile",
    "TokenRequest",
    "TokenRequestSource",
    "TokenReviewVerifier",
    "TokenSource",
    "Unreadable",
    "Verifier",
    "averify",
    "claims_of",
    "verify",
]

_RECEIVING = {
    "Identity": "identity",
    "JwksVerifier": "jwks",
    "TokenReviewVerifier": "reviewer",
    "Verifier": "verifier",
    "averify": "verifier",
    "verify": "verifier",
}
"""What verifies, and its modules: imported when it is first used, because most programs that ask
for tokens receive none, and it is a third of the import.
"""


if not TYPE_CHECKING:  # else every misspelt name would be one of type Any

    def __getattr__(name: str) -> Any:
        if name not in _RECEIVING:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_RECEIVING[name]}", __name__), name)
        return value
