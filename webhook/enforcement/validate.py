"""Validation in reading order: `skip_reason` without the namespace, then `decide` with it. One
evaluation of a pod serves all three modes.

    pods CREATE                        enforce denies, warn warns, audit annotates
    pods/ephemeralcontainers UPDATE    the same, for what the update adds
    templates of workloads             warn and audit only: enforce applies to their pods
    TokenRequests, legacy Secrets      off, warn or enforce, as the configuration says
    namespaces CREATE, UPDATE          faults in annotations (`namespaces.py`), and a preview
    ConfigMaps of ours                 denied if the configuration has faults (`configuration.py`)

The API server itself denies pods that violate `enforce`, by policies that are made of the same
rules. This module evaluates `enforce` again because CEL cannot express one rule (legacy tokens),
and for clusters that have lost the policies. A pod is evaluated by its own fields, never by a
decision of mutation, so that a bug in mutation is found here.
"""

import msgspec

from ..core import full_views, levels, limits, names, policy
from ..core.decision import Decision, Evaluation, Outcome, Reason, RuleViolation
from ..core.full_views import (
    ConfigMap,
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
"""Of a denial. The API server drops a policy's message above 5 KiB, and the webhook writes the same
text as the policies."""
ENFORCES, UNDER_FLOOR = ' enforces "{level}"', ' under the cluster\'s enforceFloor "{floor}"'
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
        (Namespace, "", "CREATE"),
        (Namespace, "", "UPDATE"),
        (ConfigMap, "", "CREATE"),
        (ConfigMap, "", "UPDATE"),
    }
)


def skip_reason(request: ValidationRequest, cluster: ClusterPolicy) -> Reason | None:  # noqa: PLR0911  (one line for each reason)
    """Return why a request is skipped in any namespace, or None if the namespace decides."""
    resource = request.object
    if (type(resource), request.sub_resource, request.operation) not in _VALIDATED:
        return "not-applicable"
    if isinstance(resource, TokenRequest):
        return "not-enforced" if cluster.token_requests == "off" else None  # noqa: S105  (a mode)
    if isinstance(resource, Secret):
        return "not-enforced" if cluster.legacy_secrets == "off" else None
    if isinstance(resource, ConfigMap):
        return None if request.namespace == cluster.own_namespace else "not-applicable"
    if isinstance(resource, Namespace):
        # Its last updates must never fail. Of an excluded one its author is told that it is one.
        return "not-applicable" if resource.metadata.deletion_timestamp else None
    if request.namespace == cluster.own_namespace:
        return "own-namespace"
    if request.namespace in cluster.excluded:
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
    """Decide on a request that `skip_reason` does not skip.

    `legacy_tokens` are the names of such Secrets in the namespace, or None if boundtoken may not
    list them.
    """
    resource = request.object
    if isinstance(resource, TokenRequest | Secret):
        return _govern(request, resource, cluster, namespace)
    decision = _evaluate(request, cluster, namespace, legacy_tokens)
    if (
        type(resource) is FullPod  # faster than isinstance, and no view has subclasses
        and not (request.sub_resource or decision.denial)
        and _has_year_long_token(resource, cluster)
    ):
        return msgspec.structs.replace(decision, is_year_long=True)
    return decision


def _has_year_long_token(pod: FullPod, cluster: ClusterPolicy) -> bool:
    """Whether the API server gives the pod a token that is valid for a year."""
    for volume in pod.spec.volumes or ():
        for source in volume.full_sources if volume.projected is not None else ():
            token = source.service_account_token
            # Most have another lifetime, and need no limits.
            if token is not None and token.expiration_seconds == names.YEAR_TRAP_SECONDS:
                token_limits = Limits(api_audiences=cluster.api_audiences)
                if token_limits.is_extended(token.expiration_seconds, (token.audience or "",)):
                    return True
    return False


