"""The whole decision, in reading order: a request and a namespace in, one verdict with one reason
out.

Which way each thing fails, always towards a running pod:

    malformed review                    400 and a sentence; the API server's failurePolicy decides
    (Ignore) namespace that nobody knows         allowed, unchanged, reason namespace-unknown bad
    annotation                      the next weaker layer decides, warning, audit annotation our own
    bug                         allowed, unchanged, reason internal-error (the door catches it)

Why a reason says what the pod *is* and not what we just did: with `reinvocationPolicy: IfNeeded`
the same pod may be judged twice, and the API server refuses to overwrite an audit annotation with
another value. The outcome tells the two calls apart: `patched`, then `unchanged`.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from ..core import names, patch, policy
from ..core.faults import Fault, more_faults
from ..core.kinds import IMMUTABLE, OWNED
from ..core.patch import Operation
from ..core.policy import ClusterPolicy, NamespacePolicy, Resolution
from ..core.reasons import Outcome, Reason
from ..core.review import Request, Response, encode_patch
from ..core.text import quote, truncate_bytes, truncate_warnings
from ..core.views import CronJob, Pod, Workload
from . import injection, volumes, workloads

_TOKEN_GIVEN = ("injected", "rewritten")


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What was decided; the reply, the log line and the metrics are made of this and of the request
    alone.
    """

    reason: Reason
    outcome: Outcome = "unchanged"
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    policy: str = ""
    """The hash of the policy; empty where none was needed."""


def needs_namespace(request: Request, cluster: ClusterPolicy) -> bool:
    """Whether `judge` will want to know the namespace's annotations."""
    return _untouched(request, cluster) is None


def judge(request: Request, cluster: ClusterPolicy, namespace: NamespacePolicy | None) -> Verdict:
    """The decision on one request; `namespace` is None where nobody knows it."""
    untouched = _untouched(request, cluster)
    if untouched is not None:
        return Verdict(untouched)
    if namespace is None:
        return Verdict("namespace-unknown")
    if isinstance(request.object, Pod):
        return _judge_pod(request.object, cluster, namespace)
    assert isinstance(request.object, Workload | CronJob)  # noqa: S101  (_untouched has seen to it)
    return _judge_workload(request.object, request.old_object, namespace)


def respond(uid: str, verdict: Verdict) -> Response:
    """The response that carries a verdict: always allowed, because mutation denies nothing."""
    audit: dict[str, str] = {"reason": verdict.reason}
    if verdict.policy:
        audit["policy"] = verdict.policy
    if verdict.faults:
        audit["faults"] = truncate_bytes("; ".join(map(str, verdict.faults)))
    warnings = verdict.warnings or msgspec.UNSET
    if not verdict.operations:
        return Response(uid, True, warnings, audit)
    return Response(uid, True, warnings, audit, encode_patch(verdict.operations), "JSONPatch")


