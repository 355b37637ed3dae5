"""The ValidatingAdmissionPolicies that deny inside the API server, made of the rule records; as the
values of a YAML file.

What the policies read: the object, the namespace's annotations, and the annotations of the binding,
which names itself as its parameter, so that parameters are there wherever the binding is. The
replicas keep those (`enforcement.policies.bindings`). Nothing makes an expression fail: each field
is guarded, and each value passes a regular expression before it is converted. What is past CEL's
cost budget is refused, because failurePolicy is Fail.

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


def documents(settings: Mapping[str, str] | None = None) -> list[Json]:
    """Each policy, followed by its binding; with `settings` (as `policy_settings.annotations` gives
    them) if any.
    """
    policies = (_pods(), _token_requests(), _legacy_secrets())
    return [each for policy in policies for each in (policy, _binding(policy, settings))]


def _pods() -> Json:
    system = {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": sorted(names.NEVER_TOUCHED),
    }
    validation = {
        "expression": "variables.rules == [] || variables.exempt || variables.violations == []",
        "messageExpression": cel.truncate("variables.message", validate.MAX_MESSAGE_CHARS),
        "message": "violates what boundtoken demands of pods in this namespace: see its annotation boundtoken.dev/enforce",
    }
    rules = [_rule("pods", "CREATE"), _rule("pods/ephemeralcontainers", "UPDATE")]
    constraints = {"namespaceSelector": {"matchExpressions": [system]}, "resourceRules": rules}
    return _policy(names.POD_POLICY, constraints, [], pods.variables(), validation)


def _token_requests() -> Json:
    validation = {
        "expression": "variables.mode != 'enforce' || variables.exempt || variables.violations == []",
        "messageExpression": cel.truncate("variables.message", validate.MAX_MESSAGE_CHARS),
        "message": "asks for a longer life or another audience than boundtoken allows in this namespace",
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
        "matchConstraints": {"matchPolicy": "Equivalent", **constraints},
    }
    if conditions:
        spec["matchConditions"] = conditions
    spec["variables"] = [
        {"name": each, "expression": f"// {said}\n{code}"} for each, said, code in variables
    ]
    spec["validations"] = [{**validation, "reason": "Forbidden"}]
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": _metadata(name),
        "spec": spec,
    }


def _binding(policy: Json, settings: Mapping[str, str] | None) -> Json:
    """The binding, its own parameter.

    Why parameterNotFoundAction is Allow: for about a second after a binding was deleted or made the
    API server may know it and not yet its parameter, and Deny would then refuse every pod of the
    cluster, and nodes their tokens (seen on 1.37).
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
