"""Mutation in reading order: `skip_reason` without the namespace, then `decide` with it.

What becomes of a pod where something is wrong, always towards a running pod:

    malformed review           400 and a sentence; the API server's failurePolicy decides (Ignore)
    unknown namespace          allowed, unchanged, reason namespace-unknown
    bad annotation             the next weaker layer decides, warning, audit annotation
    our own bug                allowed, unchanged, reason internal-error (the handler catches it)
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from ..core import names, patch, policy
from ..core.decision import Decision, Outcome, Reason
from ..core.faults import Fault, more_faults
from ..core.kinds import IMMUTABLE, OWNED
from ..core.patch import Operation
from ..core.policy import ClusterPolicy, NamespacePolicy, Resolution, TokenPolicy
from ..core.review import Request
from ..core.text import quote, truncate_bytes, truncate_warnings
from ..core.views import CronJob, Pod, Workload
from . import injection, volumes, workloads

_TOKEN_GIVEN = ("injected", "rewritten")


def skip_reason(request: Request, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """Why a request is left alone whatever its namespace says; None where the namespace decides."""
    resource = request.object
    if resource is None or request.sub_resource or request.operation not in ("CREATE", "UPDATE"):
        return "not-applicable"
    is_pod, kind = isinstance(resource, Pod), (request.kind.group, request.kind.kind)
    if request.operation == "UPDATE" and (is_pod or kind in IMMUTABLE):
        return "not-applicable"  # volumes and mounts cannot change any more
    if is_pod and names.MIRROR_POD in (resource.metadata.annotations or ()):
        return "mirror-pod"
    if request.namespace == cluster.own_namespace:
        return "own-namespace"
    if request.namespace in cluster.excluded:
        return "excluded-namespace"
    if not is_pod and kind in OWNED and resource.metadata.controller is not None:
        return "left-to-owner"
    return None


def decide(request: Request, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Decision:
    """The decision on a request that `skip_reason` does not skip."""
    resource = request.object
    if isinstance(resource, Pod):
        return _decide_pod(resource, cluster, namespace)
    if resource is None:
        return Decision("not-applicable")
    return _decide_workload(resource, request.old_object, namespace)


def _decide_pod(pod: Pod, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Decision:
    annotations = pod.metadata.annotations
    resolution = policy.resolve(namespace, annotations)
    effective = _effective_policy(pod, resolution)
    faults = resolution.faults
    if effective.skip_containers:
        known = (container.name for _, container in pod.containers())
        faults += _unknown_containers("pod", pod.annotations, effective, known)
    operations, result, remarks = injection.plan(pod, effective, namespace.locks)
    is_plain = effective is resolution.policy and (effective.inject or not effective.automount)
    reason = result if is_plain else _reason_without(result, pod, resolution, effective)
    if reason in _TOKEN_GIVEN:
        status = f"{result} policy={resolution.hash}"
        if annotations is None or annotations.get(names.STATUS) != status:
            operations.append(_status(status, has_annotations=annotations is not None))
    elif annotations is not None and names.STATUS in annotations:
        operations.append(_NO_STATUS)  # it came with a copy of another pod, and is not true here
    warnings: tuple[str, ...] = ()
    if faults or effective.audience or remarks:
        warnings = _warnings(faults, _advice(resolution.policy, reason, cluster, remarks))
    outcome: Outcome = "patched" if operations else "unchanged"
    audit = _audit(resolution.hash, faults)
    return Decision(reason, outcome, tuple(operations), warnings, "", audit, faults)


def _audit(policy_hash: str, faults: tuple[Fault, ...]) -> dict[str, str]:
    if not faults:
        return {"policy": policy_hash}
    return {"policy": policy_hash, "faults": truncate_bytes("; ".join(map(str, faults)))}


@lru_cache(maxsize=256)
def _status(text: str, *, has_annotations: bool) -> Operation:
    """The annotation that tells people what was done; an `add` replaces one that is there (RFC 6902
    section 4.1).
    """
    if not has_annotations:
        return patch.add("/metadata/annotations", {names.STATUS: text})
    return patch.add(patch.member("/metadata/annotations", names.STATUS), text)


_NO_STATUS = patch.remove(patch.member("/metadata/annotations", names.STATUS))


def _reason_without(
    result: injection.Result, pod: Pod, resolution: Resolution, effective: TokenPolicy
) -> Reason:
    """The reason of a pod that is not injected. A second call gives the same one, although the pod
    may say `automountServiceAccountToken: false` by then because we set it.
    """
    opted_out = effective is not resolution.policy
    if effective.automount:
        by_pod = opted_out or resolution.decided_by["inject"] == "pod"
        return "pod-opted-out" if by_pod else "not-requested"
    return "pod-opted-out" if opted_out and injection.would_give(pod, resolution.policy) else result


def _effective_policy(pod: Pod, resolution: Resolution) -> TokenPolicy:
    """The policy for this pod, without injection where its spec asks for no token.

    `automountServiceAccountToken: false` asks for none, unless a volume of ours shows that we have
    set it.
    """
    resolved = resolution.policy
    says_no = (
        resolved.inject
        and pod.spec.automount_service_account_token is False
        and resolution.decided_by["inject"] != "pod"
    )
    if says_no and not volumes.carries_ours(pod, tokens=bool(resolved.tokens)):
        return msgspec.structs.replace(resolved, inject=False)
    return resolved


def _decide_workload(
    workload: Workload | CronJob, old: Workload | CronJob | None, namespace: NamespacePolicy
) -> Decision:
    own = {
        name: value
        for name, value in (workload.metadata.annotations or {}).items()
        if name.startswith(names.DOMAIN)
    }
    if (fault := policy.too_large("workload", own)) is not None:
        audit = _audit(namespace.resolution.hash, (fault,))
        return Decision("not-requested", warnings=_warnings((fault,)), audit=audit, faults=(fault,))
    copying = workloads.copy(workload, old)
    misplaced = {name: value for name, value in own.items() if name not in names.FOR_PODS}
    resolution = policy.resolve(namespace, {**misplaced, **copying.annotations}, layer="workload")
    known = workloads.container_names(workload)
    # The faults of the namespace itself are told to whoever creates pods.
    faults = (
        *resolution.faults[len(namespace.resolution.faults) :],
        *_unknown_containers("workload", copying.annotations, resolution.policy, known),
        *(_on_job_template(workload) if isinstance(workload, CronJob) else ()),
    )
    return Decision(
        "copied" if copying.copied else "not-requested",
        outcome="patched" if copying.operations else "unchanged",
        operations=copying.operations,
        warnings=_warnings(faults),
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


def _advice(
    resolved: TokenPolicy, reason: Reason, cluster: ClusterPolicy, remarks: Iterable[str]
) -> Iterator[str]:
    """What is allowed and will surprise."""
    yield from (f"{names.MOUNT_PATH}={quote(resolved.mount_path)}: {remark}" for remark in remarks)
    foreign = resolved.audience and resolved.audience not in cluster.api_audiences
    if foreign and reason in _TOKEN_GIVEN and resolved.mount_path == names.DEFAULT_PATH:
        yield (
            f"{names.AUDIENCE}={quote(resolved.audience)}: replaces the Kubernetes API token, so API clients in the pod will "
            f"get 401; to keep both, use {names.TOKENS} instead, with file=audience"
        )


def _warnings(faults: tuple[Fault, ...], advice: Iterable[str] = ()) -> tuple[str, ...]:
    where = "; the audit annotation faults has them all"
    return truncate_warnings((*map(str, faults), *advice), where)
