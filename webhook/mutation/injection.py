"""Plan the operations that bring a pod to its policy. Whether a pod is injected, and the reason
that is reported, are decided elsewhere.

Each volume has a role, recognized by name and shape together:

    automounted   the ServiceAccount plugin added it (`kube-api-access-…`); the table in `fates`
                  says what becomes of it
    ours          `boundtoken`, from an earlier call or from a pod that was copied
    our tokens    `boundtoken-tokens`, the further tokens, from the same sources
    carrier       the volume with our token in the end: ours, an automounted one that is rewritten
                  or renamed in place, or a new one

Why in place: the plugin runs again after us and adds a second token, valid for a year, for every
container without a mount at exactly the default path, unless `automountServiceAccountToken` is
false (docs/kubernetes.md, section 2).

The operations depend on the fields of the view only. A pod that already complies with its policy
gets none. All functions append operations to one list, in the order in which they are applied.
"""

import re
from functools import lru_cache
from typing import Literal

from ..core import names, patch, views
from ..core.limits import Locks
from ..core.patch import Operation
from ..core.policy import TokenPolicy
from ..core.text import quote
from ..core.views import Container, Mount, Pod, PodSpec
from . import fates, volumes

Result = Literal["injected", "rewritten", "stripped", "unchanged"]

_Place = tuple[str, int, int]
"""A mount: the field and the index of its container, and its own index."""
_NO_NAMES: frozenset[str] = frozenset()
_LEGACY_NAME = re.compile(r".+-token-[a-z0-9]{5}")
"""A volume with a legacy token, as the ServiceAccount plugin called it before Kubernetes 1.24."""
MAX_NESTED_CHARS = 256
"""Of our path, where mounts around it are remarked on. The folders around one of 4 KiB could take
thousands of times its length."""
LARGE = 64
"""Above this number of containers the operations are counted after each container, so that a huge
pod is given up early."""


def plan(
    pod: Pod, policy: TokenPolicy, locks: Locks
) -> tuple[list[Operation], Result, tuple[str, ...]]:
    """Return the operations, the result in one word, and remarks about surprising effects.

    The list is empty if the pod already complies with `policy`. If the policy changes nothing, the
    operations only apply the locks to volumes of ours that came with a copied pod.
    """
    if policy.inject == "disabled" and policy.automount:
        # A copied pod must not bring a token that the locks of this namespace forbid.
        operations: list[Operation] = []
        volumes.apply_locks_to_ours(operations, pod.spec.volumes or (), locks)
        return operations, "unchanged", ()
    try:
        return _Plan(pod.spec, policy, locks).completed()
    except _TooManyChanges:
        return _Plan(pod.spec, policy, locks).of_volumes_only()


class _TooManyChanges(Exception):
    """The mounts need more operations than allowed. Operations on volumes do not count: a second
    call does not need them again, and must still decide as the first call did.
    """


