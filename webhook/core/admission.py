"""The whole decision, in reading order: a request and a namespace in, one verdict with one reason out.

Which way each thing fails, always towards a running pod:

    malformed review                    400 and a sentence; the API server's failurePolicy decides (Ignore)
    namespace that nobody knows         allowed, unchanged, reason namespace-unknown
    bad annotation                      the next weaker layer decides, warning, audit annotation
    our own bug                         allowed, unchanged, reason internal-error (the door catches it)

Why a reason says what the pod *is* and not what we just did: with `reinvocationPolicy: IfNeeded` the same pod may be
judged twice, and the API server refuses to overwrite an audit annotation with another value. The outcome tells the two
calls apart: `patched`, then `unchanged`.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from . import injection, names, patch, policy, workloads
from .patch import Operation
from .pods import CronJob, Pod, Workload, same_path
from .policy import ClusterLayer, Fault, NamespaceLayer, Resolution
from .review import Request, Response, encode_patch
from .text import cut, quoted


class Outcome(StrEnum):
    PATCHED = "patched"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class Reason(StrEnum):
    """The closed list. The README explains each; a test compares the two."""

    INJECTED = "injected"
    REWRITTEN = "rewritten"
    STRIPPED = "stripped"
    UNCHANGED = "unchanged"
    NOT_REQUESTED = "not-requested"
    POD_OPTED_OUT = "pod-opted-out"
    MIRROR_POD = "mirror-pod"
    EXCLUDED_NAMESPACE = "excluded-namespace"
    OWN_POD = "own-pod"
    NOT_A_POD_CREATE = "not-a-pod-create"
    NAMESPACE_UNKNOWN = "namespace-unknown"
    COPIED = "copied"
    LEFT_TO_OWNER = "left-to-owner"
    MALFORMED_REVIEW = "malformed-review"
    INTERNAL_ERROR = "internal-error"


_REASONS = {str(reason): reason for reason in Reason}  # a dictionary is faster than a call of the Enum
_TOKEN_GIVEN = (Reason.INJECTED, Reason.REWRITTEN)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What was decided; the reply, the log line and the metrics are made of this and of the request alone."""

    reason: Reason
    outcome: Outcome = Outcome.UNCHANGED
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    policy: str = ""
    """The hash of the policy; empty where none was needed."""


def needs_namespace(request: Request, cluster: ClusterLayer) -> bool:
    """Whether `judge` will want to know the namespace's annotations."""
    return _untouched(request, cluster) is None


def judge(request: Request, cluster: ClusterLayer, namespace: NamespaceLayer | None) -> Verdict:
    """The decision on one request; `namespace` is None where nobody knows it."""
    untouched = _untouched(request, cluster)
    if untouched is not None:
        return Verdict(untouched)
    if namespace is None:
        return Verdict(Reason.NAMESPACE_UNKNOWN)
    if isinstance(request.object, Pod):
        return _judge_pod(request.object, cluster, namespace)
    assert request.object is not None  # noqa: S101  (_untouched has seen to it)
    return _judge_workload(request.object, request.old_object, namespace)


def respond(uid: str, verdict: Verdict) -> Response:
    """The response that carries a verdict: always allowed, since this release never denies."""
    audit = {"reason": str(verdict.reason)}
    if verdict.policy:
        audit["policy"] = verdict.policy
    if verdict.faults:
        audit["faults"] = "; ".join(map(str, verdict.faults))
    if not verdict.operations:
        return Response(uid=uid, warnings=verdict.warnings or msgspec.UNSET, audit_annotations=audit)
    return Response(
        uid=uid,
        warnings=verdict.warnings or msgspec.UNSET,
        audit_annotations=audit,
        patch=encode_patch(verdict.operations),
        patch_type="JSONPatch",
    )


def _untouched(request: Request, cluster: ClusterLayer) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """The reason to leave a request alone whatever its namespace says; None where it must be judged."""
    held = request.object
    if held is None or request.sub_resource or request.operation not in ("CREATE", "UPDATE"):
        return Reason.NOT_A_POD_CREATE
    is_pod = isinstance(held, Pod)
    if request.operation == "UPDATE" and (is_pod or request.kind.kind == "Job"):  # both are immutable where it matters
        return Reason.NOT_A_POD_CREATE
    if is_pod and names.MIRROR_POD in (held.metadata.annotations or ()):
        return Reason.MIRROR_POD
    if request.namespace == cluster.own_namespace:
        return Reason.OWN_POD
    if request.namespace in cluster.excluded or request.namespace in names.NEVER_TOUCHED:
        return Reason.EXCLUDED_NAMESPACE
    if request.kind.kind in ("ReplicaSet", "Job") and held.metadata.controller is not None:
        return Reason.LEFT_TO_OWNER
    return None


