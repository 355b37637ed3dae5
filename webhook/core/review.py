"""Decode an AdmissionReview to a request, and encode a decision to a response. Only this module
knows the envelope.

Pods are nearly all of the traffic, and are decoded in one pass, envelope and pod together. A body
that this pass cannot decode is read again, envelope first, so that other kinds get their own view
and an error message names the place.

Source: docs/kubernetes.md section 5;
apiserver/pkg/admission/plugin/webhook/request/admissionreview.go.
"""

import base64
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ..errors import MalformedReview
from . import stepwise
from .decision import Decision, Reason
from .full_views import FullPod, UserInfo, Validated
from .kinds import MUTATED, VIEWS
from .patch import Operation
from .views import CronJob, Pod, User, View, Workload

RequestT = TypeVar("RequestT", bound="_Head")
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
    """A request to `/mutate`. `object` is None for DELETE, and for a kind without a view."""

    is_validation: ClassVar[bool] = False
    user_info: User = User()
    object: Pod | Workload | CronJob | None = None
    old_object: Workload | CronJob | None = None


class ValidationRequest(_Head, frozen=True):
    """A request to `/validate`. Both objects are None for a kind without a view."""

    is_validation: ClassVar[bool] = True
    user_info: UserInfo = UserInfo()
    object: Validated | None = None
    old_object: Validated | None = None


class Status(msgspec.Struct, frozen=True):
    """Why a request is denied."""

    message: str
    code: int = 403
    reason: str = "Forbidden"


