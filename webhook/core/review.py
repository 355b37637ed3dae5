"""AdmissionReview bytes to a request and a response to bytes; the only place that knows the
envelope.

Pods, nearly all of the traffic, are decoded in one pass, envelope and pod together. Whatever that
pass does not understand is read again, envelope first, so that the fault can be named and other
kinds get their own view.

Source: docs/kubernetes.md section 5;
apiserver/pkg/admission/plugin/webhook/request/admissionreview.go.
"""

import base64
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from ..errors import MalformedReview
from . import stepwise
from .decision import Decision
from .full_views import FullPod, Judged, UserInfo
from .kinds import MUTATED, VIEWS
from .patch import Operation
from .views import CronJob, Pod, View, Workload

Asked = TypeVar("Asked", bound="_Head")
API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"


class GroupKind(View, frozen=True):
    group: str = ""
    kind: str = ""


class Resource(View, frozen=True):
    resource: str = ""


class _Head(View, frozen=True):
    uid: str
    operation: str
    kind: GroupKind = GroupKind()
    resource: Resource = Resource()
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    dry_run: bool | None = None


class Request(_Head, frozen=True):
    """What the API server asks; `object` is None for a kind that we have no view of, and for
    DELETE.
    """

    object: Pod | Workload | CronJob | None = None
    old_object: Workload | CronJob | None = None


class ValidationRequest(_Head, frozen=True):
    """What the API server asks to be judged; both objects None where we have no view of the
    kind.
    """

    user_info: UserInfo = UserInfo()
    object: Judged | None = None
    old_object: Judged | None = None


class Status(msgspec.Struct, frozen=True):
    """Why a request is denied."""

    message: str
    code: int = 403
    reason: str = "Forbidden"


