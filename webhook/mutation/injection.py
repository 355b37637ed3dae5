"""The surgery: which operations give a pod what its policy says; never whether, and never why.

The whole of docs/contract.md sections 1 and 2 in terms of four kinds of volumes, each judged by
name and shape together:

    automounted   what the ServiceAccount plugin added (`kube-api-access-…`)
    kept          automounted, but a skipped container mounts it: stays as it came
    ours          `boundtoken`, from an earlier call or from a pod that was copied
    carrier       the one that holds the token when we are done: ours, or an automounted one that is
                  rewritten where it stands (automount enabled) or becomes ours where it stands
                  (automount disabled), or a new one

    our path is the default path   every mount of an automounted volume follows to the carrier
    another, automount enabled     automounted volumes stay, for the API server, with our expiration
    another, automount disabled    automounted volumes go, with their mounts

Why in place: the plugin runs again after us and adds a second, year-long token for every container
without a mount at exactly the default path, unless `automountServiceAccountToken` is false
(docs/kubernetes.md, section 2).

Every operation needs only what the view holds. A pod that already is right gives none.
"""

from typing import Literal

import msgspec

from ..core import names, patch, views
from ..core.limits import Locks
from ..core.patch import Operation
from ..core.policy import TokenPolicy
from ..core.text import quote
from ..core.views import Container, Pod, PodSpec
from . import volumes

Result = Literal["injected", "rewritten", "stripped", "unchanged"]


_At = tuple[str, int, int]
"""A mount: the field and the index of its container, and its own index."""
_NO_NAMES: frozenset[str] = frozenset()
LARGE = 64
"""Containers of a pod whose changes are counted on the way."""


def plan(
    pod: Pod, policy: TokenPolicy, locks: Locks
) -> tuple[list[Operation], Result, tuple[str, ...]]:
    """The operations in the order to apply them, in one word what the pod is when they are applied,
    and what will surprise.

    Where neither question asks for anything they only hold down volumes of ours that came from
    elsewhere. None where the pod is as `policy` says already.
    """
    if not policy.inject and policy.automount:
        return volumes.held_down(pod.spec.volumes or (), locks), "unchanged", ()
    try:
        return _planned(pod, policy, locks)
    except _TooManyChanges:
        return _where_they_stand(pod, policy, locks)


class _TooManyChanges(Exception):
    """More operations on mounts than a pod may need. Those on volumes do not count: what the first
    call does to them, a second does not find any more, and must come to the same end.
    """


def _where_they_stand(
    pod: Pod, policy: TokenPolicy, locks: Locks
) -> tuple[list[Operation], Result, tuple[str, ...]]:
    """What a pod gets whose containers would need too many changes: its tokens get our lifetime,
    and no mount changes.
    """
    scene = _VolumeRoles(pod.spec, policy)
    operations: list[Operation] = []
    audience = policy.audience if policy.inject and scene.at_default else ""
    for at in scene.movable:
        volumes.settle(scene.volumes, at, audience, policy.expiration_seconds, operations)
    for at in (*scene.ours, *scene.our_tokens):
        operations += volumes.held_down_at(at, scene.volumes[at], locks)
    remark = f"the pod would need more than {names.MAX_OPERATIONS} changes; its tokens get our lifetime where they stand"
    return operations, "rewritten" if scene.movable else "unchanged", (remark,)


def _planned(
    pod: Pod, policy: TokenPolicy, locks: Locks
) -> tuple[list[Operation], Result, tuple[str, ...]]:
    scene = _VolumeRoles(pod.spec, policy)
    tokens = _further_tokens(scene)
    operations = scene.let_go(locks) if scene.our_tokens or not policy.inject else []
    operations += scene.kept_volumes()
    operations += tokens.sources
    mark = len(operations)
    used, tokens_used = _mounts(scene, tokens, operations)
    if len(operations) - mark > names.MAX_OPERATIONS:
        raise _TooManyChanges
    if scene.removed:
        operations += [
            patch.remove(f"/spec/volumes/{at}") for at in sorted(scene.removed, reverse=True)
        ]
    added = [volumes.volume(scene.carrier, policy)] if used and scene.is_new else []
    if tokens_used and tokens.is_new:
        added.append(volumes.tokens_volume(tokens.name, policy.tokens))
    if added:
        operations += patch.append("/spec/volumes", pod.spec.volumes, added)
    held = pod.spec.automount_service_account_token
    if not policy.automount and held is not False:
        operations.append(volumes.AUTOMOUNT_ADDED if held is None else volumes.AUTOMOUNT_REPLACED)
    return operations, scene.result(used=used or tokens_used), scene.remarks


