"""One TokenRequest: what is asked for, the call, its answer, and what a refusal means. Pure.

Source of the limits and of the words of refusals: kubernetes/pkg/registry/core/serviceaccount/
storage/token.go and pkg/apis/authentication/validation; each seen on a 1.37 API server.
"""

import re
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from ..core.claims import Claims, NotAToken, ObjectReference, claims_of
from ..core.names import MIN_EXPIRATION_SECONDS, YEAR_TRAP_SECONDS
from ..core.text import truncate
from .errors import NoToken, RequestRefused
from .server import Refusal

DEFAULT_SECONDS = 3600
"""What the API server takes where a request names none."""
MAX_SECONDS = 1 << 32
MAX_AUDIENCES = 64
MAX_AUDIENCE_BYTES = 4096
MAX_MESSAGE_CHARS = 500
LIFETIME_TOLERANCE_SECONDS = 2.0
"""The API server rounds to whole seconds."""
BOUND_KINDS = ("Pod", "Secret", "Node")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class TokenRequest(msgspec.Struct, frozen=True):
    """What to ask for: a token of a service account.

    `audiences` is one or many; none means the API server's own. `bound_to` is a Pod, Secret or Node
    in whose life the token lives: ObjectReference("Pod", name, uid). The API server's least
    lifetime is 600 seconds; it may shorten a longer one. Equal requests are one key in a cache.

    Raises: ValueError, naming the argument, its value and what would be right
    """

    namespace: str
    account: str
    audiences: tuple[str, ...] = ()
    expiration_seconds: int = DEFAULT_SECONDS
    bound_to: ObjectReference | None = None

    def __post_init__(self) -> None:
        for place in ("namespace", "account"):
            _check_name(place, getattr(self, place))
        given: Any = self.audiences  # who does not check types may give one text, or a list
        try:
            audiences = (given,) if isinstance(given, str) else tuple(given)
        except TypeError:
            raise ValueError(f"audiences: {_quoted(given)} must be a tuple of texts") from None
        _check_audiences(audiences)
        msgspec.structs.force_setattr(self, "audiences", audiences)
        seconds = self.expiration_seconds
        if type(seconds) is not int or not MIN_EXPIRATION_SECONDS <= seconds <= MAX_SECONDS:
            raise ValueError(
                f"expiration_seconds: {seconds!r} must be whole seconds, {MIN_EXPIRATION_SECONDS} to {MAX_SECONDS}"
            )
        if self.bound_to is not None:
            _check_bound(self.bound_to)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.account}"

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.account}/token"

    def body(self) -> bytes:
        """The object to post."""
        bound = self.bound_to
        spec = {
            "audiences": self.audiences or None,
            "expirationSeconds": self.expiration_seconds,
            "boundObjectRef": bound
            and {"apiVersion": "v1", "kind": bound.kind, "name": bound.name, "uid": bound.uid},
        }
        return msgspec.json.encode(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        )


