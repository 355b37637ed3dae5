"""Tokens of service accounts for programs: to ask for them, keep them fresh, and verify them.

Only this room is a library that other programs import; its names are here. It imports core, and of
the cluster's room only the credentials. `adapters` has one module for each client and server;
none of them is imported here, nor anything that costs much time.
"""

from ..core.claims import Claims, NotAToken, ObjectReference, claims_of
from .cache import TokenCache
from .errors import Expired, NoToken, NotVerified, RequestRefused, TokenError, Unreadable
from .file import TokenFile
from .request import TokenRequest
from .requested import TokenRequestSource
from .server import ApiServer
from .source import TokenSource

__all__ = [
    "ApiServer",
    "Claims",
    "Expired",
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
    "TokenSource",
    "Unreadable",
    "claims_of",
]