def _evaluate(
    request: ValidationRequest,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None,
) -> Decision:
    """Decide on a pod or a template by the levels of its namespace."""
    # Only faults in levels matter to this decision; mutation reports all faults.
    faults = tuple(
        fault for fault in namespace.resolution.faults if fault.annotation in _LEVEL_ANNOTATIONS
    )
    audit = {"policy": policy_text(namespace, cluster)}
    if faults:
        audit["faults"] = truncate_bytes("; ".join(map(str, faults)))
    modes = _modes(request, cluster, namespace)
    if not modes:
        return Decision("not-enforced", audit=audit if faults else {}, faults=faults)
    if exemption := _exemption(request, cluster):
        audit["exempt"] = exemption
        evaluations = tuple(Evaluation("exempt", mode, level) for mode, level in modes)
        return Decision("exempt", audit=audit, faults=faults, evaluations=evaluations)
    pod, conditional = _pod(request, namespace)
    violations = _violations_by_mode(modes, Facts(pod), cluster, namespace, legacy_tokens)
    if conditional:
        violations = {
            mode: tuple(_conditional(violation, conditional) for violation in of)
            for mode, of in violations.items()
        }
    decision = _decision(request.namespace, cluster, namespace, violations)
    return msgspec.structs.replace(decision, audit={**audit, **decision.audit}, faults=faults)


