"""The ValidatingAdmissionPolicies that deny inside the API server, generated from the rule records.

The policies read the object, the annotations of its namespace, and the annotations of the binding.
A binding names itself as its parameter, so that the parameter exists whenever the binding does. The
replicas write its annotations (`enforcement.policies.bindings`). No input makes an expression fail:
every field is guarded, and every value must match a regular expression before it is converted. An
object that exceeds CEL's cost budget is denied, because failurePolicy is Fail.

Every expression is one of Kubernetes 1.30: tests/controlplane compiles them for it.
"""

from collections.abc import Mapping
from typing import Any

from ...core import names
from .. import cel, token_requests, validate
from . import pods, requests
from .requests import Condition
from .variables import Variable

API_VERSION = "admissionregistration.k8s.io/v1"
LABELS = {"app.kubernetes.io/name": names.APP, "app.kubernetes.io/component": "enforcement"}

Json = dict[str, Any]
MATCH_DEFAULTS: Json = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
"""What the API server adds to matchConstraints (SetDefaults_MatchResources). They are one value for
server-side apply: who applies them without these meets a conflict with whoever has applied them.
"""


def documents(settings: Mapping[str, str] | None = None) -> list[Json]:
    """Return each policy, followed by its binding. `settings` are the annotations of the bindings,
    as `bindings.annotations` returns them.
    """
    policies = (_pods(), _token_requests(), _legacy_secrets())
    return [document for policy in policies for document in (policy, _binding(policy, settings))]


def _pods() -> Json:
    # Excluded before any CEL runs, so that no fault of a policy can stop the system's own pods.
    system = {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": sorted(names.NEVER_TOUCHED),
    }
    validation = {
        "expression": "variables.rules == [] || variables.exempt || variables.violations == []",
        "messageExpression": cel.truncate("variables.message", validate.MAX_MESSAGE_CHARS),
        "message": f"violates what boundtoken demands of pods in this namespace: see its annotation {names.ENFORCE}",
    }
    rules = [_rule("pods", "CREATE"), _rule("pods/ephemeralcontainers", "UPDATE")]
    constraints = {"namespaceSelector": {"matchExpressions": [system]}, "resourceRules": rules}
    return _policy(names.POD_POLICY, constraints, [], pods.variables(), validation)


def _token_requests() -> Json:
    validation = {
        "expression": "variables.mode != 'enforce' || variables.exempt || variables.violations == []",
        "messageExpression": cel.truncate("variables.message", validate.MAX_MESSAGE_CHARS),
        "message": "requests a longer lifetime or another audience than boundtoken allows in this namespace",
    }
    constraints = {"resourceRules": [_rule("serviceaccounts/token", "CREATE")]}
    conditions = requests.token_request_conditions()
    return _policy(
        names.TOKEN_REQUEST_POLICY,
        constraints,
        conditions,
        requests.token_request_variables(),
        validation,
    )


def _legacy_secrets() -> Json:
    legacy = {
        "name": "a-legacy-token",
        "expression": f"object.?type.orValue('') == '{names.LEGACY_TOKEN_TYPE}'",
    }
    validation = {
        "expression": "variables.mode != 'enforce' || variables.exempt",
        "message": token_requests.LEGACY_SECRET,
    }
    constraints = {"resourceRules": [_rule("secrets", "CREATE", "UPDATE")]}
    conditions = [legacy, requests.not_the_control_plane(), requests.asks_for_a_legacy_token()]
    return _policy(
        names.LEGACY_SECRET_POLICY,
        constraints,
        conditions,
        requests.legacy_secret_variables(),
        validation,
    )


def _policy(
    name: str,
    constraints: Json,
    conditions: list[Condition],
    variables: list[Variable],
    validation: Json,
) -> Json:
    spec: Json = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": API_VERSION, "kind": "ValidatingAdmissionPolicyBinding"},
        "matchConstraints": {**MATCH_DEFAULTS, **constraints},
    }
    if conditions:
        spec["matchConditions"] = conditions
    spec["variables"] = [
        {"name": variable, "expression": f"// {comment}\n{code}"}
        for variable, comment, code in variables
    ]
    spec["validations"] = [{**validation, "reason": "Forbidden"}]
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": _metadata(name),
        "spec": spec,
    }


def _binding(policy: Json, settings: Mapping[str, str] | None) -> Json:
    """Return the binding, which is its own parameter.

    Why parameterNotFoundAction is Allow: for about a second after a binding was created or deleted,
    the API server may know the binding but not its parameter. Deny would then deny every pod of the
    cluster, and the tokens of nodes (seen on 1.37).
    """
    name = policy["metadata"]["name"]
    spec = {
        "policyName": name,
        "paramRef": {"name": name, "parameterNotFoundAction": "Allow"},
        "validationActions": ["Deny", "Audit"],
    }
    metadata = _metadata(name) | ({"annotations": dict(settings)} if settings is not None else {})
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": spec,
    }


def _metadata(name: str) -> Json:
    return {"name": name, "labels": dict(LABELS)}


def _rule(resource: str, *operations: str) -> Json:
    return {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": [resource],
        "operations": [*operations],
        "scope": "Namespaced",
    }