def would_give(pod: Pod, policy: TokenPolicy) -> bool:
    """Whether injection would mount anything of ours into a pod that has lost its automounted
    token.
    """
    held = pod.spec.volumes or ()
    going = {
        volume.name
        for volume in held
        if views.is_automounted(volume) or views.is_our_tokens(volume)
    }
    skip = frozenset(policy.skip_containers)
    paths = (policy.mount_path, names.TOKENS_PATH) if policy.tokens else (policy.mount_path,)
    for _, container in pod.containers():
        if container.name in skip:
            continue
        own = [mount.mount_path for mount in container.mounts if mount.name not in going]
        if not all(
            any(views.same_path(each, path) for each in own) or container.has_device_at(path)
            for path in paths
        ):
            return True
    return False


class _VolumeRoles:
    """One pod seen through one policy: which volume is what, and what becomes of it.

    `moving` has, for each volume whose mounts may change, what a mount at our path names when we
    are done, and what one at any other path does; None where the mount goes.
    """

    __slots__ = (
        "at_default", "automounted", "carrier", "in_place", "is_large", "is_new", "kept", "movable", "moving", "our_tokens",
        "ours", "policy", "remarks", "removed", "renamed", "skip", "spec", "volumes",
    )  # fmt: skip

    def __init__(self, spec: PodSpec, policy: TokenPolicy) -> None:
        self.spec, self.policy = spec, policy
        self.remarks: tuple[str, ...] = ()
        self.volumes = spec.volumes or ()
        self.is_large = len(spec.containers or ()) + len(spec.init_containers or ()) > LARGE
        self.at_default = policy.mount_path == names.DEFAULT_PATH
        name_is_free = self._sort_volumes()
        self.skip = frozenset(policy.skip_containers) if policy.skip_containers else _NO_NAMES
        self.kept = _mounted_by(spec, self.skip) if self.skip else _NO_NAMES
        self.movable = self.automounted
        if self.kept:
            self.movable = [at for at in self.automounted if self.volumes[at].name not in self.kept]
        becomes_carrier = policy.inject and self.at_default and bool(self.movable) and not self.ours
        self.in_place = becomes_carrier and policy.automount
        self.renamed = self.movable[0] if becomes_carrier and not policy.automount else None
        self.is_new = policy.inject and not self.ours and not becomes_carrier
        if not policy.inject:
            self.carrier = ""
        elif self.ours or self.in_place:
            self.carrier = self.volumes[self.ours[0] if self.ours else self.movable[0]].name
        else:
            self.carrier = (
                names.VOLUME if name_is_free else volumes.free_name(names.VOLUME, self.volumes)
            )
        self._plan_mounts()

    def _sort_volumes(self) -> bool:
        """Find those that concern us; gives whether nobody has a name like ours."""
        self.ours: list[int] = []
        self.our_tokens: list[int] = []
        self.automounted: list[int] = []
        name_is_free = True
        for at, volume in enumerate(self.volumes):
            name = volume.name
            if name.startswith(names.AUTOMOUNTED_PREFIX):
                if views.is_automounted(volume):
                    self.automounted.append(at)
            elif name.startswith(names.VOLUME):
                name_is_free = False
                if volume.projected is None:
                    continue
                if views.is_ours(volume):
                    self.ours.append(at)
                elif views.is_our_tokens(volume):
                    self.our_tokens.append(at)
        return name_is_free

    def _plan_mounts(self) -> None:
        inject, automount, carrier = self.policy.inject, self.policy.automount, self.carrier
        self.moving: dict[str, tuple[str | None, str | None]] = {}
        for at in self.automounted:
            name = self.volumes[at].name
            free = name not in self.kept
            if not inject:
                fates: tuple[str | None, str | None] = (None, None)
            elif self.in_place:
                fates = (name if free else carrier, name)
            elif not self.at_default:
                fates = (carrier, name if automount else None)
            else:
                fates = (carrier, carrier if free or not automount else name)
            self.moving[name] = fates
        self.removed: list[int] = []
        if (
            len(self.movable) > (self.renamed is not None)
            and not self.in_place
            and (self.at_default or not automount)
        ):
            self.removed = [at for at in self.movable if at != self.renamed]

    def let_go(self, locks: Locks) -> list[Operation]:
        """Volumes of ours that nobody asks for go; one that a skipped container mounts stays,
        within the locks.
        """
        unwanted = [] if self.policy.inject and self.policy.tokens else self.our_tokens
        if not self.policy.inject:
            unwanted, self.ours = self.ours + self.our_tokens, []
        operations: list[Operation] = []
        for at in unwanted:
            name = self.volumes[at].name
            self.moving[name] = (self.carrier or None, None)
            if name in self.kept:
                operations += volumes.held_down_at(at, self.volumes[at], locks)
            else:
                self.removed.append(at)
        return operations

    def kept_volumes(self) -> list[Operation]:
        """Volumes that stay: their token sources brought to the policy that holds now, and the name
        of the carrier.
        """
        policy = self.policy
        operations: list[Operation] = []
        if self.renamed is not None:
            volumes.settle(
                self.volumes, self.renamed, policy.audience, policy.expiration_seconds, operations
            )
            operations.append(volumes.renamed_volume(self.renamed, self.carrier))
            return operations
        for at in self.ours:
            volumes.settle(self.volumes, at, policy.audience, policy.expiration_seconds, operations)
        if self.in_place or (policy.inject and policy.automount and not self.at_default):
            audience = policy.audience if self.in_place else ""
            for at in self.movable:
                volumes.settle(self.volumes, at, audience, policy.expiration_seconds, operations)
        return operations

    def result(self, *, used: bool) -> Result:
        if self.in_place:
            return "rewritten"
        if self.ours or self.renamed is not None or used:
            return "injected"
        if not self.policy.automount:
            return "stripped"
        return "rewritten" if not self.at_default and self.movable else "unchanged"

    def lacking(self, container: Container, *, wanted: bool) -> tuple[bool, bool]:
        """Whether our mount and, where `wanted`, the one of further tokens can come: the paths of
        devices are taken.
        """
        taken = container.has_device_at(self.policy.mount_path)
        if taken and self.policy.inject:
            self.remark(container, "has a block device there, and no token of ours")
        return self.policy.inject and not taken, wanted and not container.has_device_at(
            names.TOKENS_PATH
        )

    def new_mounts(
        self, kind: str, index: int, container: Container, further: str, *, lacks: bool
    ) -> list[Operation]:
        """What adds the mounts that come; `further` is the volume of further tokens, empty where
        its mount does not come.
        """
        path = self.policy.mount_path
        for mount in container.mounts if lacks else ():
            at = mount.mount_path.rstrip("/") + "/"
            if path.startswith(at) or at.startswith(f"{path}/"):
                where = f"mounts volume {quote(mount.name)} at {quote(mount.mount_path)}"
                self.remark(
                    container,
                    f"{where}; a runtime may fail to mount one of the two inside the other",
                )
        new = [volumes.mount(self.carrier, path)] if lacks else []
        new += [volumes.mount(further, names.TOKENS_PATH)] if further else []
        return patch.append(volumes.mounts_pointer(kind, index), container.volume_mounts, new)

    def remark(self, container: Container, text: str) -> None:
        """Note what will surprise about a container; no more than warnings can say."""
        if len(self.remarks) <= names.MAX_WARNINGS:
            self.remarks = (*self.remarks, f"container {quote(container.name)} {text}")

    def superfluous(self) -> frozenset[_At]:
        """Which mounts of ours at our path must go, where a container has more than one thing
        there.

        What is its own there stays. But what the ServiceAccount plugin put there it would put there
        again, because it compares paths exactly: under automount the mount at exactly the default
        path stays, whatever else is there.
        """
        path, put_back = self.policy.mount_path, self.policy.automount and self.at_default
        self.moving.setdefault(self.carrier, (self.carrier, self.carrier))
        self.remarks = ()
        found: set[_At] = set()
        for kind, containers in (
            ("initContainers", self.spec.init_containers),
            ("containers", self.spec.containers),
        ):
            for index, container in enumerate(containers or ()):
                here = [
                    (at, each)
                    for at, each in enumerate(container.mounts)
                    if views.same_path(each.mount_path, path)
                ]
                ours = {at: each for at, each in here if each.name in self.moving}
                exact = [at for at, each in ours.items() if each.mount_path == path]
                has_own = len(ours) < len(here) or container.has_device_at(path)
                stays = (exact if put_back else []) if has_own else (exact or list(ours))
                found.update((kind, index, at) for at in ours if at not in stays[:1])
        return frozenset(found)


