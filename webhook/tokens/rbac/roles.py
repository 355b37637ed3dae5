"""Roles that grant no more than was named: to request tokens of some accounts, and what an
application needs for itself. Pure.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ...core.text import quote
from .grants import ACCOUNT, API_GROUP, COMBINED, GROUP, USER, VERB
from .objects import Rule, Subject

RBAC_GROUP = "rbac.authorization.k8s.io"
VERBS = (
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
)
UNNAMED_VERBS = ("create", "deletecollection")
"""They name no object in their path, so that no rule with resourceNames allows them."""
RESOURCES = {
    "": "bindings configmaps endpoints events limitranges persistentvolumeclaims pods podtemplates "
    "replicationcontrollers resourcequotas secrets serviceaccounts services",
    "apps": "controllerrevisions daemonsets deployments replicasets statefulsets",
    "autoscaling": "horizontalpodautoscalers",
    "batch": "cronjobs jobs",
    "coordination.k8s.io": "leases",
    "discovery.k8s.io": "endpointslices",
    "networking.k8s.io": "ingresses networkpolicies",
    "policy": "poddisruptionbudgets",
    "rbac.authorization.k8s.io": "rolebindings roles",
}
"""By their group: what can be written without it. `kubectl api-resources` shows the rest."""
CLUSTER_SCOPED = frozenset(
    [
        "namespaces",
        "nodes",
        "persistentvolumes",
        "clusterroles",
        "clusterrolebindings",
        "storageclasses",
        "csidrivers",
        "csinodes",
        "customresourcedefinitions",
        "priorityclasses",
        "runtimeclasses",
        "ingressclasses",
        "volumeattachments",
        "apiservices",
        "certificatesigningrequests",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    ]
)
MAX_NAMES = 100
MAX_NAME_CHARS = 200
GROUP_OF = {name: group for group, names in RESOURCES.items() for name in names.split()}
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESOURCE = re.compile(
    r"([a-z][a-z0-9-]{0,62})(?:\.([a-z0-9.-]{1,253}))?(?:/([a-z][a-z0-9-]{0,62}))?"
)
_VERB = re.compile(r"[a-z][a-z-]{0,62}")
_OBJECT = re.compile(r"[^\s/%\x00-\x1f]{1,253}")
_PLAIN = re.compile(r"[A-Za-z0-9@._:-]{1,80}")
EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts")


class RoleSpec(NamedTuple):
    """What to grant in a namespace, and to whom: tokens of accounts, and an application's needs."""

    namespace: str
    subjects: tuple[Subject, ...]
    accounts: tuple[str, ...] = ()
    needs: tuple[Rule, ...] = ()
    name: str = ""


def subject_of(text: str) -> Subject:
    """Read serviceaccount:NAMESPACE/NAME, user:NAME or group:NAME. Raises: ValueError"""
    kind, _, name = text.partition(":")
    if kind == "serviceaccount":
        namespace, _, account = name.partition("/")
        if _NAMESPACE.fullmatch(namespace) and _ACCOUNT.fullmatch(account):
            return Subject(ACCOUNT, account, namespace)
    elif kind in ("user", "group") and name and len(name) <= MAX_NAME_CHARS and name.isprintable():
        return Subject(USER if kind == "user" else GROUP, name)
    raise ValueError("must be serviceaccount:NAMESPACE/NAME, user:NAME or group:NAME")


def needs_of(
    verbs: Sequence[str], resources: Sequence[str], names: Sequence[str]
) -> tuple[Rule, ...]:
    """The rules for an application's own needs, one for each API group.

    Raises: ValueError, naming the flag
    """
    if not (verbs or resources or names):
        return ()
    if not (verbs and resources):
        raise ValueError("--verb and --resource must be given together")
    for verb in verbs:
        if not _VERB.fullmatch(verb):
            hint = "; * would grant more than was named" if verb == "*" else ""
            raise ValueError(f"--verb: {quote(verb)} must be one of {', '.join(VERBS)}{hint}")
    for name in names:
        if not _OBJECT.fullmatch(name):
            raise ValueError(f"--resource-name: {quote(name)} must be the name of an object")
    unnamed = [verb for verb in verbs if verb in UNNAMED_VERBS]
    groups: dict[str, list[str]] = {}
    for text in resources:
        group, resource = _resource(text)
        if names and unnamed and "/" not in resource:
            raise ValueError(
                f"--resource-name: {unnamed[0]} {resource} cannot be limited to a name, because the name is not in its URL"
            )
        groups.setdefault(group, []).append(resource)
    return tuple(
        Rule(tuple(verbs), (group,), tuple(dict.fromkeys(found)), tuple(names))
        for group, found in groups.items()
    )


def manifests(spec: RoleSpec) -> list[dict[str, Any]]:
    """The Role and the RoleBinding.

    Without `name` both names say what is granted, and the binding's also to whom: what was applied
    for somebody else stays as it is.

    Raises: ValueError, naming what is wrong
    """
    _check(spec)
    rules = [
        *([Rule((VERB,), (API_GROUP,), (COMBINED,), spec.accounts)] if spec.accounts else []),
        *spec.needs,
    ]
    role = spec.name or _role_name(spec, rules)
    binding = spec.name or f"{role}:{_short([_subject_text(one) for one in spec.subjects])}"
    api_version = f"{RBAC_GROUP}/v1"
    return [
        {
            "apiVersion": api_version,
            "kind": "Role",
            "metadata": {"name": role, "namespace": spec.namespace},
            "rules": [_in_order(msgspec.to_builtins(rule)) for rule in rules],
        },
        {
            "apiVersion": api_version,
            "kind": "RoleBinding",
            "metadata": {"name": binding, "namespace": spec.namespace},
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": role},
            "subjects": [_subject(one) for one in spec.subjects],
        },
    ]


