"""A watch for unusual requests: learns what is normal, and tells what is not."""

from collections.abc import Collection, Iterator

import msgspec

from ...core.names import NEVER_TOUCHED
from ...core.text import truncate
from .events import COMPLETE, RECEIVED, Event, NoEvent, event, wish
from .lines import Tally, is_object
from .recent import Recent
from .rules import Account, Requested, Rules, Settings, Used

CREATED = 201
CONTROL_PLANE = ("system:kube-controller-manager", "system:apiserver")
"""Of those, the first requests the tokens of its controllers, the second the tokens that it proves
itself to webhooks with (KEP-6060)."""
ACCOUNT_PREFIX = "system:serviceaccount:"
HINTS = (b'"token"', b"JTI=", b"authentication.k8s.io/")
"""A line that is about a token holds one of them."""
MAX_TOLD_PER_MINUTE = 10
"""Findings of one rule about one requester: more hide those about others."""
MINUTE = 60.0
MAX_TEXT_CHARS = 512
MAX_ADDRESSES = 8


class Finding(msgspec.Struct, rename="camel"):
    """Something unusual. `more` is how many of this rule and user were left out before it, in the
    minute since the last one that was told.
    """

    time: str
    rule: str
    namespace: str
    account: str
    user: str
    message: str
    source_ips: tuple[str, ...] = msgspec.field(name="sourceIPs")
    user_agent: str
    code: int
    more: int
    audit_id: str = msgspec.field(name="auditID")


class _Told(msgspec.Struct):
    since: float
    count: int = 0
    left_out: int = 0


class Watch:
    """Finds what is unusual in blocks of lines, after it has learnt for `learn_seconds` of the
    log's own time. Rules whose names are in `without` are not looked at.
    """

    def __init__(
        self,
        settings: Settings,
        tally: Tally,
        *,
        learn_seconds: float,
        without: Collection[str] = (),
    ) -> None:
        self.requests = self.bodiless = self.uses = self.left_out = 0
        self.learnt_until: float | None = None
        self._is_learning = False
        self._tally = tally
        self._learn_seconds = learn_seconds
        self._rules = Rules(settings)
        self._told: Recent[int, _Told] = Recent(4096)
        for name in without:
            self._rules.requests.pop(name, None)
            self._rules.uses.pop(name, None)

    @property
    def is_learning(self) -> bool:
        """Whether nothing was looked at but to learn it."""
        return self._is_learning

    @property
    def forgotten(self) -> int:
        """What was forgotten because there was too much of it."""
        return self._rules.forgotten

    def learn(self, block: bytes) -> None:
        """Take what a block of whole lines has as normal."""
        counted = self.requests, self.bodiless, self.uses
        for found in self._events(block):
            for _ in self._evaluate(found, is_learning=True):
                pass
        self.requests, self.bodiless, self.uses = counted

    def findings(self, block: bytes) -> Iterator[Finding]:
        """What is unusual in a block of whole lines."""
        for found in self._events(block):
            now = found.request_received_timestamp.timestamp()
            if self.learnt_until is None:
                self.learnt_until = now + self._learn_seconds
            # Events stand in the order of their ends, so the first one may have begun last.
            is_learning = self._is_learning = self._learn_seconds > 0 and now < self.learnt_until
            for rule, message, name in self._evaluate(found, is_learning=is_learning):
                if not is_learning and (finding := self._finding(found, rule, message, name)):
                    yield finding

    def _events(self, block: bytes) -> Iterator[Event]:
        if not any(hint in block for hint in HINTS):  # as fast as a search, whatever it holds
            return
        for line in filter(None, block.split(b"\n")):
            if not any(hint in line for hint in HINTS):
                continue
            try:
                found = event(line)
            except NoEvent:
                self._tally.broken += is_object(line)  # the others are counted already
                continue
            if found.stage != RECEIVED:
                yield found

    def _evaluate(self, of: Event, *, is_learning: bool) -> Iterator[tuple[str, str, str]]:
        """Rule, message and account of what is unusual."""
        if of.is_token_request and of.stage == COMPLETE:
            request = self._requested(of, is_learning=is_learning)
            for name, check in self._rules.requests.items():
                if message := check(request):
                    yield name, message, request.account_name
        if account := _account_of(of):
            self.uses += 1
            used = Used(of, account, is_learning)
            for name, check_use in self._rules.uses.items():
                if message := check_use(used):
                    yield name, message, account

    def _requested(self, of: Event, *, is_learning: bool) -> Requested:
        about, user = of.object_ref, of.user
        wished = wish(of)
        self.requests += 1
        now = of.request_received_timestamp.timestamp()
        account, is_new = None, False
        if of.response_status.code == CREATED:
            self.bodiless += wished is None and not of.has_body
            key = hash((about.namespace, about.name))
            if (account := self._rules.accounts.get(key)) is None:
                self._rules.accounts.put(key, account := Account(now))
                is_new = True
        return Requested(
            of,
            wished,
            now,
            _requester(of),
            account,
            is_new,
            is_node=user.is_node and of.impersonated_user is None,
            is_control_plane=user.username in CONTROL_PLANE
            and of.impersonated_user is None
            and (about.namespace in NEVER_TOUCHED or user.username == CONTROL_PLANE[1]),
            is_learning=is_learning,
        )

    def _finding(self, of: Event, rule: str, message: str, account: str) -> Finding | None:
        """None where too much of the same was told already."""
        user = _requester(of)
        now = of.request_received_timestamp.timestamp()
        key = hash((rule, user))
        told = self._told.get(key)
        more = 0
        if told is None or not -MINUTE < now - told.since < MINUTE:
            more = told.left_out if told is not None else 0
            self._told.put(key, told := _Told(now))
        told.count += 1
        if told.count > MAX_TOLD_PER_MINUTE:
            told.left_out += 1
            self.left_out += 1
            return None
        namespace, _, name = account.partition("/")
        return Finding(
            time=of.request_received_timestamp.isoformat(timespec="milliseconds").replace(
                "+00:00", "Z"
            ),
            rule=rule,
            namespace=truncate(namespace, MAX_TEXT_CHARS),
            account=truncate(name, MAX_TEXT_CHARS),
            user=truncate(user, MAX_TEXT_CHARS),
            message=message,
            source_ips=tuple(truncate(ip, MAX_TEXT_CHARS) for ip in of.addresses(MAX_ADDRESSES)),
            user_agent=truncate(of.user_agent, MAX_TEXT_CHARS),
            code=of.response_status.code,
            more=more,
            audit_id=truncate(of.audit_id, MAX_TEXT_CHARS),
        )


def _requester(of: Event) -> str:
    if of.impersonated_user is None:
        return of.user.username
    return f"{of.user.username} as {of.impersonated_user.username}"


def _account_of(of: Event) -> str:
    """Namespace and name of the service account that sent a request; empty where none did."""
    if not of.user.username.startswith(ACCOUNT_PREFIX):
        return ""
    return of.user.username.removeprefix(ACCOUNT_PREFIX).replace(":", "/", 1)
