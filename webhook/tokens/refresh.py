"""When a token is renewed, and when to try again after a failure. Pure: times are arguments.

Source of the rule: kubernetes/pkg/kubelet/token/token_manager.go (`requiresRefresh`).
"""

from typing import NamedTuple

DAY_SECONDS = 24 * 3600.0
"""No token is used for longer, however long it lives."""
REMAINING = 0.2
"""Of its lifetime: what is left when it is renewed."""
MAX_JITTER_SECONDS = 10.0
"""So that the replicas of a workload do not ask in the same second."""
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 60.0
"""After a first failure, and after many. A minute's outage costs an asker about seven requests."""
MAX_RETRY_AFTER_SECONDS = 600.0
"""What we wait at most where the API server asks us to."""


def refresh_at(issued_at: float, expires_at: float, jitter: float) -> float:
    """The time from which a token is renewed, in the units of its arguments.

    `jitter` is between 0 and MAX_JITTER_SECONDS; a token of a few seconds gets at most a tenth of
    its lifetime of it.
    """
    lifetime = max(expires_at - issued_at, 0.0)
    jitter = min(jitter, lifetime / 10)
    return min(issued_at + DAY_SECONDS, expires_at - REMAINING * lifetime) - jitter


def backoff(failures: int, retry_after: float, spread: float) -> float:
    """Seconds to wait after the given number of failures in a row, 1 or more.

    `spread`, between 0 and 1, makes the wait up to a quarter longer, so that those who failed
    together do not come back together. The API server's `Retry-After` is a minimum.
    """
    wait = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16), MAX_BACKOFF_SECONDS)
    return max(wait, min(retry_after, MAX_RETRY_AFTER_SECONDS)) * (1 + spread / 4)


class Pause(NamedTuple):
    """Some seconds from a time on. Where the clock is set back it is over: nobody waits longer."""

    since: float
    seconds: float

    def lasts(self, now: float) -> bool:
        return 0 <= now - self.since < self.seconds

    def remaining(self, now: float) -> float:
        return max(self.since + self.seconds - now, 0.0) if self.lasts(now) else 0.0


NO_PAUSE = Pause(0.0, 0.0)
