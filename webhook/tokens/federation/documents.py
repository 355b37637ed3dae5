"""What outside services see of the API server as an issuer of tokens: its discovery document and
its keys, by which a cloud or a CI system verifies tokens of service accounts without asking it.

Sources: OpenID Connect Discovery 1.0; RFC 7517 and 7638; "Service account issuer discovery" in
Kubernetes' documentation; kubernetes/pkg/serviceaccount/openidmetadata.go.
"""

import base64
import binascii
import hashlib
import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ...core.text import quote, truncate
from ..errors import NotVerified
from ..server import ApiServer, Refusal

DISCOVERY_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_ROLE = "system:service-account-issuer-discovery"
"""The ClusterRole that lets read both; all service accounts have it by default."""
MAX_KEYS = 100
"""An API server has two while its key rotates."""
MAX_TEXT_CHARS = 300
MATERIAL = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""By the kind of a key: what a public key consists of (RFC 7518 section 6, RFC 8037)."""
PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
NOT_PUBLIC = (401, 403, 404, 410)
REDIRECTS = range(300, 400)


class Key(NamedTuple):
    """A public key. `material` identifies it whatever its name is: RFC 7638's thumbprint.
    `is_private` says that the private half stands beside.
    """

    kid: str
    kind: str
    algorithm: str
    material: str
    is_private: bool

    def __str__(self) -> str:
        return f"{quote(self.kid)} ({self.kind})"


class Published(NamedTuple):
    """Both documents of an issuer, read, and as they came."""

    issuer: str
    jwks_uri: str
    algorithms: tuple[str, ...]
    keys: tuple[Key, ...]
    discovery: Mapping[str, Any]
    jwks: Mapping[str, Any]


class Difference(NamedTuple):
    """What a public issuer has otherwise than the API server; `kind` is one of a closed list:
    unreachable, not-a-document, issuer, jwks-uri, key-missing, key-extra, key-differs, private-key.
    """

    kind: str
    text: str


class Anonymous:
    """Credentials of nobody."""

    def __init__(self, server: str, context: ssl.SSLContext | bool) -> None:  # noqa: FBT001
        self.server = server
        self._context = context

    def tls(self) -> ssl.SSLContext | bool:
        return self._context

    def header(self) -> None:
        return None


class _Malformed(Exception):
    """A document is not what it must be; the text says why."""


def published(server: ApiServer) -> Published:
    """What the API server publishes, read with the credentials of `server`.

    Raises: NotVerified, with what to do
    """
    try:
        discovery = server.get(DISCOVERY_PATH)
        jwks = server.get(JWKS_PATH)
        return _published(discovery, jwks)
    except _Malformed as problem:
        raise NotVerified(f"the API server's issuer: {problem}") from None
    except Refusal as refusal:
        raise NotVerified(_explained(refusal), refusal.retry_after) from None


def anonymous_statuses(server: ApiServer) -> dict[str, int]:
    """What an API server answers to nobody: the HTTP status for the path of each document, 0 where
    no answer came.
    """
    statuses = {}
    for path in (DISCOVERY_PATH, JWKS_PATH):
        try:
            server.get(path)
            statuses[path] = 200
        except Refusal as refusal:
            statuses[path] = refusal.status
    return statuses


def notes(cluster: Published, statuses: Mapping[str, int]) -> list[str]:
    """What an outside service needs that is not so, and what to do."""
    found = []
    for what, url, flag in (
        ("issuer", cluster.issuer, "--service-account-issuer"),
        ("jwks_uri", cluster.jwks_uri, "--service-account-jwks-uri"),
    ):
        if _is_internal(url):
            found.append(
                f"{what} {_shown(url)} is no public address: outside services need one, set by the API server's {flag}"
            )
    if 401 in statuses.values():  # noqa: PLR2004
        found.append(
            "the API server takes no anonymous requests here: serve the two documents elsewhere, see --out"
        )
    elif 403 in statuses.values():  # noqa: PLR2004
        found.append(
            "anonymous users may not read the documents: serve them elsewhere, see --out, or allow it, which shows the "
            "issuer's name and keys to whoever reaches the API server: kubectl create clusterrolebinding "
            f"public-service-account-issuer --clusterrole={DISCOVERY_ROLE} --group=system:unauthenticated"
        )
    return found


def check_issuer(url: str) -> None:
    """Raises: ValueError, for a URL that cannot be an issuer's"""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as problem:
        raise ValueError(f"must be a URL: {problem}") from None
    is_bare = not (parts.query or parts.fragment or parts.username or parts.password)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host or ""))
    if not (
        host and is_bare and is_safe and url.isascii() and url.isprintable() and " " not in url
    ):
        raise ValueError(
            "must be an https URL without query, such as https://oidc.example.com/shop"
        )


def differences(cluster: Published, issuer: str, context: ssl.SSLContext) -> list[Difference]:
    """What somebody who only knows the URL `issuer` finds there otherwise than `cluster`.

    Raises: NotVerified, where that cannot be found out
    """
    found = []
    if issuer.rstrip("/") != cluster.issuer.rstrip("/"):
        found.append(
            Difference(
                "issuer",
                f"tokens of this cluster name the issuer {_shown(cluster.issuer)}, so nobody looks for keys at {_shown(issuer)}",
            )
        )
    try:
        discovery = _fetched(issuer.rstrip("/") + DISCOVERY_PATH, context)
        jwks_uri = _jwks_uri(discovery, issuer)
        there = _published(discovery, _fetched(jwks_uri, context))
    except _Malformed as problem:
        return [*found, Difference("not-a-document", str(problem))]
    except _Unreachable as problem:
        return [*found, Difference("unreachable", str(problem))]
    if there.issuer != cluster.issuer:
        found.append(
            Difference(
                "issuer",
                f"the document says {_shown(there.issuer)}, and tokens say {_shown(cluster.issuer)}",
            )
        )
    return found + list(_key_differences(cluster.keys, there.keys))


