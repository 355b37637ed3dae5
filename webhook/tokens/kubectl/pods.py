"""Whose token a pod runs on, by the pod itself."""

from typing import NamedTuple
from urllib.parse import quote as percent_encoded

import msgspec

from ...core.claims import ObjectReference
from ...core.text import quote, truncate
from ..errors import NoToken, RequestRefused
from ..server import ApiServer, Refusal
from .create import check_text, unfit_for_path

DEFAULT_ACCOUNT = "default"
MAX_MESSAGE_CHARS = 2000
KINDS = ("pod", "pods", "po")


class PodAccount(NamedTuple):
    """The service account of a pod, and the pod, for tokens that shall die with it."""

    namespace: str
    account: str
    pod: ObjectReference


class _Metadata(msgspec.Struct):
    name: str
    namespace: str
    uid: str


class _Spec(msgspec.Struct):
    account: str = msgspec.field(name="serviceAccountName", default="")


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


_POD = msgspec.json.Decoder(_Pod)


def check_pod_name(name: str) -> None:
    """Raises: ValueError, in the words of kubectl, for what is no name"""
    if not (name := _without_kind(name)):
        raise ValueError("--for-pod must not be an empty string")
    check_text("--for-pod", name)
    if problem := unfit_for_path(name):
        raise ValueError(f"invalid resource name {quote(name)}: {problem}")


def pod_account(server: ApiServer, namespace: str, name: str) -> PodAccount:
    """The account of a pod that there is; `name` may be written pod/NAME too.

    Raises: RequestRefused, in the API server's words; NoToken, where no usable answer came
    """
    parts = (percent_encoded(part, safe="") for part in (namespace, _without_kind(name)))
    path = "/api/v1/namespaces/{}/pods/{}".format(*parts)
    try:
        pod = _POD.decode(server.get(path))
    except Refusal as refusal:
        message = truncate(refusal.message, MAX_MESSAGE_CHARS)
        if refusal.status:
            raise RequestRefused(message, refusal.status, refusal.retry_after) from None
        raise NoToken(message, refusal.retry_after) from None
    except (ValueError, RecursionError) as problem:
        raise NoToken(f"GET {path}: its answer is no Pod: {type(problem).__name__}") from None
    found = pod.metadata
    return PodAccount(
        found.namespace,
        pod.spec.account or DEFAULT_ACCOUNT,
        ObjectReference("Pod", found.name, found.uid),
    )


def _without_kind(name: str) -> str:
    kind, slash, rest = name.partition("/")
    return rest if slash and kind in KINDS else name
