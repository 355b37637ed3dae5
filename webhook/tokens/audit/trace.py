"""One token in an audit log: who requested it, and what was done with it."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ...core.claims import NotAToken, claims_of
from ...core.text import truncate
from ...errors import BadInput
from .events import (
    COMPLETE,
    JTI,
    NODE_NAME,
    POD_NAME,
    Event,
    NoEvent,
    event,
    wish,
)
from .ids import is_credential_id
from .lines import Tally, is_object, lines_with

MAX_OPEN = 1024
"""Requests of one token that have begun and not ended. An API server handles 600 at once by default
(--max-requests-inflight and the mutating ones), and watches."""
MAX_CHARS, MAX_ITEMS = 4096, 64
"""Of a text of an event, and of its groups and addresses: who sends a request chooses some."""


class Token(NamedTuple):
    """What is searched for: the credential id of a token, or of a legacy token its account and
    Secret.
    """

    credential_id: str = ""
    namespace: str = ""
    account: str = ""
    secret: str = ""

    def __str__(self) -> str:
        if self.credential_id:
            return self.credential_id
        return f"the legacy token of {self.namespace}/{self.account} in secret/{self.secret}"

    @property
    def text(self) -> bytes:
        """What each line about it holds."""
        return (self.credential_id or f'"{self.secret}"').encode()

    def is_used_in(self, of: Event) -> bool:
        if self.credential_id:
            return of.user.credential_id == self.credential_id
        account = f"system:serviceaccount:{self.namespace}:{self.account}"
        return of.legacy_secret == self.secret and of.annotations.legacy == account


class Request(msgspec.Struct, rename="camel", tag_field="event", tag="request"):
    """The TokenRequest that made the token. `audiences` is empty for the API server's own; it and
    `expiration_seconds` are None where the log has no body: its audit policy says Metadata.
    """

    time: str
    user: str
    groups: tuple[str, ...]
    impersonated_user: str
    user_credential_id: str = msgspec.field(name="userCredentialID")
    source_ips: tuple[str, ...] = msgspec.field(name="sourceIPs")
    user_agent: str
    namespace: str
    account: str
    audiences: tuple[str, ...] | None
    expiration_seconds: int | None
    bound_to: dict[str, str] | None
    code: int
    audit_id: str = msgspec.field(name="auditID")


class Use(msgspec.Struct, rename="camel", tag_field="event", tag="use"):
    """A request that was made with the token. `resource` is empty where `path` is no object's.
    `issued_credential_id` is that of a token which was requested with this one. `is_open` says that
    the log does not have its end.
    """

    time: str
    user: str
    impersonated_user: str
    verb: str
    resource: str
    namespace: str
    name: str
    path: str
    source_ips: tuple[str, ...] = msgspec.field(name="sourceIPs")
    user_agent: str
    code: int
    pod: str
    node: str
    stale_seconds: int | None
    legacy_secret: str
    issued_credential_id: str = msgspec.field(name="issuedCredentialID")
    is_open: bool
    audit_id: str = msgspec.field(name="auditID")


Record = Request | Use


class Trace:
    """Finds a token in blocks of lines. Lines that name it and are no events are counted as
    broken.
    """

    def __init__(self, token: Token, tally: Tally) -> None:
        self._token = token
        self._text = token.text
        self._tally = tally
        self._open: OrderedDict[str, Use] = OrderedDict()

    def records(self, block: bytes) -> Iterator[Record]:
        """What a block of whole lines tells of the token, in its order."""
        for line in lines_with(self._text, block):
            try:
                found = event(line)
            except NoEvent:
                self._tally.broken += is_object(line)  # the others are counted already
                continue
            if self._token.credential_id and found.issued_id == self._token.credential_id:
                yield _request(found)
            if self._token.is_used_in(found):
                yield from self._use(found)

    def rest(self) -> Iterator[Use]:
        """At the end of the log: the requests that it does not have the end of."""
        while self._open:
            yield self._open.popitem(last=False)[1]

    def _use(self, of: Event) -> Iterator[Use]:
        """One for all stages of a request: the last."""
        if of.stage in (COMPLETE, "Panic"):
            self._open.pop(of.audit_id, None)
            yield _use(of, is_open=False)
            return
        self._open[of.audit_id] = _use(of, is_open=True)
        if len(self._open) > MAX_OPEN:
            yield self._open.popitem(last=False)[1]


def token_of(text: str) -> Token:
    """What to search for, for a token.

    Raises: BadInput, which never quotes it
    """
    try:
        claims = claims_of(text.strip())
    except NotAToken as problem:
        raise BadInput(f"must hold a token: {problem}") from None
    if is_credential_id(claims.credential_id):
        return Token(JTI + claims.credential_id)
    if claims.is_legacy and claims.secret is not None and claims.namespace and claims.account:
        return Token("", claims.namespace, claims.account, claims.secret.name)
    raise BadInput(
        "its token has no credential id (jti): API servers issue them since Kubernetes 1.30"
    )


def _request(of: Event) -> Request:
    wished = wish(of)
    return Request(
        time=_time(of),
        user=_cut(of.user.username),
        groups=_few(of.user.groups),
        impersonated_user=_cut(of.impersonated_user.username) if of.impersonated_user else "",
        user_credential_id=_cut(of.user.credential_id),
        source_ips=_few(of.addresses(MAX_ITEMS)),
        user_agent=_cut(of.user_agent),
        namespace=_cut(of.object_ref.namespace),
        account=_cut(of.object_ref.name),
        audiences=_few(wished.audiences) if wished else None,
        expiration_seconds=wished.seconds if wished else None,
        bound_to=wished.bound_to._asdict() if wished and wished.bound_to else None,
        code=of.response_status.code,
        audit_id=_cut(of.audit_id),
    )


def _use(of: Event, *, is_open: bool) -> Use:
    about = of.object_ref
    return Use(
        time=_time(of),
        user=_cut(of.user.username),
        impersonated_user=_cut(of.impersonated_user.username) if of.impersonated_user else "",
        verb=_cut(of.verb),
        resource=_cut(about.kind) if about.resource else "",
        namespace=_cut(about.namespace),
        name=_cut(about.name),
        path=_cut(of.path),
        source_ips=_few(of.addresses(MAX_ITEMS)),
        user_agent=_cut(of.user_agent),
        code=of.response_status.code,
        pod=_cut(of.user.first(POD_NAME)),
        node=_cut(of.user.first(NODE_NAME)),
        stale_seconds=of.stale_seconds,
        legacy_secret=_cut(of.legacy_secret),
        issued_credential_id=_cut(of.issued_id),
        is_open=is_open,
        audit_id=_cut(of.audit_id),
    )


def _time(of: Event) -> str:
    return of.request_received_timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str) -> str:
    return truncate(text, MAX_CHARS)


def _few(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_cut(text) for text in texts[:MAX_ITEMS])
