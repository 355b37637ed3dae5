"""What tokens are measured by: how long one may live, and for whom it may be; worked out from
locks, namespace and floor.

    own level   at most min(lock, the namespace's maximum or the level's default)
    floor       at most min(lock, the namespace's maximum where set, the floor's own maximum or its
                level's default)

Both must hold, so the smaller does. A namespace can lower a floor's maximum and never raise it; a
lock never loosens a level.
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
"""Seconds, where the namespace has set none."""
BAD_MAXIMUM = DEFAULT_MAXIMUM["strict"]
"""Seconds that a bad maximum in a policy binding counts as: the safe side."""
MAX_ALLOWED_CHARS = 200
"""Of the allowed audiences in one sentence."""


class Token(msgspec.Struct, frozen=True):
    """One further token: the file it is in, its audience, its seconds (None: those of the pod)."""

    file: str
    audience: str
    expiration_seconds: int | None = None


class Locks(msgspec.Struct, frozen=True):
    """What no weaker layer can exceed; the strictest of the cluster's configuration and the
    namespace.
    """

    max_expiration_seconds: int = names.MAX_EXPIRATION_SECONDS_LIMIT
    allowed_audiences: AbstractSet[str] | None = None
    """None allows every audience. The API server's own (the empty one) is always allowed."""
    pod_overrides: bool = True

    def allows(self, audience: str) -> bool:
        return not audience or self.allowed_audiences is None or audience in self.allowed_audiences

    def capped(self, seconds: int) -> int:
        """The nearest lifetime that is allowed; never 3607, which the API server would turn into a
        year.
        """
        allowed = max(names.MIN_EXPIRATION_SECONDS, min(seconds, self.max_expiration_seconds))
        return names.YEAR_TRAP_REPLACEMENT if allowed == names.YEAR_TRAP_SECONDS else allowed

    def with_stricter(self, other: "Locks") -> "Locks":
        """Of two maxima the smaller, of two lists the intersection, of two overrides the
        stricter.
        """
        lists = [
            each for each in (self.allowed_audiences, other.allowed_audiences) if each is not None
        ]
        return Locks(
            max_expiration_seconds=min(self.max_expiration_seconds, other.max_expiration_seconds),
            allowed_audiences=reduce(and_, lists) if lists else None,
            pod_overrides=self.pod_overrides and other.pod_overrides,
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokens of one pod, or one TokenRequest, are measured by."""

    maximum: int = names.MAX_EXPIRATION_SECONDS_LIMIT
    """Seconds."""
    allowed_audiences: AbstractSet[str] | None = None
    """None: every audience. The API server's own are always allowed."""
    allowed_text: str = ""
    """The same for people, as `allowed` gives it."""
    api_audiences: tuple[str, ...] = ()
    """What the API server calls itself; empty where nobody has told us, and then any audience may
    be one."""
    legacy_tokens: frozenset[str] | None = None
    """Names of the legacy token Secrets of the namespace; None where nobody may list them."""

    @property
    def advised(self) -> int:
        """The longest life to ask for: the maximum, but never 3607."""
        return (
            names.YEAR_TRAP_REPLACEMENT if self.maximum == names.YEAR_TRAP_SECONDS else self.maximum
        )

    def is_api_audience(self, audience: str) -> bool:
        """Whether a token for it is one for the API server, as far as we know."""
        return not audience or not self.api_audiences or audience in self.api_audiences

    def allows(self, audience: str) -> bool:
        """Whether a token may be for this audience; the empty one is the API server's own."""
        allowed = self.allowed_audiences
        return (
            not audience or allowed is None or audience in allowed or audience in self.api_audiences
        )

    def is_extended(self, seconds: int | None, audiences: Iterable[str]) -> bool:
        """Whether the API server makes a token of a pod, asked for so, valid for a year.

        Source: pkg/registry/core/serviceaccount/storage/token.go, TokenREST.Create
        """
        return seconds == names.YEAR_TRAP_SECONDS and all(map(self.is_api_audience, audiences))

    def is_too_long(self, seconds: int) -> bool:
        return seconds > self.maximum


def own_maximum(level: Level, lock: int, set_here: int | None) -> int:
    """The seconds that a level allows in a namespace that has set this maximum, or none."""
    return min(lock, DEFAULT_MAXIMUM[level] if set_here is None else set_here)


def floor_maximum(level: Level, lock: int, set_here: int | None, floor: int | None) -> int:
    """The seconds that the cluster's floor allows there; `floor` is the floor's own maximum where
    one is set.
    """
    return min(
        lock,
        DEFAULT_MAXIMUM[level] if floor is None else floor,
        names.MAX_EXPIRATION_SECONDS_LIMIT,
        set_here or lock,
    )


def allowed(audiences: Iterable[str]) -> str:
    """The audiences of a list as a sentence names them."""
    return truncate(", ".join(map(displayed, audiences)), MAX_ALLOWED_CHARS)