class _Plan:
    """One pod under one policy: the role of each volume, and the operations so far.

    `mount_targets` has an entry for each volume whose mounts may change: the volume that a mount at
    our path refers to in the end, and the volume for a mount at any other path. None means that the
    mount is removed.
    """

    __slots__ = (
        "as_added", "at_default", "automounted", "carrier", "further", "has_new_tokens", "injects",
        "is_new", "is_rewritten", "locks", "mount_targets", "movable", "operations", "our_tokens", "ours",
        "policy", "remarks", "removed", "renamed", "skip", "skipped", "spec", "used", "used_tokens",
        "volumes", "wants_tokens",
    )  # fmt: skip

    def __init__(self, spec: PodSpec, policy: TokenPolicy, locks: Locks) -> None:
        self.spec, self.policy, self.locks = spec, policy, locks
        self.operations: list[Operation] = []
        self.remarks: tuple[str, ...] = ()
        self.used = self.used_tokens = False
        """Whether any container mounts the carrier, and the further tokens, in the end."""
        self.volumes = spec.volumes or ()
        self.injects = policy.inject != "disabled"
        self.at_default = policy.mount_path == names.DEFAULT_PATH
        name_is_free = self._find_roles()
        self.skip = self.skipped = _NO_NAMES
        self.movable = self.automounted
        if policy.skip_containers:
            self.skip = frozenset(policy.skip_containers)
            self.skipped = spec.mounted_by(self.skip)
            self.movable = [
                at for at in self.automounted if self.volumes[at].name not in self.skipped
            ]
        self._decide_fates(name_is_free=name_is_free)
        self.wants_tokens = self.has_new_tokens = False
        self.further = ""
        if policy.tokens and self.injects:
            self.wants_tokens = True
            self.has_new_tokens = not self.our_tokens
            self.further = (
                self.volumes[self.our_tokens[0]].name
                if self.our_tokens
                else volumes.free_name(names.TOKENS_VOLUME, self.volumes)
            )

    def _find_roles(self) -> bool:
        """Find the role of each volume. Returns whether no volume has a name like ours."""
        self.ours: list[int] = []
        self.our_tokens: list[int] = []
        self.automounted: list[int] = []
        self.as_added: int | None = None
        """An automounted volume exactly as the plugin adds it. Nearly every pod has one."""
        name_is_free = True
        for at, volume in enumerate(self.volumes):
            name = volume.name
            if name.startswith(names.AUTOMOUNTED_PREFIX):
                as_added = volume.projected == views.AS_THE_PLUGIN_ADDS_IT
                if as_added and len(name) <= names.MAX_VOLUME_NAME_CHARS:
                    self.as_added = at
                    self.automounted.append(at)
                elif views.is_automounted(volume):
                    self.automounted.append(at)
            elif name.startswith(names.VOLUME):
                # The name alone decides here: a foreign volume takes the name as well.
                name_is_free = False
                if volume.projected is None:
                    continue
                if views.is_ours(volume):
                    self.ours.append(at)
                elif views.is_our_tokens(volume):
                    self.our_tokens.append(at)
        return name_is_free

    def _decide_fates(self, *, name_is_free: bool) -> None:
        """Look up the fate of each automounted volume, and choose the carrier."""
        inject, ours, movable, pod_volumes = self.injects, self.ours, self.movable, self.volumes
        case = inject, self.policy.automount, self.at_default
        fate = fates.of_automounted(case, has_ours=bool(ours))
        becomes = fate.becomes if movable else "unchanged"
        self.is_rewritten = becomes == "rewritten"
        renamed = self.renamed = movable[0] if becomes == "renamed" else None
        # An existing volume is preferred, so that a second call plans nothing.
        self.is_new = False
        if not inject:
            self.carrier = ""
        elif ours or self.is_rewritten:
            self.carrier = pod_volumes[ours[0] if ours else movable[0]].name
        else:
            self.is_new = renamed is None
            self.carrier = names.VOLUME
            if not name_is_free:
                self.carrier = volumes.free_name(names.VOLUME, pod_volumes)
        self.mount_targets: dict[str, tuple[str | None, str | None]] = {}
        self.removed: list[int] = []
        for at in self.automounted:
            name, own = pod_volumes[at].name, fate
            if name in self.skipped:
                own = fates.of_skipped(case)
            # Only one volume can have our name; the others would carry the same token.
            elif at != renamed and becomes in ("removed", "renamed"):
                self.removed.append(at)
            targets = self.carrier, name, None  # by the numbers of `fates`
            self.mount_targets[name] = targets[own.at_our_path], targets[own.elsewhere]

    def completed(self) -> tuple[list[Operation], Result, tuple[str, ...]]:
        """Return the whole plan. Raises: _TooManyChanges."""
        if self.our_tokens or not self.injects:
            self._remove_ours()
        self._update_sources()
        mark = len(self.operations)
        self._plan_mounts(mark, None)
        if len(self.operations) - mark > names.MAX_OPERATIONS:
            raise _TooManyChanges
        if self.removed:
            # The last index first, because a removal shifts all later indexes.
            for at in sorted(self.removed, reverse=True):
                self.operations.append(patch.remove(f"/spec/volumes/{at}"))
        if self.is_new or self.has_new_tokens:
            self._add_volumes()
        automounts = self.spec.automount_service_account_token
        if not self.policy.automount and automounts is not False:
            # Otherwise the ServiceAccount plugin, which runs again after us, adds its volume again.
            self.operations.append(
                volumes.AUTOMOUNT_ADDED if automounts is None else volumes.AUTOMOUNT_REPLACED
            )
        return self.operations, self._result(), self.remarks

    def of_volumes_only(self) -> tuple[list[Operation], Result, tuple[str, ...]]:
        """Return the smaller plan for a pod that would need too many changes: its tokens get our
        lifetime, and no mount changes.
        """
        # No mount changes, so unless our path is the default path the volume serves API clients.
        audience = self.policy.audience if self.injects and self.at_default else ""
        for at in self.movable:
            self._set_token(at, audience)
        for at in (*self.ours, *self.our_tokens):
            volumes.apply_locks(self.operations, self.volumes[at], at, self.locks)
        remark = (
            f"the pod would need more than {names.MAX_OPERATIONS} changes; its tokens get the "
            "lifetime of the policy, and no mount changes"
        )
        return self.operations, "rewritten" if self.movable else "unchanged", (remark,)

    def _remove_ours(self) -> None:
        """Remove volumes of ours that the policy does not ask for. A volume that a skipped
        container mounts stays, within the locks.
        """
        unwanted = [] if self.wants_tokens else self.our_tokens
        if not self.injects:
            unwanted, self.ours = self.ours + self.our_tokens, []
        for at in unwanted:
            name = self.volumes[at].name
            # Without its mount there the plugin, which runs again, would add its own, and a second
            # call would find another pod.
            keeps_place = self.policy.automount and self._is_at_default_path(name)
            self.mount_targets[name] = (self.carrier or None, name if keeps_place else None)
            if name in self.skipped or keeps_place:
                volumes.apply_locks(self.operations, self.volumes[at], at, self.locks)
            else:
                self.removed.append(at)

    def _is_at_default_path(self, volume: str) -> bool:
        """Whether a container mounts it at exactly the default path, where our path is another."""
        return not self.at_default and any(
            mount.name == volume and mount.mount_path == names.DEFAULT_PATH
            for containers in (self.spec.init_containers, self.spec.containers)
            for container in containers or ()
            for mount in container.mounts
        )

    def _update_sources(self) -> None:
        """Bring the tokens in the remaining volumes to the policy, and rename the carrier."""
        policy = self.policy
        if (at := self.renamed) is not None:
            self._set_token(at, policy.audience)
            self.operations.append(volumes.renamed_volume(at, self.carrier))
        for at in self.ours:
            self._set_token(at, policy.audience)
        if self.is_rewritten or (self.injects and policy.automount and not self.at_default):
            # A volume that is only shortened serves API clients, so it keeps the API audience.
            audience = policy.audience if self.is_rewritten else ""
            for at in self.movable:
                self._set_token(at, audience)
        if self.wants_tokens:
            for at in self.our_tokens:
                volumes.set_tokens(self.operations, self.volumes[at], at, policy.tokens)

    def _set_token(self, at: int, audience: str) -> None:
        """Set audience and lifetime of the API access token in the volume at index `at`."""
        seconds = self.policy.expiration_seconds
        if at == self.as_added:
            self.operations += volumes.as_the_plugin_adds_it(at, audience, seconds)
        else:
            volumes.set_token(self.operations, self.volumes[at], at, audience, seconds)

    def _plan_mounts(  # noqa: C901, PLR0912  (one loop over all mounts, where most of the time goes)
        self, mark: int, superfluous: frozenset[_Place] | None
    ) -> None:
        """Append for each container: mounts that change their volume, mounts that are removed (the
        last first), mounts that are added.

        `superfluous` are the mounts of ours that must be removed. It is None at first, because few
        pods have any: they are looked for only after a container was found with two mounts or
        devices at our path.

        The length of a path is compared first, because normalizing every path would cost most of
        the time: another spelling of our path is longer, or lacks the first slash.
        """
        spec, skip, targets, operations = self.spec, self.skip, self.mount_targets, self.operations
        path, inject, wants_tokens = self.policy.mount_path, self.injects, self.wants_tokens
        carrier, further, shortest = self.carrier, self.further, len(path) - 1
        parents = _parents(path) if inject else _NO_NAMES
        removed: list[int] = []
        groups = ("initContainers", spec.init_containers), ("containers", spec.containers)
        for kind, group in groups:
            for index, container in enumerate(group or ()):
                if skip and container.name in skip:
                    continue
                lacks, lacks_tokens = inject, wants_tokens
                if container.volume_devices:
                    lacks, lacks_tokens = self._lacks(container)
                for number, mount in enumerate(container.volume_mounts or ()):
                    name, at = mount.name, mount.mount_path
                    here = at == path or (len(at) >= shortest and views.same_path(at, path))
                    if here and not lacks and superfluous is None and inject:
                        # Plan all containers again: it is rare, and simpler than a plan in parts.
                        del operations[mark:]
                        self._plan_mounts(mark, self._superfluous())
                        return
                    if name in targets:
                        at_our_path, elsewhere = targets[name]
                        target = at_our_path if here else elsewhere
                        if target is None or (superfluous and (kind, index, number) in superfluous):
                            removed.append(number)
                            continue
                        if target != name:
                            operations.append(volumes.renamed_mount(kind, index, number, target))
                        name = target
                    elif here and inject and name != carrier:
                        self._remark_own_mount(container, name)
                    elif at in parents:
                        self._remark_nested(container, mount)
                    if here:
                        lacks = False
                    elif lacks_tokens and views.same_path(at, names.TOKENS_PATH):
                        lacks_tokens = False
                    if name == carrier:
                        self.used = True
                    elif name == further:
                        self.used_tokens = True
                if removed:
                    pointer = volumes.mounts_pointer(kind, index)
                    operations += [patch.remove(f"{pointer}/{at}") for at in reversed(removed)]
                    removed = []
                if lacks or lacks_tokens:
                    self._add_mounts(kind, index, container, lacks=lacks, lacks_tokens=lacks_tokens)
                if index > LARGE and len(operations) - mark > names.MAX_OPERATIONS:
                    raise _TooManyChanges

    def _lacks(self, container: Container) -> tuple[bool, bool]:
        """Whether our mount, and the mount of further tokens, can be added. The API server accepts
        no mount at the path of a block device.
        """
        has_device = container.has_device_at(self.policy.mount_path)
        if has_device and self.injects:
            self._remark(container, "has a block device there, and no token of ours")
        return (
            self.injects and not has_device,
            self.wants_tokens and not container.has_device_at(names.TOKENS_PATH),
        )

    def _add_mounts(
        self, kind: str, index: int, container: Container, *, lacks: bool, lacks_tokens: bool
    ) -> None:
        path, added = self.policy.mount_path, []
        if lacks:
            self.used = True
            added.append(volumes.mount(self.carrier, path))
            for mount in container.mounts:
                if mount.mount_path.startswith(f"{path}/"):
                    self._remark_nested(container, mount)
        if lacks_tokens:
            self.used_tokens = True
            added.append(volumes.mount(self.further, names.TOKENS_PATH))
        pointer = volumes.mounts_pointer(kind, index)
        self.operations += patch.append(pointer, container.volume_mounts, added)

    def _add_volumes(self) -> None:
        added = []
        if self.used and self.is_new:
            added.append(volumes.volume(self.carrier, self.policy))
        if self.used_tokens and self.has_new_tokens:
            added.append(volumes.tokens_volume(self.further, self.policy.tokens))
        if added:
            self.operations += patch.append("/spec/volumes", self.spec.volumes, added)

    def _superfluous(self) -> frozenset[_Place]:
        """Return the mounts of ours to remove from containers with two mounts or devices at our
        path.

        The container's own mount stays. There is one exception: the ServiceAccount plugin compares
        paths exactly, and would add a mount again that we removed. So under automount the mount at
        exactly the default path stays in any case.
        """
        path, put_back = self.policy.mount_path, self.policy.automount and self.at_default
        # From here on the mounts of a volume of ours count too, not only the automounted ones.
        self.mount_targets.setdefault(self.carrier, (self.carrier, self.carrier))
        # The containers that were planned so far are planned again.
        self.remarks, self.used, self.used_tokens = (), False, False
        superfluous: set[_Place] = set()
        for kind, containers in (
            ("initContainers", self.spec.init_containers),
            ("containers", self.spec.containers),
        ):
            for index, container in enumerate(containers or ()):
                here = [
                    (at, mount)
                    for at, mount in enumerate(container.mounts)
                    if views.same_path(mount.mount_path, path)
                ]
                ours = {at: mount for at, mount in here if mount.name in self.mount_targets}
                exact = [at for at, mount in ours.items() if mount.mount_path == path]
                has_own = len(ours) < len(here) or container.has_device_at(path)
                stays = (exact if put_back else []) if has_own else (exact or list(ours))
                superfluous.update((kind, index, at) for at in ours if at not in stays[:1])
        return frozenset(superfluous)

    def _remark_own_mount(self, container: Container, volume: str) -> None:
        # The author's own mount is never replaced; the author is only told.
        if len(self.remarks) > names.MAX_WARNINGS:
            return  # before the texts are made: a pod can have very many such mounts
        legacy = "; by its name it is a legacy token, which never expires"
        self._remark(
            container,
            f"mounts volume {quote(volume)} there, and no token of ours"
            f"{legacy if _LEGACY_NAME.fullmatch(volume) else ''}",
        )

    def _remark_nested(self, container: Container, mount: Mount) -> None:
        if len(self.remarks) > names.MAX_WARNINGS:
            return
        self._remark(
            container,
            f"mounts volume {quote(mount.name)} at {quote(mount.mount_path)}; a runtime may fail to "
            "mount one of the two inside the other",
        )

    def _remark(self, container: Container, text: str) -> None:
        """Note a surprising effect on a container, up to the number that warnings have room for."""
        if len(self.remarks) <= names.MAX_WARNINGS:
            self.remarks = (*self.remarks, f"container {quote(container.name)} {text}")

    def _result(self) -> Result:
        if self.is_rewritten:
            return "rewritten"
        if self.ours or self.renamed is not None or self.used or self.used_tokens:
            return "injected"
        if not self.policy.automount:
            return "stripped"
        return "rewritten" if not self.at_default and self.movable else "unchanged"


@lru_cache(maxsize=16)
def _parents(path: str) -> frozenset[str]:
    """Return the folders around `path`, each with and without a slash at its end; none of a very
    long one.
    """
    if len(path) > MAX_NESTED_CHARS:
        return _NO_NAMES
    steps = path.split("/")
    folders = {"/".join(steps[:number]) for number in range(1, len(steps))}
    return frozenset(folders - {""} | {f"{folder}/" for folder in folders})
