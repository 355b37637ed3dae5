"""Who may enter a service: what the middlewares for aiohttp.web and ASGI share.

Source: RFC 6750 for the header, the challenges and their errors; RFC 9110 sections 5.3 (a field
that may stand once) and 11 (schemes ignore case); RFC 6585 section 5 (431).
"""

import logging
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ..core.text import truncate
from .errors import EXPLANATIONS, InvalidToken, NotVerified
from .identity import Identity
from .screening import MAX_TOKEN_CHARS, check_audience
from .verifier import Verifier

REALM = "kubernetes"
MAX_FIELD_CHARS = MAX_TOKEN_CHARS + 64
"""Of an Authorization header: a token, the scheme and blanks."""
MAX_PATTERNS = 1000
MAX_OPEN_PATHS = 100
MAX_RETRY_AFTER_SECONDS = 60
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
_SCHEME = re.compile(r"bearer( |$)", re.IGNORECASE)
_PART = re.compile(r"[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_LOG = logging.getLogger("boundtoken.tokens")


class Denial(NamedTuple):
    """An answer to a request that does not get in."""

    status: int
    error: str
    """A code of RFC 6750, or empty where the request has no bearer token."""
    description: str
    retry_after: int = 0
    """In seconds; 0 for none."""

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, besides those of its body."""
        headers = {"Content-Type": "application/json"}
        if self.status in (400, 401, 403):
            challenge = f'Bearer realm="{REALM}"'
            if self.error:
                challenge += f', error="{self.error}", error_description="{self.description}"'
            headers["WWW-Authenticate"] = challenge
        if self.retry_after:
            headers["Retry-After"] = str(self.retry_after)
        return headers

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": self.error or "unauthorized", "error_description": self.description}
        )


NO_TOKEN = Denial(401, "", "a bearer token is needed")
SEVERAL = Denial(400, "invalid_request", "more than one Authorization header")
BAD_FIELD = Denial(400, "invalid_request", "the Authorization header must be: Bearer TOKEN")
TOO_LARGE = Denial(431, "invalid_request", "the Authorization header is too large")
NOT_ALLOWED = Denial(403, "insufficient_scope", "this service account is not allowed here")


class Guard:
    """Lets in requests with a token for `audience` of an allowed account.

    `accounts` are patterns `namespace/account`, in which `*` stands for any characters of one part:
    shop/cart, shop/*, */builder, team-*/*. `open_paths` need no token; a path is compared exactly,
    as it stands in the request.

    Raises: ValueError, naming the argument, its value and what would be right
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        audience: str,
        accounts: str | Iterable[str],
        open_paths: str | Iterable[str] = (),
    ) -> None:
        check_audience(audience)
        self._verifier = verifier
        self._audience = audience
        self._accounts = _patterns(_several(accounts))
        self._open_paths = frozenset(_paths(_several(open_paths)))

    def is_open(self, path: str) -> bool:
        """Whether requests of a path need no token. `path` is not decoded."""
        return path in self._open_paths

    async def identify(self, authorization: Sequence[str]) -> Identity | Denial:
        """Whose request it is, by its Authorization headers, or the answer that refuses it."""
        token = _token(authorization)
        if isinstance(token, Denial):
            return token
        try:
            identity = await self._verifier.averify(token, audience=self._audience)
        except InvalidToken as problem:
            _LOG.debug("%s", problem)
            return Denial(401, "invalid_token", f"{problem.reason}: {EXPLANATIONS[problem.reason]}")
        except NotVerified as problem:
            _LOG.debug("%s", problem)
            seconds = min(max(math.ceil(problem.retry_after), 1), MAX_RETRY_AFTER_SECONDS)
            return Denial(503, "temporarily_unavailable", "tokens cannot be verified now", seconds)
        if not self.allows(identity):
            _LOG.debug("%s is not allowed", identity)
            return NOT_ALLOWED
        return identity

    def allows(self, identity: Identity) -> bool:
        """Whether the account is one of those that are allowed."""
        return any(
            _matches(namespace, identity.namespace) and _matches(account, identity.account)
            for namespace, account in self._accounts
        )


def _token(authorization: Sequence[str]) -> str | Denial:
    """The token of a request, or the answer to one that has none."""
    if len(authorization) != 1:
        return SEVERAL if authorization else NO_TOKEN
    field = authorization[0].strip(" \t")
    if not _SCHEME.match(field):
        return NO_TOKEN  # another scheme: no bearer token was sent
    if len(field) > MAX_FIELD_CHARS:
        return TOO_LARGE
    match = _BEARER.fullmatch(field)
    return BAD_FIELD if match is None else match[1]


def _several(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else list(values)


def _patterns(accounts: list[str]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """The parts of each pattern, split at `*`. Raises: ValueError"""
    if not 0 < len(accounts) <= MAX_PATTERNS:
        raise ValueError(
            f"accounts: {len(accounts)} patterns must be 1 to {MAX_PATTERNS}; */* is every account of the cluster"
        )
    patterns = []
    for position, text in enumerate(accounts):
        namespace, slash, account = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not (slash and _is_part(namespace) and _is_part(account)):
            raise ValueError(
                f"accounts[{position}]: {truncate(repr(text), 100)} must be namespace/account, each of lower-case letters, digits, "
                "- and ., where * stands for any of them: shop/cart, shop/*, */builder"
            )
        patterns.append((tuple(namespace.split("*")), tuple(account.split("*"))))
    return tuple(patterns)


def _is_part(text: str) -> bool:
    return bool(_PART.fullmatch(text)) and "**" not in text


def _paths(paths: list[str]) -> list[str]:
    """Raises: ValueError"""
    if len(paths) > MAX_OPEN_PATHS:
        raise ValueError(f"open_paths: {len(paths)} must be at most {MAX_OPEN_PATHS}")
    for position, path in enumerate(paths):
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ValueError(
                f"open_paths[{position}]: {truncate(repr(path), 100)} must be a path such as "
                "/healthz, of letters, digits, . _ ~ - and /"
            )
    return paths


def _matches(pattern: tuple[str, ...], name: str) -> bool:
    """Whether `name` has the pieces of a pattern, in order, with anything in between.

    Why no regular expression: many stars make it slow.
    """
    first, *others = pattern
    if not others:
        return name == first
    *middle, last = others
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    start, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True
