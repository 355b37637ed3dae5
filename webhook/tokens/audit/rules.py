"""What is unusual about TokenRequests and about uses of tokens: one function a rule.

A rule gives a text where it fires, and remembers what it has seen: the same thing is told once. Who
is normal by Kubernetes' own design is left out: nodes ask for what their pods declare
(NodeRestriction), and the controller manager for the accounts of its controllers.
docs/reference.md has for each rule what to do.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...core.limits import DEFAULT_MAXIMUM
from ...core.names import NEVER_TOUCHED, YEAR_SECONDS, YEAR_TRAP_SECONDS
from ...core.text import quote, truncate
from .events import POD_NAME, Event, Wish
from .recent import Recent, Seen

FORBIDDEN = 403
SLOT_SECONDS, SLOTS = 5, 12
PER_MINUTE = 60
"""A pipeline that starts 50 jobs at once stays below."""
NODE_FACTOR = 10
"""A node that starts asks for the tokens of all its pods at once: 110 with a few tokens."""
SETTLING_SECONDS = 600.0
"""A new account's pods start within it, and with them all audiences that they declare."""
MAX_ACCOUNTS, MAX_REQUESTERS, MAX_AUDIENCES = 10_000, 16, 32
"""Accounts that are remembered, and of each how many requesters and audiences. Kubernetes supports
10,000 namespaces."""
MAX_PAIRS, MAX_RATES, MAX_TOKENS = 20_000, 4096, 100_000
MAX_SHOWN_CHARS = 200
UNREADABLE = "asked with a body that is too large or too deep to read"
_TOLD = 0
"""The place of a token of which was told that it moved."""


@dataclasses.dataclass
class Account:
    """What is normal for a service account."""

    since: float
    requesters: Seen = dataclasses.field(default_factory=lambda: Seen(MAX_REQUESTERS))
    audiences: Seen = dataclasses.field(default_factory=lambda: Seen(MAX_AUDIENCES))


