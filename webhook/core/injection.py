"""The surgery: which operations give a pod what its policy says; never whether, and never why.

The whole of contract.md section 1 and 2 in terms of four kinds of volumes, each judged by name and shape together:

    automounted   what the ServiceAccount plugin added (`kube-api-access-…`)
    kept          automounted, but a skipped container mounts it: stays as it came
    ours          `boundtoken`, from an earlier call or from a pod that was copied
    carrier       the one that holds the token when we are done: ours, or an automounted one that is rewritten where it
                  stands (automount enabled) or becomes ours where it stands (automount disabled), or a new one

    where our path is the default path          every mount of an automounted volume follows to the carrier
    where it is another one, automount enabled  automounted volumes stay, for the API server, with our expiration
    where it is another one, automount disabled automounted volumes go, with their mounts

Why in place: the plugin runs again after us and adds a second, year-long token for every container without a mount at
exactly the default path, unless `automountServiceAccountToken` is false (kubernetes.md, section 1.6).

Every operation needs only what the view holds. A pod that already is right gives none.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from . import names, patch, pods
from .patch import Operation
from .pods import Pod, PodSpec, Volume
from .policy import TokenPolicy
from .wishes import Token

_OURS = re.compile(re.escape(names.VOLUME) + r"(-[0-9a-f]{8})?")
_OUR_TOKENS = re.compile(re.escape(names.TOKENS_VOLUME) + r"(-[0-9a-f]{8})?")


Result = Literal["injected", "rewritten", "stripped", "unchanged"]


class Plan(msgspec.Struct, frozen=True):
    """The operations in the order to apply them, and in one word what the pod is when they are applied."""

    operations: tuple[Operation, ...]
    result: Result


def is_ours(volume: Volume) -> bool:
    """Whether it is our main volume: by name and shape together, so that a foreign `boundtoken` stays foreign."""
    return _OURS.fullmatch(volume.name) is not None and pods.gives_api_access(volume)


def carries_ours(pod: Pod) -> bool:
    """Whether the pod has our volume already: a second call, or a pod that was copied from a living one."""
    return any(is_ours(volume) for volume in pod.spec.volumes or ())


def plan(pod: Pod, policy: TokenPolicy) -> Plan:
    """The operations after which `pod` is as `policy` says; empty where neither question asks for anything."""
    if not policy.inject and policy.automount:
        return Plan((), "unchanged")
    scene = _Scene(pod.spec, policy)
    tokens = _further_tokens(scene)
    if tokens.cut:
        scene.here[tokens.name] = scene.elsewhere[tokens.name] = None
    operations = scene.kept_volumes()
    operations += tokens.sources
    used, tokens_used = _mounts(scene, tokens, operations)
    for number in sorted((*scene.removed_volumes(), *tokens.cut), reverse=True):
        operations.append(patch.remove(f"/spec/volumes/{number}"))
    added = [_volume(scene.carrier, policy)] if used and scene.is_new else []
    if tokens_used and tokens.is_new:
        added.append(_tokens_volume(tokens.name, policy.tokens))
    if added:
        operations += patch.append("/spec/volumes", pod.spec.volumes, added)
    held = pod.spec.automount_service_account_token
    if not policy.automount and held is not False:
        operations.append((patch.add if held is None else patch.replace)("/spec/automountServiceAccountToken", False))
    return Plan(tuple(operations), scene.result(used=used))


class _Scene:
    """One pod seen through one policy: which volume is what, and what becomes of the mounts of each."""

    __slots__ = (
        "at_default", "automounted", "carrier", "elsewhere", "here", "in_place", "is_new", "kept", "movable", "our_tokens",
        "ours", "policy", "renamed", "spec", "volumes",
    )  # fmt: skip

    def __init__(self, spec: PodSpec, policy: TokenPolicy) -> None:
        self.spec = spec
        self.policy = policy
        self.volumes = spec.volumes or ()
        self.kept = _mounted_by(spec, policy.skip_containers) if policy.skip_containers else frozenset()
        self.at_default = policy.mount_path == names.DEFAULT_PATH
        self.ours: list[int] = []
        self.our_tokens: int | None = None
        self.automounted: dict[str, int] = {}
        for at, volume in enumerate(self.volumes):
            if volume.name.startswith(names.AUTOMOUNTED_PREFIX):
                if pods.gives_api_access(volume):
                    self.automounted[volume.name] = at
            elif policy.inject and volume.name.startswith(names.VOLUME):
                if is_ours(volume):
                    self.ours.append(at)
                elif self.our_tokens is None and _is_our_tokens(volume):
                    self.our_tokens = at
        self.movable = [at for name, at in self.automounted.items() if name not in self.kept]
        becomes_carrier = policy.inject and not self.ours and self.at_default and bool(self.movable)
        self.in_place = becomes_carrier and policy.automount
        self.renamed = self.movable[0] if becomes_carrier and not policy.automount else None
        self.is_new = policy.inject and not self.ours and not becomes_carrier
        self.carrier = self._carrier_name()
        self.here: dict[str, str | None] = {}
        self.elsewhere: dict[str, str | None] = {}
        for name, at in self.automounted.items():
            self.here[name] = self._fate_here(at)
            self.elsewhere[name] = self._fate_elsewhere(name, at)

    def _carrier_name(self) -> str:
        if not self.policy.inject:
            return ""
        if self.ours or self.in_place:
            return self.volumes[self.ours[0] if self.ours else self.movable[0]].name
        return free_name(names.VOLUME, self.volumes)

    def _fate_here(self, at: int) -> str | None:
        """What a mount of an automounted volume at our path names when we are done; None where the mount goes."""
        if not self.policy.inject:
            return None
        return self.volumes[at].name if self.in_place and at in self.movable else self.carrier

    def _fate_elsewhere(self, name: str, at: int) -> str | None:
        """The same for a mount at any other path."""
        policy = self.policy
        if not policy.inject or not (self.at_default or policy.automount):
            return None
        if self.in_place or not self.at_default:
            return name
        return self.carrier if at in self.movable or not policy.automount else name

    def kept_volumes(self) -> list[Operation]:
        """Volumes that stay: their token sources brought to the policy that holds now, and the name of the carrier."""
        policy = self.policy
        operations: list[Operation] = []
        for at in self.ours if self.renamed is None else (self.renamed,):
            operations += _token(self.volumes, at, policy.audience, policy.expiration_seconds)
        if self.in_place or (policy.inject and policy.automount and not self.at_default):
            for at in self.movable:
                operations += _token(self.volumes, at, policy.audience if self.in_place else "", policy.expiration_seconds)
        if self.renamed is not None:
            operations.append(patch.replace(f"/spec/volumes/{self.renamed}/name", self.carrier))
        return operations

    def removed_volumes(self) -> list[int]:
        if self.in_place or (self.policy.automount and not self.at_default):
            return []
        return [at for at in self.movable if at != self.renamed]

    def result(self, *, used: bool) -> Result:
        if self.in_place:
            return "rewritten"
        if self.ours or self.renamed is not None or used:
            return "injected"
        if not self.policy.automount:
            return "stripped"
        return "rewritten" if not self.at_default and self.movable else "unchanged"


class _FurtherTokens(msgspec.Struct):
    """What becomes of the second volume; no name where there is none and none is wanted."""

    name: str = ""
    wanted: bool = False
    is_new: bool = False
    sources: list[Operation] = []
    cut: tuple[int, ...] = ()


_NO_TOKENS = _FurtherTokens()


def _further_tokens(scene: _Scene) -> _FurtherTokens:
    policy, volumes = scene.policy, scene.volumes
    if not policy.inject:
        return _NO_TOKENS
    there = scene.our_tokens
    if there is None:
        return _FurtherTokens(free_name(names.TOKENS_VOLUME, volumes), True, True) if policy.tokens else _NO_TOKENS
    name = volumes[there].name
    if policy.tokens:
        sources = list(_same_tokens(f"/spec/volumes/{there}/projected/sources", volumes[there], policy.tokens))
        return _FurtherTokens(name, wanted=True, sources=sources)
    return _NO_TOKENS if name in scene.kept else _FurtherTokens(name, cut=(there,))


def _mounts(scene: _Scene, tokens: _FurtherTokens, operations: list[Operation]) -> tuple[bool, bool]:
    """Append what becomes of the mounts; gives whether any container mounts the carrier and the further tokens then.

    For each container: mounts that change their volume, mounts that go (last first), mounts that come.
    """
    policy, carrier, moving = scene.policy, scene.carrier, scene.here
    path, skip, used, tokens_used = policy.mount_path, policy.skip_containers, False, False
    for kind, containers in (("initContainers", scene.spec.init_containers), ("containers", scene.spec.containers)):
        for index, container in enumerate(containers or ()):
            if container.name in skip:
                continue
            lacks, lacks_tokens, own, moved = policy.inject, tokens.wanted, False, None
            for number, mount in enumerate(container.volume_mounts or ()):
                name, at = mount.name, mount.mount_path
                here = at == path or (at[-1:] == "/" and at.rstrip("/") == path)
                if here:
                    lacks = False
                elif lacks_tokens and pods.same_path(at, names.TOKENS_PATH):
                    lacks_tokens = False
                if name in moving:
                    moved = [] if moved is None else moved
                    moved.append((number, name, here))
                else:
                    own = own or here
                    used = used or name == carrier
                    tokens_used = tokens_used or name == tokens.name
            pointer = f"/spec/{kind}/{index}/volumeMounts"
            if moved is not None:
                used = _move(scene, moved, pointer, operations, keeps_own=own and not policy.automount) or used
            if lacks or lacks_tokens:
                new = [_mount(carrier, path)] if lacks else []
                new += [_mount(tokens.name, names.TOKENS_PATH)] if lacks_tokens else []
                operations += patch.append(pointer, container.volume_mounts, new)
                used, tokens_used = used or lacks, tokens_used or lacks_tokens
    return used, tokens_used


def _move(
    scene: _Scene, moved: list[tuple[int, str, bool]], pointer: str, operations: list[Operation], *, keeps_own: bool
) -> bool:
    """The mounts of one container whose volume changes or goes; gives whether one of them is the carrier's then.

    Where a container keeps its own mount at our path, the plugin's goes: the plugin does not see a path that ends in a
    slash. Only where automount is disabled, because elsewhere the plugin would put its mount back.
    """
    gone, used = [], False
    for number, name, here in moved:
        fate = (None if keeps_own else scene.here[name]) if here else scene.elsewhere[name]
        if fate is None:
            gone.append(number)
            continue
        used = used or fate == scene.carrier
        if fate != name:
            operations.append(Operation("replace", f"{pointer}/{number}/name", fate))
    if gone:
        operations.extend(patch.remove(f"{pointer}/{number}") for number in reversed(gone))
    return used


def _mounted_by(spec: PodSpec, container_names: tuple[str, ...]) -> frozenset[str]:
    """The volumes that the containers of these names mount."""
    everyone = (*(spec.init_containers or ()), *(spec.containers or ()))
    return frozenset(mount.name for each in everyone if each.name in container_names for mount in each.mounts)


def free_name(base: str, volumes: Iterable[Volume]) -> str:
    """`base`, or `base-<8 hex digits>` where a foreign volume has that name; the same for the same pod, always.

    Why a hash and nothing random: a second call must find the name of the first.
    """
    taken = {volume.name for volume in volumes}
    name, attempt = base, 0
    while name in taken:
        attempt += 1
        name = f"{base}-{hashlib.sha256(f'{base}/{attempt}'.encode()).hexdigest()[:8]}"
    return name


def _is_our_tokens(volume: Volume) -> bool:
    return _OUR_TOKENS.fullmatch(volume.name) is not None and pods.gives_only_tokens(volume)


def _token(volumes: tuple[Volume, ...], at: int, audience: str, seconds: int) -> Iterator[Operation]:
    """The operations that give the API access token of the volume at index `at` this audience and lifetime."""
    for number, source in enumerate(volumes[at].sources):
        token = source.service_account_token
        if token is None or token.path != names.TOKEN_FILE:
            continue
        pointer = f"/spec/volumes/{at}/projected/sources/{number}/serviceAccountToken"
        if token.expiration_seconds != seconds:
            verb = patch.add if token.expiration_seconds is None else patch.replace
            yield verb(f"{pointer}/expirationSeconds", seconds)
        if (token.audience or "") != audience:
            verb = patch.add if token.audience is None else patch.replace
            yield verb(f"{pointer}/audience", audience) if audience else patch.remove(f"{pointer}/audience")


def _same_tokens(pointer: str, volume: Volume, tokens: tuple[Token, ...]) -> Iterator[Operation]:
    there = volume.sources
    for number, token in enumerate(tokens):
        held = there[number].service_account_token if number < len(there) else None
        if held is None:
            yield patch.add(f"{pointer}/-", {"serviceAccountToken": _token_source(token)})
        elif (held.path, held.audience, held.expiration_seconds) != (
            token.file,
            token.audience,
            token.expiration_seconds,
        ):
            yield patch.replace(f"{pointer}/{number}/serviceAccountToken", _token_source(token))
    yield from (patch.remove(f"{pointer}/{number}") for number in range(len(there) - 1, len(tokens) - 1, -1))


def _volume(name: str, policy: TokenPolicy) -> dict[str, Any]:
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


def _tokens_volume(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    return _projected(name, [{"serviceAccountToken": _token_source(token)} for token in tokens])


def _projected(name: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "projected": {"defaultMode": names.DEFAULT_MODE, "sources": sources}}


def _token_source(token: Token) -> dict[str, Any]:
    return {"path": token.file, "expirationSeconds": token.expiration_seconds, "audience": token.audience}


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "readOnly": True, "mountPath": path}
