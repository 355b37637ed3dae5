"""Forecast a pod: what admission would make of it, were it created again now.

Why from the pod and not from its owner's template: a template would need the right to read six
kinds of workloads in every namespace, has no Pod of an owner that we do not know (Argo Rollouts,
operators), and lacks what other webhooks add. boundtoken may list pods already. The pod has
everything its author wrote; what admission added is known, and is taken off first. What cannot be
seen in a pod:

- whether its service account opts out of automount. The plugin is taken to add its volume again,
  unless the pod shows that it did not.
- who wrote `automountServiceAccountToken: false` into a pod that requests injection itself, or into
  one that has no token. In the first it is taken for its author's, in the second for ours.
- whether its author copied a volume of ours, or of the plugin, from another pod. It is taken for
  one that admission added.
- a change of the owner's template that has not reached its pods (a paused rollout, `OnDelete`).
- what a release that wrote no status on it did to it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..core import names, views
from ..core.annotations import split_list
from ..core.full_views import FullContainer, FullMount, FullPod, FullProjected, FullSpec, FullVolume
from ..core.patch import Operation
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.review import GroupKind, Request
from ..core.views import Pod, PodSpec
from ..mutation import mutate
from .templates import AUTOMOUNTED, api_access

_POD = GroupKind("", "Pod")


def created_again(
    pod: FullPod, name: str, cluster: ClusterPolicy, namespace: NamespacePolicy
) -> FullPod:
    """Return the pod as it would be after admission in the namespace `name` with this policy."""
    before = before_mutation(pod)
    metadata, spec = before.metadata, before.spec
    # Every volume and container here is a subclass of what mutation reads.
    view = Pod(
        metadata,
        PodSpec(
            automount_service_account_token=spec.automount_service_account_token,
            volumes=spec.volumes,
            init_containers=spec.init_containers,
            containers=spec.containers,
        ),
    )
    request = Request("forecast", "CREATE", kind=_POD, namespace=name, object=view)
    if mutate.skip_reason(request, cluster) is not None:
        return before
    operations = mutate.decide(request, cluster, namespace).operations
    return _patched(before, operations) if operations else before


def before_mutation(pod: FullPod) -> FullPod:
    """Return the pod as the ServiceAccount plugin hands it to mutation. The containers of
    `kubectl debug` are not created again.
    """
    spec = msgspec.structs.replace(pod.spec, ephemeral_containers=None)
    annotations = dict(pod.metadata.annotations or {})
    # Only a pod with our status was changed by us. Volumes with our names in another one were
    # copied by its author, and mutation decides on them as they are.
    status = annotations.pop(names.STATUS, None)
    if status is not None:
        spec = _without_ours(spec, annotations, status)
    metadata = msgspec.structs.replace(pod.metadata, annotations=annotations or None)
    return FullPod(metadata, spec)


def _without_ours(spec: FullSpec, annotations: dict[str, str], status: str) -> FullSpec:
    """Return the spec as it was before mutation: without our volumes and their mounts, and with the
    volume of the plugin where it added one.
    """
    volumes = spec.volumes or ()
    automounted = [volume for volume in volumes if views.is_automounted(volume)]
    ours = [volume for volume in volumes if views.is_ours(volume)]
    says = spec.automount_service_account_token
    # A pod that requests injection itself is injected whatever this field says. Any other pod gets
    # no token where its author wrote `false`; in one without a token both may have written it.
    is_our_no = says is False and annotations.get(names.INJECT) != "enabled"
    if not automounted and not ours and _has_skipped(spec, annotations):
        is_our_no = False  # a skipped container would have kept the plugin's volume
    if status.startswith("nothing-to-replace"):
        is_our_no = False  # nothing was automounted, so nothing was taken away
    gone = {volume.name for volume in (*automounted, *ours)} | {
        volume.name for volume in volumes if views.is_our_tokens(volume)
    }
    stays = tuple(volume for volume in volumes if volume.name not in gone)
    name = ""
    if automounted or is_our_no:
        # Ours was the plugin's, which we renamed, and may have further sources (OpenShift has one).
        source = next(iter((*automounted, *ours)), None)
        plugins = _as_plugin_added(source)
        stays, name = (*stays, plugins), plugins.name
    return msgspec.structs.replace(
        spec,
        automount_service_account_token=None if is_our_no else says,
        volumes=stays,
        init_containers=_remounted(spec.init_containers, gone, name),
        containers=_remounted(spec.containers, gone, name),
    )


def _has_skipped(spec: FullSpec, annotations: dict[str, str]) -> bool:
    text = annotations.get(names.SKIP_CONTAINERS, "")
    if not text or text.count(",") >= names.MAX_CONTAINER_NAMES:
        return False
    skip = frozenset(split_list(text))
    return any(container.name in skip for _, container in spec.all_containers())


def _as_plugin_added(volume: FullVolume | None) -> FullVolume:
    """Return the volume with the token as the ServiceAccount plugin writes it."""
    fresh = api_access(AUTOMOUNTED, "", names.YEAR_TRAP_SECONDS)
    if volume is None:
        return fresh
    others = tuple(
        source
        for source in volume.full_sources
        if source.service_account_token is None
        or source.service_account_token.path != names.TOKEN_FILE
    )
    name = volume.name if views.is_automounted(volume) else AUTOMOUNTED
    return FullVolume(name, FullProjected((fresh.full_sources[0], *others)))


def _remounted(
    containers: Iterable[FullContainer] | None, gone: set[str], automounted: str
) -> tuple[FullContainer, ...]:
    """Return the containers without mounts of the volumes `gone`, and with the plugin's mount of
    `automounted` where nothing else is at its path.
    """
    found = []
    for container in containers or ():
        mounts = tuple(mount for mount in container.volume_mounts or () if mount.name not in gone)
        if automounted and all(mount.mount_path != names.DEFAULT_PATH for mount in mounts):
            mounts = (*mounts, FullMount(automounted, names.DEFAULT_PATH, read_only=True))
        found.append(msgspec.structs.replace(container, volume_mounts=mounts or None))
    return tuple(found)


def _patched(pod: FullPod, operations: Iterable[Operation]) -> FullPod:
    """Return the pod with these operations of mutation applied (RFC 6902)."""
    document = msgspec.json.decode(msgspec.json.encode(pod))
    for operation in operations:
        *steps, last = (
            step.replace("~1", "/").replace("~0", "~") for step in operation.path.split("/")[1:]
        )
        target: Any = document
        for step in steps:
            target = target[int(step)] if isinstance(target, list) else target[step]
        # A later operation may change what this one adds, and operations are shared.
        value = operation.value
        value = (
            [*value] if isinstance(value, list) else {**value} if isinstance(value, dict) else value
        )
        if isinstance(target, list):
            if operation.op == "remove":
                del target[int(last)]
            elif operation.op == "replace":
                target[int(last)] = value
            else:
                target.insert(len(target) if last == "-" else int(last), value)
        elif operation.op == "remove":
            target.pop(last, None)
        else:
            target[last] = value
    return msgspec.convert(document, FullPod)