def _judge_pod(pod: Pod, cluster: ClusterLayer, namespace: NamespaceLayer) -> Verdict:
    settled = policy.resolve(namespace, pod.annotations)
    wanted = _wanted(pod, settled)
    faults = settled.faults
    if wanted.skip_containers:
        faults = (
            *faults,
            *_unknown_containers("pod", pod.annotations, wanted, (each.name for _, each in pod.containers())),
        )
    if not wanted.inject and wanted.automount:
        opted_out = wanted is not settled.policy or settled.decided_by["inject"] == "pod"
        reason = Reason.POD_OPTED_OUT if opted_out else Reason.NOT_REQUESTED
        return Verdict(reason, warnings=_warnings(faults), faults=faults, policy=settled.hash)
    plan = injection.plan(pod, wanted)
    reason = _REASONS[plan.result] if wanted is settled.policy else Reason.POD_OPTED_OUT
    operations = plan.operations
    if reason in _TOKEN_GIVEN:
        status = f"{plan.result} policy={settled.hash}"
        held = pod.metadata.annotations
        if held is None or held.get(names.STATUS) != status:
            operations = (*operations, *patch.annotate("/metadata", held, {names.STATUS: status}))
    return Verdict(
        reason,
        outcome=Outcome.PATCHED if operations else Outcome.UNCHANGED,
        operations=operations,
        warnings=_warnings(faults, _advice(settled, reason, cluster)) if faults or wanted.audience else (),
        faults=faults,
        policy=settled.hash,
    )


def _wanted(pod: Pod, settled: Resolution) -> policy.TokenPolicy:
    """The policy for this very pod: the settled one, or another without injection where the pod's spec asks for no token.

    `automountServiceAccountToken: false` asks for none, unless our volume tells that we have set it.
    """
    asked = settled.policy
    says_no = asked.inject and pod.spec.automount_service_account_token is False and settled.decided_by["inject"] != "pod"
    if says_no and not injection.carries_ours(pod):
        return msgspec.structs.replace(asked, inject=False)
    return asked


def _judge_workload(workload: Workload | CronJob, old: Workload | CronJob | None, namespace: NamespaceLayer) -> Verdict:
    copying = workloads.copy(workload, old)
    strangers = {
        key: value for key, value in policy.steering(workload.metadata.annotations).items() if key not in names.FOR_PODS
    }
    settled = policy.resolve(namespace, {**strangers, **copying.annotations}, layer="workload")
    known = workloads.container_names(workload)
    faults = (
        *settled.faults[len(namespace.resolution.faults) :],  # the namespace's own are told to who creates pods
        *_unknown_containers("workload", copying.annotations, settled.policy, known),
    )
    return Verdict(
        Reason.COPIED if copying.copied else Reason.NOT_REQUESTED,
        outcome=Outcome.PATCHED if copying.operations else Outcome.UNCHANGED,
        operations=copying.operations,
        warnings=_warnings(faults),
        faults=faults,
        policy=settled.hash,
    )


def _unknown_containers(
    layer: str, annotations: dict[str, str], wanted: policy.TokenPolicy, known: Iterable[str]
) -> Iterator[Fault]:
    there = set(known)
    for name in wanted.skip_containers:
        if name not in there:
            text = annotations.get(names.SKIP_CONTAINERS, "")
            yield Fault(layer, names.SKIP_CONTAINERS, text, f"there is no container {quoted(name)}")


def _advice(settled: Resolution, reason: Reason, cluster: ClusterLayer) -> Iterator[str]:
    """What is allowed and will surprise."""
    wanted = settled.policy
    foreign = wanted.audience and wanted.audience not in cluster.api_audiences
    if foreign and reason in _TOKEN_GIVEN and same_path(wanted.mount_path, names.DEFAULT_PATH):
        yield (
            f"{names.AUDIENCE}={quoted(wanted.audience)}: the API server answers clients in the pod with 401, as its own "
            f"token makes way at the default path; use {names.TOKENS} or {names.MOUNT_PATH} to have both"
        )


def _warnings(faults: tuple[Fault, ...], advice: Iterable[str] = ()) -> tuple[str, ...]:
    said = [cut(sentence) for sentence in (*map(str, faults), *advice)]
    if len(said) <= names.MAX_WARNINGS:
        return tuple(said)
    more = len(said) - names.MAX_WARNINGS
    return (*said[: names.MAX_WARNINGS], f"{names.DOMAIN}*: and {more} more; the audit annotation faults has them all")
