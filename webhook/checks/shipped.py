"""What the manifests of this release have, as far as checks compare it; a test reads both.

Expressions are compared with single blanks, as `simulation.calling` does.
"""

from typing import Any

import msgspec

from ..core import names
from ..core.kinds import WORKLOADS
from ..enforcement.policies import manifests, requests
from ..simulation import calling
from ..simulation.calling import Condition, Entry
from . import own_policies
from .facts import MUTATING, VALIDATING, Right

Json = dict[str, Any]
PORT, METRICS_PORT = 10250, 8080
LABELS = {"app.kubernetes.io/name": names.APP}
BOTH = ("CREATE", "UPDATE")
_HAS_OURS = "object.metadata.?{0}.orValue({{}}).exists(name, name.startsWith('boundtoken.dev/'))"
_OLD_HAS_OURS = (
    "(oldObject != null && "
    "oldObject.metadata.?annotations.orValue({}).exists(name, name.startsWith('boundtoken.dev/')))"
)
_NEVER = {
    "matchExpressions": [
        {"key": calling.NAME_LABEL, "operator": "NotIn", "values": sorted(names.NEVER_TOUCHED)}
    ]
}


def _rule(group: str, resources: list[str], *operations: str, scope: str = "Namespaced") -> Json:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": resources,
        "operations": list(operations),
        "scope": scope,
    }


def _entry(name: str, path: str, rules: list[Json], **fields: Any) -> Entry:
    """An entry; fields are those that differ from what most of ours have."""
    conditions = fields.pop("conditions", {})
    service = {"name": names.APP, "namespace": names.NAMESPACE, "port": PORT, "path": path}
    document = {
        "name": f"{name}.boundtoken.dev",
        "clientConfig": {"service": service},
        "rules": rules,
        "matchConditions": [
            {"name": key, "expression": expression} for key, expression in conditions.items()
        ],
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 3,
        **fields,
    }
    return msgspec.convert(document, Entry)


def _workloads(group: str, *left_out: str) -> list[str]:
    return [
        workload.resource
        for workload in WORKLOADS
        if workload.group == group and workload.resource not in left_out
    ]


def _mutating() -> tuple[Entry, ...]:
    fields: Json = {"namespaceSelector": _NEVER, "reinvocationPolicy": "IfNeeded"}
    workloads = [
        _rule("apps", _workloads("apps"), *BOTH),
        _rule("batch", _workloads("batch", "jobs"), *BOTH),
        _rule("batch", ["jobs"], "CREATE"),
    ]
    return (
        _entry(
            "pods",
            "/mutate",
            [_rule("", ["pods"], "CREATE")],
            conditions={"not-a-mirror-pod": calling.NOT_A_MIRROR_POD},
            **fields,
        ),
        _entry(
            "workloads",
            "/mutate",
            workloads,
            conditions={"carries-an-annotation-of-ours-or-carried-one": calling.CARRIES_OURS},
            **fields,
        ),
    )


def _of_pods() -> tuple[Entry, ...]:
    """The validating entries for pods and their templates."""
    pods = [_rule("", ["pods"], "CREATE"), _rule("", ["pods/ephemeralcontainers"], "UPDATE")]
    return (
        _entry("enforced", "/validate", pods, namespaceSelector=_NEVER),
        _entry(
            "templates",
            "/validate",
            [_rule(group, _workloads(group), *BOTH) for group in ("apps", "batch")],
            namespaceSelector=_NEVER,
            conditions={"not-made-by-another-workload": calling.NO_CONTROLLER},
        ),
    )


def _of_others() -> tuple[Entry, ...]:
    """The other validating entries."""
    token_requests = {
        one["name"]: " ".join(one["expression"].split())
        for one in requests.token_request_conditions()
    }
    previews = {
        "not-terminating": "!has(object.metadata.deletionTimestamp)",
        "something-of-ours-is-or-was-there": " || ".join(
            (_HAS_OURS.format("annotations"), _HAS_OURS.format("labels"), _OLD_HAS_OURS)
        ),
    }
    return (
        _entry(
            "tokenrequests",
            "/validate",
            [_rule("", ["serviceaccounts/token"], "CREATE")],
            conditions=token_requests,
            timeoutSeconds=2,
        ),
        _entry(
            "legacysecrets",
            "/validate",
            [_rule("", ["secrets"], "CREATE")],
            conditions={
                "a-legacy-token": f"object.?type.orValue('') == '{names.LEGACY_TOKEN_TYPE}'"
            },
            timeoutSeconds=2,
        ),
        _entry(
            "previews",
            "/validate",
            [_rule("", ["namespaces"], *BOTH, scope="Cluster")],
            conditions=previews,
        ),
        _entry(
            "configurations",
            "/validate",
            [_rule("", ["configmaps"], *BOTH)],
            conditions={"in-our-own-namespace": calling.OWN_NAMESPACE},
            objectSelector={"matchLabels": names.CONFIG_LABELS},
        ),
    )


