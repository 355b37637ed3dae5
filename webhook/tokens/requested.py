"""A token of the TokenRequest API that is always valid: asked for once, shared, renewed in time."""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from .errors import NoToken
from .forks import reset_in_child
from .refresh import MAX_JITTER_SECONDS, MAX_RETRY_AFTER_SECONDS, backoff, refresh_at
from .request import (
    IssuedToken,
    TokenRequest,
    explained,
    is_gone,
    issued,
    lifetime_warning,
)
from .server import ApiServer, Refusal
from .workers import Workers, workers

if TYPE_CHECKING:
    from ..core.claims import Claims, ObjectReference

WAIT_SECONDS = 30.0
"""That a caller waits at most where there is no valid token: three calls that get no answer."""
RENEWAL_SECONDS = 10.0
"""Between two renewals because of a 401: a server that rejects every token costs the API server one
request in that time."""
_LOG = logging.getLogger("boundtoken.tokens")


class _Token(NamedTuple):
    """A token, with times by our own clock."""

    text: str
    claims: "Claims"
    since: float
    refresh_at: float
    expires_at: float


class TokenRequestSource:
    """A token for `request`, valid whenever `get` returns it.

    It is renewed by the first call after 80 % of its lifetime or 24 hours, up to 10 seconds
    earlier; meanwhile, and while renewing fails, the old one is returned as long as it is valid.
    All threads and coroutines share one request. After a failure the next one is made after 1, 2,
    4 … 60 seconds, or when the API server's Retry-After allows it.

    How long a token lives is computed from its `iat` and `exp`, so a wrong clock of this machine
    does no harm. A lifetime that was not requested is logged once (logger boundtoken.tokens).

    `clock` gives seconds and may jump. Safe under threads, in coroutines of any loop, and across
    fork: a child keeps the token.
    """

    def __init__(
        self,
        server: ApiServer,
        request: TokenRequest,
        *,
        clock: Callable[[], float] = time.time,
        pool: Workers | None = None,
    ) -> None:
        self.request = request
        self._server = server
        self._clock = clock
        self._pool = pool
        self._current: _Token | None = None
        self._failures = 0
        self._next_try = self._next_renewal = float("-inf")
        self._refusal: Refusal | None = None
        self._is_closed = self._has_warned = False
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        """Forget the request that the parent is making."""
        self._lock = threading.Lock()
        self._in_flight: Future[str | Refusal] | None = None

    def get(self) -> str:
        """The token.

        Raises: NoToken, which is RequestRefused with what to do where the API server has answered;
                also after WAIT_SECONDS and after `close`
        """
        now = self._clock()
        token = self._current
        if token is not None and token.since <= now < token.refresh_at:
            return token.text
        return self._result(self._valid_or_coming())

    async def aget(self) -> str:
        """The same, in a coroutine."""
        now = self._clock()
        token = self._current
        if token is not None and token.since <= now < token.refresh_at:
            return token.text
        return await self._aresult(self._valid_or_coming())

    def renew(self, rejected: str) -> str:
        """Another token than `rejected`, which a server has answered with 401; the same where none
        can be had now, or where the last renewal was less than RENEWAL_SECONDS ago.

        Raises: as `get` does
        """
        return self._result(self._another(rejected))

    async def arenew(self, rejected: str) -> str:
        """The same, in a coroutine."""
        return await self._aresult(self._another(rejected))

    @property
    def claims(self) -> "Claims":
        """What the present token says of itself. Raises: as `get` does"""
        self.get()
        return self._present().claims

    @property
    def expires_at(self) -> datetime:
        """When the present token expires, by this machine's clock. Raises: as `get` does"""
        self.get()
        return datetime.fromtimestamp(self._present().expires_at, UTC)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences of the present token. Raises: as `get` does"""
        return self.claims.audiences

    @property
    def bound_to(self) -> "ObjectReference | None":
        """The object that the present token is bound to. Raises: as `get` does"""
        return self.claims.bound_to

    def close(self) -> None:
        """Forget the token. An answer that is still to come is thrown away."""
        with self._lock:
            self._is_closed, self._current = True, None

    def is_of_use(self, now: float) -> bool:
        """Whether there is a valid token, or one is being requested."""
        token = self._current
        return self._in_flight is not None or (token is not None and now < token.expires_at)

    def _present(self) -> _Token:
        if (token := self._current) is None:
            raise NoToken(f"token of {self.request}: it has just been forgotten")
        return token

    def _valid_or_coming(self) -> "str | Future[str | Refusal]":
        """The present token where it is valid, else the request in flight. Starts a request where
        one is due.
        """
        with self._lock:
            now = self._clock()  # again: a time from before the lock may be before `since`
            token = self._open()
            is_valid = token is not None and now < token.expires_at
            if token is not None and is_valid and token.since <= now < token.refresh_at:
                return token.text
            if self._in_flight is None and _is_past(now, self._next_try):
                self._start()
            if token is not None and is_valid:
                return token.text
            if self._in_flight is not None:
                return self._in_flight
            refusal, wait = self._refusal, self._next_try - now
        raise self._explained(refusal or Refusal(0, "no thread can be started"), wait)

    def _another(self, rejected: str) -> "str | Future[str | Refusal]":
        """A token that is not `rejected`, or the request that brings it, or `rejected`."""
        with self._lock:
            now = self._clock()
            token = self._open()
            if token is not None and token.text != rejected and now < token.expires_at:
                return token.text  # another call was rejected before
            if self._in_flight is None:
                if not (_is_past(now, self._next_try) and _is_past(now, self._next_renewal)):
                    return rejected
                self._next_renewal = now + RENEWAL_SECONDS
                self._start()
            return self._in_flight or rejected

    def _open(self) -> _Token | None:
        if self._is_closed:
            raise NoToken(f"token of {self.request}: its source is closed")
        return self._current

    def _start(self) -> None:
        """Hand the request to the pool; the lock is held."""
        future: Future[str | Refusal] = Future()
        future.set_running_or_notify_cancel()  # a waiter that gives up cancels it for no other
        try:
            (self._pool or workers()).submit(lambda: self._ask(future))
        except RuntimeError:  # no thread can be started
            return
        self._in_flight = future

    def _ask(self, future: "Future[str | Refusal]") -> None:
        """Make the request, and tell those who wait; in a thread of the pool."""
        try:
            sent = self._clock()
            answer = issued(self._server.post(self.request.path, self.request.body()))
            future.set_result(self._received(sent, answer))
        except Refusal as refusal:
            future.set_result(self._failed(refusal))
        except Exception as unexpected:  # noqa: BLE001  (who waits must hear of anything)
            future.set_result(self._failed(Refusal(0, type(unexpected).__name__)))

    def _received(self, sent: float, answer: IssuedToken) -> str:
        """Keep the token of an answer. Its times are moved to our clock: it was issued after we
        sent the request, so it expires too early for us rather than too late.
        """
        offset = sent - answer.issued_at
        token = _Token(
            answer.text,
            answer.claims,
            sent,
            refresh_at(sent, answer.replace_at + offset, random.uniform(0, MAX_JITTER_SECONDS)),  # noqa: S311
            answer.expires_at + offset,
        )
        warning = "" if self._has_warned else lifetime_warning(self.request, answer)
        with self._lock:
            self._in_flight = self._refusal = None
            self._failures, self._next_try = 0, float("-inf")
            self._has_warned = self._has_warned or bool(warning)
            if not self._is_closed:
                self._current = token
        if warning:
            _LOG.warning("%s", warning)
        return token.text

    def _failed(self, refusal: Refusal) -> str | Refusal:
        """Remember a failure; gives the present token where it is valid."""
        now = self._clock()
        with self._lock:
            self._in_flight, self._refusal = None, refusal
            self._failures += 1
            wait = backoff(self._failures, refusal.retry_after, random.random())  # noqa: S311
            self._next_try = now + wait
            if is_gone(self.request, refusal):
                self._current = None
            token = self._current
        if token is None or now >= token.expires_at:
            return refusal
        _LOG.warning("%s; the old one is used on", self._explained(refusal, wait))
        return token.text

    def _explained(self, refusal: Refusal, wait: float) -> NoToken:
        return explained(self.request, refusal, max(wait, 0.0))

    def _result(self, token: "str | Future[str | Refusal]") -> str:
        if isinstance(token, str):
            return token
        try:
            return self._text(token.result(WAIT_SECONDS))
        except TimeoutError:
            raise self._nothing_came() from None

    async def _aresult(self, token: "str | Future[str | Refusal]") -> str:
        if isinstance(token, str):
            return token
        import asyncio  # noqa: PLC0415  (who imports the library may not need it)

        try:
            return self._text(await asyncio.wait_for(asyncio.wrap_future(token), WAIT_SECONDS))
        except TimeoutError:
            raise self._nothing_came() from None

    def _text(self, result: str | Refusal) -> str:
        """One exception for each waiter: a shared one would collect the tracebacks of all."""
        if isinstance(result, str):
            return result
        raise self._explained(result, self._next_try - self._clock())

    def _nothing_came(self) -> NoToken:
        return NoToken(f"token of {self.request}: no answer within {WAIT_SECONDS:.0f} s", 1.0)


def _is_past(now: float, until: float) -> bool:
    """Also where the clock was set back by hours: nobody waits for hours."""
    return now >= until or until - now > 2 * MAX_RETRY_AFTER_SECONDS
