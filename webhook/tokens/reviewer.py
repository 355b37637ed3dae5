"""TokenReviewVerifier: the API server says whether a token is valid, and what it says is kept."""

import contextlib
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .answers import Answers, awaited, to_come
from .errors import InvalidReason, InvalidToken, NotVerified
from .forks import reset_in_child
from .identity import Identity
from .refresh import NO_PAUSE, Pause
from .review import PATH, Failure, body, failure, reviewed
from .screening import (
    LEEWAY_SECONDS,
    MAX_TOKEN_CHARS,
    Screened,
    check_audience,
    check_leeway,
    screen,
)
from .server import ApiServer, Refusal
from .workers import Workers

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .verifier import Verifier

CACHE_SECONDS = 60.0
MAX_CACHE_SECONDS = 3600.0
REFUSED_SECONDS = 1.0
"""That a refusal is kept: a token may become valid, and a client that repeats itself is cheap."""
MAX_ACCEPTED = 10_000
"""About 11 MB. Only what the API server has accepted is kept here: to push out another account's
token takes as many TokenRequests."""
MAX_REFUSED = 4_096
"""About 1 MB, in a place of their own: whoever sends garbage pushes out only garbage."""
MAX_PENDING = 256
"""Tokens that wait for the API server at the same time, of at most 16 KiB each: a second's work."""
PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 10.0
"""After a failure that says something about the API server nobody asks it for so long, or for as
long as its Retry-After says, up to a bound: a service must not stay away for minutes.
"""
QUIET_SECONDS = 10.0
"""Between two warnings in the log."""
WAIT_SECONDS = 15.0
"""That a caller waits at most: one call, and its turn. With signatures the same time again, for
their keys."""
_LOG = logging.getLogger("boundtoken.tokens")

_Outcome = Identity | InvalidReason | Failure


