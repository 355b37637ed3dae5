"""The limits of tokens, lifetime and audiences, from the locks, the namespace and the floor.

    own level   at most min(lock, the namespace's maximum or the level's default)
    floor       at most min(lock, the namespace's maximum where set, the floor's own maximum or its
                level's default)

A token must comply with both, so the smaller maximum applies. A namespace can lower the maximum of
the floor but not raise it. A lock never raises the maximum of a level.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import reduce
from operator import and_

import msgspec

from . import names
from .levels import Level
from .text import displayed, truncate

DEFAULT_MAXIMUM: dict[Level, int] = {
    "off": names.MAX_EXPIRATION_SECONDS_LIMIT,
    "bound": 86400,
    "strict": 3600,
}
"""In seconds, for a namespace without a maximum of its own."""
BAD_MAXIMUM = DEFAULT_MAXIMUM["strict"]
"""What an invalid maximum in a policy binding counts as, in seconds: the strictest default."""
MAX_ALLOWED_CHARS = 200
"""Of the allowed audiences in one sentence."""


class Token(msgspec.Struct, frozen=True):
    """One further token: its file, audience and lifetime (None: the lifetime of the pod)."""

    file: str
    audience: str
    expiration_seconds: int | None = None


class Locks(msgspec.Struct, frozen=True):
    """The limits that weaker layers cannot exceed: the stricter of configuration and namespace."""

    max_expiration_seconds: int = names.MAX_EXPIRATION_SECONDS_LIMIT
    allowed_audiences: AbstractSet[str] | None = None
    """None allows every audience. The API server's own (the empty one) is always allowed."""
    pod_overrides: bool = True

    def allows(self, audience: str) -> bool:
        return not audience or self.allowed_audiences is None or audience in self.allowed_audiences

    def capped(self, seconds: int) -> int:
        """Return the nearest allowed lifetime. Never 3607: the API server extends it to a year."""
        allowed = max(names.MIN_EXPIRATION_SECONDS, min(seconds, self.max_expiration_seconds))
        return names.YEAR_TRAP_REPLACEMENT if allowed == names.YEAR_TRAP_SECONDS else allowed

    def with_stricter(self, other: "Locks") -> "Locks":
        """Return the smaller maximum, the intersection of the lists, and the stricter override."""
        lists = [
            audiences
            for audiences in (self.allowed_audiences, other.allowed_audiences)
            if audiences is not None
        ]
        return Locks(
            max_expiration_seconds=min(self.max_expiration_seconds, other.max_expiration_seconds),
            allowed_audiences=reduce(and_, lists) if lists else None,
            pod_overrides=self.pod_overrides and other.pod_overrides,
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits for the tokens of one pod, or for one TokenRequest."""

    maximum: int = names.MAX_EXPIRATION_SECONDS_LIMIT
    """In seconds."""
    allowed_audiences: AbstractSet[str] | None = None
    """None allows every audience. The API server's own are always allowed."""
    allowed_text: str = ""
    """The same for messages, as `allowed` returns it."""
    api_audiences: tuple[str, ...] = ()
    """The API server's own audiences. If this is empty they are unknown, and any audience may be
    one."""
    legacy_tokens: frozenset[str] | None = None
    """The names of the namespace's legacy token Secrets; None if boundtoken may not list them."""
    injects: bool = False
    """Whether the namespace is annotated with an `inject` that gives its pods tokens."""

    @property
    def advised(self) -> int:
        """The longest lifetime to request: the maximum, but never 3607."""
        return (
            names.YEAR_TRAP_REPLACEMENT if self.maximum == names.YEAR_TRAP_SECONDS else self.maximum
        )

    def is_api_audience(self, audience: str) -> bool:
        """Whether the API server may accept a token for this audience."""
        return not audience or not self.api_audiences or audience in self.api_audiences

    def allows(self, audience: str) -> bool:
        """Whether this audience is allowed. The empty one is the API server's own."""
        allowed = self.allowed_audiences
        return (
            not audience or allowed is None or audience in allowed or audience in self.api_audiences
        )

    def is_extended(self, seconds: int | None, audiences: Iterable[str]) -> bool:
        """Whether the API server extends such a token of a pod to one year.

        Source: pkg/registry/core/serviceaccount/storage/token.go, TokenREST.Create
        """
        return seconds == names.YEAR_TRAP_SECONDS and all(map(self.is_api_audience, audiences))

    def is_too_long(self, seconds: int) -> bool:
        return seconds > self.maximum


def own_maximum(level: Level, lock: int, set_here: int | None) -> int:
    """Return the maximum of a level in seconds. `set_here` is the namespace's own, if any."""
    return min(lock, DEFAULT_MAXIMUM[level] if set_here is None else set_here)


def floor_maximum(level: Level, lock: int, set_here: int | None, floor: int | None) -> int:
    """Return the maximum of the floor in seconds. `floor` is the configured one, if any."""
    return min(
        lock,
        DEFAULT_MAXIMUM[level] if floor is None else floor,
        names.MAX_EXPIRATION_SECONDS_LIMIT,
        set_here or lock,
    )


def allowed(audiences: Iterable[str]) -> str:
    """Return the audiences as a message lists them."""
    return truncate(", ".join(map(displayed, audiences)), MAX_ALLOWED_CHARS)
