"""Judging: a request and a namespace in, one judgement out; one evaluation of the pod serves all
three modes.

    pods CREATE                        enforce denies, warn warns, audit annotates
    pods/ephemeralcontainers UPDATE    the same, for what the update adds
    templates of workloads             warn and audit only: denying a Deployment late helps nobody
    TokenRequests, legacy Secrets      denied or warned of, as the configuration says

What violates `enforce` is denied by the API server itself, by the policies that are made of the
same rules, and never gets here. It is judged here again because there is one rule that CEL cannot
say (legacy tokens), and where the policies are gone. A pod is judged by what it carries, never by
what mutation decided: a fault in the one must not hide from the other.
"""

from typing import Literal

import msgspec

from ..core import full_views, levels, limits, names, policy
from ..core.faults import Fault
from ..core.full_views import (
    FullPod,
    FullSpec,
    FullTemplate,
    FullWorkload,
    Secret,
    TokenRequest,
)
from ..core.levels import MODES, Level, LevelVersion, Mode
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.reasons import Outcome, Reason
from ..core.review import Response, Status, ValidationRequest
from ..core.text import quote, truncate, truncate_bytes, truncate_warnings
from . import rules, templates, token_requests
from .facts import Facts
from .rules import Violation

Decision = Literal["allow", "deny", "exempt"]
MAX_MESSAGE_CHARS = 5000
"""Of a denial: the API server drops a policy's message above 5 KiB, and the two judges say the
same."""
ENFORCES, UNDER_FLOOR = ' enforces "{demand}"', ' under the cluster\'s enforceFloor "{floor}"'
UNLESS = "unless the service account opts out"

_LEVEL_ANNOTATIONS = frozenset((*levels.LEVEL_OF.values(), *levels.VERSION_OF.values()))
_JUDGED: frozenset[tuple[type, str, str]] = frozenset(
    {
        (FullPod, "", "CREATE"),
        (FullPod, "ephemeralcontainers", "UPDATE"),
        (FullWorkload, "", "CREATE"),
        (FullWorkload, "", "UPDATE"),
        (TokenRequest, "token", "CREATE"),
        (Secret, "", "CREATE"),
    }
)


class Judgement(msgspec.Struct, frozen=True):
    """What was judged; the reply, the log line and the metrics are made of this and of the request
    alone.
    """

    reason: Reason
    outcome: Outcome = "unchanged"
    message: str = ""
    """Why it is denied; empty where it is allowed."""
    warnings: tuple[str, ...] = ()
    audit: dict[str, str] = {}
    evaluations: tuple[tuple[Decision, Mode, Level], ...] = ()
    faults: tuple[Fault, ...] = ()


def needs_namespace(request: ValidationRequest, cluster: ClusterPolicy) -> bool:
    """Whether `judge` will want to know the namespace's annotations."""
    return _unjudged(request, cluster) is None


