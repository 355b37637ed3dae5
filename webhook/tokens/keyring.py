"""The keys of an issuer as they were fetched last, and when they are fetched again."""

import logging
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..core.text import truncate
from .answers import awaited, to_come
from .errors import NotVerified
from .forks import reset_in_child
from .issuer import MAX_MESSAGE_CHARS, Issuer
from .keys import KeySet
from .refresh import NO_PAUSE, Pause, backoff
from .server import Refusal
from .workers import Workers

if TYPE_CHECKING:
    from concurrent.futures import Future

REFRESH_SECONDS = 3600.0
"""The API server's own word for how long its keys may be kept (Cache-Control)."""
MAX_AGE_SECONDS = 24 * 3600.0
"""That keys are believed while the issuer is away: longer than an outage that nobody notices; and a
key that was taken back is not accepted for longer.
"""
LEAST_SECONDS = 10.0
"""Between two fetches, so that tokens with invented keys cost the issuer little."""
WAIT_SECONDS = 15.0
"""That a caller waits at most for a fetch, which is two calls."""
_LOG = logging.getLogger("boundtoken.tokens")


class _Failed(NamedTuple):
    text: str


class Keyring:
    """The keys of an issuer: fetched when they are first needed, an hour later, and when a token
    has a key that is not among them, at most every LEAST_SECONDS; by one fetch for all.

    While a fetch after an hour is under way or fails the old keys serve, for a day.
    """

    def __init__(
        self, issuer: Issuer, *, clock: Callable[[], float], pool: Workers | None = None
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._pool = pool or Workers()
        self._keys: KeySet | None = None
        self._since = 0.0
        self._failure: _Failed | None = None
        self._failures = 0
        self._next_fetch = NO_PAUSE
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        """Forget the fetch that the parent is making."""
        self._lock = threading.Lock()
        self._in_flight: Future[KeySet | _Failed] | None = None

    def get(self, issuer: str, key_id: str) -> KeySet:
        """The keys to judge a token by that claims to be of `issuer` and names a key.

        Raises: NotVerified
        """
        keys = self._at_hand(issuer, key_id)
        if isinstance(keys, KeySet):
            return keys
        try:
            return self._fetched(keys.result(WAIT_SECONDS))
        except TimeoutError:
            raise self._nothing_came() from None

    async def aget(self, issuer: str, key_id: str) -> KeySet:
        """The same, in a coroutine."""
        keys = self._at_hand(issuer, key_id)
        if isinstance(keys, KeySet):
            return keys
        try:
            return self._fetched(await awaited(keys, WAIT_SECONDS))
        except TimeoutError:
            raise self._nothing_came() from None

    def _at_hand(self, issuer: str, key_id: str) -> "KeySet | Future[KeySet | _Failed]":
        """Keys that know what they are needed for, or the fetch in flight, or the keys that there
        are where it is too early for another fetch. Starts a fetch where one is due.
        """
        with self._lock:
            now = self._clock()
            self._since = min(self._since, now)  # a clock that was set back
            age = now - self._since
            keys = self._keys if age < MAX_AGE_SECONDS else None
            is_known = keys is not None and keys.knows(issuer, key_id)
            if not is_known or age >= REFRESH_SECONDS:
                self._start(now)
            if keys is not None and is_known:
                return keys
            if self._in_flight is not None:
                return self._in_flight
            if keys is not None and self._failure is None:
                return keys
            failure, wait = self._failure, self._next_fetch.remaining(now)
        raise self._explained(failure or _Failed("no thread can be started"), wait)

    def _start(self, now: float) -> None:
        """Hand a fetch to the pool where it may be made now; the lock is held."""
        if self._in_flight is not None or self._next_fetch.lasts(now):
            return
        future: Future[KeySet | _Failed] = to_come()
        try:
            self._pool.submit(lambda: self._fetch(future))
        except RuntimeError:  # no thread can be started
            return
        self._in_flight = future

    def _fetch(self, future: "Future[KeySet | _Failed]") -> None:
        """Fetch, and tell those who wait; in a thread of the pool."""
        sent = self._clock()
        try:
            keys = self._issuer.fetch()
        except Refusal as refusal:
            code = f"{refusal.status}: " if refusal.status else ""
            message = truncate(code + refusal.message, MAX_MESSAGE_CHARS)
            future.set_result(self._failed(_Failed(message), refusal.retry_after))
        except Exception as unexpected:  # noqa: BLE001  (who waits must hear of anything)
            future.set_result(self._failed(_Failed(type(unexpected).__name__), 0.0))
        else:
            with self._lock:
                self._keys, self._since = keys, sent
                self._failure, self._failures = None, 0
                self._next_fetch = Pause(self._clock(), LEAST_SECONDS)
                self._in_flight = None
            future.set_result(keys)

    def _failed(self, failure: _Failed, retry_after: float) -> _Failed:
        now = self._clock()
        with self._lock:
            self._failure = failure
            self._failures += 1
            wait = backoff(self._failures, retry_after, random.random())  # noqa: S311
            self._next_fetch = Pause(now, min(wait, LEAST_SECONDS))
            self._in_flight = None
        _LOG.warning("%s", self._explained(failure, 0.0))
        return failure

    def _fetched(self, result: KeySet | _Failed) -> KeySet:
        """One exception for each waiter: a shared one would collect the tracebacks of all."""
        if isinstance(result, KeySet):
            return result
        raise self._explained(result, self._next_fetch.remaining(self._clock()))

    def _explained(self, failure: _Failed, wait: float) -> NotVerified:
        return NotVerified(f"keys of {self._issuer.name}: {failure.text}", wait)

    def _nothing_came(self) -> NotVerified:
        return self._explained(_Failed(f"no answer within {WAIT_SECONDS:.0f} s"), 1.0)
