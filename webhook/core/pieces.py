"""The pieces that we put into pods, and the operations that come again with every pod.

These operations are kept: looking one up costs half of building it, and there are only a few.
"""

from functools import lru_cache
from typing import Any, Final, Literal

from . import names, patch
from .patch import Operation
from .policy import TokenPolicy
from .wishes import Token

AUTOMOUNT_ADDED: Final = patch.add("/spec/automountServiceAccountToken", False)
AUTOMOUNT_REPLACED: Final = patch.replace("/spec/automountServiceAccountToken", False)


@lru_cache(maxsize=2048)
def renamed_mount(kind: str, container: int, mount: int, name: str) -> Operation:
    return patch.replace(f"{mounts_pointer(kind, container)}/{mount}/name", name)


@lru_cache(maxsize=256)
def renamed_volume(at: int, name: str) -> Operation:
    return patch.replace(f"/spec/volumes/{at}/name", name)


@lru_cache(maxsize=256)
def lifetime(verb: Literal["add", "replace"], volume: int, source: int, seconds: int) -> Operation:
    return Operation(verb, f"{token_pointer(volume, source)}/expirationSeconds", seconds)


def mounts_pointer(kind: str, container: int) -> str:
    return f"/spec/{kind}/{container}/volumeMounts"


def token_pointer(volume: int, source: int) -> str:
    return f"/spec/volumes/{volume}/projected/sources/{source}/serviceAccountToken"


def volume(name: str, policy: TokenPolicy) -> dict[str, Any]:
    token: dict[str, Any] = {"path": names.TOKEN_FILE, "expirationSeconds": policy.expiration_seconds}
    if policy.audience:
        token["audience"] = policy.audience
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": token},
        {"configMap": {"name": names.ROOT_CA_CONFIGMAP, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return _projected(name, sources)


def tokens_volume(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    return _projected(name, [{"serviceAccountToken": token_source(token)} for token in tokens])


def _projected(name: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "projected": {"defaultMode": names.DEFAULT_MODE, "sources": sources}}


def token_source(token: Token) -> dict[str, Any]:
    return {"path": token.file, "expirationSeconds": token.expiration_seconds, "audience": token.audience}


def mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "readOnly": True, "mountPath": path}
