"""Each exemption of the configuration goes all the way: key, annotation, policy, webhook."""

from typing import Any

import pytest

from tests.support.builders import a_pod, automounted, validating_decision
from webhook import cluster_config
from webhook.core import names
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.enforcement import cel
from webhook.enforcement.policies import bindings, pods
from webhook.enforcement.policies.variables import USERNAME

OF_POD = "object.spec.?{field}.orValue('')"
EXAMPLES = {
    "namespaces": ("shop", "request.namespace"),
    "usernames": ("alice", USERNAME),
    "service_accounts": ("shop/ci", "variables.account"),
    "runtime_classes": ("kata", OF_POD.format(field="runtimeClassName")),
}
"""For each field of `Exemptions` whom it exempts here, and what the policy for pods compares."""
POD = automounted(a_pod(serviceAccountName="ci", runtimeClassName="kata"))


@pytest.mark.parametrize("field", Exemptions.__struct_fields__)
def test_each_exemption_holds_in_configuration_binding_policy_and_webhook(field: str) -> None:
    value, compared = EXAMPLES[field]
    first, *rest = field.split("_")
    key, annotation = first + "".join(map(str.title, rest)), f"exempt-{field.replace('_', '-')}"
    head = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
    layer = cluster_config.parse(head + f"exemptions: {{{key}: [{value}]}}\n").policy
    exemptions: Any = {field: frozenset({value})}
    assert layer == ClusterPolicy(exemptions=Exemptions(**exemptions))
    before, after = bindings.annotations(ClusterPolicy()), bindings.annotations(layer)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {names.DOMAIN + annotation, names.CONFIG_DIGEST}
    (exempt,) = (code for name, _, code in pods.variables() if name == "exempt")
    assert cel.is_in(compared, names.DOMAIN + annotation) in exempt.split("\n  || ")
    decision = validating_decision(POD, layer, enforce="bound")
    assert (decision.reason, validating_decision(POD, enforce="bound").reason) == (
        "exempt",
        "violates",
    )
