"""The token in a file that the kubelet replaces: a projected volume of a pod.

The rule is that of client-go (transport/token_source.go): read again after a minute, and ten
seconds before the token expires. A program that reads the file once gets 401 within the hour.
"""

import logging
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..core.claims import (
    MAX_TOKEN_BYTES,
    TOKEN_TEXT,
    Claims,
    NotAToken,
    ObjectReference,
    claims_of,
)
from ..core.names import DEFAULT_PATH
from .errors import Expired, NoToken, Unreadable

SERVICE_ACCOUNT = Path(DEFAULT_PATH)
REREAD_SECONDS = 60.0
LEEWAY_SECONDS = 10.0
DOTS_OF_A_JWT = 2
MAX_CA_BYTES = 1 << 20
"""As much as a ConfigMap can hold."""
_LOG = logging.getLogger("boundtoken.tokens")

_Stamp = tuple[int, int, int, int]


class _Read(NamedTuple):
    text: str
    claims: Claims | None
    expires_at: float
    since: float
    until: float
    stamp: _Stamp


class TokenFile:
    """The token in `path`, read again after a minute, ten seconds before it expires, and whenever
    the file has changed.

    Where it cannot be read, the last good one is returned until it expires. A token that has
    expired by this machine's clock is never returned. A text that is no JWT is returned too, and
    has no expiry. `clock` gives seconds since 1970. Safe under threads, in coroutines, and across
    fork.
    """

    def __init__(
        self,
        path: str | Path = SERVICE_ACCOUNT / "token",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._name = str(path)
        self._clock = clock
        self._last: _Read | None = None
        self._is_failing = False

    def get(self) -> str:
        """The token. Raises: Unreadable; Expired, where no newer one is in the file"""
        return self._now().text

    async def aget(self) -> str:
        """The same; a projected volume is in memory, so to read it takes microseconds."""
        return self._now().text

    def renew(self, rejected: str) -> str:  # noqa: ARG002  (a file has no other than what is in it)
        """What the file holds now: only the kubelet can renew it. Raises: as `get` does"""
        return self._read(self._clock()).text

    async def arenew(self, rejected: str) -> str:
        """The same."""
        return self.renew(rejected)

    @property
    def claims(self) -> Claims:
        """What the token says of itself. Raises: as `get` does, and Unreadable for no JWT"""
        if (claims := self._now().claims) is None:
            raise Unreadable(f"{self.path}: what it holds is no JWT, so it has no claims")
        return claims

    @property
    def expires_at(self) -> datetime | None:
        """When the token expires; None where it does not say. Raises: as `get` does"""
        claims = self._now().claims
        if claims is None or claims.expires_at is None:
            return None
        return datetime.fromtimestamp(claims.expires_at, UTC)

    @property
    def audiences(self) -> tuple[str, ...]:
        """Raises: as `claims` does"""
        return self.claims.audiences

    @property
    def bound_to(self) -> ObjectReference | None:
        """The object that the token is bound to: in a pod, the Pod. Raises: as `claims` does"""
        return self.claims.bound_to

    @property
    def namespace(self) -> str:
        """The namespace of the pod, from the file `namespace` beside. Raises: Unreadable"""
        return _read(self.path.parent / "namespace", MAX_TOKEN_BYTES).strip()

    @property
    def ca_file(self) -> Path:
        """The certificates of the API server, the file `ca.crt` beside."""
        return self.path.parent / "ca.crt"

    @property
    def ca(self) -> str:
        """The same as PEM text. Raises: Unreadable"""
        return _read(self.ca_file, MAX_CA_BYTES)

    def _now(self) -> _Read:
        last, now = self._last, self._clock()
        if last is not None and last.since <= now < last.until and _stamp(self._name) == last.stamp:
            return last
        return self._read(now)

    def _read(self, now: float) -> _Read:
        stamp = _stamp(self._name)  # before the content: a change between the two is seen next time
        try:
            read = self._parsed(_read(self.path, MAX_TOKEN_BYTES).strip(), now, stamp)
            if now >= read.expires_at:
                expired = datetime.fromtimestamp(read.expires_at, UTC)
                raise Expired(
                    f"{self.path}: its token expired at {expired:%Y-%m-%dT%H:%M:%SZ}, and nobody has replaced it"
                )
        except NoToken as problem:
            if (last := self._last) is None or now >= last.expires_at:
                raise
            if not self._is_failing:
                _LOG.warning("%s; the last good token is used until it expires", problem)
            self._is_failing = True
            return last
        self._is_failing = False
        self._last = read
        return read

    def _parsed(self, text: str, now: float, stamp: _Stamp | None) -> _Read:
        if len(text) > MAX_TOKEN_BYTES or not TOKEN_TEXT.fullmatch(text):
            raise Unreadable(
                f"{self.path}: must hold a token, which is at most {MAX_TOKEN_BYTES} bytes of printable ASCII without whitespace"
            )
        try:
            claims = claims_of(text)
        except NotAToken as problem:
            if text.count(".") == DOTS_OF_A_JWT:
                raise Unreadable(f"{self.path}: {problem}") from None
            claims = None
        last = self._last
        if (
            claims is None
            and last is not None
            and last.claims is not None
            and now < last.expires_at
        ):
            raise Unreadable(
                f"{self.path}: must hold a JWT, as before"
            )  # half a file replaces none
        expires_at = float("inf")
        if claims is not None and claims.expires_at is not None:
            expires_at = claims.expires_at
        until = min(now + REREAD_SECONDS, expires_at - LEEWAY_SECONDS)
        return _Read(text, claims, expires_at, now, until, stamp or (0, 0, 0, 0))


def _stamp(path: str) -> _Stamp | None:
    """What differs when the kubelet has swapped the folder that the path leads through."""
    try:
        found = os.stat(path)  # noqa: PTH116  (on the path of each request; Path takes twice as long)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev


def _read(path: Path, limit: int) -> str:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(limit + 1).decode("utf-8", "replace")
        problem = "not a file"
    except OSError as failure:
        problem = failure.strerror or type(failure).__name__
    except ValueError:  # of a path with a NUL or a surrogate in it
        problem = "not a path"
    raise Unreadable(f"{path!s:.200}: {problem}; the pod needs a projected volume there")


def _without_waiting(path: str, flags: int) -> int:
    """Opens a FIFO without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)
