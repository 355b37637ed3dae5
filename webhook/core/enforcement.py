"""Judging: a request and a namespace in, one judgement out; one evaluation of the pod serves all three modes.

    pods CREATE                        enforce denies, warn warns, audit annotates
    pods/ephemeralcontainers UPDATE    the same, for what the update adds
    templates of workloads             warn and audit only: denying a Deployment late helps nobody

A pod is judged by what it carries, never by what mutation decided: a fault in the one must not hide from the other.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from . import expected, finals, governance, names, policy, rules
from .admission import Outcome, Reason
from .demands import MODES, Demand, Level, Mode
from .finals import FinalPod, FinalSpec, FinalTemplate, FinalWorkload, Secret, TokenRequest
from .policy import ClusterLayer, Fault, NamespaceLayer
from .review import FinalRequest, Response, Status
from .rules import Bounds, Finding
from .text import cut, limited

Decision = Literal["allow", "deny", "exempt"]
MAX_AUDIT_CHARS = 8192
"""Of the violations in one audit annotation: they are in a log line together with everything else."""
UNLESS = "unless its service account opts out"

_DEMANDS = frozenset(name for mode in MODES for name in (names.DOMAIN + mode, f"{names.DOMAIN}{mode}-version"))
_JUDGED: frozenset[tuple[type, str, str]] = frozenset(
    {
        (FinalPod, "", "CREATE"),
        (FinalPod, "ephemeralcontainers", "UPDATE"),
        (FinalWorkload, "", "CREATE"),
        (FinalWorkload, "", "UPDATE"),
        (TokenRequest, "token", "CREATE"),
        (Secret, "", "CREATE"),
    }
)


class Judgement(msgspec.Struct, frozen=True):
    """What was judged; the reply, the log line and the metrics are made of this and of the request alone."""

    reason: Reason
    outcome: Outcome = "unchanged"
    message: str = ""
    """Why it is denied; empty where it is allowed."""
    warnings: tuple[str, ...] = ()
    audit: dict[str, str] = {}
    evaluations: tuple[tuple[Decision, Mode, Level], ...] = ()
    faults: tuple[Fault, ...] = ()


def needs_namespace(request: FinalRequest, cluster: ClusterLayer) -> bool:
    """Whether `judge` will want to know the namespace's annotations."""
    return _unjudged(request, cluster) is None


def judge(
    request: FinalRequest, cluster: ClusterLayer, namespace: NamespaceLayer, legacy_tokens: frozenset[str] | None = None
) -> Judgement:
    """The judgement on one request; `legacy_tokens` are the names of such Secrets here, None where nobody may list them."""
    held = request.object
    if (unjudged := _unjudged(request, cluster)) is not None:
        return Judgement(unjudged)
    bounds = Bounds(namespace.locks, cluster.api_audiences, legacy_tokens)
    exempt = _exemption(request, cluster)
    if isinstance(held, TokenRequest | Secret):
        if exempt:
            return Judgement("exempt", audit={"exempt": exempt})
        return _govern(request, held, bounds, namespace.demands.enforce.level)
    demands = namespace.demands
    faults = tuple(fault for fault in namespace.resolution.faults if fault.annotation in _DEMANDS)
    audit = {"policy": f"enforce={demands.enforce},warn={demands.warn},audit={demands.audit}"}
    if faults:
        audit["error"] = "; ".join(map(str, faults))
    is_workload = isinstance(held, FinalWorkload)
    modes = [mode for mode in MODES if demands.of(mode).level != "off" and not (is_workload and mode == "enforce")]
    if not modes:
        return Judgement("not-enforced", audit=audit if faults else {}, faults=faults)
    if exempt:
        evaluations = tuple(("exempt", mode, demands.of(mode).level) for mode in modes)
        return Judgement("exempt", audit={**audit, "exempt": exempt}, evaluations=evaluations, faults=faults)  # type: ignore[arg-type]
    pod, unless = _pod(request, namespace)
    by_demand = {demand: rules.evaluate(pod, demand, bounds) for demand in {demands.of(mode) for mode in modes}}
    findings = {mode: by_demand[demands.of(mode)] for mode in modes}
    return _judged({mode: (demands.of(mode), findings[mode]) for mode in modes}, audit, faults, unless=unless)


def respond(uid: str, judgement: Judgement) -> Response:
    """The response that carries a judgement."""
    audit = {"reason": judgement.reason, **judgement.audit}
    if judgement.message:
        return Response(uid, allowed=False, audit_annotations=audit, status=Status(judgement.message))
    return Response(uid, True, judgement.warnings or msgspec.UNSET, audit)


