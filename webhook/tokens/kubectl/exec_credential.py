"""The API between a client and a program that gives it credentials. Pure.

Source: k8s.io/client-go/pkg/apis/clientauthentication/v1/types.go and plugin/pkg/client/auth/exec.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from ...core.text import quote

VARIABLE = "KUBERNETES_EXEC_INFO"
API_VERSION = "client.authentication.k8s.io/v1"
KIND = "ExecCredential"
LAST_SECOND = 253402300799.0
"""Of the year 9999."""
MAX_INFO_CHARS = 4 << 20
"""The kernel lets no variable be longer than 128 KiB."""


class ExecCluster(msgspec.Struct, frozen=True):
    """The cluster that the client wants to call; it says so where its kubeconfig has
    `provideClusterInfo: true`.
    """

    server: str = ""
    authority: str = msgspec.field(name="certificate-authority-data", default="")


class _Spec(msgspec.Struct):
    cluster: ExecCluster | None = None
    interactive: bool = False


class _Info(msgspec.Struct):
    version: str = msgspec.field(name="apiVersion", default="")
    kind: str = ""
    spec: _Spec = msgspec.field(default_factory=_Spec)


_INFO = msgspec.json.Decoder(_Info)


def cluster_of(info: str) -> ExecCluster | None:
    """The cluster in the text of KUBERNETES_EXEC_INFO; None where the client tells none.

    Raises: ValueError, where the text is no ExecCredential of the version that we answer in
    """
    if len(info) > MAX_INFO_CHARS:
        raise ValueError(f"{VARIABLE}: must have at most {MAX_INFO_CHARS} characters")
    try:
        decoded = _INFO.decode(info)
    except (ValueError, RecursionError) as problem:
        raise ValueError(
            f"{VARIABLE}: must be the JSON of an ExecCredential: {type(problem).__name__}"
        ) from None
    if decoded.kind != KIND:
        raise ValueError(f"{VARIABLE}: kind must be {KIND}; it is {quote(decoded.kind)}")
    if decoded.version != API_VERSION:
        raise ValueError(
            f"{VARIABLE}: apiVersion must be {API_VERSION}; it is {quote(decoded.version)}: change it in the kubeconfig"
        )
    return decoded.spec.cluster


def exec_credential(token: str, expires_at: float) -> dict[str, Any]:
    """The object that a client reads; at `expires_at`, in seconds since 1970, it asks again."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "spec": {"interactive": False},
        "status": {"expirationTimestamp": timestamp(expires_at), "token": token},
    }


def timestamp(seconds: float) -> str:
    """A time as the API server writes it, rounded down to seconds; the first or the last one that a
    calendar has for one beyond.
    """
    at = datetime.fromtimestamp(min(max(seconds, 0.0), LAST_SECOND), UTC)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
