"""The checks of a cluster before boundtoken is installed in it."""

from collections.abc import Iterator

from . import server, service, shipped, webhooks
from .deployment import other_titles
from .facts import Installation, Right
from .model import Check, Finding, all_of, failed, listed, passed, there, warning

GROUP = "Before installing"
VERBS = ("get", "create", "patch")
"""What kubectl apply does with each object."""
RBAC = "rbac.authorization.k8s.io"
ESCALATE = Right("escalate", RBAC, "clusterroles")
"""Who may not must have every right that a role gives (KEP on RBAC escalation prevention)."""
GATES = ("ValidatingAdmissionPolicy", "AdmissionWebhookMatchConditions")
LEVELS = ("privileged", "baseline", "restricted")
ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
UID_RANGE = "openshift.io/sa.scc.uid-range"
USER = 65532


def to_install(own: str) -> tuple[Right, ...]:
    """The rights that `kubectl apply -k manifests` needs."""
    return tuple(
        Right(verb, group, resource, namespace="" if resource in shipped.CLUSTER_SCOPED else own)
        for group, resource in shipped.INSTALLED
        for verb in VERBS
    )


def to_grant(own: str) -> tuple[Right, ...]:
    """The rights that the roles give."""
    return shipped.rights(own)


def rights(seen: Installation) -> Finding:
    may = there(seen.may)
    lacking = [str(right) for right in to_install(seen.own) if not may.get(right)]
    text = f"you may not: {listed(lacking, ', ')}"
    return all_of([text] if lacking else [], text="you may install it")


def granting(seen: Installation) -> Finding:
    """Nobody can give rights that they have not."""
    may = there(seen.may)
    if may.get(ESCALATE):
        return passed("you may give any")
    lacking = [str(right) for right in to_grant(seen.own) if not may.get(right)]
    text = f"you have not what the roles give: {listed(lacking, ', ')}"
    return all_of([text] if lacking else [], text="you have every one")


def served(seen: Installation) -> Finding:
    lacking = {"validatingadmissionpolicies", "validatingadmissionpolicybindings"} - there(
        seen.served
    )
    if lacking:
        return failed(f"the API server does not serve {', '.join(sorted(lacking))}")
    return passed("admissionregistration.k8s.io/v1")


def gates(seen: Installation) -> Finding:
    off = [name for name in GATES if there(seen.gates).get(name) is False]
    problems = [f"the feature gate {name} is off" for name in off]
    return all_of(problems, text="none that is needed is off")


def pod_security(seen: Installation) -> Finding:
    if seen.namespace is None:
        return passed("the manifests make the namespace, with the level restricted")
    metadata = there(seen.namespace).metadata
    level = (metadata.labels or {}).get(ENFORCE_LABEL, "")
    if level and level not in LEVELS:
        return failed(f"{ENFORCE_LABEL}={level} is no level, and counts as restricted")
    uids = (metadata.annotations or {}).get(UID_RANGE, "")
    first, _, size = uids.partition("/")
    if first.isdecimal() and size.isdecimal() and not 0 <= USER - int(first) < int(size):
        return warning(f"OpenShift runs pods there as users {uids}, and the manifests say {USER}")
    return passed(f"the level is {level or 'not set'}, and the replicas comply with restricted")


def absent(seen: Installation) -> Finding:
    """An installation that is there already is upgraded, and only in its own namespace."""
    services = [
        entry.client_config.service
        for _, entry in seen.entries()
        if entry.client_config.service is not None
    ]
    if not services:
        others = other_titles(seen)
        text = f"no webhook calls it, and it may be {listed(others, ', ')}"
        return warning(text) if others else passed("there is none")
    elsewhere = dict.fromkeys(one.namespace for one in services if one.namespace != seen.own)
    if elsewhere:
        return failed(f"it is installed in namespace {listed(list(elsewhere), ', ')} already")
    return passed(f"it is installed in {seen.own} already: this would be an upgrade")


def checks() -> Iterator[Check[Installation]]:
    ours = {"api-server", "api-version", "clock"}
    yield from (check for check in server.checks() if check.id in ours)
    ask = "Ask a cluster admin to install it, or to grant you what is missing."
    yield Check("pre-rights", GROUP, "you may create what the manifests have", ask, rights)
    yield Check("pre-granting", GROUP, "you may give boundtoken its rights", ask, granting)
    yield Check(
        "pre-policies",
        GROUP,
        "ValidatingAdmissionPolicies are served",
        "Remove it from the API server's --runtime-config, or upgrade the API server.",
        served,
    )
    yield Check(
        "pre-feature-gates",
        GROUP,
        "no feature gate that is needed is off",
        "Remove it from the API server's --feature-gates.",
        gates,
    )
    yield Check(
        "pre-pod-security",
        GROUP,
        "the namespace lets the replicas in",
        "Correct the label; on OpenShift change runAsUser in an overlay.",
        pod_security,
    )
    yield Check(
        "pre-absent",
        GROUP,
        "no other installation is there",
        "If it is one, upgrade it, or uninstall it first: docs/operations.md.",
        absent,
    )
    others = ("network-policies", "other-webhooks")
    yield from (
        check._replace(group=GROUP)
        for check in (*service.checks(), *webhooks.checks())
        if check.id in others
    )
