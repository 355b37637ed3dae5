"""Audit logs as the API server writes them, made up: every field as in the log of a 1.37 one."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.builders import Json

BEGIN = datetime(2026, 1, 31, 8, tzinfo=UTC)
NODE = {"username": "system:node:node-1", "groups": ["system:nodes", "system:authenticated"]}
CONTROLLERS = {"username": "system:kube-controller-manager", "groups": ["system:authenticated"]}
JANE = {"username": "jane", "groups": ["developers", "system:authenticated"]}
ALLOWED = {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}


def at(seconds: float) -> str:
    """A time of the log, this many seconds after its begin."""
    return (BEGIN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def an_event(seconds: float = 0, **fields: Any) -> Json:
    """A request for a pod, by default; `fields` are the event's, in the API server's order."""
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": str(uuid.uuid4()),
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods/p1",
        "verb": "get",
        "user": JANE,
        "sourceIPs": ["10.0.0.9"],
        "userAgent": "kubectl/v1.37.2 (linux/amd64) kubernetes/abcdef0",
        "objectRef": {"resource": "pods", "namespace": "shop", "name": "p1", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": at(seconds),
        "stageTimestamp": at(seconds),
        "annotations": ALLOWED,
        **fields,
    }
    behind = ("requestReceivedTimestamp", "stageTimestamp", "annotations")
    return {
        **{key: value for key, value in event.items() if key not in behind},
        **{key: event[key] for key in behind},
    }


def a_request(
    seconds: float = 0,
    account: str = "shop/cart",
    *,
    jti: str = "",
    audiences: list[str] | None = None,
    expiration: int = 3600,
    pod: str = "",
    code: int = 201,
    **fields: Any,
) -> Json:
    """A TokenRequest at level Request."""
    namespace, _, name = account.partition("/")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": "u"} if pod else None
    issued = {"authentication.kubernetes.io/issued-credential-id": f"JTI={jti or uuid.uuid4()}"}
    return an_event(
        seconds,
        **{
            "level": "Request",
            "requestURI": f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            "verb": "create",
            "objectRef": {
                "resource": "serviceaccounts",
                "namespace": namespace,
                "name": name,
                "apiVersion": "v1",
                "subresource": "token",
            },
            "responseStatus": {"metadata": {}, "code": code},
            "requestObject": {
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": {},
                "spec": {
                    "audiences": audiences,
                    "expirationSeconds": expiration,
                    "boundObjectRef": bound,
                },
                "status": {"token": "", "expirationTimestamp": None},
            },
            "annotations": {**(issued if code == 201 else {}), **ALLOWED},
            **fields,
        },
    )


def a_use(
    seconds: float = 0,
    account: str = "shop/cart",
    *,
    jti: str = "",
    pod: str = "",
    annotations: dict[str, str] | None = None,
    **fields: Any,
) -> Json:
    """A request with a token of a service account."""
    namespace, _, name = account.partition("/")
    extra = {"authentication.kubernetes.io/credential-id": [f"JTI={jti}"]} if jti else {}
    if pod:
        extra["authentication.kubernetes.io/pod-name"] = [pod]
    user = {
        "username": f"system:serviceaccount:{namespace}:{name}",
        "uid": "u",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"],
        "extra": extra,
    }
    return an_event(
        seconds, **{"user": user, "annotations": {**(annotations or {}), **ALLOWED}, **fields}
    )


def lines(*events: Json) -> bytes:
    """As the API server writes them: one a line, without blanks."""
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def write_large(path: Path, megabytes: int, token: bytes) -> int:
    """A log of this length, with `token`, lines of our own, after each eighth of it. Gives how
    often.
    """
    with path.open("wb") as file:
        parts = 8
        for _ in range(parts):
            for block in _traffic(megabytes // parts):
                file.write(block)
            file.write(token)
    return parts


def _traffic(megabytes: int) -> Iterator[bytes]:
    """What a cluster does all day, in blocks of about a megabyte."""
    block = lines(*(a_use(n, f"ns{n % 50}/app", jti=str(uuid.uuid4())) for n in range(1200)))
    for _ in range(megabytes * 1_000_000 // len(block)):
        yield block
