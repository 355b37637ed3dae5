"""Validation in reading order: `skip_reason` without the namespace, then `decide` with it. One
evaluation of a pod serves all three modes.

    pods CREATE                        enforce denies, warn warns, audit annotates
    pods/ephemeralcontainers UPDATE    the same, for what the update adds
    templates of workloads             warn and audit only: denying a Deployment late helps nobody
    TokenRequests, legacy Secrets      denied or warned of, as the configuration says
    namespaces UPDATE                  a preview (`preview.py`), which denies nothing

The API server itself denies what violates `enforce`, by policies that are made of the same rules.
This module evaluates `enforce` again because CEL cannot express one rule (legacy tokens), and for
clusters that have lost the policies. A pod is evaluated by what it carries, never by what mutation
decided: a fault in the one must not hide from the other.
"""

import msgspec

from ..core import full_views, levels, limits, names, policy
from ..core.decision import Decision, Evaluation, Outcome, Reason
from ..core.full_views import (
    FullPod,
    FullSpec,
    FullTemplate,
    FullWorkload,
    Namespace,
    Secret,
    TokenRequest,
)
from ..core.levels import MODES, Level, LevelVersion, Mode
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.review import ValidationRequest
from ..core.text import quote, truncate, truncate_bytes, truncate_warnings
from . import rules, templates, token_requests
from .facts import Facts
from .rules import Violation

MAX_MESSAGE_CHARS = 5000
"""Of a denial: the API server drops a policy's message above 5 KiB, and the policies and this
module write the same text."""
ENFORCES, UNDER_FLOOR = ' enforces "{demand}"', ' under the cluster\'s enforceFloor "{floor}"'
CONDITION = "unless the service account opts out"

_LEVEL_ANNOTATIONS = frozenset((*levels.LEVEL_OF.values(), *levels.VERSION_OF.values()))
_VALIDATED: frozenset[tuple[type, str, str]] = frozenset(
    {
        (FullPod, "", "CREATE"),
        (FullPod, "ephemeralcontainers", "UPDATE"),
        (FullWorkload, "", "CREATE"),
        (FullWorkload, "", "UPDATE"),
        (TokenRequest, "token", "CREATE"),
        (Secret, "", "CREATE"),
        (Namespace, "", "UPDATE"),
    }
)


