"""The policies of this release that enforce nothing of a namespace, as the manifests have them; a
test reads both: what our service account may create, Secrets and pods (manifests/80-…), and
warnings of misplaced annotations (manifests/90-misplaced.yaml).
"""

from typing import Any

from ..core import names
from ..enforcement.policies.manifests import MATCH_DEFAULTS

Json = dict[str, Any]
_NEW = (
    "(name, name.startsWith('boundtoken.dev/')\n"
    "  && !(name in ['boundtoken.dev/status', 'boundtoken.dev/from-workload', 'boundtoken.dev/before-inject'])\n"
    "  && (oldObject == null || oldObject.metadata.?annotations[?name] != "
    "optional.of(object.metadata.annotations[name])))"
)
_INSTEAD = (
    "request.kind.kind == 'Pod' ? 'Only a new pod is changed: annotate its workload or the pod template'"
    " : request.kind.kind == 'Job' ? 'The template of an existing Job cannot change: create the Job anew'"
    " : 'Instead of a ServiceAccount, annotate the namespace, the workload or the pod template'"
)
_MESSAGE = (
    "(variables.names.size() > 3 ? string(variables.names.size()) + ' annotations of boundtoken.dev'"
    " : variables.names.join(', ')) + ': no effect here. ' + variables.instead"
)


def _rule(group: str, resource: str, *operations: str) -> Json:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [resource],
        "operations": [*operations],
        "scope": "Namespaced",
    }


_OUR_ACCOUNT = [
    {
        "name": "an-account-of-our-name",
        "expression": "request.userInfo.?username.orValue('')"
        ".matches('^system:serviceaccount:[^:]+:boundtoken$')",
    },
    {
        "name": "our-service-account",
        "expression": "authorizer.group('boundtoken.dev').resource('installation')"
        ".check('own').allowed()",
    },
]
_OWN: Json = {
    "failurePolicy": "Fail",
    "matchConstraints": {**MATCH_DEFAULTS, "resourceRules": [_rule("", "secrets", "CREATE")]},
    "matchConditions": _OUR_ACCOUNT,
    "validations": [
        {
            "expression": "object.metadata.name == 'boundtoken-ca' "
            "&& (!has(object.type) || object.type == 'Opaque')",
            "message": "boundtoken creates the Secret boundtoken-ca, of type Opaque, and no other",
        }
    ],
}
_SELF_PROBE: Json = {
    "failurePolicy": "Fail",
    "matchConstraints": {**MATCH_DEFAULTS, "resourceRules": [_rule("", "pods", "CREATE")]},
    "matchConditions": _OUR_ACCOUNT,
    "validations": [
        {
            "expression": "request.?dryRun.orValue(false)",
            "reason": "Forbidden",
            "message": "boundtoken asks for pods in a dry run, and creates none",
        }
    ],
}
_MISPLACED: Json = {
    "failurePolicy": "Ignore",
    "matchConstraints": {
        **MATCH_DEFAULTS,
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", "kube-public", "kube-node-lease"],
                }
            ]
        },
        "resourceRules": [
            _rule("", "serviceaccounts", "CREATE", "UPDATE"),
            _rule("", "pods", "UPDATE"),
            _rule("batch", "jobs", "UPDATE"),
        ],
    },
    "matchConditions": [
        {
            "name": "an-annotation-of-ours-is-new-or-another",
            "expression": f"object.metadata.?annotations.orValue({{}}).exists{_NEW}",
        }
    ],
    "variables": [
        {"name": "names", "expression": f"object.metadata.annotations.filter{_NEW}"},
        {"name": "instead", "expression": _INSTEAD},
    ],
    "validations": [
        {
            "expression": "false",
            "messageExpression": _MESSAGE,
            "message": "an annotation of boundtoken.dev has no effect here",
        }
    ],
}
POLICIES: dict[str, Json] = {
    names.APP: _OWN,
    names.SELF_PROBE_POLICY: _SELF_PROBE,
    names.MISPLACED_POLICY: _MISPLACED,
}
"""Their specs by name."""
_ACTIONS = {names.APP: "Deny", names.SELF_PROBE_POLICY: "Deny", names.MISPLACED_POLICY: "Warn"}
BINDINGS: dict[str, Json] = {
    name: {"policyName": name, "validationActions": [action]} for name, action in _ACTIONS.items()
}