def remarks(spec: RoleSpec) -> list[str]:
    """What grants more than its name says, for the person who applies it."""
    found = [
        f"{quote(one.name)} is everybody who can reach the API server"
        for one in spec.subjects
        if one.name in EVERYBODY or one.name == "system:anonymous"
    ]
    for rule in spec.needs:
        verbs, resources = set(rule.verbs or ()), set(rule.resources or ())
        found += [
            f"{verb} {resource}: {meaning}"
            for few, some, meaning in POWERFUL
            for verb in sorted(verbs & set(few.split()))
            for resource in sorted(resources & set(some.split()))
            if not (rule.resource_names and resource in ("secrets", COMBINED))
        ]
    return found


WORKLOADS = (
    "pods replicationcontrollers daemonsets deployments replicasets statefulsets cronjobs jobs"
)
POWERFUL = (
    (
        "create",
        WORKLOADS,
        "lets run pods as any service account of the namespace, and use its tokens",
    ),
    (
        "update patch",
        WORKLOADS.removeprefix("pods "),
        "lets run pods as any service account of the namespace, and use its tokens",
    ),
    ("create", "pods/exec pods/attach", "lets run commands in pods, and read their tokens"),
    ("create", COMBINED, "lets request tokens of every service account of the namespace"),
    (
        "create",
        "secrets",
        "lets make tokens that never expire, of every service account of the namespace",
    ),
    (
        "get list watch",
        "secrets",
        "lets read every Secret of the namespace, tokens that never expire among them",
    ),
    ("impersonate", "serviceaccounts", "lets act as every service account of the namespace"),
    ("bind escalate create update patch", "roles rolebindings", "may let grant more"),
)
"""Verbs, resources, and what they let do beside what they say (rbac-good-practices in Kubernetes'
documentation).
"""


def _check(spec: RoleSpec) -> None:
    if not spec.subjects:
        raise ValueError("--for: must say who may, such as serviceaccount:ci/deployer")
    if not (spec.accounts or spec.needs):
        raise ValueError("ACCOUNT, or --verb and --resource, must say what to grant")
    if len(spec.accounts) > MAX_NAMES or len(spec.subjects) > MAX_NAMES:
        raise ValueError(f"at most {MAX_NAMES} accounts and subjects are allowed")
    for account in spec.accounts:
        if not _ACCOUNT.fullmatch(account):
            raise ValueError(f"ACCOUNT {quote(account)} must be the name of a service account")
    if spec.name and (
        not _OBJECT.fullmatch(spec.name)
        or spec.name in (".", "..")
        or len(spec.name) > MAX_NAME_CHARS
    ):
        raise ValueError(f"--name={quote(spec.name)} must be the name of an object")


def _resource(text: str) -> tuple[str, str]:
    """The API group, and the resource with its subresource. Raises: ValueError"""
    found = _RESOURCE.fullmatch(text)
    if found is None:
        hint = "; * would grant more than was named" if "*" in text else ""
        raise ValueError(f"--resource: {quote(text)} must be RESOURCE[.GROUP][/SUBRESOURCE]{hint}")
    name, group, subresource = found[1], found[2], found[3]
    if name in CLUSTER_SCOPED and (group is None or group.endswith(".k8s.io")):
        raise ValueError(f"--resource: {quote(text)} is in no namespace, so no Role can grant it")
    if group is None:
        if name not in GROUP_OF:
            raise ValueError(
                f"--resource: {quote(text)} needs its API group, such as {name}.example.com; see kubectl api-resources"
            )
        group = GROUP_OF[name]
    return group, f"{name}/{subresource}" if subresource else name


def _in_order(rule: dict[str, Any]) -> dict[str, Any]:
    """As kubectl prints it."""
    order = ("apiGroups", "resources", "resourceNames", "verbs")
    return {key: list(rule[key]) for key in order if key in rule}


def _subject(subject: Subject) -> dict[str, str]:
    if subject.kind == ACCOUNT:
        return {"kind": ACCOUNT, "name": subject.name, "namespace": subject.namespace}
    return {"apiGroup": RBAC_GROUP, "kind": subject.kind, "name": subject.name}


def _subject_text(subject: Subject) -> str:
    return ":".join(
        part for part in (subject.kind.lower(), subject.namespace, subject.name) if part
    )


def _role_name(spec: RoleSpec, rules: Iterable[Rule]) -> str:
    if spec.needs:
        content = [msgspec.json.encode(rule).decode() for rule in rules]
        return f"boundtoken:{_short(content)}"
    return f"request-tokens-of:{_short(spec.accounts)}"


def _short(parts: Sequence[str]) -> str:
    """The one part where it can stand in a name, else 8 digits of the hash of all."""
    if len(parts) == 1 and _PLAIN.fullmatch(parts[0]):
        return parts[0]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:8]