class _FurtherTokens(msgspec.Struct):
    """What becomes of the second volume; no name where there is none and none is wanted."""

    name: str = ""
    wanted: bool = False
    is_new: bool = False
    sources: list[Operation] = []


_NO_TOKENS = _FurtherTokens()


def _further_tokens(scene: _VolumeRoles) -> _FurtherTokens:
    policy, held, there = scene.policy, scene.volumes, scene.our_tokens
    if not policy.inject or not policy.tokens:
        return _NO_TOKENS
    if not there:
        return _FurtherTokens(
            volumes.free_name(names.TOKENS_VOLUME, held), wanted=True, is_new=True
        )
    sources = [each for at in there for each in volumes.settle_tokens(at, held[at], policy.tokens)]
    return _FurtherTokens(held[there[0]].name, wanted=True, sources=sources)


def _mounts(  # noqa: C901, PLR0912  (one loop, as most of the time goes here)
    scene: _VolumeRoles,
    tokens: _FurtherTokens,
    operations: list[Operation],
    superfluous: frozenset[_At] | None = None,
) -> tuple[bool, bool]:
    """Append what becomes of the mounts; gives whether any container mounts the carrier and the
    further tokens then.

    For each container: mounts that change their volume, mounts that go (last first), mounts that
    come. Which are `superfluous` is looked for only where two things are found at our path, and
    then all is gone through again.
    """
    policy, spec, moving, carrier, mark = (
        scene.policy,
        scene.spec,
        scene.moving,
        scene.carrier,
        len(operations),
    )
    path, skip, inject, used, tokens_used = (
        policy.mount_path,
        scene.skip,
        policy.inject,
        False,
        False,
    )
    shortest, further, wanted = (
        len(path) - 1,
        tokens.name,
        tokens.wanted,
    )  # a path may lack its first slash
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers or ()):
            if skip and container.name in skip:
                continue
            lacks, lacks_tokens = (
                scene.lacking(container, wanted=wanted)
                if container.volume_devices
                else (inject, wanted)
            )
            gone: list[int] | None = None
            for number, mount in enumerate(container.volume_mounts or ()):
                name, at = mount.name, mount.mount_path
                here = at == path or (len(at) >= shortest and views.same_path(at, path))
                if here and not lacks and superfluous is None and inject:
                    del operations[mark:]
                    return _mounts(scene, tokens, operations, scene.superfluous())
                if name in moving:
                    at_our_path, elsewhere = moving[name]
                    fate = at_our_path if here else elsewhere
                    if fate is None or (superfluous and (kind, index, number) in superfluous):
                        (gone := gone or []).append(number)
                        continue
                    if fate != name:
                        operations.append(volumes.renamed_mount(kind, index, number, fate))
                    name = fate
                if here:
                    lacks = False
                    if name != carrier and name not in moving and inject:
                        scene.remark(
                            container, f"mounts volume {quote(name)} there, and no token of ours"
                        )
                elif lacks_tokens and views.same_path(at, names.TOKENS_PATH):
                    lacks_tokens = False
                used, tokens_used = used or name == carrier, tokens_used or name == further
            if gone:
                operations += [
                    patch.remove(f"{volumes.mounts_pointer(kind, index)}/{number}")
                    for number in reversed(gone)
                ]
            if lacks or lacks_tokens:
                operations += scene.new_mounts(
                    kind, index, container, further if lacks_tokens else "", lacks=lacks
                )
                used, tokens_used = used or lacks, tokens_used or lacks_tokens
            if scene.is_large and len(operations) - mark > names.MAX_OPERATIONS:
                raise _TooManyChanges
    return used, tokens_used


def _mounted_by(spec: PodSpec, container_names: frozenset[str]) -> frozenset[str]:
    """The volumes that the containers of these names mount."""
    all_containers = (*(spec.init_containers or ()), *(spec.containers or ()))
    return frozenset(
        mount.name
        for each in all_containers
        if each.name in container_names
        for mount in each.mounts
    )
