"""Mutation in reading order: `skip_reason` without the namespace, then `decide` with it.

A pod is never denied here. What happens when something is wrong:

    malformed review           400 with a message; the API server's failurePolicy decides (Ignore)
    unknown namespace          allowed, unchanged, reason namespace-unknown
    bad annotation             the next weaker layer decides, warning, audit annotation
    our own bug                allowed, unchanged, reason internal-error (the handler catches it)
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from ..core import names, patch, policy, views
from ..core.decision import Decision, Outcome, Reason
from ..core.faults import Fault, more_faults
from ..core.kinds import IMMUTABLE, OWNED
from ..core.patch import Operation
from ..core.policy import ClusterPolicy, NamespacePolicy, Resolution, TokenPolicy
from ..core.review import Request
from ..core.text import quote, truncate_bytes, truncate_warnings
from ..core.views import CronJob, Pod, Workload
from . import advice, injection, volumes, workloads


def skip_reason(request: Request, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """Return why a request is skipped in any namespace, or None if the namespace decides."""
    resource = request.object
    if resource is None or request.sub_resource or request.operation not in ("CREATE", "UPDATE"):
        return "not-applicable"
    # No view has subclasses, and `isinstance` of a msgspec type takes ten times as long.
    is_pod = type(resource) is Pod
    if request.operation == "UPDATE" and (is_pod or _kind(request) in IMMUTABLE):
        return "not-applicable"  # volumes and mounts cannot change any more
    if is_pod and names.MIRROR_POD in (resource.metadata.annotations or ()):
        return "mirror-pod"
    if request.namespace == cluster.own_namespace:
        return None if is_pod and _is_self_probe(request) else "own-namespace"
    if request.namespace in cluster.excluded:
        return "excluded-namespace"
    if is_pod or resource.metadata.controller is None:
        return None
    return "left-to-owner" if _kind(request) in OWNED else None


def _is_self_probe(request: Request) -> bool:
    """Whether it is the pod of the self-probe. No pod comes of a dry run, so whoever else asks for
    such a pod changes nothing.
    """
    resource = request.object
    return bool(request.dry_run) and (
        resource is not None and resource.metadata.generate_name == names.SELF_PROBE
    )


def _kind(request: Request) -> tuple[str, str]:
    return request.kind.group, request.kind.kind


def decide(request: Request, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Decision:
    """Decide on a request that `skip_reason` does not skip."""
    resource = request.object
    if isinstance(resource, Pod):
        return _decide_pod(resource, cluster, namespace)
    if resource is None:
        return Decision("not-applicable")
    return _decide_workload(resource, request.old_object, namespace)


def _decide_pod(pod: Pod, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Decision:
    annotations = pod.metadata.annotations
    resolution = policy.resolve(namespace, annotations)
    effective = resolution.policy
    # The usual pod takes the short way: only for the others it matters who decided.
    if effective.inject == "replace" or pod.spec.automount_service_account_token is False:
        effective = _effective_policy(pod, resolution)
    faults = resolution.faults
    if effective.skip_containers:
        known = (container.name for _, container in pod.containers())
        faults += _unknown_containers("pod", pod.annotations, effective, known)
    operations, result, remarks = injection.plan(pod, effective, namespace.locks)
    is_plain = effective is resolution.policy and (
        not effective.automount or effective.inject != "disabled"
    )
    reason = result if is_plain else _reason_without(result, pod, resolution, effective)
    if reason == "injected" or (reason == "rewritten" and not effective.audience):
        status = f"{reason}: {resolution.summary}"
    elif effective.automount and reason != "rewritten":
        status = ""  # the pod is not changed
    else:
        status = _status_of(reason, resolution, effective)
    if status:
        if annotations is None:
            operations.append(_first_annotation(status))
        elif annotations.get(names.STATUS) != status:
            operations.append(_annotation(status))
    elif annotations is not None and names.STATUS in annotations:
        operations.append(_NO_STATUS)  # somebody else wrote it, and it is wrong here
    warnings: tuple[str, ...] = ()
    if faults or remarks or resolution.may_surprise:
        says_no = pod.spec.automount_service_account_token is False
        locks = namespace.locks
        more = advice.on_pod(resolution, reason, cluster, locks, remarks, says_no=says_no)
        warnings = _warnings(faults, more)
    outcome: Outcome = "patched" if operations else "unchanged"
    audit = _audit(resolution.hash, faults) if faults else {"policy": resolution.hash}
    return Decision(reason, outcome, tuple(operations), warnings, "", audit, faults)


def _audit(policy_hash: str, faults: tuple[Fault, ...]) -> dict[str, str]:
    if not faults:
        return {"policy": policy_hash}
    return {"policy": policy_hash, "faults": truncate_bytes("; ".join(map(str, faults)))}


def _status_of(reason: Reason, resolution: Resolution, effective: TokenPolicy) -> str:
    """Return the status of a pod without an automounted token as it came, or an empty text for a
    pod that is not changed. It depends on nothing that a second call would find otherwise.
    """
    if reason == "rewritten":
        if effective.mount_path == names.DEFAULT_PATH:
            return f"{reason}: {resolution.summary}"
        # Our path has no token: what was rewritten serves API clients (`fates`).
        token = msgspec.structs.replace(effective, audience="")
        deciders = {resolution.decided_by[attribute] for attribute in policy.SUMMARIZED}
        by = next(layer for layer in policy.LAYERS if layer in deciders)
        return f"{reason}: {policy.summary(token, by, resolution.hash)}"
    if reason in ("stripped", "nothing-to-replace"):
        deciders = {resolution.decided_by[attribute] for attribute in ("inject", "automount")}
        by = next(layer for layer in policy.LAYERS if layer in deciders)
        return f"{reason}: automount=disabled set-by={by} policy={resolution.hash}"
    return ""


# Two functions of one text, because their caches look that up fastest.
@lru_cache(maxsize=256)
def _annotation(status: str) -> Operation:
    """Return the operation that sets the status. `add` also replaces an existing one (RFC 6902
    section 4.1).
    """
    return patch.add(patch.member("/metadata/annotations", names.STATUS), status)


@lru_cache(maxsize=256)
def _first_annotation(status: str) -> Operation:
    """Return the operation that sets the status of a pod without annotations."""
    return patch.add("/metadata/annotations", {names.STATUS: status})


_NO_STATUS = patch.remove(patch.member("/metadata/annotations", names.STATUS))


def _reason_without(
    result: injection.Result, pod: Pod, resolution: Resolution, effective: TokenPolicy
) -> Reason:
    """Return the reason for a pod that is not injected. A second call returns the same reason,
    although we may have set `automountServiceAccountToken: false` in between.
    """
    if effective is not resolution.policy:
        without_ours = effective.automount or _would_mount(pod, resolution.policy)
        # A second call cannot tell an opt-out in the spec from what we wrote there.
        replaces = resolution.policy.inject == "replace"
        reason: Reason = "nothing-to-replace" if replaces else "pod-opted-out"
        return reason if without_ours else result
    if not effective.automount:
        return result
    return "pod-opted-out" if resolution.decided_by["inject"] == "pod" else "not-requested"


def _would_mount(pod: Pod, resolved: TokenPolicy) -> bool:
    """Whether injection would mount a volume of ours into this pod, once its automounted volume is
    removed.
    """
    # Volumes that a second call does not find any more do not count.
    removed = {
        volume.name
        for volume in pod.spec.volumes or ()
        if views.is_automounted(volume) or views.is_our_tokens(volume)
    }
    skip = frozenset(resolved.skip_containers)
    paths = (resolved.mount_path, names.TOKENS_PATH) if resolved.tokens else (resolved.mount_path,)
    for _, container in pod.containers():
        if container.name in skip:
            continue
        remaining = [mount.mount_path for mount in container.mounts if mount.name not in removed]
        if not all(
            any(views.same_path(mount_path, path) for mount_path in remaining)
            or container.has_device_at(path)
            for path in paths
        ):
            return True
    return False


def _effective_policy(pod: Pod, resolution: Resolution) -> TokenPolicy:
    """Return the policy for this pod: without injection if its spec opts out of tokens, or if there
    is none that `replace` could replace.

    `automountServiceAccountToken: false` opts out, unless a volume of ours shows that we set it.
    Such a volume also stands for the automounted one that it has replaced.
    """
    resolved = resolution.policy
    says_no = (
        pod.spec.automount_service_account_token is False
        and resolution.decided_by["inject"] != "pod"
    )
    if resolved.inject == "disabled" or not (says_no or resolved.inject == "replace"):
        return resolved
    if not says_no and any(map(views.is_automounted, pod.spec.volumes or ())):
        return resolved
    if volumes.carries_ours(pod, tokens=bool(resolved.tokens)):
        return resolved
    return msgspec.structs.replace(resolved, inject="disabled")


def _decide_workload(
    workload: Workload | CronJob, old: Workload | CronJob | None, namespace: NamespacePolicy
) -> Decision:
    own = {
        name: value
        for name, value in (workload.metadata.annotations or {}).items()
        if name.startswith(names.DOMAIN)
    }
    # Too many annotations are not read at all, so none of them is copied either.
    if (fault := policy.too_large("workload", own)) is not None:
        audit = _audit(namespace.resolution.hash, (fault,))
        return Decision("not-requested", warnings=_warnings((fault,)), audit=audit, faults=(fault,))
    copying = workloads.copying(workload, old)
    annotations = copying.annotations
    misplaced = {name: value for name, value in own.items() if name not in names.FOR_PODS}
    resolution = policy.resolve(namespace, {**misplaced, **annotations}, layer="workload")
    known = workloads.container_names(workload)
    # Without the faults of the namespace itself, which are reported to whoever creates pods.
    faults = (
        *resolution.faults[len(namespace.resolution.faults) :],
        *_unknown_containers("workload", annotations, resolution.policy, known),
        *(_on_job_template(workload) if isinstance(workload, CronJob) else ()),
    )
    ignored = policy.ignored(resolution, annotations, "workload")
    # The template's own automount stays where it is, and takes the token unless the bad value of
    # inject is beside it.
    if names.AUTOMOUNT in ignored and names.AUTOMOUNT not in copying.free:
        ignored.discard(names.INJECT)
    operations, has_copies = copying.plan(ignored)
    return Decision(
        "copied" if has_copies else "not-requested",
        outcome="patched" if operations else "unchanged",
        operations=tuple(operations),
        warnings=_warnings(faults, advice.on_workload(resolution, namespace.locks)),
        audit=_audit(resolution.hash, faults),
        faults=faults,
    )


def _on_job_template(workload: CronJob) -> Iterator[Fault]:
    problem = "ignored, it belongs on the CronJob itself or on the template of its pods"
    annotations = policy.own_annotations(workload.job_annotations)
    for name, value in list(annotations.items())[: names.MAX_WARNINGS]:
        yield Fault("job template", name, value, problem)


def _unknown_containers(
    layer: str, annotations: dict[str, str], effective: TokenPolicy, known: Iterable[str]
) -> tuple[Fault, ...]:
    container_names = set(known)
    unknown = [name for name in effective.skip_containers if name not in container_names]
    text = annotations.get(names.SKIP_CONTAINERS, "")
    faults = [
        Fault(layer, names.SKIP_CONTAINERS, text, f"there is no container {quote(name)}")
        for name in unknown[: names.MAX_FAULTS]
    ]
    return (*faults, *more_faults(layer, len(unknown)))


def _warnings(faults: tuple[Fault, ...], more: Iterable[str] = ()) -> tuple[str, ...]:
    where = "; the audit annotation faults has them all"
    return truncate_warnings((*map(str, faults), *more), where)