def violations_of(
    mode: Mode,
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> tuple[Violation, ...]:
    """Return the violations of the namespace's level, and under `enforce` also of the floor."""
    own, floor = namespace.enforcement.of(mode), _floor(mode, cluster)
    token_limits = limits_of(cluster, namespace, own.level, floor, legacy_tokens)
    return rules.evaluate(pod, own, token_limits, floor)


def _violations_by_mode(
    modes: list[tuple[Mode, Level]],
    pod: Facts,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None,
) -> dict[Mode, tuple[Violation, ...]]:
    """Return the violations for each mode. Modes with the same levels are evaluated once."""
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
    """Return the limits for tokens in this namespace under a level and a floor. Tokens must comply
    with both, so the smaller maximum applies.
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
    """Return the beginning of a denial: the namespace, and the levels that it enforces."""
    name, under = f"namespace {quote(namespace, 63)}", UNDER_FLOOR.format(floor=floor)
    if own.level == "off":
        return f"{name} is{under}"
    return name + ENFORCES.format(level=own) + ("" if floor == "off" else under)


def policy_text(namespace: NamespacePolicy, cluster: ClusterPolicy) -> str:
    """Return the levels of all modes, for the audit log."""
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
        injects=namespace.annotations.get(names.INJECT) in ("enabled", "replace"),
    )


def _floor(mode: Mode, cluster: ClusterPolicy) -> Level:
    return cluster.enforce_floor if mode == "enforce" else "off"


def _level(mode: Mode, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Level:
    """Return the stricter of the namespace's own level and the floor."""
    return levels.stricter(namespace.enforcement.of(mode).level, _floor(mode, cluster))


def _modes(
    request: ValidationRequest, cluster: ClusterPolicy, namespace: NamespacePolicy
) -> list[tuple[Mode, Level]]:
    """Return the modes that apply to this object, with their strictest level. Modes whose level is
    `off` are left out.
    """
    modes: tuple[Mode, ...] = ("warn", "audit")
    if not isinstance(request.object, FullWorkload):
        modes = MODES
    with_level = [(mode, _level(mode, cluster, namespace)) for mode in modes]
    return [(mode, level) for mode, level in with_level if level != "off"]


def _exemption(request: ValidationRequest, cluster: ClusterPolicy) -> str:
    """Return the configured exemption of a pod or a template; empty if none."""
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
    """Return the exemption of a pod by its service account or runtime class; empty if none."""
    account = f"{namespace}/{spec.service_account_name or 'default'}"
    if account in cluster.exemptions.service_accounts:
        return "serviceAccount"
    return "runtimeClass" if spec.runtime_class_name in cluster.exemptions.runtime_classes else ""


def exempt_requester(username: str, cluster: ClusterPolicy) -> str:
    """Return the exemption of a user who requests a token; empty if none."""
    if username in cluster.exemptions.usernames:
        return "user"
    if not username.startswith(token_requests.ACCOUNT_PREFIX):
        return ""
    account = username.removeprefix(token_requests.ACCOUNT_PREFIX).replace(":", "/", 1)
    return "serviceAccount" if account in cluster.exemptions.service_accounts else ""


def _pod(request: ValidationRequest, namespace: NamespacePolicy) -> tuple[FullPod, frozenset[str]]:
    """Return the pod to evaluate, and the names of volumes that depend on the setting of its
    service account, which boundtoken does not look up.
    """
    resource, old = request.object, request.old_object
    if isinstance(resource, FullPod):
        if request.sub_resource and isinstance(old, FullPod):
            return full_views.added_by_update(resource, old), frozenset()
        return resource, frozenset()
    template = resource.template if isinstance(resource, FullWorkload) else None
    if template is None:
        return FullPod(), frozenset()
    annotations = template.metadata.annotations if template.metadata is not None else None
    resolution = policy.resolve(namespace, annotations, layer="workload")
    spec, depends_on_account = templates.as_admitted(template, resolution)
    conditional = frozenset[str]()
    if depends_on_account:
        replaces = resolution.policy.inject == "replace"
        conditional = templates.WITH_REPLACE if replaces else frozenset({templates.AUTOMOUNTED})
    return FullPod(spec=spec), conditional


def _conditional(violation: Violation, volumes: frozenset[str]) -> Violation:
    """Add the condition to a violation of a volume that may be missing."""
    if violation.place[1] not in volumes:
        return violation
    return msgspec.structs.replace(violation, condition=CONDITION)


def _decision(
    name: str,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    violations: dict[Mode, tuple[Violation, ...]],
) -> Decision:
    """Return the decision that follows from the violations of all modes."""
    own = namespace.enforcement
    sentences = {mode: rules.sentences(found) for mode, found in violations.items() if found}
    evaluations = tuple(
        Evaluation("deny" if mode in sentences else "allow", mode, _level(mode, cluster, namespace))
        for mode in violations
    )
    violated = tuple(
        RuleViolation(rule, mode)
        for mode, found in violations.items()
        for rule in dict.fromkeys(violation.rule for violation in found)
    )
    audit: dict[str, str] = {}
    if "audit" in sentences:
        audit["violations"] = truncate_bytes(f"{own.audit}: " + ". ".join(sentences["audit"]))
    reason: Reason = "violates" if sentences else "complies"
    if "enforce" in sentences:
        text = denial(enforced_by(name, own.enforce, cluster.enforce_floor), sentences["enforce"])
        outcome: Outcome = "denied"
        return Decision(reason, outcome, (), (), text, audit, (), evaluations, violated)
    warnings: tuple[str, ...] = ()
    if "warn" in sentences:
        prefix = f'would violate boundtoken "{own.warn}": '
        warnings = truncate_warnings(prefix + sentence for sentence in sentences["warn"])
    outcome = "warned" if warnings else "unchanged"
    return Decision(reason, outcome, (), warnings, "", audit, (), evaluations, violated)


def denial(enforced: str, sentences: list[str]) -> str:
    """Return the message of a denial: who enforces which level, then all violations."""
    return truncate(f"{enforced}: " + ". ".join(sentences), MAX_MESSAGE_CHARS)


def _govern(
    request: ValidationRequest,
    resource: TokenRequest | Secret,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
) -> Decision:
    """Decide on a TokenRequest or a Secret. No namespace is excluded."""
    user = request.user_info
    if isinstance(resource, Secret):
        mode = cluster.legacy_secrets
        is_spared = token_requests.is_control_plane(user)
        text = "; ".join(token_requests.legacy_secret(resource))
        slugs: tuple[str, ...] = (token_requests.LEGACY_TOKEN,)
    else:
        mode = cluster.token_requests
        is_spared = token_requests.may_ask_for_anything(resource, user)
        maximum = min(
            cluster.token_requests_max_expiration_seconds,
            cluster.locks.max_expiration_seconds,
            namespace.max_expiration_seconds or names.MAX_EXPIRATION_SECONDS_LIMIT,
        )
        token_limits = _limits(maximum, cluster, namespace, None)
        problems = token_requests.token_request(resource, token_limits)
        slugs, text = token_requests.violated_rules(problems), ""
        if problems:
            text = token_requests.token_request_denial(request.name, request.namespace, problems)
    # Exemptions come last, so that audit annotations name only those that were needed.
    if is_spared or not text:
        return Decision("complies")
    if exemption := exempt_requester(user.username, cluster):
        return Decision("exempt", audit={"exempt": exemption})
    if mode == "warn":
        violations = tuple(RuleViolation(rule, "warn") for rule in slugs)
        warnings = (truncate(f"would be denied: {text}"),)
        return Decision("violates", "warned", warnings=warnings, violations=violations)
    violations = tuple(RuleViolation(rule, "enforce") for rule in slugs)
    return Decision("violates", "denied", denial=text, violations=violations)