def judge(
    request: ValidationRequest,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> Judgement:
    """The judgement on one request; `legacy_tokens` are the names of such Secrets here, None where
    nobody may list them.
    """
    held = request.object
    if (unjudged := _unjudged(request, cluster)) is not None:
        return Judgement(unjudged)
    if isinstance(held, TokenRequest | Secret):
        return _govern(request, held, cluster, namespace)
    faults = tuple(
        fault for fault in namespace.resolution.faults if fault.annotation in _LEVEL_ANNOTATIONS
    )
    audit = {"policy": policy_text(namespace, cluster)}
    if faults:
        audit["error"] = truncate_bytes("; ".join(map(str, faults)))
    modes = _modes(request, cluster, namespace)
    if not modes:
        return Judgement("not-enforced", audit=audit if faults else {}, faults=faults)
    if exempt := _exemption(request, cluster):
        evaluations: tuple[tuple[Decision, Mode, Level], ...] = tuple(
            ("exempt", mode, level) for mode, level in modes
        )
        return Judgement(
            "exempt", audit={**audit, "exempt": exempt}, evaluations=evaluations, faults=faults
        )
    pod, unless = _pod(request, namespace)
    found = _found(modes, Facts(pod), cluster, namespace, legacy_tokens)
    if unless:
        found = {mode: tuple(map(_conditional, each)) for mode, each in found.items()}
    judgement = _judged(request.namespace, cluster, namespace, found)
    return msgspec.structs.replace(judgement, audit={**audit, **judgement.audit}, faults=faults)


def respond(uid: str, judgement: Judgement) -> Response:
    """The response that carries a judgement."""
    audit = {"reason": judgement.reason, **judgement.audit}
    if judgement.message:
        return Response(
            uid, allowed=False, audit_annotations=audit, status=Status(judgement.message)
        )
    return Response(uid, True, judgement.warnings or msgspec.UNSET, audit)


def violations(
    mode: Mode,
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> tuple[Violation, ...]:
    """What about this pod violates what the namespace, or under `enforce` the cluster's floor,
    demands.
    """
    demand = namespace.demands.of(mode)
    floor = cluster.enforce_floor if mode == "enforce" else "off"
    measure = limits_of(cluster, namespace, demand.level, floor, legacy_tokens)
    return rules.evaluate(pod, demand, measure, floor)


def _found(
    modes: list[tuple[Mode, Level]],
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None,
) -> dict[Mode, tuple[Violation, ...]]:
    """The violations for each mode; modes that demand the same are measured once."""
    measured: dict[tuple[LevelVersion, Level], tuple[Violation, ...]] = {}
    found: dict[Mode, tuple[Violation, ...]] = {}
    for mode, _ in modes:
        demanded = namespace.demands.of(mode), cluster.enforce_floor if mode == "enforce" else "off"
        if demanded not in measured:
            measured[demanded] = violations(mode, pod, cluster, namespace, legacy_tokens)
        found[mode] = measured[demanded]
    return found


def limits_of(
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    level: Level,
    floor: Level = "off",
    legacy: frozenset[str] | None = None,
) -> Limits:
    """What tokens in this namespace are measured by under a level and a floor: both must hold, so
    the smaller maximum does.
    """
    lock, set_here = cluster.locks.max_expiration_seconds, namespace.max_expiration_seconds
    maxima = [lock]
    if level != "off":
        maxima.append(limits.own_maximum(level, lock, set_here))
    if floor != "off":
        maxima.append(
            limits.floor_maximum(
                floor, lock, set_here, cluster.enforce_floor_max_expiration_seconds
            )
        )
    return _limits(min(maxima), cluster, namespace, legacy)


def enforced_by(namespace: str, own: LevelVersion, floor: Level) -> str:
    """Who demands what of the pods in a namespace, as a denial begins."""
    name, under = f"namespace {quote(namespace, 63)}", UNDER_FLOOR.format(floor=floor)
    if own.level == "off":
        return f"{name} is{under}"
    return name + ENFORCES.format(demand=own) + ("" if floor == "off" else under)


def policy_text(namespace: NamespacePolicy, cluster: ClusterPolicy) -> str:
    """What is demanded, for the audit log."""
    held = namespace.demands
    floor = "" if cluster.enforce_floor == "off" else f",floor={cluster.enforce_floor}"
    return f"enforce={held.enforce},warn={held.warn},audit={held.audit}{floor}"


def _limits(
    maximum: int, cluster: ClusterPolicy, namespace: NamespacePolicy, legacy: frozenset[str] | None
) -> Limits:
    return Limits(
        maximum=maximum,
        allowed_audiences=namespace.locks.allowed_audiences,
        allowed_text=namespace.allowed_text,
        api_audiences=cluster.api_audiences,
        legacy_tokens=legacy,
    )


def _unjudged(request: ValidationRequest, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """The reason to judge nothing whatever the namespace says; None where it must be judged."""
    held = request.object
    if (type(held), request.sub_resource, request.operation) not in _JUDGED:
        return "not-applicable"
    if isinstance(held, TokenRequest):
        return "not-enforced" if cluster.token_requests == "off" else None  # noqa: S105  (a mode)
    if isinstance(held, Secret):
        return "not-enforced" if cluster.legacy_secrets == "off" else None
    if request.namespace == cluster.own_namespace:
        return "own-namespace"
    if request.namespace in cluster.excluded:
        return "excluded-namespace"
    if isinstance(held, FullWorkload) and held.metadata.controller is not None:
        return "left-to-owner"
    return None


def _modes(
    request: ValidationRequest, cluster: ClusterPolicy, namespace: NamespacePolicy
) -> list[tuple[Mode, Level]]:
    """The modes that demand anything of this object, each with the strictest level that it
    names.
    """
    found: list[tuple[Mode, Level]] = []
    for mode in MODES:
        level = namespace.demands.of(mode).level
        if mode == "enforce":
            if isinstance(request.object, FullWorkload):
                continue
            level = levels.stricter(level, cluster.enforce_floor)
        if level != "off":
            found.append((mode, level))
    return found


def _exemption(request: ValidationRequest, cluster: ClusterPolicy) -> str:
    """Which exemption of the cluster's configuration holds for a pod or a template, if any."""
    exempt, held = cluster.exemptions, request.object
    if request.namespace in exempt.namespaces:
        return "namespace"
    if request.user_info.username in exempt.usernames:
        return "user"
    template: FullPod | FullTemplate | None = held if isinstance(held, FullPod) else None
    if isinstance(held, FullWorkload):
        template = held.template
    return exempt_by_pod(template.spec, request.namespace, cluster) if template is not None else ""


def exempt_by_pod(spec: FullSpec, namespace: str, cluster: ClusterPolicy) -> str:
    """Which exemption holds for a pod by what it runs as, if any."""
    if (
        f"{namespace}/{spec.service_account_name or 'default'}"
        in cluster.exemptions.service_accounts
    ):
        return "serviceAccount"
    return "runtimeClass" if spec.runtime_class_name in cluster.exemptions.runtime_classes else ""


def _exempt_requester(username: str, cluster: ClusterPolicy) -> str:
    """Which exemption holds for who asks for a token: a user name, or a service account."""
    if username in cluster.exemptions.usernames:
        return "user"
    account = username.removeprefix(token_requests.ACCOUNT_PREFIX).replace(":", "/", 1)
    is_account = (
        username.startswith(token_requests.ACCOUNT_PREFIX)
        and account in cluster.exemptions.service_accounts
    )
    return "serviceAccount" if is_account else ""


def _pod(request: ValidationRequest, namespace: NamespacePolicy) -> tuple[FullPod, bool]:
    """The pod to measure, and whether its service account could make it another one."""
    held, old = request.object, request.old_object
    if isinstance(held, FullPod):
        return (
            full_views.added_by_update(held, old)
            if request.sub_resource and isinstance(old, FullPod)
            else held
        ), False
    template = held.template if isinstance(held, FullWorkload) else None
    if template is None:
        return FullPod(), False
    annotations = template.metadata.annotations if template.metadata is not None else None
    spec, unless = templates.pod_spec(
        template, policy.resolve(namespace, annotations, layer="workload")
    )
    return FullPod(spec=spec), unless


def _conditional(violation: Violation) -> Violation:
    """The same, with the condition where it is about the volume that the plugin may add."""
    if violation.place[1] != templates.AUTOMOUNTED:
        return violation
    return msgspec.structs.replace(violation, condition=UNLESS)


def _judged(
    name: str,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    found: dict[Mode, tuple[Violation, ...]],
) -> Judgement:
    """What follows from what was found for each mode."""
    own = namespace.demands
    said = {mode: rules.sentences(each) for mode, each in found.items() if each}
    evaluations: tuple[tuple[Decision, Mode, Level], ...] = tuple(
        ("deny" if mode in said else "allow", mode, _level(mode, cluster, namespace))
        for mode in found
    )
    audit: dict[str, str] = {}
    if "audit" in said:
        audit["violations"] = truncate_bytes(f"{own.audit}: " + ". ".join(said["audit"]))
    reason: Reason = "violates" if said else "complies"
    if "enforce" in said:
        message = denial(enforced_by(name, own.enforce, cluster.enforce_floor), said["enforce"])
        return Judgement(reason, "denied", message, audit=audit, evaluations=evaluations)
    warnings: tuple[str, ...] = ()
    if "warn" in said:
        warnings = truncate_warnings(
            f'would violate boundtoken "{own.warn}": {sentence}' for sentence in said["warn"]
        )
    outcome: Outcome = "warned" if warnings else "unchanged"
    return Judgement(reason, outcome, warnings=warnings, audit=audit, evaluations=evaluations)


def _level(mode: Mode, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Level:
    level = namespace.demands.of(mode).level
    return levels.stricter(level, cluster.enforce_floor) if mode == "enforce" else level


def denial(demand: str, sentences: list[str]) -> str:
    """Why a pod is denied: who demands what, then everything that is wrong."""
    return truncate(f"{demand}: " + ". ".join(sentences), MAX_MESSAGE_CHARS)


def _govern(
    request: ValidationRequest,
    held: TokenRequest | Secret,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
) -> Judgement:
    user = request.user_info
    if isinstance(held, Secret):
        mode = cluster.legacy_secrets
        spared = token_requests.is_control_plane(user)
        message = "; ".join(token_requests.legacy_secret(held))
    else:
        mode = cluster.token_requests
        spared = token_requests.may_ask_for_anything(held, user)
        maximum = min(
            cluster.token_requests_max_expiration_seconds,
            cluster.locks.max_expiration_seconds,
            namespace.max_expiration_seconds or names.MAX_EXPIRATION_SECONDS_LIMIT,
        )
        problems = token_requests.token_request(held, _limits(maximum, cluster, namespace, None))
        message = (
            token_requests.token_request_denial(request.name, request.namespace, problems)
            if problems
            else ""
        )
    if spared or not message:
        return Judgement("complies")
    if exempt := _exempt_requester(user.username, cluster):
        return Judgement("exempt", audit={"exempt": exempt})
    if mode == "warn":
        return Judgement("violates", "warned", warnings=(truncate(f"would be denied: {message}"),))
    return Judgement("violates", "denied", message)