class _Unreachable(Exception):
    """The issuer does not give the document to everybody; the text says which."""


def _fetched(url: str, context: ssl.SSLContext) -> bytes:
    """Raises: _Unreachable; NotVerified"""
    parts = urlsplit(url)
    server = ApiServer(Anonymous(f"{parts.scheme}://{parts.netloc}", context))
    try:
        return server.get(parts.path + (f"?{parts.query}" if parts.query else ""))
    except Refusal as refusal:
        if refusal.status in NOT_PUBLIC:
            raise _Unreachable(f"{url}: {refusal.status}, so it is not public") from None
        if refusal.status in REDIRECTS:
            raise _Unreachable(f"{url}: {refusal.status}; clouds follow no redirect") from None
        text = truncate(refusal.message, MAX_TEXT_CHARS)
        raise NotVerified(
            f"{url}: {f'{refusal.status}: ' if refusal.status else ''}{text}", refusal.retry_after
        ) from None
    finally:
        server.close()


def _jwks_uri(discovery: bytes, issuer: str) -> str:
    """Where the document says that the keys are: never less safe than the issuer itself."""
    url = str(_document(discovery, "discovery document").get("jwks_uri"))
    try:
        check_issuer(url.partition("?")[0])
    except ValueError:
        raise _Malformed(f"jwks_uri {_shown(url)} is no https URL") from None
    if urlsplit(issuer).scheme == "https" != urlsplit(url).scheme:
        raise _Malformed(f"jwks_uri {_shown(url)} is no https URL")
    return url


def _key_differences(cluster: tuple[Key, ...], there: tuple[Key, ...]) -> list[Difference]:
    ours, theirs = {key.kid: key for key in cluster}, {key.kid: key for key in there}
    found = []
    for kid, key in ours.items():
        if kid not in theirs:
            found.append(
                Difference(
                    "key-missing", f"key {key} is not public: tokens that it signs are refused"
                )
            )
        elif theirs[kid].material != key.material:
            found.append(Difference("key-differs", f"key {key} is another one of this name there"))
    found += [
        Difference(
            "key-extra",
            f"key {key} is public and the API server does not have it: whoever has its private half can issue tokens",
        )
        for kid, key in theirs.items()
        if kid not in ours
    ]
    found += [
        Difference("private-key", f"key {key} is published with its private half: replace it now")
        for key in there
        if key.is_private
    ]
    return found


def _published(discovery: bytes, jwks: bytes) -> Published:
    """Raises: _Malformed"""
    document = _document(discovery, "discovery document")
    key_set = _document(jwks, "key set")
    issuer, jwks_uri = document.get("issuer"), document.get("jwks_uri")
    if not isinstance(issuer, str) or not isinstance(jwks_uri, str):
        raise _Malformed("its discovery document must have issuer and jwks_uri")
    algorithms = document.get("id_token_signing_alg_values_supported")
    entries = key_set.get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise _Malformed(f"its key set must have keys, at most {MAX_KEYS}")
    return Published(
        issuer,
        jwks_uri,
        tuple(str(name)[:20] for name in algorithms[:20]) if isinstance(algorithms, list) else (),
        tuple(_key(entry) for entry in entries),
        document,
        key_set,
    )


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise _Malformed(f"its {what} must be a JSON object")
    return decoded


def _key(entry: object) -> Key:
    if not isinstance(entry, dict):
        raise _Malformed("each of its keys must be an object")
    kind = str(entry.get("kty"))
    if kind not in MATERIAL:
        raise _Malformed(f"a key of kind {quote(kind)} must be one of {', '.join(MATERIAL)}")
    parts = {name: str(entry.get(name, "")) for name in MATERIAL[kind]}
    canonical = msgspec.json.encode({"kty": kind, **parts}, order="sorted")
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")
    bits = f" {_bits(parts['n'])}" if kind == "RSA" else f" {parts['crv'][:20]}"
    return Key(
        str(entry.get("kid", "")),
        kind + bits,
        str(entry.get("alg", "")),
        thumbprint,
        any(name in entry for name in PRIVATE),
    )


def _bits(number: str) -> int:
    try:
        decoded = base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise _Malformed("a key of kind RSA must have n in base64url")
    return int.from_bytes(decoded, "big").bit_length()


def _is_internal(url: str) -> bool:
    """Whether nobody outside of the cluster's network can reach it, as far as its name says."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".svc", ".local", ".localhost", ".internal"))


def _shown(url: str) -> str:
    return quote(url, MAX_TEXT_CHARS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _explained(refusal: Refusal) -> str:
    message = truncate(refusal.message, MAX_TEXT_CHARS)
    match refusal.status:
        case 0:
            return f"the API server cannot be reached: {message}"
        case 403:
            advice = f"; needs the ClusterRole {DISCOVERY_ROLE}, and a ClusterRoleBinding to it"
        case 404:
            advice = "; the API server publishes nothing unless its --service-account-issuer is an https URL"
        case _:
            advice = ""
    return f"the API server's issuer: {refusal.status}: {message}{advice}"
