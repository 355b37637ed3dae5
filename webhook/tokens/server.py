"""Blocking calls to the API server: TokenRequests, TokenReviews and the issuer's keys.

Why not cluster.client: it needs aiohttp and a running loop, and a program that only asks for a
token should need neither. Why http.client: the library must add no dependency to the programs that
use it. It and ssl are imported when an ApiServer is made, because they take as long as all the
rest; not in a thread, because the child of a fork would inherit half a module.
"""

import io
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self
from urllib.parse import urlsplit
from weakref import finalize

import msgspec

from .. import __version__
from ..core.text import truncate, without_tokens
from ..errors import BoundtokenError, Unauthenticated
from .errors import NoToken
from .forks import reset_in_child
from .workers import Workers

if TYPE_CHECKING:
    import http.client
    import socket
    import ssl
    from pathlib import Path

CALL_SECONDS = 10.0
"""For one call, connecting included; the API server answers a TokenRequest in a few ms."""
MAX_ANSWER_BYTES = 1 << 20
"""A TokenReview has a few KiB, a key set less than 100 KiB."""
MAX_IDLE_CONNECTIONS = 4
MAX_IDLE_SECONDS = 30.0
"""After which a connection is not used again: what stands in between may have forgotten it."""
MAX_DETAIL_CHARS = 200
MIN_SECRET_CHARS = 8
"""Of a token that is no JWT; a shorter one is no secret, and may be part of a word."""
MAX_WARNINGS = 64
"""Of one answer; the API server truncates them to 4096 characters together."""
AGENT = f"boundtoken-tokens/{__version__}"
ACCEPT = "application/json, */*"
"""The API server's keys are application/jwk-set+json: it answers 406 to who accepts only JSON."""
_WARNING = re.compile(r'\b299 \S+ "((?:[^"\\]|\\.)*)"')


class Credentials(Protocol):
    """What a client needs: `server` is a URL without a trailing slash."""

    server: str

    def tls(self) -> "ssl.SSLContext | bool":
        """The context that verifies the server."""
        ...

    def header(self) -> str | None:
        """The Authorization header of the next request; None with a client certificate."""
        ...


class Refusal(Exception):
    """The API server answered with an error: its HTTP code, the message of its Status, the resource
    that the Status is about, and the seconds of Retry-After. `status` is 0 where no answer came.
    """

    def __init__(self, status: int, message: str, kind: str = "", retry_after: float = 0.0) -> None:
        # One line without a token, whoever wrote it: an admission webhook, a proxy.
        shown = "".join(char if char.isprintable() else " " for char in message)
        self.message = without_tokens(shown)
        super().__init__(f"{status}: {self.message}")
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


class AnswerTooLong(Refusal):
    """The answer has more than MAX_ANSWER_BYTES; of a list a smaller page can be requested."""