def skip_reason(request: ValidationRequest, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """Why nothing is validated whatever the namespace says; None where the namespace decides."""
    resource = request.object
    if (type(resource), request.sub_resource, request.operation) not in _VALIDATED:
        return "not-applicable"
    if isinstance(resource, TokenRequest):
        return "not-enforced" if cluster.token_requests == "off" else None  # noqa: S105  (a mode)
    if isinstance(resource, Secret):
        return "not-enforced" if cluster.legacy_secrets == "off" else None
    namespace = request.name if isinstance(resource, Namespace) else request.namespace
    if namespace == cluster.own_namespace:
        return "own-namespace"
    if namespace in cluster.excluded:
        return "excluded-namespace"
    if isinstance(resource, FullWorkload) and resource.metadata.controller is not None:
        return "left-to-owner"
    return None


def decide(
    request: ValidationRequest,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> Decision:
    """The decision on a request that `skip_reason` does not skip.

    `legacy_tokens` are the names of such Secrets in the namespace, None where boundtoken may not
    list them.
    """
    resource = request.object
    if isinstance(resource, TokenRequest | Secret):
        return _govern(request, resource, cluster, namespace)
    faults = tuple(
        fault for fault in namespace.resolution.faults if fault.annotation in _LEVEL_ANNOTATIONS
    )
    audit = {"policy": policy_text(namespace, cluster)}
    if faults:
        audit["error"] = truncate_bytes("; ".join(map(str, faults)))
    modes = _modes(request, cluster, namespace)
    if not modes:
        return Decision("not-enforced", audit=audit if faults else {}, faults=faults)
    if exemption := _exemption(request, cluster):
        audit["exempt"] = exemption
        evaluations = tuple(Evaluation("exempt", mode, level) for mode, level in modes)
        return Decision("exempt", audit=audit, faults=faults, evaluations=evaluations)
    pod, depends_on_account = _pod(request, namespace)
    violations = _violations_by_mode(modes, Facts(pod), cluster, namespace, legacy_tokens)
    if depends_on_account:
        violations = {mode: tuple(map(_conditional, of)) for mode, of in violations.items()}
    decision = _decision(request.namespace, cluster, namespace, violations)
    return msgspec.structs.replace(decision, audit={**audit, **decision.audit}, faults=faults)


def violations_of(
    mode: Mode,
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> tuple[Violation, ...]:
    """What in this pod violates the namespace's level, or under `enforce` the cluster's floor."""
    own, floor = namespace.enforcement.of(mode), _floor(mode, cluster)
    measure = limits_of(cluster, namespace, own.level, floor, legacy_tokens)
    return rules.evaluate(pod, own, measure, floor)


def _violations_by_mode(
    modes: list[tuple[Mode, Level]],
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None,
) -> dict[Mode, tuple[Violation, ...]]:
    """The violations for each mode; modes that demand the same are evaluated once."""
    evaluated: dict[tuple[LevelVersion, Level], tuple[Violation, ...]] = {}
    by_mode: dict[Mode, tuple[Violation, ...]] = {}
    for mode, _ in modes:
        levels_of_mode = namespace.enforcement.of(mode), _floor(mode, cluster)
        if levels_of_mode not in evaluated:
            evaluated[levels_of_mode] = violations_of(mode, pod, cluster, namespace, legacy_tokens)
        by_mode[mode] = evaluated[levels_of_mode]
    return by_mode


def limits_of(
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    level: Level,
    floor: Level = "off",
    legacy_tokens: frozenset[str] | None = None,
) -> Limits:
    """The limits for tokens in this namespace under a level and a floor. Both must hold, so the
    smaller maximum does.
    """
    lock, own_maximum = cluster.locks.max_expiration_seconds, namespace.max_expiration_seconds
    maxima = [lock]
    if level != "off":
        maxima.append(limits.own_maximum(level, lock, own_maximum))
    if floor != "off":
        floor_seconds = cluster.enforce_floor_max_expiration_seconds
        maxima.append(limits.floor_maximum(floor, lock, own_maximum, floor_seconds))
    return _limits(min(maxima), cluster, namespace, legacy_tokens)


def enforced_by(namespace: str, own: LevelVersion, floor: Level) -> str:
    """Who enforces what on the pods in a namespace, as a denial begins."""
    name, under = f"namespace {quote(namespace, 63)}", UNDER_FLOOR.format(floor=floor)
    if own.level == "off":
        return f"{name} is{under}"
    return name + ENFORCES.format(demand=own) + ("" if floor == "off" else under)


def policy_text(namespace: NamespacePolicy, cluster: ClusterPolicy) -> str:
    """The levels that hold, for the audit log."""
    own = namespace.enforcement
    floor = "" if cluster.enforce_floor == "off" else f",floor={cluster.enforce_floor}"
    return f"enforce={own.enforce},warn={own.warn},audit={own.audit}{floor}"


def _limits(
    maximum: int,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None,
) -> Limits:
    return Limits(
        maximum=maximum,
        allowed_audiences=namespace.locks.allowed_audiences,
        allowed_text=namespace.allowed_text,
        api_audiences=cluster.api_audiences,
        legacy_tokens=legacy_tokens,
    )


def _floor(mode: Mode, cluster: ClusterPolicy) -> Level:
    return cluster.enforce_floor if mode == "enforce" else "off"


def _level(mode: Mode, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Level:
    """The stricter of the namespace's own level and the floor."""
    return levels.stricter(namespace.enforcement.of(mode).level, _floor(mode, cluster))


def _modes(
    request: ValidationRequest, cluster: ClusterPolicy, namespace: NamespacePolicy
) -> list[tuple[Mode, Level]]:
    """The modes that demand anything of this object, each with the strictest level that it
    names.
    """
    modes: tuple[Mode, ...] = ("warn", "audit")
    if not isinstance(request.object, FullWorkload):
        modes = MODES
    with_level = [(mode, _level(mode, cluster, namespace)) for mode in modes]
    return [(mode, level) for mode, level in with_level if level != "off"]


def _exemption(request: ValidationRequest, cluster: ClusterPolicy) -> str:
    """Which exemption of the cluster's configuration holds for a pod or a template, if any."""
    exemptions, resource = cluster.exemptions, request.object
    if request.namespace in exemptions.namespaces:
        return "namespace"
    if request.user_info.username in exemptions.usernames:
        return "user"
    template: FullPod | FullTemplate | None = resource if isinstance(resource, FullPod) else None
    if isinstance(resource, FullWorkload):
        template = resource.template
    return exempt_by_pod(template.spec, request.namespace, cluster) if template is not None else ""


def exempt_by_pod(spec: FullSpec, namespace: str, cluster: ClusterPolicy) -> str:
    """Which exemption holds for a pod by what it runs as, if any."""
    account = f"{namespace}/{spec.service_account_name or 'default'}"
    if account in cluster.exemptions.service_accounts:
        return "serviceAccount"
    return "runtimeClass" if spec.runtime_class_name in cluster.exemptions.runtime_classes else ""


def _exempt_requester(username: str, cluster: ClusterPolicy) -> str:
    """Which exemption holds for who asks for a token: a user name, or a service account."""
    if username in cluster.exemptions.usernames:
        return "user"
    if not username.startswith(token_requests.ACCOUNT_PREFIX):
        return ""
    account = username.removeprefix(token_requests.ACCOUNT_PREFIX).replace(":", "/", 1)
    return "serviceAccount" if account in cluster.exemptions.service_accounts else ""


def _pod(request: ValidationRequest, namespace: NamespacePolicy) -> tuple[FullPod, bool]:
    """The pod to evaluate, and whether it depends on the setting of its service account, which
    boundtoken does not look up.
    """
    resource, old = request.object, request.old_object
    if isinstance(resource, FullPod):
        if request.sub_resource and isinstance(old, FullPod):
            return full_views.added_by_update(resource, old), False
        return resource, False
    template = resource.template if isinstance(resource, FullWorkload) else None
    if template is None:
        return FullPod(), False
    annotations = template.metadata.annotations if template.metadata is not None else None
    resolution = policy.resolve(namespace, annotations, layer="workload")
    spec, depends_on_account = templates.as_admitted(template, resolution)
    return FullPod(spec=spec), depends_on_account


def _conditional(violation: Violation) -> Violation:
    """The same, with the condition where it is about the volume that the plugin may add."""
    if violation.place[1] != templates.AUTOMOUNTED:
        return violation
    return msgspec.structs.replace(violation, condition=CONDITION)


def _decision(
    name: str,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    violations: dict[Mode, tuple[Violation, ...]],
) -> Decision:
    """What follows from the violations of each mode."""
    own = namespace.enforcement
    sentences = {mode: rules.sentences(found) for mode, found in violations.items() if found}
    evaluations = tuple(
        Evaluation("deny" if mode in sentences else "allow", mode, _level(mode, cluster, namespace))
        for mode in violations
    )
    audit: dict[str, str] = {}
    if "audit" in sentences:
        audit["violations"] = truncate_bytes(f"{own.audit}: " + ". ".join(sentences["audit"]))
    reason: Reason = "violates" if sentences else "complies"
    if "enforce" in sentences:
        text = denial(enforced_by(name, own.enforce, cluster.enforce_floor), sentences["enforce"])
        return Decision(reason, "denied", denial=text, audit=audit, evaluations=evaluations)
    warnings: tuple[str, ...] = ()
    if "warn" in sentences:
        prefix = f'would violate boundtoken "{own.warn}": '
        warnings = truncate_warnings(prefix + sentence for sentence in sentences["warn"])
    outcome: Outcome = "warned" if warnings else "unchanged"
    return Decision(reason, outcome, warnings=warnings, audit=audit, evaluations=evaluations)


def denial(demand: str, sentences: list[str]) -> str:
    """Why a pod is denied: who enforces what, then everything that is wrong."""
    return truncate(f"{demand}: " + ". ".join(sentences), MAX_MESSAGE_CHARS)


def _govern(
    request: ValidationRequest,
    resource: TokenRequest | Secret,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
) -> Decision:
    """The decision on a TokenRequest or a Secret; nobody's namespace is left out."""
    user = request.user_info
    if isinstance(resource, Secret):
        mode = cluster.legacy_secrets
        is_spared = token_requests.is_control_plane(user)
        text = "; ".join(token_requests.legacy_secret(resource))
    else:
        mode = cluster.token_requests
        is_spared = token_requests.may_ask_for_anything(resource, user)
        maximum = min(
            cluster.token_requests_max_expiration_seconds,
            cluster.locks.max_expiration_seconds,
            namespace.max_expiration_seconds or names.MAX_EXPIRATION_SECONDS_LIMIT,
        )
        measure = _limits(maximum, cluster, namespace, None)
        problems = token_requests.token_request(resource, measure)
        text = ""
        if problems:
            text = token_requests.token_request_denial(request.name, request.namespace, problems)
    if is_spared or not text:
        return Decision("complies")
    if exemption := _exempt_requester(user.username, cluster):
        return Decision("exempt", audit={"exempt": exemption})
    if mode == "warn":
        return Decision("violates", "warned", warnings=(truncate(f"would be denied: {text}"),))
    return Decision("violates", "denied", denial=text)