def _unjudged(request: FinalRequest, cluster: ClusterLayer) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """The reason to judge nothing whatever the namespace says; None where it must be judged."""
    held = request.object
    if (type(held), request.sub_resource, request.operation) not in _JUDGED:
        return "not-a-pod-create"
    if request.namespace == cluster.own_namespace:
        return "own-pod"
    if request.namespace in cluster.excluded:
        return "excluded-namespace"
    if isinstance(held, FinalWorkload) and held.metadata.controller is not None:
        return "left-to-owner"
    if isinstance(held, TokenRequest) and not cluster.governs_token_requests:
        return "not-enforced"
    if isinstance(held, Secret) and not cluster.governs_legacy_secrets:
        return "not-enforced"
    return None


def _exemption(request: FinalRequest, cluster: ClusterLayer) -> str:
    """Which exemption of the cluster's configuration holds, if any."""
    exempt, held = cluster.exemptions, request.object
    if request.namespace in exempt.namespaces:
        return "namespace"
    if request.user_info.username in exempt.usernames:
        return "user"
    template: FinalPod | FinalTemplate | None = held if isinstance(held, FinalPod) else None
    if isinstance(held, FinalWorkload):
        template = held.template
    if isinstance(held, TokenRequest) and f"{request.namespace}/{request.name}" in exempt.service_accounts:
        return "serviceAccount"
    return exempt_by_pod(template.spec, request.namespace, cluster) if template is not None else ""


def exempt_by_pod(spec: FinalSpec, namespace: str, cluster: ClusterLayer) -> str:
    """Which exemption holds for a pod by what it runs as, if any."""
    if f"{namespace}/{spec.service_account_name or 'default'}" in cluster.exemptions.service_accounts:
        return "serviceAccount"
    return "runtimeClass" if spec.runtime_class_name in cluster.exemptions.runtime_classes else ""


def _pod(request: FinalRequest, namespace: NamespaceLayer) -> tuple[FinalPod, bool]:
    """The pod to measure, and whether its service account could make it another one."""
    held, old = request.object, request.old_object
    if isinstance(held, FinalPod):
        return (finals.brought_by(held, old) if request.sub_resource and isinstance(old, FinalPod) else held), False
    template = held.template if isinstance(held, FinalWorkload) else None
    if template is None:
        return FinalPod(), False
    annotations = template.metadata.annotations if template.metadata is not None else None
    spec, unless = expected.pod_spec(template, policy.resolve(namespace, annotations, layer="workload"))
    return FinalPod(spec=spec), unless


def _judged(
    found: dict[Mode, tuple[Demand, tuple[Finding, ...]]], audit: dict[str, str], faults: tuple[Fault, ...], *, unless: bool
) -> Judgement:
    evaluations: list[tuple[Decision, Mode, Level]] = []
    said: dict[Mode, list[str]] = {}
    for mode, (demand, findings) in found.items():
        evaluations.append(("deny" if findings else "allow", mode, demand.level))
        if findings:
            said[mode] = list(_said(findings, unless=unless))
    if "audit" in said:
        audit = {**audit, "violations": cut(f"{found['audit'][0]}: " + "; ".join(said["audit"]), MAX_AUDIT_CHARS)}
    reason: Reason = "violates" if said else "complies"
    if "enforce" in said:
        message = f'violates boundtoken "{found["enforce"][0]}": ' + "; ".join(said["enforce"])
        return Judgement(reason, "denied", message, audit=audit, evaluations=tuple(evaluations), faults=faults)
    warnings: tuple[str, ...] = ()
    if "warn" in said:
        warnings = limited(f'would violate boundtoken "{found["warn"][0]}": {sentence}' for sentence in said["warn"])
    outcome: Outcome = "warned" if warnings else "unchanged"
    return Judgement(reason, outcome, warnings=warnings, audit=audit, evaluations=tuple(evaluations), faults=faults)


def _said(findings: tuple[Finding, ...], *, unless: bool) -> Iterator[str]:
    for sentence in rules.sentences(findings):
        place = f'"{expected.AUTOMOUNTED}": '
        yield sentence.replace(place, f"{place[:-2]} ({UNLESS}): ") if unless else sentence


def _govern(request: FinalRequest, held: TokenRequest | Secret, bounds: Bounds, level: Level) -> Judgement:
    if isinstance(held, Secret):
        problems = governance.legacy_secret(held)
    else:
        problems = governance.token_request(held, request.user_info, bounds, level)
    message = "; ".join(problems)
    return Judgement("violates" if message else "complies", "denied" if message else "unchanged", message)