ENTRIES: dict[str, tuple[Entry, ...]] = {
    MUTATING: _mutating(),
    VALIDATING: _of_pods() + _of_others(),
}
"""Of each kind of configuration; the namespace of their Service is another one in an overlay."""
POLICIES = {
    document["metadata"]["name"]: document["spec"]
    for document in manifests.documents()
    if document["kind"] == "ValidatingAdmissionPolicy"
} | own_policies.POLICIES
"""The specs of the policies, by name."""
BINDINGS = {
    document["metadata"]["name"]: document["spec"]
    for document in manifests.documents()
    if document["kind"] == "ValidatingAdmissionPolicyBinding"
} | own_policies.BINDINGS


def _rights() -> tuple[Right, ...]:
    registration = "admissionregistration.k8s.io"
    found = [Right(verb, "", "namespaces") for verb in ("get", "list", "watch")]
    found.append(Right("list", "", "pods"))
    found.append(Right("own", "boundtoken.dev", "installation"))
    found += [
        Right(verb, registration, "validatingadmissionpolicybindings", name)
        for name in names.POLICY_BINDINGS
        for verb in _KEPT
    ]
    return tuple(found)


_KEPT = ("get", "list", "watch", "patch")
RIGHTS = _rights()
"""Of our service account in the whole cluster, whoever keeps the certificates."""
CA_BUNDLE_RIGHTS = tuple(
    Right(verb, "admissionregistration.k8s.io", resource, names.APP)
    for resource in (MUTATING, VALIDATING)
    for verb in _KEPT
)
"""And to publish a CA of its own."""
PROBE_RIGHTS = (Right("create", "", "pods"),)
"""In its own namespace, for the self-probe."""
CA_SECRET_RIGHTS = (
    *(Right(verb, "", "secrets", f"{names.APP}-ca") for verb in ("get", "list", "watch", "update")),
    Right("create", "", "secrets"),
)
"""And there to keep a CA of its own."""
FAIL_CLOSED = Condition(
    "not-our-own-namespace",
    "!authorizer.serviceAccount(request.namespace, 'boundtoken') "
    ".group('boundtoken.dev').resource('installation').check('own').allowed()",
)
"""What the component legacy-tokens-fail-closed adds to the entry that it lets fail closed."""
FAIL_CLOSED_RIGHTS = tuple(right for right in CA_BUNDLE_RIGHTS if right.verb in ("get", "patch"))
"""Of the optional component that lets an entry fail closed, in the whole cluster."""


def rights(own: str, *, keeps_ca: bool = True, has_probe: bool = True) -> tuple[Right, ...]:
    """What the manifests grant our service account, whose namespace is `own`; `keeps_ca` is whether
    the replicas sign their certificates, as they do unless the Deployment brings one, `has_probe`
    whether they ask for pods in a dry run.
    """
    here = (CA_SECRET_RIGHTS if keeps_ca else ()) + (PROBE_RIGHTS if has_probe else ())
    everywhere = RIGHTS + (CA_BUNDLE_RIGHTS if keeps_ca else ())
    return (*everywhere, *(right._replace(namespace=own) for right in here))


LEGACY_RIGHTS = tuple(Right(verb, "", "secrets") for verb in ("list", "watch"))
"""Of the optional component for legacy tokens, in the whole cluster."""
INSTALLED = (
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "resourcequotas"),
    ("", "configmaps"),
    ("", "services"),
    ("apps", "deployments"),
    ("policy", "poddisruptionbudgets"),
    ("networking.k8s.io", "networkpolicies"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("admissionregistration.k8s.io", MUTATING),
    ("admissionregistration.k8s.io", VALIDATING),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
)
"""Group and resource of everything that the manifests create."""
CLUSTER_SCOPED = frozenset(
    {"namespaces", "clusterroles", "clusterrolebindings", MUTATING, VALIDATING}
    | {"validatingadmissionpolicies", "validatingadmissionpolicybindings"}
)