def _untouched(request: Request, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """The reason to leave a request alone whatever its namespace says; None where it must be
    judged.
    """
    held = request.object
    if held is None or request.sub_resource or request.operation not in ("CREATE", "UPDATE"):
        return "not-applicable"
    is_pod = isinstance(held, Pod)
    if request.operation == "UPDATE" and (
        is_pod or (request.kind.group, request.kind.kind) in IMMUTABLE
    ):  # both are immutable where it matters
        return "not-applicable"
    if is_pod and names.MIRROR_POD in (held.metadata.annotations or ()):
        return "mirror-pod"
    if request.namespace == cluster.own_namespace:
        return "own-namespace"
    if request.namespace in cluster.excluded:
        return "excluded-namespace"
    if is_pod:
        return None
    if (request.kind.group, request.kind.kind) in OWNED and held.metadata.controller is not None:
        return "left-to-owner"
    return None


def _judge_pod(pod: Pod, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Verdict:
    settled = policy.resolve(namespace, pod.metadata.annotations)
    wanted = _wanted(pod, settled)
    faults = settled.faults
    if wanted.skip_containers:
        faults = (
            *faults,
            *_unknown_containers(
                "pod", pod.annotations, wanted, (each.name for _, each in pod.containers())
            ),
        )
    operations, result, remarks = injection.plan(pod, wanted, namespace.locks)
    is_plain = wanted is settled.policy and (wanted.inject or not wanted.automount)
    reason: Reason = result if is_plain else _declined(result, pod, settled, wanted)
    held = pod.metadata.annotations
    if reason in _TOKEN_GIVEN:
        status = f"{result} policy={settled.hash}"
        if held is None or held.get(names.STATUS) != status:
            operations.append(_status(status, has_annotations=held is not None))
    elif (
        held is not None and names.STATUS in held
    ):  # of a pod that was copied, or made up: it would mislead
        operations.append(_NO_STATUS)
    return Verdict(
        reason,
        "patched" if operations else "unchanged",
        tuple(operations),
        _warnings(faults, _advice(settled, reason, cluster, remarks))
        if faults or wanted.audience or remarks
        else (),
        faults,
        settled.hash,
    )


@lru_cache(maxsize=256)
def _status(text: str, *, has_annotations: bool) -> Operation:
    """The annotation that tells people what was done; an `add` replaces one that is there (RFC 6902
    section 4.1).
    """
    if not has_annotations:
        return patch.add("/metadata/annotations", {names.STATUS: text})
    return patch.add(patch.member("/metadata/annotations", names.STATUS), text)


_NO_STATUS = patch.remove(patch.member("/metadata/annotations", names.STATUS))


def _declined(
    result: injection.Result, pod: Pod, settled: Resolution, wanted: policy.TokenPolicy
) -> Reason:
    """What a pod is that is not injected, the same in a second call: by then the field may be false
    because we set it.
    """
    opted_out = wanted is not settled.policy
    if wanted.automount:
        return (
            "pod-opted-out"
            if opted_out or settled.decided_by["inject"] == "pod"
            else "not-requested"
        )
    return "pod-opted-out" if opted_out and injection.would_give(pod, settled.policy) else result


def _wanted(pod: Pod, settled: Resolution) -> policy.TokenPolicy:
    """The policy for this very pod: the settled one, or another without injection where the pod's
    spec asks for no token.

    `automountServiceAccountToken: false` asks for none, unless our volume tells that we have set
    it.
    """
    asked = settled.policy
    says_no = (
        asked.inject
        and pod.spec.automount_service_account_token is False
        and settled.decided_by["inject"] != "pod"
    )
    if says_no and not volumes.carries_ours(pod, tokens=bool(asked.tokens)):
        return msgspec.structs.replace(asked, inject=False)
    return asked


def _judge_workload(
    workload: Workload | CronJob, old: Workload | CronJob | None, namespace: NamespacePolicy
) -> Verdict:
    ours = {
        name: value
        for name, value in (workload.metadata.annotations or {}).items()
        if name.startswith(names.DOMAIN)
    }
    if (too_much := policy.too_large("workload", ours)) is not None:
        return Verdict(
            "not-requested",
            warnings=_warnings((too_much,)),
            faults=(too_much,),
            policy=namespace.resolution.hash,
        )
    copying = workloads.copy(workload, old)
    strangers = {name: value for name, value in ours.items() if name not in names.FOR_PODS}
    settled = policy.resolve(namespace, {**strangers, **copying.annotations}, layer="workload")
    known = workloads.container_names(workload)
    faults = (
        *settled.faults[
            len(namespace.resolution.faults) :
        ],  # the namespace's own are told to who creates pods
        *_unknown_containers("workload", copying.annotations, settled.policy, known),
        *(_on_jobs(workload) if isinstance(workload, CronJob) else ()),
    )
    return Verdict(
        "copied" if copying.copied else "not-requested",
        outcome="patched" if copying.operations else "unchanged",
        operations=copying.operations,
        warnings=_warnings(faults),
        faults=faults,
        policy=settled.hash,
    )


def _on_jobs(workload: CronJob) -> Iterator[Fault]:
    for name, value in list(policy.own_annotations(workload.job_annotations).items())[
        : names.MAX_WARNINGS
    ]:
        yield Fault(
            "job template",
            name,
            value,
            "ignored, it belongs on the CronJob itself or on the template of its pods",
        )


def _unknown_containers(
    layer: str, annotations: dict[str, str], wanted: policy.TokenPolicy, known: Iterable[str]
) -> list[Fault]:
    there = set(known)
    unknown = [name for name in wanted.skip_containers if name not in there]
    text = annotations.get(names.SKIP_CONTAINERS, "")
    return [
        Fault(layer, names.SKIP_CONTAINERS, text, f"there is no container {quote(name)}")
        for name in unknown[: names.MAX_FAULTS]
    ] + more_faults(layer, len(unknown))


def _advice(
    settled: Resolution, reason: Reason, cluster: ClusterPolicy, remarks: Iterable[str]
) -> Iterator[str]:
    """What is allowed and will surprise."""
    wanted = settled.policy
    yield from (f"{names.MOUNT_PATH}={quote(wanted.mount_path)}: {remark}" for remark in remarks)
    foreign = wanted.audience and wanted.audience not in cluster.api_audiences
    if foreign and reason in _TOKEN_GIVEN and wanted.mount_path == names.DEFAULT_PATH:
        yield (
            f"{names.AUDIENCE}={quote(wanted.audience)}: replaces the Kubernetes API token, so API clients in the pod will "
            f"get 401; to keep both, use {names.TOKENS} instead, with file=audience"
        )


def _warnings(faults: tuple[Fault, ...], advice: Iterable[str] = ()) -> tuple[str, ...]:
    return truncate_warnings(
        (*map(str, faults), *advice), "; the audit annotation faults has them all"
    )
