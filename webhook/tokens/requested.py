"""A token of the TokenRequest API that is always valid: asked for once, shared, renewed in time."""

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from .answers import awaited, to_come
from .errors import NoToken
from .forks import reset_in_child
from .refresh import MAX_JITTER_SECONDS, NO_PAUSE, Pause, backoff, refresh_at
from .request import (
    IssuedToken,
    TokenRequest,
    explained,
    is_gone,
    issued,
    lifetime_warning,
    remembered,
)
from .server import ApiServer, Refusal
from .workers import Workers

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..core.claims import Claims, ObjectReference

WAIT_SECONDS = 30.0
"""That a caller waits at most where there is no valid token, in the queue of its API server
included."""
LEEWAY_SECONDS = 10.0
"""Before a token expires it is not returned any more: a request takes its time, and clocks differ.
Of a short lifetime a tenth."""
RENEWAL_SECONDS = 10.0
"""Between two renewals because of a 401: a server that rejects every token costs the API server one
request in that time."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LOG = logging.getLogger("boundtoken.tokens")


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class _Token(NamedTuple):
    """A token, with times by our own clock. It is of use from `since` until `until`."""

    text: str
    claims: "Claims"
    since: float
    refresh_at: float
    until: float


class TokenRequestSource:
    """A token for `request`, valid whenever `get` returns it.

    It is renewed by the first call after 80 % of its lifetime or 24 hours, up to 10 seconds
    earlier; meanwhile, and while renewing fails, the old one is returned as long as it is valid.
    All threads and coroutines share one request. After a failure the next one is made after 1, 2,
    4 … 60 seconds, or when the API server's Retry-After allows it.

    How long a token lives is computed from its `iat` and `exp`, so a wrong clock of this machine
    does no harm; ten seconds before its end it is not returned any more. A lifetime that was not
    requested is logged once (logger boundtoken.tokens).

    `clock` gives seconds, from any point in time. Safe under threads, in coroutines of any loop,
    and across fork: a child keeps the token. In a coroutine call `aget` before the properties,
    which make the request where there is no token yet.
    """

    def __init__(
        self,
        server: ApiServer,
        request: TokenRequest,
        *,
        clock: Callable[[], float] = steady,
        pool: Workers | None = None,
    ) -> None:
        self.request = request
        self._server = server
        self._clock = clock
        self._pool = pool or server.workers
        self._current: _Token | None = None
        self._failures = 0
        self._next_try = self._next_renewal = NO_PAUSE
        self.was_used = False
        self._refusal: Refusal | None = None
        self._is_closed = self._has_warned = False
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        """Forget the request that the parent is making, and renew at another time than it."""
        # Reentrant, because a signal handler or __del__ may ask for a token in the midst of this.
        self._lock = threading.RLock()
        self._in_flight: Future[str | Refusal] | None = None
        if (token := self._current) is not None:
            earlier = min(_jitter(), (token.until - token.since) / 10)
            self._current = token._replace(refresh_at=token.refresh_at - earlier)

    def get(self) -> str:
        """The token.

        Raises: NoToken, which is RequestRefused with what to do where the API server has answered;
                also after WAIT_SECONDS and after `close`
        """
        self.was_used = True
        now = self._clock()
        token = self._current
        if token is not None and token.since <= now < token.refresh_at:
            return token.text
        return self._result(self._valid_or_coming())

    async def aget(self) -> str:
        """The same, in a coroutine."""
        self.was_used = True
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
        """When the present token expires, by the API server's clock. Raises: as `get` does"""
        return datetime.fromtimestamp(self.claims.expires_at or 0, UTC)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences of the present token. Raises: as `get` does"""
        return self.claims.audiences

    @property
    def bound_to(self) -> "ObjectReference | None":
        """The object that the present token is bound to. Raises: as `get` does"""
        return self.claims.bound_to

    def close(self) -> None:
        """Forget the token. Who waits for an answer still gets it; it is kept for nobody else."""
        with self._lock:
            self._is_closed, self._current = True, None

    def is_of_use(self) -> bool:
        """Whether there is a token, or one is being requested, or will be after a failure."""
        now = self._clock()
        return (
            self._in_flight is not None or self._valid(now) is not None or self._next_try.lasts(now)
        )

    def _valid(self, now: float) -> _Token | None:
        token = self._current
        return token if token is not None and token.since <= now < token.until else None

    def _present(self) -> _Token:
        if (token := self._current) is None:
            raise NoToken(f"token of {self.request}: it has just been forgotten")
        return token

    def _valid_or_coming(self) -> "str | Future[str | Refusal]":
        """The present token where it is valid, else the request in flight. Starts a request where
        one is due.
        """
        with self._lock:
            self._check_open()
            now = self._clock()  # again: a time from before the lock may be before `since`
            token = self._valid(now)
            if token is not None and now < token.refresh_at:
                return token.text
            if self._in_flight is None and not self._next_try.lasts(now):
                self._start()
            if token is not None:
                return token.text
            return self._coming(now)

    def _another(self, rejected: str) -> "str | Future[str | Refusal]":
        """A token that is not `rejected`, or the request that brings it, or `rejected` where it is
        the present one and no other can be had now.
        """
        with self._lock:
            self._check_open()
            now = self._clock()
            token = self._valid(now)
            if token is not None and token.text != rejected:
                return token.text  # another call was rejected before
            is_early = self._next_try.lasts(now) or self._next_renewal.lasts(now)
            if self._in_flight is None and not is_early:
                self._next_renewal = Pause(now, RENEWAL_SECONDS)
                self._start()
            if self._in_flight is None and token is not None:
                return token.text
            return self._coming(now)

    def _coming(self, now: float) -> "Future[str | Refusal]":
        if self._in_flight is not None:
            return self._in_flight
        refusal = self._refusal or Refusal(0, "no thread can be started")
        raise self._explained(refusal, self._next_try.remaining(now))

    def _check_open(self) -> None:
        if self._is_closed:
            raise NoToken(f"token of {self.request}: its source is closed")

    def _start(self) -> None:
        """Hand the request to the pool; the lock is held."""
        future: Future[str | Refusal] = to_come()
        try:
            self._pool.submit(lambda: self._ask(future))
        except RuntimeError:  # no thread can be started
            return
        self._in_flight = future

    def _ask(self, future: "Future[str | Refusal]") -> None:
        """Make the request, and tell those who wait; in a thread of the pool."""
        result: str | Refusal
        try:
            sent = self._clock()
            answer = issued(self._server.post(self.request.path, self.request.body()))
            result, warning = self._received(sent, answer)
        except Refusal as refusal:
            result, warning = self._failed(remembered(refusal))
        except Exception as unexpected:  # noqa: BLE001  (who waits must hear of anything)
            result, warning = self._failed(Refusal(0, type(unexpected).__name__))
        try:
            if warning:
                _LOG.warning("%s", warning)
        finally:  # whatever a log handler does
            future.set_result(result)

    def _received(self, sent: float, answer: IssuedToken) -> tuple[str, str]:
        """Keep the token of an answer; gives its text, and a warning.

        By our clock it began to live when we sent the request, at the latest. `iat` has whole
        seconds, so it may have begun one second before.

        Raises: Refusal, where its lifetime is over by now
        """
        lifetime = answer.expires_at - answer.issued_at - 1
        token = _Token(
            answer.text,
            answer.claims,
            sent,
            refresh_at(sent, sent + answer.replace_at - answer.issued_at, _jitter()),
            sent + lifetime - min(LEEWAY_SECONDS - 1, lifetime / 10),
        )
        if not sent <= self._clock() < token.until:
            raise Refusal(0, "its answer has a token that has expired meanwhile")
        warning = "" if self._has_warned else lifetime_warning(self.request, answer)
        with self._lock:
            self._in_flight = self._refusal = None
            self._failures, self._next_try = 0, NO_PAUSE
            self._has_warned = self._has_warned or bool(warning)
            if not self._is_closed:
                self._current = token
        return token.text, warning

    def _failed(self, refusal: Refusal) -> tuple[str | Refusal, str]:
        """Remember a failure; gives the present token where it is valid, and a warning."""
        now = self._clock()
        with self._lock:
            self._in_flight, self._refusal = None, refusal
            self._failures += 1
            wait = backoff(self._failures, refusal.retry_after, random.random())  # noqa: S311
            self._next_try = Pause(now, wait)
            if is_gone(self.request, refusal):
                self._current = None
            token = self._valid(now)
        if token is None:
            return refusal, ""
        return token.text, f"{self._explained(refusal, wait)}; the old one is used on"

    def _explained(self, refusal: Refusal, wait: float) -> NoToken:
        return explained(self.request, refusal, wait)

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
        try:
            return self._text(await awaited(token, WAIT_SECONDS))
        except TimeoutError:
            raise self._nothing_came() from None

    def _text(self, result: str | Refusal) -> str:
        """One exception for each waiter: a shared one would collect the tracebacks of all."""
        if isinstance(result, str):
            return result
        raise self._explained(result, self._next_try.remaining(self._clock()))

    def _nothing_came(self) -> NoToken:
        return NoToken(f"token of {self.request}: no answer within {WAIT_SECONDS:.0f} s", 1.0)


def _jitter() -> float:
    return random.uniform(0, MAX_JITTER_SECONDS)  # noqa: S311
