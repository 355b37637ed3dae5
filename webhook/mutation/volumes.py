"""Our volumes: recognize them, build them, and bring the tokens in them to a policy.

Our volumes are recognized by name and shape together. A foreign volume with the name `boundtoken`
is never changed.
"""

import hashlib
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from ..core import names, patch, views
from ..core.limits import Locks, Token
from ..core.patch import Operation
from ..core.policy import TokenPolicy
from ..core.views import Pod, Volume

FORESEEN = 8
"""How many alternative names are predictable. Later ones also depend on the other names."""


def carries_ours(pod: Pod, *, tokens: bool) -> bool:
    """Whether the pod already has a volume of ours, from an earlier call or from a copied pod.

    A volume of further tokens counts only if the policy has `tokens`. Otherwise it is removed, and
    a second call would not find it.
    """
    return any(
        views.is_ours(volume) or (tokens and views.is_our_tokens(volume))
        for volume in pod.spec.volumes or ()
    )


def free_name(base: str, volumes: tuple[Volume, ...]) -> str:
    """Return `base`, or `base-<8 hex digits>` if a foreign volume has that name. The result is the
    same for the same pod.

    Why a hash and not a random suffix: a second call must find the name of the first. If the first
    names are all taken, the hash covers the names of all volumes, so that an attacker cannot take
    every alternative in advance.
    """
    taken = {volume.name for volume in volumes}
    name, attempt, more = base, 0, ""
    while name in taken:
        attempt += 1
        if attempt == FORESEEN:
            more = ",".join(volume.name for volume in volumes)
        name = f"{base}-{hashlib.sha256(f'{base}/{attempt}{more}'.encode(errors='replace')).hexdigest()[:8]}"
    return name


def set_token(
    operations: list[Operation], volume: Volume, at: int, audience: str, seconds: int
) -> None:
    """Append the operations that set audience and lifetime of the API access token in the volume at
    index `at`.
    """
    projected = volume.projected
    for number, source in enumerate((projected.sources or ()) if projected is not None else ()):
        token = source.service_account_token
        if token is None or token.path != names.TOKEN_FILE:
            continue
        now = token.expiration_seconds
        if now != seconds:
            operations.append(lifetime("add" if now is None else "replace", at, number, seconds))
        # Absent and empty mean the same, and an absent field cannot be replaced or removed.
        if (token.audience or "") != audience:
            pointer = f"{token_pointer(at, number)}/audience"
            verb = patch.add if token.audience is None else patch.replace
            operations.append(verb(pointer, audience) if audience else patch.remove(pointer))


def set_tokens(
    operations: list[Operation], volume: Volume, at: int, tokens: tuple[Token, ...]
) -> None:
    """Append the operations that give our second volume, at index `at`, exactly these tokens."""
    sources, pointer = volume.sources, f"/spec/volumes/{at}/projected/sources"
    for number, token in enumerate(tokens):
        now = sources[number].service_account_token if number < len(sources) else None
        value = token_source(token)
        if now is None:
            operations.append(patch.add(f"{pointer}/-", {"serviceAccountToken": value}))
        elif (now.path, now.audience, now.expiration_seconds) != msgspec.structs.astuple(token):
            operations.append(patch.replace(f"{pointer}/{number}/serviceAccountToken", value))
    # The last index first, because a removal shifts all later indexes.
    superfluous = range(len(sources) - 1, len(tokens) - 1, -1)
    operations += [patch.remove(f"{pointer}/{number}") for number in superfluous]


def apply_locks_to_ours(
    operations: list[Operation], volumes: tuple[Volume, ...], locks: Locks
) -> None:
    """Append the operations that apply the locks to volumes of ours in a pod that is not injected.
    Such volumes were copied from another pod.
    """
    for at, volume in enumerate(volumes):
        if volume.name.startswith(names.VOLUME) and (
            views.is_ours(volume) or views.is_our_tokens(volume)
        ):
            apply_locks(operations, volume, at, locks)


def apply_locks(operations: list[Operation], volume: Volume, at: int, locks: Locks) -> None:
    """Append the operations that apply the locks to the volume at index `at`: they cap lifetimes
    and remove audiences that are not allowed.

    The API access token falls back to the API server's own audience. Any other token is removed:
    its reader sends it to a third party, which must not receive a token for the API server instead.
    """
    removed = []
    for number, source in enumerate(volume.sources):
        token = source.service_account_token
        if token is None:
            continue
        if not locks.allows(token.audience or ""):
            if token.path != names.TOKEN_FILE or not views.is_ours(volume):
                removed.append(number)
                continue
            operations.append(patch.remove(f"{token_pointer(at, number)}/audience"))
        # A missing value is 3600 s by the API server's default, which may exceed the lock.
        now = token.expiration_seconds
        seconds = names.API_DEFAULT_EXPIRATION_SECONDS if now is None else now
        if locks.capped(seconds) != seconds:
            verb: Literal["add", "replace"] = "add" if now is None else "replace"
            operations.append(lifetime(verb, at, number, locks.capped(seconds)))
    pointer = f"/spec/volumes/{at}/projected/sources"
    operations += [patch.remove(f"{pointer}/{number}") for number in reversed(removed)]


AUTOMOUNT_ADDED: Final = patch.add("/spec/automountServiceAccountToken", False)
AUTOMOUNT_REPLACED: Final = patch.replace("/spec/automountServiceAccountToken", False)


@lru_cache(maxsize=256)
def as_the_plugin_adds_it(at: int, audience: str, seconds: int) -> tuple[Operation, ...]:
    """Return what `set_token` appends for a volume exactly as the ServiceAccount plugin adds it."""
    operations: list[Operation] = []
    set_token(operations, Volume("", views.AS_THE_PLUGIN_ADDS_IT), at, audience, seconds)
    return tuple(operations)


# These operations are frozen and equal for all pods of one shape, so building them once saves most
# of their cost.
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
    token: dict[str, Any] = {
        "path": names.TOKEN_FILE,
        "expirationSeconds": policy.expiration_seconds,
    }
    if policy.audience:
        token["audience"] = policy.audience
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    sources = [
        {"serviceAccountToken": token},
        {
            "configMap": {
                "name": names.ROOT_CA_CONFIGMAP,
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {"downwardAPI": {"items": [namespace]}},
    ]
    return _projected(name, sources)


def tokens_volume(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    return _projected(name, [{"serviceAccountToken": token_source(token)} for token in tokens])


def _projected(name: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "projected": {"defaultMode": names.DEFAULT_MODE, "sources": sources}}


def token_source(token: Token) -> dict[str, Any]:
    return {
        "path": token.file,
        "expirationSeconds": token.expiration_seconds,
        "audience": token.audience,
    }


def mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "readOnly": True, "mountPath": path}