class Subject(Protocol):
    """Whose token it is, and the object in whose life it lives."""

    @property
    def namespace(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def bound_to(self) -> ObjectReference | None: ...


class IssuedToken(NamedTuple):
    """A token as the API server gave it. `expires_at` is its `exp`, and `replace_at` the earlier
    time that the API server wants it to be replaced by; both in seconds since 1970 by its clock.
    """

    text: str
    claims: Claims
    issued_at: float
    expires_at: float
    replace_at: float


class _Status(msgspec.Struct):
    token: str
    expires: datetime = msgspec.field(name="expirationTimestamp")


class _Answer(msgspec.Struct):
    status: _Status


_ANSWER = msgspec.json.Decoder(_Answer)


def issued(body: bytes) -> IssuedToken:
    """The token in an answer.

    Raises: Refusal, where the answer is none that an API server gives
    """
    try:
        status = _ANSWER.decode(body).status
        claims = claims_of(status.token)
    except (msgspec.DecodeError, NotAToken, RecursionError, ValueError) as problem:
        raise Refusal(0, f"its answer has no token: {type(problem).__name__}") from None
    replace_at = status.expires.timestamp()
    expires_at = claims.expires_at if claims.expires_at is not None else replace_at
    issued_at = claims.issued_at if claims.issued_at is not None else claims.not_before
    if issued_at is None or not issued_at < min(expires_at, replace_at):
        raise Refusal(0, "its answer has a token without a lifetime")
    return IssuedToken(status.token, claims, issued_at, expires_at, min(expires_at, replace_at))


def lifetime_warning(request: TokenRequest, issued: IssuedToken) -> str:
    """Why a token lives longer or shorter than it was asked to; empty where it does not."""
    text = lifetime_difference(request.expiration_seconds, issued)
    return text and f"token of {request}: {text}"


def lifetime_difference(requested: int, issued: IssuedToken) -> str:
    """The same without the token's name, for any number of requested seconds."""
    lifetime = issued.expires_at - issued.issued_at
    if abs(lifetime - requested) <= LIFETIME_TOLERANCE_SECONDS:
        return ""
    text = f"{requested} s were requested, it lives {lifetime:.0f} s"
    if lifetime < requested:
        return f"{text}: the API server or an admission webhook shortened it"
    if requested == YEAR_TRAP_SECONDS:
        return f"{text}: the API server extends {requested} s; request {DEFAULT_SECONDS}"
    return f"{text}: an admission webhook or policy extended it"


def explained(request: TokenRequest, refusal: Refusal, wait: float) -> NoToken:
    """What a refusal means for the person who reads it, and what to do. `wait` is the number of
    seconds until the next try.
    """
    message = refusal.message
    text = f"token of {request}: {_meaning(request, refusal, message)}"
    if refusal.status:
        return RequestRefused(text, refusal.status, wait)
    return NoToken(text, wait)


def remembered(refusal: Refusal) -> Refusal:
    """The same without what is not needed: no traceback, whose frames have the credentials, and a
    short message.
    """
    message = truncate(refusal.message, MAX_MESSAGE_CHARS)
    return Refusal(refusal.status, message, refusal.kind[:100], refusal.retry_after)


def is_gone(subject: Subject, refusal: Refusal) -> bool:
    """Whether the account, or the object that the token is bound to, is not there any more (404),
    or is another one of the same name (409): older tokens of it are refused from now on too.
    """
    # A proxy's 404 has no Status, and is about nothing.
    return bool(refusal.kind) and (
        refusal.status == 404 or (refusal.status == 409 and subject.bound_to is not None)  # noqa: PLR2004
    )


def _meaning(request: TokenRequest, refusal: Refusal, message: str) -> str:
    if not refusal.status:
        return f"no answer of the API server: {message}"
    return f"{refusal.status}: {message}{advice(request, refusal)}"


def advice(subject: Subject, refusal: Refusal) -> str:
    """What to do after a refusal, to be added to its message; empty where the message says it."""
    namespace, account, bound = subject.namespace, subject.account, subject.bound_to
    match refusal.status:
        case 401:
            return "; this program's own credentials are not accepted"
        case 403 if 'User "system:anonymous"' in refusal.message:
            return "; the request came without credentials: is the token of the kubeconfig, or its file, empty?"
        case 403 if 'resource "serviceaccounts/token"' in refusal.message:
            return (
                f"; needs a Role in namespace {namespace} with the rule "
                f'{{apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [{account}], verbs: [create]}}, '
                "and a RoleBinding to it"
            )
        case 404 if refusal.kind == "serviceaccounts":
            can_be_created = _NAME.fullmatch(account) is not None
            return f"; kubectl create serviceaccount {account} -n {namespace}" * can_be_created
        case 404 if bound is not None:
            return f"; {bound} is gone, and its tokens with it"
    return ""


def _check_name(place: str, value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"{place}: {_quoted(value)} must be a name of Kubernetes: lower-case letters, digits, - and ."
        )


def _check_audiences(audiences: tuple[object, ...]) -> None:
    if len(audiences) > MAX_AUDIENCES:
        raise ValueError(f"audiences: {len(audiences)} must be at most {MAX_AUDIENCES}")
    for audience in audiences:
        if (
            not isinstance(audience, str)
            or not audience
            or not audience.isprintable()
            or len(audience.encode(errors="replace")) > MAX_AUDIENCE_BYTES
        ):
            raise ValueError(
                f"audiences: {_quoted(audience)} must be a printable text of 1 to {MAX_AUDIENCE_BYTES} bytes"
            )


def _check_bound(bound: object) -> None:
    if not isinstance(bound, ObjectReference) or not isinstance(bound.uid, str):
        raise ValueError(f"bound_to: {_quoted(bound)} must be an ObjectReference(kind, name, uid)")
    if bound.kind not in BOUND_KINDS:
        raise ValueError(f"bound_to: {_quoted(bound.kind)} must be one of {', '.join(BOUND_KINDS)}")
    _check_name("bound_to", bound.name)


def _quoted(value: object) -> str:
    return truncate(repr(value), 100)
