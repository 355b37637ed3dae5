"""One TokenReview: the call, its answer, and what a failure means. Pure.

Source: kubernetes/pkg/registry/authentication/tokenreview/storage.go, and for the errors pkg/
serviceaccount/claims.go and jwt.go; each seen on a 1.37 API server.
"""

from typing import NamedTuple

import msgspec

from ..core.claims import ObjectReference
from ..core.text import truncate
from .errors import InvalidReason, NotVerified
from .identity import Identity
from .screening import Screened
from .server import Refusal

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
MAX_MESSAGE_CHARS = 300
MAX_GROUPS = 1000
"""A service account has three."""
EXTRA = "authentication.kubernetes.io/"
"""Before the names of what the API server tells of a token beside its account."""
CREDENTIAL_PREFIX = "JTI="
REASONS_BY_ERROR: tuple[tuple[str, InvalidReason], ...] = (
    ("invalid for the target audiences", "wrong-audience"),
    ("is not valid yet", "not-yet-valid"),
    ("is issued in the future", "not-yet-valid"),
    ("token has expired", "expired"),
    ("no keys found", "unknown-key"),
    ("error in cryptographic primitive", "bad-signature"),
    ("has been invalidated", "revoked"),
    ("has been deleted", "revoked"),
    ("does not match", "revoked"),
    ("not found", "revoked"),
)
"""By a part of the error's text, which is for people and may change: any other is
`unauthenticated`, and the token is refused all the same.
"""
_SERVER_STATE = frozenset({0, 401, 403, 429, 502, 503, 504})
"""What says something about the API server, the network or our permission, whatever the token."""


class Failure(NamedTuple):
    """Why it cannot be found out whether a token is valid. `is_general`: any other call would fail
    now as well.
    """

    text: str
    retry_after: float = 0.0
    is_general: bool = False

    def exception(self, wait: float) -> NotVerified:
        """One for each waiter: a shared one would collect the tracebacks of all."""
        return NotVerified(self.text, wait)


def body(token: str, audience: str) -> bytes:
    """The object to post."""
    spec = {"token": token, "audiences": [audience]}
    return msgspec.json.encode(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    )


def reviewed(answer: bytes, screened: Screened, audience: str) -> Identity | InvalidReason:
    """What an answer says of a token.

    Account, pod, node and groups are the API server's words. Secret, expiry and audiences stand in
    the token only: they are believed because the API server accepted it as of the account that it
    names.

    Raises: Refusal, where the answer is none that an API server gives
    """
    try:
        status = _ANSWER.decode(answer).status
    except (ValueError, RecursionError) as problem:
        raise Refusal(0, f"its answer is no TokenReview: {type(problem).__name__}") from None
    if not status.authenticated:
        return reason_of(status.error)
    # An authenticator that knows no audiences gives none back: it has accepted a token that may be
    # for anybody (TokenReviewStatus.audiences of the API reference).
    if audience not in status.audiences:
        return "wrong-audience"
    claims, user = screened.claims, status.user
    if user.username != claims.subject or not user.uid:
        return "not-a-service-account"
    return Identity(
        namespace=claims.namespace,
        account=claims.account,
        uid=user.uid,
        audiences=claims.audiences,
        expires_at=screened.expires_at,
        pod=_reference(user, "Pod"),
        node=_reference(user, "Node"),
        secret=claims.secret,
        credential_id=user.first("credential-id").removeprefix(CREDENTIAL_PREFIX),
        groups=user.groups[:MAX_GROUPS],
    )


def reason_of(error: str) -> InvalidReason:
    """Why the API server refuses a token, by the error of its answer."""
    return next(
        (reason for part, reason in REASONS_BY_ERROR if part in error),
        "unauthenticated",
    )


def failure(refusal: Refusal, token: str) -> Failure:
    """What a refusal of the TokenReview itself means, and what to do."""
    # An admission webhook writes what it likes.
    message = truncate(refusal.message.replace(token, "…"), MAX_MESSAGE_CHARS)
    match refusal.status:
        case 0:
            text = f"no usable answer of the API server: {message}"
        case 401:
            text = f"401: {message}; this program's own credentials are not accepted"
        case 403:
            text = f"403: {message}; needs a ClusterRoleBinding to system:auth-delegator"
        case status:
            text = f"{status}: {message}"
    return Failure(
        f"TokenReview: {text}", refusal.retry_after, is_general=refusal.status in _SERVER_STATE
    )


class _User(msgspec.Struct):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}

    def first(self, name: str) -> str:
        return next(iter(self.extra.get(EXTRA + name, ())), "")


class _Status(msgspec.Struct):
    authenticated: bool = False
    audiences: tuple[str, ...] = ()
    user: _User = msgspec.field(default_factory=_User)
    error: str = ""


class _Answer(msgspec.Struct):
    status: _Status


_ANSWER = msgspec.json.Decoder(_Answer)


def _reference(user: _User, kind: str) -> ObjectReference | None:
    name = user.first(f"{kind.lower()}-name")
    return ObjectReference(kind, name, user.first(f"{kind.lower()}-uid")) if name else None