class Response(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What we answer. `patch` and `patchType` are both there or neither, or the API server takes it
    for an error.
    """

    uid: str
    allowed: bool = True
    warnings: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    audit_annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    patch: str | msgspec.UnsetType = msgspec.UNSET
    """In base64."""
    patch_type: str | msgspec.UnsetType = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET


class _Reply(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    response: Response
    api_version: str = API_VERSION
    kind: str = KIND


class _PodRequest(Request, frozen=True):
    """A request as the one pass for pods decodes it; with an old object it is none, and goes the
    slow way.
    """

    object: Pod | None = None
    old_object: None = None


class _FullPodRequest(ValidationRequest, frozen=True):
    """The same for a pod that shall be judged."""

    object: FullPod | None = None
    old_object: None = None


class _RawRequest(_Head, frozen=True):
    user_info: UserInfo = UserInfo()
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(View, Generic[Asked], frozen=True):
    api_version: str = ""
    kind: str = ""
    request: Asked | None = None


LARGE_BYTES = 128 << 10
"""Of a body whose objects and strings are counted before it is decoded; counting costs a tenth of
the decoding."""
MANY_THINGS = 100_000
"""Strings and objects of a body that is decoded in one pass: 30 ms at worst, in which no other
thread does anything."""
MAX_UID_CHARS = 256
"""Of a review: a UUID has 36; it is given back."""
_CORE_POD = GroupKind("", "Pod")
_POD, HEAD_BYTES = b'"kind":"Pod"', 512
"""How Go writes the kind of a pod, in `request.kind` at the beginning of a review."""

_POD_REVIEW = msgspec.json.Decoder(_Review[_PodRequest])
_FULL_POD_REVIEW = msgspec.json.Decoder(_Review[_FullPodRequest])
_RAW_REVIEW = msgspec.json.Decoder(_Review[_RawRequest])
_ENCODER = msgspec.json.Encoder()
# 100,000 nested brackets raise RecursionError and not DecodeError; both only say that the bytes are
# bad.
_BAD_BYTES = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def decode(body: bytes | bytearray) -> Request:
    """The request in an AdmissionReview v1.

    Raises: MalformedReview, for any bytes that are none; it names the place and what is there
    instead
    """
    many = len(body) > LARGE_BYTES and _has_many_things(body)
    quick = None if many else _decode_quickly(body, _POD_REVIEW)
    return (
        quick
        if quick is not None
        else _decode_slowly(body, stepwise.decode if many else msgspec.json.decode)
    )


def _decode_quickly(
    body: bytes | bytearray, decoder: "msgspec.json.Decoder[_Review[Asked]]"
) -> Asked | None:
    """The request in the review of a new pod, in one pass; None where it is no such review, or must
    be read to name a fault.
    """
    if (
        body.find(_POD, 0, HEAD_BYTES) < 0
    ):  # another kind, or other JSON than Go's: read as a pod for nothing
        return None
    try:
        review = decoder.decode(body)
    except _BAD_BYTES:
        return None
    request = review.request
    if (
        request is None
        or request.kind != _CORE_POD
        or not _is_review(review)
        or not 0 < len(request.uid) <= MAX_UID_CHARS
    ):
        return None  # both readings at once would need twice the memory
    return request


def respond(uid: str, decision: Decision) -> bytes:
    """The AdmissionReview v1 that carries a decision, as JSON."""
    audit = {"reason": decision.reason, **decision.audit}
    if decision.denial:
        status = Status(decision.denial)
        response = Response(uid, allowed=False, audit_annotations=audit, status=status)
    elif decision.operations:
        warnings = decision.warnings or msgspec.UNSET
        patch = encode_patch(decision.operations)
        response = Response(uid, True, warnings, audit, patch, "JSONPatch")
    else:
        response = Response(uid, True, decision.warnings or msgspec.UNSET, audit)
    return _ENCODER.encode(_Reply(response))


def encode_patch(operations: tuple[Operation, ...]) -> str:
    """The JSON Patch document (RFC 6902) of these operations, in base64.

    Pods of one shape get the same operations, whatever they are called: their patches are kept.
    """
    try:
        return (
            _kept_patch(operations)
            if len(operations) <= _KEPT_OPERATIONS and _is_short(operations)
            else _patch(operations)
        )
    except TypeError:  # no hash: a whole volume or mount is added
        return _patch(operations)


def _patch(operations: tuple[Operation, ...]) -> str:
    return base64.b64encode(_ENCODER.encode(operations)).decode()


def _is_short(operations: tuple[Operation, ...]) -> bool:
    # A loop takes a third of what `all` takes, and every patched pod comes here.
    for each in operations:  # noqa: SIM110
        if type(each.value) is str and len(each.value) > _KEPT_CHARS:
            return False
    return True


_KEPT_OPERATIONS, _KEPT_CHARS = 64, 128
"""In a kept patch, and in each text of it, so that all of them together stay below 2 MB."""
_kept_patch = lru_cache(maxsize=128)(_patch)


def _is_review(review: _Review[Any]) -> bool:
    return review.api_version == API_VERSION and review.kind == KIND


def decode_full(body: bytes | bytearray) -> ValidationRequest:
    """The request in an AdmissionReview v1 that asks for a judgement, with views of everything that
    is judged.

    Raises: MalformedReview, as `decode`
    """
    many = len(body) > LARGE_BYTES and _has_many_things(body)
    if not many and (quick := _decode_quickly(body, _FULL_POD_REVIEW)) is not None:
        return quick
    decoded: Any = stepwise.decode if many else msgspec.json.decode
    try:
        raw = _head(body)
        view: Any = VIEWS.get((raw.kind.group, raw.kind.kind))
        held, old = (
            decoded(each, type=view | None) if view else None
            for each in (raw.object, raw.old_object)
        )
        return ValidationRequest(
            **_head_fields(raw), user_info=raw.user_info, object=held, old_object=old
        )
    except _BAD_BYTES as problem:
        raise _unreadable(problem) from problem


def _has_many_things(body: bytes | bytearray) -> bool:
    """Whether a large body should not be decoded in one pass, because it has very many or very
    short parts.
    """
    objects = body.count(b"{")
    return (
        objects > stepwise.most_objects(len(body)) or objects + body.count(b'"') // 2 > MANY_THINGS
    )


def _unreadable(problem: Exception) -> MalformedReview:
    return MalformedReview(f"the body must be the JSON of an AdmissionReview: {str(problem)[:200]}")


def _head(body: bytes | bytearray) -> _RawRequest:
    """The envelope. Raises: MalformedReview, and what the decoder raises for bad bytes."""
    if not body:
        raise MalformedReview("the body is empty; it must be an AdmissionReview")
    review = _RAW_REVIEW.decode(body)
    if not _is_review(review):
        said = f"{review.api_version[:60]!r} {review.kind[:60]!r}"
        raise MalformedReview(f"apiVersion and kind must be {API_VERSION!r} {KIND!r}, not {said}")
    if review.request is None or not review.request.uid:
        raise MalformedReview(
            "request.uid must be there" if review.request else "request must be there"
        )
    if len(review.request.uid) > MAX_UID_CHARS:
        raise MalformedReview(f"request.uid must have at most {MAX_UID_CHARS} characters")
    return review.request


def _decode_slowly(body: bytes | bytearray, decoded: Any) -> Request:
    try:
        return _with_objects(_head(body), decoded)
    except _BAD_BYTES as problem:
        raise _unreadable(problem) from problem


def _with_objects(raw: _RawRequest, decoded: Any) -> Request:
    group_kind = (raw.kind.group, raw.kind.kind)
    if group_kind == ("", "Pod"):
        return Request(**_head_fields(raw), object=decoded(raw.object, type=Pod | None))
    view: Any = MUTATED.get(group_kind)
    if view is None:
        return Request(**_head_fields(raw))
    return Request(
        **_head_fields(raw),
        object=decoded(raw.object, type=view | None),
        old_object=decoded(raw.old_object, type=view | None),
    )


def _head_fields(raw: _Head) -> dict[str, Any]:
    """What every request has, by name: one more field in the head must never shift the others."""
    return {name: getattr(raw, name) for name in _Head.__struct_fields__}