class Response(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The response. It has both `patch` and `patchType` or neither; the API server rejects anything
    else.
    """

    uid: str
    allowed: bool = True
    warnings: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    audit_annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    patch: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    patch_type: str | msgspec.UnsetType = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET


class _Reply(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    response: Response
    api_version: str = API_VERSION
    kind: str = KIND


class _PodRequest(Request, frozen=True):
    """The request that the one pass for pods decodes. It has no old object: a review with one fails
    to decode here, and is read again.
    """

    object: Pod | None = None
    old_object: None = None


class _FullPodRequest(ValidationRequest, frozen=True):
    """The same for a request to `/validate`."""

    object: FullPod | None = None
    old_object: None = None


class _RawRequest(_Head, frozen=True):
    user_info: UserInfo = UserInfo()
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(View, Generic[RequestT], frozen=True):
    api_version: str = ""
    kind: str = ""
    request: RequestT | None = None


LARGE_BYTES = 128 << 10
"""In a larger body the objects and strings are counted before it is decoded. Counting takes a tenth
of the time of decoding."""
MEDIUM_BYTES = 16 << 10
"""Of a larger body the kind is looked for before it is decoded as the review of a pod."""
MANY_THINGS = 100_000
"""The strings and objects of a body that is decoded in one pass: 30 ms at worst, in which all other
threads wait."""
MAX_UID_CHARS = 256
"""Of the uid, which the response repeats. A UUID has 36."""
_POD, HEAD_BYTES = b'"kind":"Pod"', 512
"""How Go encodes the kind of a pod, in `request.kind` at the beginning of a review."""

_POD_REVIEW = msgspec.json.Decoder(_Review[_PodRequest])
_FULL_POD_REVIEW = msgspec.json.Decoder(_Review[_FullPodRequest])
_RAW_REVIEW = msgspec.json.Decoder(_Review[_RawRequest])
_ENCODER = msgspec.json.Encoder()
# 100,000 nested brackets raise RecursionError instead of DecodeError. Both only mean that the body
# is invalid.
_BAD_BYTES = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def decode(body: bytes | bytearray) -> Request:
    """Return the request in an AdmissionReview v1.

    Raises: MalformedReview for any other body, with the place and what was expected there
    """
    # A body with very many parts is never decoded in one pass: it would stop all other threads.
    many = len(body) > LARGE_BYTES and _has_many_things(body)
    if not many and (quick := _decode_quickly(body, _POD_REVIEW)) is not None:
        return quick
    return _decode_slowly(body, stepwise.decode if many else msgspec.json.decode)


def _decode_quickly(
    body: bytes | bytearray, decoder: "msgspec.json.Decoder[_Review[RequestT]]"
) -> RequestT | None:
    """Decode the review of a new pod in one pass. Returns None for any other body, which must be
    read again.
    """
    # Saves decoding large reviews of other kinds twice. A pod in another encoding than Go's is only
    # slower.
    if len(body) > MEDIUM_BYTES and body.find(_POD, 0, HEAD_BYTES) < 0:
        return None
    try:
        review = decoder.decode(body)
    except _BAD_BYTES:
        return None
    request = review.request
    if (
        request is None
        or request.kind.kind != "Pod"
        or request.kind.group
        or review.api_version != API_VERSION
        or review.kind != KIND
        or not 0 < len(request.uid) <= MAX_UID_CHARS
    ):
        # The caller reads the body again, after this result is freed: both at once would need
        # twice the memory.
        return None
    return request


def respond(uid: str, decision: Decision) -> bytes:
    """Return the AdmissionReview v1 with a decision, as JSON.

    Pods of one shape get the same decision, whatever their names, so of short replies all but the
    uid is kept. Not of those with warnings or a denial: their texts have names, and few are alike.
    """
    policy = decision.audit.get("policy")
    if policy is None or len(decision.audit) > 1 or decision.warnings or decision.denial:
        return _encoded(uid, decision)
    key = decision.reason, policy, decision.operations
    try:
        after_uid = _kept_replies.get(key)
    except TypeError:  # an operation that adds a whole volume or mount has no hash
        return _encoded(uid, decision)
    if after_uid is not None:
        return b"".join((_BEFORE_UID, _ENCODER.encode(uid), after_uid))
    reply = _encoded(uid, decision)
    if len(reply) <= _KEPT_BYTES and len(decision.operations) <= _KEPT_OPERATIONS:
        if len(_kept_replies) >= _KEPT:
            _kept_replies.clear()
        _kept_replies[key] = reply.removeprefix(_BEFORE_UID + _ENCODER.encode(uid))
    return reply


def _encoded(uid: str, decision: Decision) -> bytes:
    audit = {"reason": decision.reason, **decision.audit}
    warnings = decision.warnings or msgspec.UNSET
    if decision.denial:
        response = Response(uid, False, warnings, audit, status=Status(decision.denial))
    elif decision.operations:
        patch = encode_patch(decision.operations)
        response = Response(uid, True, warnings, audit, patch, "JSONPatch")
    else:
        response = Response(uid, True, warnings, audit)
    return _ENCODER.encode(_Reply(response))


def encode_patch(operations: tuple[Operation, ...]) -> msgspec.Raw:
    """Return the JSON Patch document (RFC 6902) of these operations: a JSON string of base64."""
    return msgspec.Raw(b'"%b"' % base64.b64encode(_ENCODER.encode(operations)))


_BEFORE_UID = b'{"response":{"uid":'
_KEPT, _KEPT_OPERATIONS, _KEPT_BYTES = 128, 64, 8192
"""Limits of the cache: replies, operations of each, and bytes of each. The whole cache stays below
4 MB, keys included."""
_kept_replies: dict[tuple[Reason, str, tuple[Operation, ...]], bytes] = {}


def decode_full(body: bytes | bytearray) -> ValidationRequest:
    """Return the request in an AdmissionReview v1 to `/validate`.

    Raises: MalformedReview, as `decode`
    """
    many = len(body) > LARGE_BYTES and _has_many_things(body)
    if not many and (quick := _decode_quickly(body, _FULL_POD_REVIEW)) is not None:
        return quick
    decoded: Any = stepwise.decode if many else msgspec.json.decode
    try:
        raw = _head(body)
        view: Any = VIEWS.get((raw.kind.group, raw.kind.kind))
        resource, old = (
            decoded(text, type=view | None) if view else None
            for text in (raw.object, raw.old_object)
        )
        return ValidationRequest(
            **_head_fields(raw), user_info=raw.user_info, object=resource, old_object=old
        )
    except _BAD_BYTES as problem:
        raise _unreadable(problem) from problem


def _has_many_things(body: bytes | bytearray) -> bool:
    """Whether a large body has too many parts to be decoded in one pass.

    Brackets and quotes inside strings count too. That is cheap, and only makes the decoding slower.
    """
    objects = body.count(b"{")
    return (
        objects > stepwise.object_limit(len(body)) or objects + body.count(b'"') // 2 > MANY_THINGS
    )


def _unreadable(problem: Exception) -> MalformedReview:
    return MalformedReview(f"the body must be the JSON of an AdmissionReview: {str(problem)[:200]}")


def _head(body: bytes | bytearray) -> _RawRequest:
    """Return the request with its objects undecoded.

    Raises: MalformedReview, and for an invalid body what the decoder raises
    """
    if not body:
        raise MalformedReview("the body is empty; it must be an AdmissionReview")
    review = _RAW_REVIEW.decode(body)
    if review.api_version != API_VERSION or review.kind != KIND:
        found = f"{review.api_version[:60]!r} {review.kind[:60]!r}"
        raise MalformedReview(f"apiVersion and kind must be {API_VERSION!r} {KIND!r}, not {found}")
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
    head = {**_head_fields(raw), "user_info": User(raw.user_info.username)}
    if group_kind == ("", "Pod"):
        return Request(**head, object=decoded(raw.object, type=Pod | None))
    view: Any = MUTATED.get(group_kind)
    if view is None:
        return Request(**head)
    return Request(
        **head,
        object=decoded(raw.object, type=view | None),
        old_object=decoded(raw.old_object, type=view | None),
    )


def _head_fields(raw: _Head) -> dict[str, Any]:
    """Return the fields of the head by name, so that a new field never shifts the others."""
    return {name: getattr(raw, name) for name in _Head.__struct_fields__}