class TokenReviewVerifier:
    """Asks the API server about each token, and keeps what it says: a yes for `cache_seconds` and
    not beyond the token's expiry, a no for a second. All threads and coroutines share one request
    for a token. Tokens themselves are not kept, only their SHA-256.

    It sees that a service account is gone, and the Pod, Secret or Node that a token is bound to.
    It sees it late: a yes may be `cache_seconds` old, the API server keeps its own for 10 seconds,
    and a pod that is being deleted counts as there until its grace period is over and a minute has
    passed. It refuses tokens that are for no audience (legacy ones, from Secrets) or never expire,
    and `leeway` seconds after their expiry those that have expired.

    `server` needs the permission to create TokenReviews: ClusterRole system:auth-delegator.

    Where strangers can send tokens, give a JwksVerifier as `signatures`: it refuses forged ones
    before the API server is asked. Without it a flood of forged tokens keeps the API server busy,
    and callers with new tokens get NotVerified. It decides nothing else, and where it cannot tell,
    the API server is asked.

    `clock` gives seconds since 1970 and may jump. Safe under threads, in coroutines of any loop,
    and across fork.

    Raises: ValueError, for times out of their bounds
    """

    def __init__(
        self,
        server: ApiServer,
        *,
        cache_seconds: float = CACHE_SECONDS,
        leeway: float = LEEWAY_SECONDS,
        signatures: "Verifier | None" = None,
        clock: Callable[[], float] = time.time,
        pool: Workers | None = None,
    ) -> None:
        if not 0 <= cache_seconds <= MAX_CACHE_SECONDS:
            raise ValueError(
                f"cache_seconds: {cache_seconds!r} must be 0 to {MAX_CACHE_SECONDS:.0f}"
            )
        check_leeway(leeway)
        self._server = server
        self._cache_seconds = cache_seconds
        self._leeway = leeway
        self._signatures = signatures
        self._clock = clock
        # Not the threads of the ApiServer: a flood of tokens to verify must not keep a program from
        # renewing its own.
        self._pool = pool or Workers()
        self._accepted: Answers[Identity] = Answers(MAX_ACCEPTED)
        self._refused: Answers[InvalidReason | Failure] = Answers(MAX_REFUSED)
        self._failure: Failure | None = None
        self._pause = self._quiet = NO_PAUSE
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        """Forget the requests that the parent is making."""
        self._lock = threading.Lock()
        self._in_flight: dict[bytes, Future[_Outcome]] = {}

    def verify(self, token: str, *, audience: str) -> Identity:
        """Whose token it is.

        Raises: InvalidToken; NotVerified, where the API server cannot be asked, also after
                WAIT_SECONDS; ValueError, for an empty audience
        """
        key = _key(token, audience)
        if (kept := self._kept(key)) is not None:
            return self._identity(kept)
        question = self._question(key, token, audience)
        if self._signatures is not None:
            with contextlib.suppress(NotVerified):
                self._signatures.verify(token, audience=audience)
        try:
            return self._identity(self._coming(question).result(WAIT_SECONDS))
        except TimeoutError:
            raise _nothing_came() from None

    async def averify(self, token: str, *, audience: str) -> Identity:
        """The same, in a coroutine."""
        key = _key(token, audience)
        if (kept := self._kept(key)) is not None:
            return self._identity(kept)
        question = self._question(key, token, audience)
        if self._signatures is not None:
            with contextlib.suppress(NotVerified):
                await self._signatures.averify(token, audience=audience)
        try:
            return self._identity(await awaited(self._coming(question), WAIT_SECONDS))
        except TimeoutError:
            raise _nothing_came() from None

    def _question(self, key: bytes, token: str, audience: str) -> "_Question":
        """Raises: InvalidToken, where it need not be asked"""
        screened = screen(token, audience, self._clock(), self._leeway)
        return _Question(key, token, audience, screened)

    def _identity(self, outcome: _Outcome) -> Identity:
        if isinstance(outcome, Identity):
            return outcome
        if isinstance(outcome, Failure):
            raise outcome.exception(self._wait())
        raise InvalidToken(outcome)

    def _kept(self, key: bytes) -> _Outcome | None:
        with self._lock:
            return self._kept_now(key)

    def _kept_now(self, key: bytes) -> _Outcome | None:
        """The lock is held."""
        now = self._clock()
        return self._accepted.get(key, now) or self._refused.get(key, now)

    def _coming(self, question: "_Question") -> "Future[_Outcome]":
        """The request in flight for a token, which is started where there is none.

        Raises: NotVerified, where none can be made now
        """
        with self._lock:
            if (future := self._in_flight.get(question.key)) is not None:
                return future
            future = to_come()
            # Another thread's answer may have come since it was looked for.
            if (kept := self._kept_now(question.key)) is not None:
                future.set_result(kept)
                return future
            # After a failure one request at a time finds out whether the API server is back.
            if self._failure is not None and (self._pause.lasts(self._clock()) or self._in_flight):
                raise self._failure.exception(self._wait())
            if len(self._in_flight) >= MAX_PENDING:
                raise NotVerified(
                    "TokenReview: too many tokens wait for the API server", PAUSE_SECONDS
                )
            try:
                self._pool.submit(lambda: self._review(question, future))
            except RuntimeError:
                raise NotVerified("TokenReview: no thread can be started", PAUSE_SECONDS) from None
            self._in_flight[question.key] = future
            return future

    def _wait(self) -> float:
        """Seconds after which another try makes sense."""
        return max(self._pause.remaining(self._clock()), PAUSE_SECONDS)

    def _review(self, question: "_Question", future: "Future[_Outcome]") -> None:
        """Ask, keep the answer, and tell those who wait; in a thread of the pool."""
        sent = self._clock()
        if (failed := self._failure) is not None and self._pause.lasts(sent):
            outcome: _Outcome = failed  # while it was in the queue, which drains at once
        else:
            outcome = self._answer(question)
            self._keep(question.key, outcome, sent)
        with self._lock:
            self._in_flight.pop(question.key, None)
        future.set_result(outcome)

    def _answer(self, question: "_Question") -> _Outcome:
        token, audience = question.token, question.audience
        try:
            answer = self._server.post(PATH, body(token, audience))
            return reviewed(answer, question.screened, audience)
        except Refusal as refusal:
            return failure(refusal, token)
        except Exception as unexpected:  # noqa: BLE001  (who waits must hear of anything)
            return Failure(f"TokenReview: {type(unexpected).__name__}")

    def _keep(self, key: bytes, outcome: _Outcome, sent: float) -> None:
        now = self._clock()
        with self._lock:
            if isinstance(outcome, Failure) and outcome.is_general:
                wait = min(max(outcome.retry_after, PAUSE_SECONDS), MAX_PAUSE_SECONDS)
                self._pause = Pause(now, wait * (1 + random.random() / 4))  # noqa: S311
                self._failure = outcome
            else:
                self._failure = None
                if isinstance(outcome, Identity):
                    # From when it was asked: what happened after that is not in the answer.
                    until = min(sent + self._cache_seconds, outcome.expires_at)
                    self._accepted.put(key, outcome, sent, until)
                else:
                    self._refused.put(key, outcome, now, now + REFUSED_SECONDS)
            is_new = isinstance(outcome, Failure) and not self._quiet.lasts(now)
            if is_new:
                self._quiet = Pause(now, QUIET_SECONDS)
        if is_new and isinstance(outcome, Failure):
            _LOG.warning("tokens cannot be verified: %s", outcome.text)


class _Question(NamedTuple):
    key: bytes
    token: str
    audience: str
    screened: Screened


def _key(token: str, audience: str) -> bytes:
    """Raises: InvalidToken, ValueError"""
    check_audience(audience)
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise InvalidToken("malformed")
    return hashlib.sha256(f"{len(audience)} {audience}{token}".encode()).digest()


def _nothing_came() -> NotVerified:
    return NotVerified(f"TokenReview: no answer within {WAIT_SECONDS:.0f} s", PAUSE_SECONDS)
