"""Where the keys of an issuer come from: OpenID Connect discovery, of the API server or of a URL.

Source: OpenID Connect Discovery 1.0 section 4; kubernetes/pkg/serviceaccount/openidmetadata.go.
"""

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import msgspec

from ..core.text import truncate
from .keys import KeySet, NoKeys, key_set
from .server import CALL_SECONDS, ApiServer, Refusal

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
MAX_URL_CHARS = 2048
MAX_MESSAGE_CHARS = 300


class Issuer(Protocol):
    """Gives its keys when it is asked."""

    name: str
    """For messages."""
    fixed: str | None
    """The issuer of its tokens, where it cannot become another one."""

    def fetch(self) -> KeySet:
        """Its keys, now. It blocks. Raises: Refusal"""
        ...


class ClusterIssuer:
    """The API server itself.

    Why its `jwks_uri` is not used: it is an address for the outside, which a pod may not reach; the
    same keys are at the same path of every API server.
    """

    name: str = "the API server"
    fixed: str | None = None

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def fetch(self) -> KeySet:
        try:
            document = _document(self._server.get(DISCOVERY_PATH))
            return _keys(document.issuer, self._server.get(KEYS_PATH))
        except Refusal as refusal:
            if refusal.status != 403:  # noqa: PLR2004
                raise
            message = f"{refusal.message}; needs a ClusterRoleBinding to system:service-account-issuer-discovery"
            raise Refusal(403, message, refusal.kind, refusal.retry_after) from None


class WebIssuer:
    """An issuer at an https URL, for a service that is not in its cluster. No credentials are sent,
    no redirect is followed, and keys come over https only.

    Raises: ValueError, for another URL
    """

    def __init__(
        self, url: str, ca_file: "str | Path | None" = None, timeout: float = CALL_SECONDS
    ) -> None:
        import ssl  # noqa: F401, PLC0415  (as ApiServer does it: not in the thread that fetches)

        if not _is_https(url) or urlsplit(url).query or "#" in url or "?" in url:
            raise ValueError(
                f"issuer: {truncate(repr(url), 100)} must be an https URL without a query, a fragment or a password"
            )
        self.name = url
        self.fixed: str | None = url
        self._ca_file = ca_file
        self._timeout = timeout

    def fetch(self) -> KeySet:
        import ssl  # noqa: PLC0415  (it takes as long as the rest of the library)

        try:
            tls = ssl.create_default_context(cafile=self._ca_file)
        except OSError as problem:  # ssl.SSLError is one
            raise Refusal(0, f"{self._ca_file}: {problem}") from None
        document = _document(self._get(self.name.rstrip("/") + DISCOVERY_PATH, tls))
        if document.issuer != self.name:
            shown = truncate(repr(document.issuer), 100)
            raise Refusal(0, f"its discovery document is of another issuer, {shown}")
        if not _is_https(document.jwks_uri):
            raise Refusal(0, "its jwks_uri must be an https URL")
        return _keys(document.issuer, self._get(document.jwks_uri, tls))

    def _get(self, url: str, tls: "ssl.SSLContext") -> bytes:
        parts = urlsplit(url)
        server = ApiServer(_Anonymous(f"https://{parts.netloc}", tls), self._timeout)
        try:
            return server.get(parts.path + (f"?{parts.query}" if parts.query else ""))
        finally:
            server.close()


class _Anonymous:
    """No credentials."""

    def __init__(self, server: str, context: "ssl.SSLContext") -> None:
        self.server = server
        self._context = context

    def tls(self) -> "ssl.SSLContext":
        return self._context

    def header(self) -> None:
        return None


class _Document(msgspec.Struct):
    issuer: str
    jwks_uri: str = ""


_DOCUMENT = msgspec.json.Decoder(_Document)


def _document(body: bytes) -> _Document:
    """Raises: Refusal"""
    try:
        document = _DOCUMENT.decode(body)
    except (ValueError, RecursionError) as problem:
        raise Refusal(0, f"no discovery document: {type(problem).__name__}") from None
    if not 0 < len(document.issuer) <= MAX_URL_CHARS:
        raise Refusal(0, "its discovery document has no issuer")
    return document


def _keys(issuer: str, body: bytes) -> KeySet:
    """Raises: Refusal"""
    try:
        return key_set(issuer, body)
    except NoKeys as problem:
        raise Refusal(0, str(problem)) from None


def _is_https(url: object) -> bool:
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS:
        return False
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0  # a text that is no number raises
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and bool(parts.hostname)
        and has_port
        and "@" not in parts.netloc
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )
