"""One token of a service account, as `kubectl create token` makes it: the same checks of what is
given, the same words for what is wrong, and all else left to the API server.

Why not TokenRequest: it is for programs, and refuses by itself what the API server would refuse. A
person shall hear the API server's own words, which change with its release and its policies.
Source: k8s.io/kubectl/pkg/cmd/create/create_token.go and k8s.io/client-go/rest.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote as percent_encoded

import msgspec

from ...core.claims import ObjectReference
from ...core.text import quote, truncate
from ..errors import Deleted, NoToken, RequestRefused
from ..request import BOUND_KINDS, IssuedToken, advice, is_gone, issued, lifetime_difference
from ..server import ApiServer, Refusal
from .durations import NANOSECONDS, parse_duration

NO_DURATION = "0s"
"""Leaves it to the API server."""
FAILED = "failed to create token: "
MAX_MESSAGE_CHARS = 2000
MAX_TRIES, MAX_WAIT_SECONDS = 10, 30.0
"""Where the API server asks us to come back later (client-go: 10 tries)."""
_NOT_SEGMENTS = (".", "..")
_NOT_IN_SEGMENTS = ("/", "%")


_ANSWER = msgspec.json.Decoder(dict[str, Any])


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for. `seconds` is None where the API server decides how long it lives. The uid of
    `bound_to` may be empty: then it is the present object of that name.
    """

    namespace: str
    account: str
    audiences: tuple[str, ...] = ()
    seconds: int | None = None
    bound_to: ObjectReference | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.account}"

    @property
    def path(self) -> str:
        namespace, account = (
            percent_encoded(name, safe="") for name in (self.namespace, self.account)
        )
        return f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"

    def body(self) -> bytes:
        """The object to post."""
        spec: dict[str, Any] = {"audiences": self.audiences or None, "boundObjectRef": None}
        if self.seconds is not None:
            spec["expirationSeconds"] = self.seconds
        if (bound := self.bound_to) is not None:
            reference = {"apiVersion": "v1", "kind": bound.kind, "name": bound.name}
            spec["boundObjectRef"] = reference | ({"uid": bound.uid} if bound.uid else {})
        return msgspec.json.encode(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        )


class CreatedToken(NamedTuple):
    """The TokenRequest as the API server answered it, and the token in it."""

    answer: dict[str, Any]
    issued: IssuedToken


def new_token(
    namespace: str,
    names: Sequence[str],
    *,
    audiences: Sequence[str] = (),
    duration: str = NO_DURATION,
    bound_to: ObjectReference | None = None,
) -> NewToken:
    """What to ask for, from what was given on a command line; `names` are those of accounts.

    Raises: ValueError, in the words of kubectl
    """
    seconds = whole_seconds(duration) or None
    if len(names) != 1:
        raise ValueError(f"exactly one NAME is required, got {len(names)}")
    if not names[0]:
        raise ValueError("service account name is required")
    check_audiences(audiences)
    for place, name in (("namespace", namespace), ("resource name", names[0])):
        check_text(place, name)
        if problem := unfit_for_path(name):
            raise ValueError(f"{FAILED}invalid {place} {quote(name)}: {problem}")
    return NewToken(
        namespace=namespace,
        account=names[0],
        audiences=tuple(audiences),
        seconds=seconds,
        bound_to=bound_to,
    )


def bound_object(kind: str, name: str, uid: str) -> ObjectReference | None:
    """What --bound-object-kind, -name and -uid mean together.

    Raises: ValueError, in the words of kubectl
    """
    if not kind:
        for flag, value in (("name", name), ("uid", uid)):
            if value:
                raise ValueError(
                    f"--bound-object-{flag} can only be set if --bound-object-kind is provided"
                )
        return None
    if kind not in BOUND_KINDS:
        raise ValueError(
            f"supported --bound-object-kind values are {', '.join(sorted(BOUND_KINDS))}"
        )
    if not name:
        raise ValueError("--bound-object-name is required if --bound-object-kind is provided")
    check_text("--bound-object-name", name)
    check_text("--bound-object-uid", uid)
    return ObjectReference(kind, name, uid)


def check_audiences(audiences: Sequence[str]) -> None:
    """Raises: ValueError, in the words of kubectl"""
    if "" in audiences:
        raise ValueError("--audience must not be an empty string")
    for audience in audiences:
        check_text("--audience", audience)


def check_text(place: str, text: str) -> None:
    """Raises: ValueError, for bytes of a command line that are no text"""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place} must be text in UTF-8; it is {quote(text)}") from None


def unfit_for_path(name: str) -> str:
    """Why a name cannot stand in the path of a request, in the words of kubectl; else empty."""
    problems = [f"may not be '{name}'"] if name in _NOT_SEGMENTS else []
    problems += [f"may not contain '{part}'" for part in _NOT_IN_SEGMENTS if part in name]
    return f"[{' '.join(problems)}]" if problems else ""


def create(
    server: ApiServer, new: NewToken, sleep: Callable[[float], None] = time.sleep
) -> CreatedToken:
    """A new token. Where the API server asks to come back later, `sleep` is called, for
    MAX_WAIT_SECONDS at most.

    Raises: RequestRefused, in the words of kubectl; Deleted, which is one, where the account or the
            object that the token is bound to is not there; NoToken, where no answer came
    """
    waited = 0.0
    for tries in range(1, MAX_TRIES + 1):
        try:
            body = server.post(new.path, new.body())
            return CreatedToken(_ANSWER.decode(body), issued(body))
        except Refusal as refusal:
            waited += refusal.retry_after
            if not refusal.retry_after or waited > MAX_WAIT_SECONDS or tries == MAX_TRIES:
                raise _not_created(new, refusal) from None
            sleep(refusal.retry_after)
        except (ValueError, RecursionError) as problem:
            raise NoToken(
                f"{FAILED}no token in server response: {type(problem).__name__}"
            ) from None
    raise AssertionError  # the last try returns or raises


def whole_seconds(duration: str) -> int:
    """The seconds of --duration. Raises: ValueError, in the words of kubectl"""
    try:
        nanoseconds = parse_duration(duration)
    except ValueError as problem:
        raise ValueError(
            f'invalid argument {quote(duration)} for "--duration" flag: {problem}'
        ) from None
    if nanoseconds < 0:
        raise ValueError("--duration must be greater than or equal to 0")
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    if rest:
        raise ValueError("--duration cannot be expressed in units less than seconds")
    return seconds


def lifetime_warning(new: NewToken, created: CreatedToken) -> str:
    """Why the token lives longer or shorter than it was asked to; empty where it does not."""
    if new.seconds is None:
        return ""
    text = lifetime_difference(new.seconds, created.issued)
    return text and f"token of {new}: {text}"


def without_managed_fields(answer: dict[str, Any]) -> dict[str, Any]:
    """An object as kubectl shows it."""
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict):
        return answer
    shown = {name: value for name, value in metadata.items() if name != "managedFields"}
    return answer | {"metadata": shown}


def _not_created(new: NewToken, refusal: Refusal) -> NoToken:
    message = truncate(refusal.message, MAX_MESSAGE_CHARS)
    if not refusal.status:
        return NoToken(f"{FAILED}{message}", refusal.retry_after)
    # Nobody knows whether a bound object that is not there has been there.
    is_about_account = refusal.status != 404 or refusal.kind == "serviceaccounts"  # noqa: PLR2004
    text = f"{FAILED}{message}{advice(new, refusal) if is_about_account else ''}"
    if is_gone(new, refusal):
        return Deleted(text, refusal.status, refusal.retry_after, refusal.kind)
    return RequestRefused(text, refusal.status, refusal.retry_after)