@dataclasses.dataclass
class Rate:
    """How many requests of somebody there were in the last minute, to five seconds. `normal` is the
    most that was learnt.
    """

    slot: int
    counts: list[int] = dataclasses.field(default_factory=lambda: [0] * SLOTS)
    normal: int = 0
    is_told: bool = False

    def add(self, now: float) -> int:
        """One more; gives how many there were in the last minute."""
        passed = int(now // SLOT_SECONDS) - self.slot
        if abs(passed) >= SLOTS:  # also where the clock was put back
            self.counts = [0] * SLOTS
            self.slot += passed
        while passed > 0 and self.slot < int(now // SLOT_SECONDS):
            self.slot += 1
            self.counts[self.slot % SLOTS] = 0
        self.counts[self.slot % SLOTS] += 1
        return sum(self.counts)


@dataclasses.dataclass(frozen=True)
class Settings:
    """`maxima` has the namespaces' own maxima in seconds; `max_seconds` is that of all others."""

    maxima: Mapping[str, int] = dataclasses.field(default_factory=dict)
    max_seconds: int = DEFAULT_MAXIMUM["bound"]
    per_minute: int = PER_MINUTE


class Requested(NamedTuple):
    """A TokenRequest. `wish` is None where the log has no body. `account` is None where no token
    was made; `is_new` says that it was not known before.
    """

    event: Event
    wish: Wish | None
    now: float
    requester: str
    account: Account | None
    is_new: bool
    is_node: bool
    is_control_plane: bool
    is_learning: bool

    @property
    def namespace(self) -> str:
        return self.event.object_ref.namespace

    @property
    def account_name(self) -> str:
        return f"{self.namespace}/{self.event.object_ref.name}"


class Used(NamedTuple):
    """A request that was made with a token of a service account."""

    event: Event
    account_name: str
    is_learning: bool


class Rules:
    """The rules, with what they have seen, each in a table of its own. `requests` and `uses` have
    them by name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.accounts: Recent[int, Account] = Recent(MAX_ACCOUNTS)
        self._rates: Recent[int, Rate] = Recent(MAX_RATES)
        self._places: Recent[int, int] = Recent(MAX_TOKENS)
        self._moving = Seen(MAX_PAIRS)
        self._lives = Seen(MAX_PAIRS)
        self._binders = Seen(MAX_PAIRS)
        self._refusals = Seen(MAX_PAIRS)
        self._stale = Seen(MAX_PAIRS)
        self._legacy = Seen(MAX_PAIRS)
        self.requests: dict[str, Callable[[Requested], str]] = {
            "new-requester": self.new_requester,
            "system-account": self.system_account,
            "new-audience": self.new_audience,
            "long-life": self.long_life,
            "many-requests": self.many_requests,
            "pod-token": self.pod_token,
            "refused": self.refused,
        }
        self.uses: dict[str, Callable[[Used], str]] = {
            "moved-token": self.moved_token,
            "stale-token": self.stale_token,
            "legacy-token": self.legacy_token,
        }

    @property
    def forgotten(self) -> int:
        """Of all tables, because there was no room."""
        tables = (self.accounts, self._rates, self._places, self._moving, self._lives)
        more = (self._binders, self._refusals, self._stale, self._legacy)
        return sum(table.forgotten for table in (*tables, *more))

    def new_requester(self, seen: Requested) -> str:
        """Somebody was never seen to request a token of this account."""
        return "" if seen.namespace in NEVER_TOUCHED else _first_request(seen)

    def system_account(self, seen: Requested) -> str:
        """The same for an account of kube-system, kube-public or kube-node-lease."""
        return _first_request(seen) if seen.namespace in NEVER_TOUCHED else ""

    def new_audience(self, seen: Requested) -> str:
        """An audience that was never seen for this account."""
        if seen.account is None:
            return ""
        if seen.wish is None:
            return UNREADABLE if seen.event.has_body else ""
        audiences = seen.wish.audiences or ("",)
        if len(audiences) > MAX_AUDIENCES:
            return f"asked for {len(audiences)} audiences"
        new = [audience for audience in audiences if seen.account.audiences.add(audience)]
        settles = seen.is_node and seen.now - seen.account.since < SETTLING_SECONDS
        if not new or seen.is_new or settles:
            return ""
        shown = ", ".join(
            quote(audience) if audience else "the API server's own" for audience in new
        )
        return f"asked for audience {truncate(shown, MAX_SHOWN_CHARS)}, never seen for this account"

    def long_life(self, seen: Requested) -> str:
        """A life above the namespace's maximum."""
        if seen.account is None or seen.wish is None or seen.wish.seconds is None:
            return ""
        own = self._settings.maxima.get(seen.namespace)
        if seen.is_node and own is None:
            return ""  # it asks for what a pod declares; the maximum of others is not for pods
        maximum, seconds = own or self._settings.max_seconds, seen.wish.seconds
        bound = seen.wish.bound_to
        is_extended = (
            own is not None
            and seconds == YEAR_TRAP_SECONDS
            and bound is not None
            and bound.kind == "Pod"
            and not seen.wish.audiences
        )
        if (YEAR_SECONDS if is_extended else seconds) <= maximum:
            return ""
        if not self._lives.add(seen.account_name, seen.requester, str(seconds)):
            return ""
        year = ", which the API server makes a year" if is_extended else ""
        whose = "the namespace's maximum" if own is not None else "the maximum"
        return f"asked for {seconds} s{year}; {whose} is {maximum} s"

    def many_requests(self, seen: Requested) -> str:
        """Many requests of one requester in a minute, refused ones too."""
        if seen.is_control_plane:
            return ""
        limit = self._settings.per_minute * (NODE_FACTOR if seen.is_node else 1)
        key = hash(seen.requester)
        if (rate := self._rates.get(key)) is None:
            self._rates.put(key, rate := Rate(int(seen.now // SLOT_SECONDS)))
        count = rate.add(seen.now)
        if seen.is_learning:
            rate.normal = max(rate.normal, count)
        limit = max(limit, rate.normal)
        if count <= limit:
            rate.is_told = False
            return ""
        is_first, rate.is_told = not rate.is_told, True
        return f"sent more than {limit} token requests in a minute" if is_first else ""

    def pod_token(self, seen: Requested) -> str:
        """A token bound to a pod for somebody who is no node."""
        bound = seen.wish.bound_to if seen.wish is not None else None
        if bound is None or bound.kind != "Pod" or seen.account is None or seen.is_node:
            return ""
        if not self._binders.add(seen.requester, seen.account_name):
            return ""
        return f"asked for a token bound to pod {quote(bound.name)}, which only its node does"

    def refused(self, seen: Requested) -> str:
        """A request that the API server forbade."""
        if seen.event.response_status.code != FORBIDDEN or seen.is_node or seen.is_control_plane:
            return ""
        is_new = self._refusals.add(seen.requester, seen.account_name)
        return "was forbidden to request a token of this account" if is_new else ""

    def moved_token(self, seen: Used) -> str:
        """A pod's token that is used from another address than before."""
        identifier = seen.event.user.credential_id
        if not identifier or not seen.event.user.first(POD_NAME):
            return ""
        # All addresses together: a client chooses X-Forwarded-For, and a proxy hides the rest.
        key, place = hash(identifier), hash(seen.event.source_ips)
        first = self._places.get(key)
        if first is None:
            self._places.put(key, place)
            return ""
        if first in (place, _TOLD):
            return ""
        self._places.put(key, _TOLD)
        if seen.is_learning:
            self._moving.add(seen.account_name)
        elif self._moving.has(seen.account_name):
            return ""
        return f"used the token {identifier} of a pod from another address than before"

    def stale_token(self, seen: Used) -> str:
        """A token that should have been replaced long ago."""
        seconds = seen.event.stale_seconds
        if seconds is None or not self._stale.add(seen.account_name):
            return ""
        return f"used a token that was to be replaced {seconds} s ago"

    def legacy_token(self, seen: Used) -> str:
        """A token out of a Secret, which never ends."""
        secret = seen.event.legacy_secret
        if not secret or not self._legacy.add(seen.account_name, secret):
            return ""
        return f"used the legacy token of secret/{quote(secret)}"


def _first_request(seen: Requested) -> str:
    if seen.account is None or seen.is_node or seen.is_control_plane:
        return ""
    is_new = seen.account.requesters.add(seen.requester)
    return "was never seen to request a token of this account" if is_new else ""