class ApiServer:
    """The API server, with the credentials that `credentials` gives for each call.

    Thread-safe; connections are kept and used again, at most MAX_IDLE_CONNECTIONS. `workers` are
    the threads in which sources make their calls to it. `on_warning` is called, in the thread of
    the call, with each warning that an answer has for the user.
    """

    def __init__(
        self,
        credentials: Credentials,
        timeout: float = CALL_SECONDS,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        import http.client  # noqa: F401, PLC0415  (see the module's docstring)
        import ssl  # noqa: F401, PLC0415

        self._credentials = credentials
        self._timeout = timeout
        self._on_warning = on_warning
        self.workers = Workers()
        self._idle: list[_Connection] = []
        self.after_fork()
        reset_in_child(self)

    @classmethod
    def in_cluster(cls, directory: "Path | None" = None) -> Self:
        """With the token and CA of this pod, which are read again for each call.

        Raises: NoToken, outside of a cluster
        """
        from ..cluster import credentials  # noqa: PLC0415  (with asyncio it is half of the import)

        try:
            return cls(credentials.InCluster(os.environ, directory or credentials.SERVICE_ACCOUNT))
        except Unauthenticated as problem:
            raise NoToken(f"{problem}; outside of one use ApiServer.from_kubeconfig") from None

    @classmethod
    def from_kubeconfig(cls, file: str | None = None, context: str | None = None) -> Self:
        """With a context of a kubeconfig, which the `kubernetes` package reads.

        Raises: NoToken, where the file or the context cannot be used
        """
        from ..cluster.credentials import FromKubeconfig  # noqa: PLC0415

        try:
            return cls(FromKubeconfig(file, context))
        except Unauthenticated as problem:
            raise NoToken(str(problem)) from None

    def after_fork(self) -> None:
        """Start anew: the parent goes on with the connections."""
        self._lock = threading.RLock()
        _close_all(self._idle)  # of the child only: nothing is sent
        self._idle = []
        finalize(self, _close_all, self._idle)  # for programs that never call close

    def close(self) -> None:
        """Close the connections that are idle; a later call makes new ones."""
        with self._lock:
            _close_all(self._idle)

    def get(self, path: str) -> bytes:
        """The body of the answer to a GET. Raises: Refusal"""
        return self.call("GET", path)

    def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer to a POST of JSON. It may be sent twice. Raises: Refusal"""
        return self.call("POST", path, body)

    def call(self, verb: str, path: str, body: bytes | None = None) -> bytes:
        """The body of an answer of 200 to 299.

        Raises: Refusal, whatever went wrong
        """
        secret = ""
        try:
            headers = self._headers(body)
            secret = headers.get("Authorization", "").rpartition(" ")[2]
            answer = self._answer(_Message(verb, path, body, headers))
        except Refusal:
            raise
        except Exception as problem:  # noqa: BLE001
            # Only the text of these is safe to show: that of another may quote the header.
            is_safe = isinstance(problem, OSError | BoundtokenError)
            detail = f": {truncate(str(problem), MAX_DETAIL_CHARS)}" if is_safe else ""
            what = f"{verb} {self._credentials.server}{path}"
            raise Refusal(0, f"{what}: {type(problem).__name__}{detail}") from None
        if self._on_warning is not None:
            for warning in answer.warnings:
                self._on_warning(warning)
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            raise _refusal(answer, secret)
        return answer.body

    def _answer(self, message: "_Message") -> "_Answer":
        context = self._credentials.tls()
        while (connection := self._take(context)) is not None:
            try:
                return self._over(connection, message)
            except TimeoutError:
                self.close()  # the others may be as dead
                raise
            except OSError:  # the server has closed a connection that was idle: try the next
                continue
        return self._over(_Connection(self._credentials.server, context, self._timeout), message)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"Accept": ACCEPT, "User-Agent": AGENT}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if (authorization := self._credentials.header()) is not None:
            headers["Authorization"] = authorization
        return headers

    def _over(self, connection: "_Connection", message: "_Message") -> "_Answer":
        try:
            answer = connection.call(message)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, is_usable=answer.is_whole)
        return answer

    def _take(self, context: "ssl.SSLContext | bool") -> "_Connection | None":
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                is_fresh = time.monotonic() - connection.used_at < MAX_IDLE_SECONDS
                if is_fresh and connection.context is context:  # another one of a changed CA
                    return connection
                connection.close()
        return None

    def _give_back(self, connection: "_Connection", *, is_usable: bool) -> None:
        with self._lock:
            if is_usable and len(self._idle) < MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


class _Message(NamedTuple):
    verb: str
    path: str
    body: bytes | None
    headers: dict[str, str]


class _Answer(NamedTuple):
    status: int
    reason: str
    body: bytes
    retry_after: float
    is_whole: bool  # and the connection stays open
    warnings: tuple[str, ...]


class _Connection:
    """One connection to the server of a URL."""

    def __init__(self, url: str, context: "ssl.SSLContext | bool", timeout: float) -> None:
        import http.client  # noqa: PLC0415  (see the module's docstring)

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OSError(f"{url}: must be the URL of an API server, https://HOST:PORT")
        self.context = context
        self.used_at = time.monotonic()
        self._base = parts.path
        self._timeout = timeout
        host = parts.hostname
        self._http: http.client.HTTPConnection
        if parts.scheme == "https":
            chosen = None if isinstance(context, bool) else context
            self._http = http.client.HTTPSConnection(
                host, parts.port or 443, timeout=timeout, context=chosen
            )
        else:
            self._http = http.client.HTTPConnection(host, parts.port or 80, timeout=timeout)

    def call(self, message: _Message) -> _Answer:
        deadline = time.monotonic() + self._timeout
        verb, path, body, headers = message
        self._http.request(verb, self._base + path, body, headers)
        # http.client's timeout is for one packet, so a server that drips could go on for ever.
        self._http.response_class = partial(_response, deadline=deadline)  # type: ignore[assignment]
        answer = self._http.getresponse()
        try:
            return self._read(answer, f"{verb} {path}")
        except BaseException:
            answer.close()
            raise

    def _read(self, answer: "http.client.HTTPResponse", what: str) -> _Answer:
        chunks, size = [], 0
        while chunk := answer.read1(1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                text = f"{what}: an answer of more than {MAX_ANSWER_BYTES} bytes"
                raise AnswerTooLong(0, text)
        if answer.length:
            raise ConnectionError(f"an answer that ends {answer.length} bytes too early")
        answer.read()  # nothing: it lets the connection be used again
        self.used_at = time.monotonic()
        return _Answer(
            answer.status,
            answer.reason,
            b"".join(chunks),
            _seconds(answer.headers.get("Retry-After", "")),
            answer.isclosed() and not answer.will_close,
            _warnings(answer.headers.get_all("Warning") or ()),
        )

    def close(self) -> None:
        self._http.close()


class _Timed(io.RawIOBase):
    """The bytes of a socket, until a deadline of the monotonic clock."""

    def __init__(self, raw: io.RawIOBase, sock: "socket.socket", deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()


def _response(
    sock: "socket.socket", *arguments: Any, deadline: float, **options: Any
) -> "http.client.HTTPResponse":
    import http.client  # noqa: PLC0415

    response = http.client.HTTPResponse(sock, *arguments, **options)
    response.fp = io.BufferedReader(_Timed(response.fp.detach(), sock, deadline))
    return response


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        connections.pop().close()


class _Details(msgspec.Struct):
    kind: str = ""


class _Status(msgspec.Struct):
    message: str = ""
    details: _Details | None = None


_STATUS = msgspec.json.Decoder(_Status)


def _refusal(answer: _Answer, secret: str) -> Refusal:
    """`secret` is what proved who we are: a proxy in between may repeat it."""
    try:
        status = _STATUS.decode(answer.body)
    except (ValueError, RecursionError):  # a proxy in between may send anything
        status = _Status(answer.reason)
    kind = status.details.kind if status.details is not None else ""
    message = status.message or answer.reason
    if len(secret) >= MIN_SECRET_CHARS:
        message = message.replace(secret, "(a token)")
    return Refusal(answer.status, message, kind, answer.retry_after)


def _warnings(headers: Iterable[str]) -> tuple[str, ...]:
    """The texts of Warning headers (RFC 7234 section 5.5; the API server writes code 299 only)."""
    found = [
        re.sub(r"\\(.)", r"\1", text).encode("latin-1", "replace").decode("utf-8", "replace")
        for header in headers
        for text in _WARNING.findall(header)
    ]
    return tuple(found[:MAX_WARNINGS])


def _seconds(text: str) -> float:
    """Of a Retry-After header, 0 for its other form, a date, which the API server never sends."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0  # noqa: PLR2004
