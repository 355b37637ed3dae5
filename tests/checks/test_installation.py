"""Every check of an installation: it passes where all is right, fails where its thing is wrong, and
is unknown where that was not seen.
"""

import dataclasses
import shlex
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import jsonpatch
import msgspec
import pytest

from tests.checks.installations import (
    METRICS,
    NOW,
    a_deployment,
    a_replica,
    an_installation,
    specified,
)
from tests.support.builders import Json
from webhook.checks import before, shipped
from webhook.checks.deployment import INSTALL, NOT_SERVING, SCALE
from webhook.checks.facts import (
    MUTATING,
    VALIDATING,
    CaBundle,
    ConfigurationFile,
    Governance,
    Granted,
    Installation,
    Probe,
    Right,
    Server,
    WaitingPod,
)
from webhook.checks.installation import FIRST, checks
from webhook.checks.model import (
    APPLY,
    MAX_LISTED,
    NOT_INSTALLED,
    Check,
    Result,
    Unseen,
    run,
    status_of,
)
from webhook.checks.objects import (
    Annotated,
    Budget,
    Deployment,
    EndpointSlice,
    NetworkPolicy,
    Service,
)
from webhook.checks.probes import NOT_TRIED
from webhook.checks.rights import LEFT_OVER, LOST, NO_ACCOUNT, OF_OURS
from webhook.checks.service import ADDRESSES, SELECTOR
from webhook.checks.webhooks import FAILS_CLOSED, RULE_IS_OFF
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import bindings
from webhook.simulation.calling import (
    Condition,
    Configuration,
    ConfigurationMetadata,
    Entry,
    Rule,
)

ALL = checks(with_token=True)
LABELS = {"matchLabels": shipped.LABELS}


def every(of: Installation) -> dict[str, Result]:
    found = {result.id: result for result in run(before.checks(), of)}
    return found | {result.id: result for result in run(ALL, of)}


def with_entry(at: int = 0, resource: str = MUTATING, **fields: Any) -> Json:
    """The configurations with one entry that is another."""
    entries = list(shipped.ENTRIES[resource])
    entries[at] = msgspec.structs.replace(entries[at], **fields)
    ours = {
        key: (Configuration(ConfigurationMetadata("boundtoken"), value),)
        for key, value in {**shipped.ENTRIES, resource: tuple(entries)}.items()
    }
    return {"configurations": ours}


def replica(**fields: Any) -> Json:
    return {"replicas": (a_replica(1, **fields), a_replica(2))}


def metric(name: str, value: float) -> Json:
    return replica(metrics={**METRICS, name: value})


def probed(result: str, started: float = 0.0) -> Json:
    """The last self-probe of one replica, which has started then, had this result, or there was
    none.
    """
    metrics = {name: value for name, value in METRICS.items() if "probe_result" not in name}
    samples = {f'boundtoken_self_probe_result{{result="{one}"}}': 0.0 for one in ("injected", "x")}
    more = {f'boundtoken_self_probe_result{{result="{result}"}}': 1.0} if result else {}
    return replica(metrics={**metrics, **samples, **more, "process_start_time_seconds": started})


def mounting(name: str, secrets: Any) -> Json:
    """The Deployment mounts this Secret, beside one that it may do without; what was seen of it."""
    spare = {"name": "spare", "secret": {"secretName": "spare", "optional": True}}
    tls = {"name": "tls", "secret": {"secretName": name}}
    template = {"spec": {"volumes": [{"name": "config"}, spare, *([tls] if name else [])]}}
    return {"deployment": a_deployment(spec={"template": template}), "secrets": secrets}


def converted(kind: Any, *documents: Json) -> tuple[Any, ...]:
    return tuple(msgspec.convert(document, kind) for document in documents)


def another_config(name: str, **rule: Any) -> Json:
    """Beside ours a mutating configuration of another."""
    document = {"name": "x.example.com", "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], **rule}]}  # fmt: skip
    other = Configuration(ConfigurationMetadata(name), (msgspec.convert(document, Entry),))
    ours = an_installation().configurations
    return {"configurations": {**ours, MUTATING: (*ours[MUTATING], other)}}  # type: ignore[misc]


def test_where_all_is_right_every_check_passes() -> None:
    found = every(an_installation())
    assert {
        name: result.finding.text for name, result in found.items() if result.status != "passed"
    } == {}
    assert status_of(found.values()) == "passed"


RULES_OF_PODS, RULES_OF_WORKLOADS = (one.rules or () for one in shipped.ENTRIES[MUTATING])
BUDGET = {"metadata": {"name": "b"}, "spec": {"selector": LABELS}}


def replaced_rule(**fields: Any) -> Rule:
    """The rule for pods, with these fields."""
    return msgspec.structs.replace(RULES_OF_PODS[0], **fields)


def a_file(**fields: Any) -> ConfigurationFile:
    """The ConfigMap, with this configuration."""
    return ConfigurationFile("c", (), "abcd1234", ClusterPolicy(**fields))


LOOKS_LIKE_OURS: Json = {"containers": [{"name": "boundtoken"}], "serviceAccountName": "boundtoken"}


def another(**spec: Any) -> Deployment:
    """With our labels in another namespace, and this of its pods."""
    metadata = {"name": "bt", "namespace": "old"}
    template = {"spec": {**LOOKS_LIKE_OURS, **spec}}
    return msgspec.convert({"metadata": metadata, "spec": {"template": template}}, Deployment)


ANOTHER = another()
WAITING = WaitingPod("b-1", "ImagePullBackOff", "no such image")
OURS: Any = an_installation().configurations
SPEC = shipped.POLICIES[names.POD_POLICY]
CASES: list[tuple[str, Json, str, str]] = [
    ("api-server", {"server": Unseen("refused")}, "failed", "refused"),
    ("api-version", {"server": Server("v1.29.4", (1, 29), 0)}, "failed", "needs 1.30 or newer"),
    ("clock", {"server": Server("v1.33.1", (1, 33), 7)}, "warning", "the API server's clock is 7 s ahead of this machine's"),
    ("clock", {"server": Server("v1.33.1", (1, 33), -90)}, "failed", "90 s behind"),
    ("clock", replica(ahead_seconds=-61.0), "failed", "the clock of pod/boundtoken-1 is 61 s behind the API server's"),
    ("deployment", {"deployment": None}, "failed", "there is no deployment/boundtoken"),
    ("only-installation", {"installations": (ANOTHER,)}, "warning", "there may be another installation: deployment/bt in namespace old"),
    ("only-installation", {"installations": (another(serviceAccountName="default"), another(containers=[{"name": "web"}]))}, "passed", ""),
    ("pre-absent", {"installations": (ANOTHER,), "configurations": {MUTATING: (), VALIDATING: ()}}, "warning", "it may be deployment/bt in namespace old"),
    ("replicas", {"deployment": a_deployment(0, 0)}, "failed", "0 replicas are requested"),
    ("replicas", {"deployment": a_deployment(2, 0), **replica(is_ready=False)}, "failed", "none of 2 replicas is ready: pod/boundtoken-1 is not ready"),
    ("replicas", {"deployment": a_deployment(2, 1)}, "warning", "1 of 2 replicas are ready"),
    ("replicas", {"deployment": a_deployment(1, 1)}, "warning", "1 replica is requested"),
    ("replicas", {"deployment": a_deployment(2, 0, conditions=[{"type": "ReplicaFailure", "status": "True", "message": "quota"}])}, "failed", "quota"),
    ("rollout", replica(image="boundtoken:1.2.2"), "warning", "boundtoken:1.2.2, boundtoken:1.2.3"),
    ("rollout", {"deployment": a_deployment(updatedReplicas=1)}, "warning", "1 of 2 replicas are of the newest template"),
    ("rollout", {"deployment": a_deployment(updatedReplicas=0, spec={"paused": True})}, "warning", "deployment/boundtoken is paused"),
    ("rollout", {"deployment": a_deployment(updatedReplicas=1), "waiting": (WAITING,)}, "warning", "1 of 2 replicas are of the newest template: pod/b-1 waits, ImagePullBackOff: no such image: see name and tag"),
    ("replicas", {"deployment": a_deployment(2, 0), "waiting": (WAITING._replace(reason="CrashLoopBackOff", message=""),)}, "failed", "pod/b-1 waits, CrashLoopBackOff: it ends again and again"),
    ("replicas", {"waiting": (WAITING,)}, "warning", "2 of 2 are ready, and another is not: pod/b-1 waits, ImagePullBackOff"),
    ("replicas", {"deployment": a_deployment(2, 1), "waiting": (WAITING._replace(reason="PodInitializing", message=""),)}, "warning", "pod/b-1 waits, PodInitializing"),
    ("version", {"version": "1.3.0"}, "warning", "the replicas are 1.2.3, and this program is 1.3.0"),
    ("version", {"replicas": (a_replica(metrics={}),)}, "unknown", "no replica tells its version"),
    ("spread", {"replicas": (a_replica(1), a_replica(2, node="node-1"))}, "warning", "2 replicas, all on node node-1"),
    ("disruption-budget", {"budgets": ()}, "warning", "no PodDisruptionBudget selects"),
    ("disruption-budget", {"budgets": converted(Budget, BUDGET, BUDGET)}, "failed", "b, b"),
    ("disruption-budget", {"budgets": converted(Budget, BUDGET)}, "warning", "allows no eviction"),
    ("service", {"service": None}, "failed", "there is no service/boundtoken"),
    ("service", {"service": msgspec.convert({"spec": {"ports": [{"port": 10250, "targetPort": 9999}]}}, Service)}, "failed", 'leads to port "9999"'),
    ("service", {"service": msgspec.convert({"spec": {"ports": [{"port": 443}]}}, Service)}, "failed", "has no port 10250"),
    ("service", {"service": msgspec.convert({"spec": {"ports": [{"port": 10250, "targetPort": 10250}]}}, Service)}, "failed", "has no selector"),
    ("service", {"service": msgspec.convert({"spec": {"ports": [{"port": 10250, "targetPort": "tls"}], "selector": {"a": "b"}}}, Service)}, "failed", "selects a=b"),
    ("endpoints", {"slices": ()}, "failed", "although 2 replicas are ready"),
    ("endpoints", {"slices": (), "replicas": ()}, "failed", "no replica is ready"),
    ("endpoints", {"slices": converted(EndpointSlice, {"endpoints": [{}]})}, "warning", "1 ready endpoints for 2"),
    ("endpoints", {"service": None}, "unknown", "service/boundtoken is missing"),
    ("reachable", replica(problem="502 bad gateway"), "failed", "pod/boundtoken-1: 502 bad gateway"),
    ("reachable", replica(problem="403 no", is_forbidden=True), "unknown", "needs get on pods/proxy"),
    ("network-policies", {"network_policies": converted(NetworkPolicy, {"metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]}})}, "failed", "networkpolicy/n does not allow port 10250"),
    ("webhook-entries", {"configurations": {MUTATING: (), VALIDATING: ()}}, "failed", "no mutatingwebhookconfiguration has an entry"),
    ("webhook-entries", with_entry(name="x.example.com"), "failed", "has no entry pods.boundtoken.dev"),
    ("webhook-entries", {"configurations": {VALIDATING: OURS[VALIDATING], MUTATING: (*OURS[MUTATING], msgspec.structs.replace(OURS[MUTATING][0], metadata=ConfigurationMetadata("old")))}}, "warning", "boundtoken, old have entries of boundtoken"),
    ("webhook-rules", with_entry(rules=()), "failed", "pods.boundtoken.dev: no rule for CREATE pods"),
    ("webhook-rules", with_entry(1, rules=(*RULES_OF_WORKLOADS, *RULES_OF_PODS)), "warning", "workloads.boundtoken.dev: also called for CREATE pods"),
    ("webhook-rules", with_entry(rules=(replaced_rule(api_versions=("v2",)),)), "failed", "no rule for CREATE pods"),
    ("webhook-rules", with_entry(rules=(replaced_rule(scope="Cluster"),)), "failed", "no rule for CREATE pods"),
    ("webhook-rules", with_entry(rules=(replaced_rule(operations=("*",)),)), "warning", "also called for * pods"),
    ("webhook-rules", {"configurations": {MUTATING: (), VALIDATING: ()}}, "unknown", "there is no entry"),
    ("webhook-selectors", with_entry(namespace_selector=None), "warning", "namespaceSelector is empty"),
    ("webhook-conditions", with_entry(match_conditions=()), "warning", "matchCondition not-a-mirror-pod is missing"),
    ("webhook-conditions", with_entry(match_conditions=(*(shipped.ENTRIES[MUTATING][0].match_conditions or ()), Condition("off", "false"))), "failed", "matchCondition off is false"),
    ("webhook-policies", with_entry(failure_policy="Fail"), "failed", "failurePolicy is Fail"),
    ("webhook-policies", with_entry(reinvocation_policy="Never"), "warning", "reinvocationPolicy is Never"),
    ("webhook-timeouts", with_entry(timeout_seconds=10), "warning", "timeoutSeconds is 10, and 3"),
    ("webhook-service", with_entry(client_config=shipped.ENTRIES[VALIDATING][0].client_config), "failed", "it calls path /validate, and must call /mutate"),
    ("webhook-service", {"own": "elsewhere"}, "failed", "it calls namespace boundtoken-system, and must call elsewhere"),
    ("other-webhooks", another_config("mesh"), "warning", "called after boundtoken, or may be: mesh/x.example.com"),
    ("ca-bundle", {"ca_bundles": (CaBundle("pods.boundtoken.dev", is_usable=False, text="none"),)}, "failed", "pods.boundtoken.dev: none"),
    ("ca-bundle", {"ca_bundles": ()}, "unknown", "there is no entry"),
    ("ca-bundle-trust", replica(distrusting=("pods.boundtoken.dev",)), "failed", "pod/boundtoken-1 is not verified by the caBundle of pods.boundtoken.dev"),
    ("ca-bundle-trust", {"replicas": ()}, "unknown", "no replica runs"),
    ("certificate-age", replica(not_after=NOW - timedelta(1)), "failed", "expired at 2026-02-28T12:00Z"),
    ("certificate-age", replica(not_before=NOW + timedelta(1)), "failed", "is not valid before"),
    ("certificate-age", replica(renewal=NOW - timedelta(1)), "warning", "was to be renewed at"),
    ("certificate-age", replica(not_after=None, problem="away"), "unknown", "was not seen: away"),
    ("certificate-age", replica(not_after=None, problem="403 no", is_forbidden=True), "unknown", f"needs get on pods/proxy in {names.NAMESPACE}"),
    ("ca-bundle-trust", replica(not_after=None, problem="403 no", is_forbidden=True), "unknown", f"needs get on pods/proxy in {names.NAMESPACE}"),
    ("ca-age", {"ca_bundles": (CaBundle("p", is_usable=True, text="", not_after=NOW),)}, "failed", "expired"),
    ("ca-age", {"ca_bundles": (CaBundle("p", is_usable=True, text="", not_after=NOW + timedelta(13)),)}, "warning", "expires at"),
    ("policies", {"policies": {**an_installation().policies, names.POD_POLICY: specified({**SPEC, "validations": []})}}, "failed", "boundtoken-pods is not that of this release: spec.validations"),
    ("policies", {"policies": {**an_installation().policies, names.POD_POLICY: specified({**SPEC, "matchConstraints": {**SPEC["matchConstraints"], "excludeResourceRules": [{"resources": ["*"]}]}})}}, "failed", "spec.matchConstraints.excludeResourceRules, which nothing of this release sets"),
    ("policy-bindings", {"bindings": {**an_installation().bindings, names.POD_POLICY: specified({**shipped.BINDINGS[names.POD_POLICY], "matchResources": {"namespaceSelector": {"matchLabels": {"x": "y"}}}})}}, "failed", "spec.matchResources, which nothing of this release sets"),
    ("policies", {"policies": {**an_installation().policies, names.APP: None}}, "failed", "validatingadmissionpolicy/boundtoken is missing"),
    ("policies", {"policies": {**an_installation().policies, names.APP: specified({**shipped.POLICIES[names.APP], "validations": [{"expression": "true"}]})}}, "failed", "validatingadmissionpolicy/boundtoken is not that of this release: spec.validations.0.expression"),
    ("policy-bindings", {"bindings": {**an_installation().bindings, names.MISPLACED_POLICY: specified({**shipped.BINDINGS[names.MISPLACED_POLICY], "validationActions": ["Audit"]})}}, "failed", "boundtoken-misplaced is not that of this release: spec.validationActions.0"),
    ("policy-bindings", {"bindings": {**an_installation().bindings, names.POD_POLICY: None}}, "failed", "boundtoken-pods is missing"),
    ("policy-settings", {"bindings": {**an_installation().bindings, names.POD_POLICY: specified({})}}, "failed", "has no settings"),
    ("policy-settings", {"bindings": {**an_installation().bindings, names.POD_POLICY: specified({}, {names.ENFORCE_FLOOR: "off"})}}, "failed", "were edited by hand"),
    ("policy-settings", {"file": a_file(token_requests="enforce")}, "warning", "no replica has read configmap/c: the settings on boundtoken-pods, boundtoken-token-requests, boundtoken-legacy-secrets are of another configuration: a change takes up to 2 minutes"),
    ("policy-settings", {"file": a_file(token_requests="enforce")._replace(age_seconds=121.0)}, "failed", "no replica has read configmap/c"),
    ("policy-settings", {"file": a_file()._replace(text="another", age_seconds=119.0)}, "warning", "the settings on boundtoken-pods are"),
    ("mounted-secrets", mounting("boundtoken-tls", {"boundtoken-tls": False}), "failed", "secret/boundtoken-tls is not in namespace boundtoken-system"),
    ("rights", {"rights": ()}, "failed", "serviceaccount/boundtoken may not: get namespaces"),
    ("rights", {"account": None}, "failed", "serviceaccount/boundtoken is not in namespace boundtoken-system"),
    ("rights", {"account": Unseen("needs get on serviceaccounts in boundtoken-system")}, "unknown", "needs get on serviceaccounts in boundtoken-system"),
    ("rights", {"account": Unseen("needs get on serviceaccounts"), "rights": ()}, "failed", "may not: get namespaces"),
    ("rights", {"account": None, "rights": Unseen("needs list on rolebindings")}, "failed", "serviceaccount/boundtoken is not in"),
    ("rights-excess", {"rights": (Granted(Right("*", "", "secrets"), "clusterrolebinding/more"),)}, "warning", "clusterrolebinding/more also grants: * secrets"),
    ("configuration", {"file": ConfigurationFile("c", ("defaults: bad",), "")}, "failed", "configmap/c: defaults: bad"),
    ("configuration", {"file": None}, "warning", "there is no ConfigMap of boundtoken"),
    ("configuration-applied", metric("boundtoken_config_last_reload_successful", 0), "failed", "pod/boundtoken-1 refused the file"),
    ("configuration-applied", {"file": ConfigurationFile("c", (), "ffff")}, "warning", "they use abcd1234, and configmap/c has ffff"),
    ("configuration-applied", {"file": ConfigurationFile("c", (), "ffff", age_seconds=121.0)}, "failed", "they use abcd1234, and configmap/c has ffff"),
    ("configuration-applied", replica(metrics={'boundtoken_config_info{hash="1"}': 1.0}), "warning", "pod/boundtoken-1: 1, pod/boundtoken-2: abcd1234"),
    ("synced", metric("boundtoken_namespace_cache_synced", 0), "failed", "has not listed the namespaces"),
    ("synced", metric("boundtoken_cabundle_in_sync", 0), "failed", "finds another caBundle"),
    ("synced", metric("boundtoken_policy_in_sync", 0), "warning", "in the policy bindings, or none: a change takes up to 2 minutes"),
    ("synced", {**metric("boundtoken_policy_in_sync", 0), "file": a_file()._replace(age_seconds=119.0)}, "warning", "pod/boundtoken-1 finds other settings"),
    ("synced", {**metric("boundtoken_policy_in_sync", 0), "file": a_file()._replace(age_seconds=121.0)}, "failed", "pod/boundtoken-1 finds other settings"),
    ("synced", {**metric("boundtoken_policy_in_sync", 0), "file": None}, "failed", "pod/boundtoken-1 finds other settings"),
    ("synced", metric("boundtoken_namespace_last_event_timestamp_seconds", NOW.timestamp() - 400), "failed", "for 400 s"),
    ("synced", replica(metrics=Unseen("needs get on pods/proxy")), "unknown", "needs get on pods/proxy"),
    ("fail-open", {"fail_open": {"pods.boundtoken.dev": 2}}, "warning", "pods.boundtoken.dev 2 times"),
    ("fail-open", {"fail_open": {"pods.boundtoken.dev": 1}}, "warning", "pods.boundtoken.dev once"),
    ("fail-open", {"fail_open": {"previews.boundtoken.dev": 1}}, "passed", "no pod; 1 other request since this API server started"),
    ("fail-open", {"fail_open": {"previews.boundtoken.dev": 2}}, "passed", "no pod; 2 other requests since this API server started"),
    ("self-probe", probed("not-injected"), "failed", "pod/boundtoken-1 asked for a pod, and no replica was called"),
    ("self-probe", probed("refused"), "warning", "pod/boundtoken-1: something else refused the pod"),
    ("self-probe", probed("could-not-ask"), "warning", "the API server could not be asked"),
    ("self-probe", probed("of-a-later-release"), "warning", "pod/boundtoken-1: of-a-later-release"),
    ("self-probe", probed(""), "warning", "pod/boundtoken-1 has not asked since it started"),
    ("self-probe", probed("", NOW.timestamp() - 121), "warning", "pod/boundtoken-1 has not asked since it started"),
    ("self-probe", probed("", NOW.timestamp() - 120), "passed", "not yet asked by pod/boundtoken-1"),
    ("self-probe", metric("boundtoken_self_probe_last_success_timestamp_seconds", NOW.timestamp() - 301), "warning", "has not asked for 301 s, and is to do so each 60 s"),
    ("self-probe", metric("boundtoken_self_probe_interval_seconds", 0), "warning", "has it switched off, and another has not"),
    ("self-probe", replica(metrics={}), "warning", "it is of another release"),
    ("self-probe", {"replicas": (a_replica(metrics={"boundtoken_self_probe_interval_seconds": 0.0}),)}, "passed", "switched off"),
    ("self-probe", {"replicas": ()}, "unknown", "no replica runs"),
    ("namespace-annotations", {"namespaces": converted(Annotated, {"metadata": {"name": "n", "annotations": {names.INJECT: "yes"}}})}, "warning", 'boundtoken.dev/inject="yes" on namespace/n'),
    ("namespace-annotations", {"namespaces": converted(Annotated, {"metadata": {"name": "n", "labels": {names.INJECT: "enabled"}}})}, "warning", "it is a label"),
    ("namespace-excluded", {"namespaces": converted(Annotated, {"metadata": {"name": "kube-system", "annotations": {names.INJECT: "enabled"}}})}, "warning", "namespace/kube-system is excluded"),
    ("dry-run-pod", {"probe": Probe("n", differences=("it has no token",))}, "failed", "it has no token"),
    ("dry-run-pod", {"probe": Probe("n", reason="not-requested")}, "warning", "not-requested"),
    ("dry-run-pod", {"probe": Probe("n", "403 no", is_forbidden=True)}, "unknown", "needs create on pods in namespace n"),
    ("dry-run-pod", {"probe": Probe("n", "422 no")}, "unknown", "was not created: 422 no"),
    ("token-governance", {"governance": (Governance("a token"),)}, "failed", "a token: it was not refused"),
    ("token-governance", {"governance": (Governance("a token", by_webhook=True),)}, "warning", "only the webhook"),
    ("token-governance", {"governance": (Governance("a token", problem="500"),)}, "unknown", "a token: 500"),
    ("token-year", {"year": 3607}, "warning", "it lives 3607 s here"),
    ("pre-rights", {"may": {}}, "failed", "you may not: get namespaces"),
    ("pre-granting", {"may": {}}, "failed", "you have not what the roles give"),
    ("pre-policies", {"served": frozenset({"mutatingwebhookconfigurations"})}, "failed", "does not serve validatingadmissionpolicies, validatingadmissionpolicybindings"),
    ("pre-feature-gates", {"gates": {"ValidatingAdmissionPolicy": False}}, "failed", "ValidatingAdmissionPolicy is off"),
    ("pre-pod-security", {"namespace": msgspec.convert({"metadata": {"labels": {before.ENFORCE_LABEL: "none"}}}, Annotated)}, "failed", "is no level"),
    ("pre-pod-security", {"namespace": msgspec.convert({"metadata": {"annotations": {before.UID_RANGE: "1000/10"}}}, Annotated)}, "warning", "users 1000/10"),
    ("pre-absent", {"own": "elsewhere"}, "failed", "is installed in namespace boundtoken-system already"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "status", "text"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])  # fmt: skip
def test_what_is_wrong_is_told(name: str, fields: Json, status: str, text: str) -> None:
    result = every(an_installation(**fields))[name]
    assert (result.status, text in result.finding.text) == (status, True), result.finding


def test_where_a_pod_is_to_have_no_token_the_cure_accuses_nobody() -> None:
    wanting = every(an_installation(probe=Probe("n", reason="nothing-to-replace")))["dry-run-pod"]
    broken = every(an_installation(probe=Probe("n", differences=("none",))))["dry-run-pod"]
    assert wanting.cure == NOT_TRIED
    assert "what fails there" in broken.cure


def test_each_check_fails_or_warns_in_some_case() -> None:
    wrong = {name for name, _, status, _ in CASES if status != "unknown"}
    assert wrong == every(an_installation()).keys()


def test_where_nothing_was_seen_only_what_is_known_is_told() -> None:
    nothing = Installation("1.2.3", NOW)
    found = every(nothing)
    assert {name for name, result in found.items() if result.status != "unknown"} == {"api-server"}
    assert found["api-server"].finding.text == "it was not looked at"


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Installation)])
def test_a_part_that_was_not_seen_makes_nothing_fail(field: str) -> None:
    if field in ("version", "now", "own", "server", "ca_bundles", "waiting"):
        return
    unseen = Unseen("needs a right")
    value: Any = unseen
    if field in ("configurations", "policies", "bindings"):
        value = dict.fromkeys(getattr(an_installation(), field), unseen)
    found = every(an_installation(**{field: value}))
    assert {result.status for result in found.values()} == {"passed", "unknown"}
    texts = {result.finding.text for result in found.values() if result.status == "unknown"}
    assert any("needs a right" in text for text in texts)


def test_a_selector_condition_or_rule_in_another_order_is_no_difference() -> None:
    entry = shipped.ENTRIES[MUTATING][1]
    selector = entry.namespace_selector
    assert selector is not None
    (expression,) = selector.match_expressions or ()
    turned = msgspec.structs.replace(expression, values=tuple(reversed(expression.values or ())))
    found = every(
        an_installation(
            **with_entry(
                1,
                rules=tuple(reversed(entry.rules or ())),
                namespace_selector=msgspec.structs.replace(selector, match_expressions=(turned,)),
            )
        )
    )
    assert {result.status for result in found.values()} == {"passed"}


def failing_closed(condition: Condition = shipped.FAIL_CLOSED) -> Json:
    """As the component legacy-tokens-fail-closed makes its entry, with this condition."""
    conditions = (*(shipped.ENTRIES[VALIDATING][0].match_conditions or ()), condition)
    return with_entry(0, VALIDATING, failure_policy="Fail", match_conditions=conditions)


def test_the_component_that_fails_closed_is_a_warning_that_accuses_nobody() -> None:
    found = every(with_flags("--legacy-tokens=on", **failing_closed()))
    policies = found["webhook-policies"]
    assert (policies.status, policies.cure) == ("warning", FAILS_CLOSED)
    assert policies.finding.commands == ()
    assert found["webhook-conditions"].status == "passed"
    unseen = every(an_installation(**failing_closed(), deployment=Unseen("needs get")))
    assert unseen["webhook-policies"].cure == FAILS_CLOSED


def test_the_component_that_fails_closed_alone_names_the_one_that_is_missing() -> None:
    policies = every(with_flags(**failing_closed()))["webhook-policies"]
    assert (policies.status, policies.cure) == ("warning", RULE_IS_OFF)
    assert (
        "for a rule that is off: the Deployment has no --legacy-tokens=on" in policies.finding.text
    )


def test_an_entry_that_fails_closed_by_another_condition_of_that_name_is_no_choice() -> None:
    another = Condition(shipped.FAIL_CLOSED.name, "true")
    found = every(with_flags("--legacy-tokens=on", **failing_closed(another)))
    assert found["webhook-policies"].status == "failed"
    assert found["webhook-conditions"].status == "warning"


OF_COMPONENT = tuple(Granted(one, "clusterrolebinding/boundtoken-legacy-tokens") for one in shipped.LEGACY_RIGHTS)  # fmt: skip


def excess(seen: Installation, more: Iterable[Granted]) -> Result:
    """What is told where these are granted too."""
    assert isinstance(seen.rights, tuple)
    seen.rights = (*seen.rights, *more)
    return every(seen)["rights-excess"]


def test_the_component_for_legacy_tokens_is_no_excess() -> None:
    for flags in (["--legacy-tokens=on"], ["--legacy-tokens", "on"]):
        assert excess(with_flags(*flags), OF_COMPONENT).status == "passed"
    by_variable = with_flags(variables=["BOUNDTOKEN_LEGACY_TOKENS"])
    assert excess(by_variable, OF_COMPONENT).status == "passed"
    another = [one._replace(binding="clusterrolebinding/more") for one in OF_COMPONENT]
    found = excess(with_flags("--legacy-tokens=on"), another)
    assert (found.status, found.finding.commands) == ("warning", ())


@pytest.mark.parametrize("flags", [[], ["--legacy-tokens=off"], ["--legacy-tokens", "off"]])
def test_what_is_left_of_the_component_for_legacy_tokens_is_excess(flags: list[str]) -> None:
    found = excess(with_flags(*flags), OF_COMPONENT)
    assert found.status == "warning"
    assert found.finding.text == (
        "clusterrolebinding/boundtoken-legacy-tokens also grants: list secrets, watch secrets; "
        "boundtoken-legacy-tokens is left over, for the Deployment has no --legacy-tokens=on"
    )
    objects = "clusterrolebinding/boundtoken-legacy-tokens clusterrole/boundtoken-legacy-tokens"
    assert found.finding.commands == (f"kubectl delete {objects}",)
    assert found.cure == LEFT_OVER
    more = Granted(Right("get", "", "pods"), "clusterrolebinding/more")
    both = excess(with_flags(*flags), [*OF_COMPONENT, more])
    assert both.cure.startswith("Delete the binding, or remove the account from it")


def test_what_a_binding_of_ours_grants_too_is_put_right_and_none_is_deleted() -> None:
    ours = (
        Granted(Right("get", "", "nodes"), "clusterrolebinding/boundtoken"),
        Granted(Right("get", "", "pods", namespace=names.NAMESPACE), "rolebinding/boundtoken"),
    )
    found = excess(an_installation(), ours)
    assert (found.status, found.finding.commands, found.cure) == ("warning", (APPLY,), OF_OURS)
    assert found.finding.text == (
        "clusterrolebinding/boundtoken, rolebinding/boundtoken also grants: get nodes, get pods in "
        "boundtoken-system"
    )
    elsewhere = Granted(Right("get", "", "pods", namespace="shop"), "rolebinding/boundtoken")
    found = excess(an_installation(), [elsewhere])
    assert (found.finding.commands, found.cure[:18]) == ((), "Delete the binding")
    both = excess(an_installation(), [*ours, elsewhere, *OF_COMPONENT])
    assert both.finding.commands[0] == APPLY
    assert len(both.finding.commands) == 2
    assert both.cure == found.cure
    assert "Keep clusterrolebinding/boundtoken, and" in both.cure


def with_flags(*flags: str, variables: Iterable[str] = (), **fields: Any) -> Installation:
    """Whose Deployment has these flags and variables."""
    env = [{"name": name, "value": "x"} for name in variables]
    container = {"args": ["serve", *flags], "env": env}
    template = {"metadata": {"labels": shipped.LABELS}, "spec": {"containers": [container]}}
    return an_installation(deployment=a_deployment(spec={"template": template}), **fields)


def with_certificate(**fields: Any) -> Installation:
    """Whose Deployment brings its certificate."""
    return with_flags("--tls-cert=/run/tls.crt", "--tls-key=/run/tls.key", **fields)


def granted(rights: Iterable[Right]) -> tuple[Granted, ...]:
    return tuple(Granted(right, "clusterrolebinding/boundtoken") for right in rights)


def test_a_certificate_of_others_needs_no_rights_to_keep_a_ca() -> None:
    needed = shipped.rights(names.NAMESPACE, keeps_ca=False)
    by_variable = with_flags(variables=["BOUNDTOKEN_TLS_CERT"], rights=granted(needed))
    assert every(by_variable)["rights"].status == "passed"
    found = every(with_certificate(rights=granted(needed)))
    assert (found["rights"].status, found["rights-excess"].status) == ("passed", "passed")
    found = every(with_certificate(rights=granted(shipped.rights(names.NAMESPACE))))
    more = found["rights-excess"].finding
    assert more.status == "warning"
    assert (
        "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/boundtoken" in more.text
    )
    of_secrets = [right._replace(namespace=names.NAMESPACE) for right in shipped.CA_SECRET_RIGHTS]
    found = every(with_certificate(rights=granted((*needed, *of_secrets))))
    assert f"create secrets in {names.NAMESPACE}" in found["rights-excess"].finding.text
    assert every(an_installation(rights=granted(needed)))["rights"].status == "failed"


def test_an_account_that_is_gone_is_made_again_and_the_replicas_get_its_tokens() -> None:
    found = every(an_installation(account=None))["rights"]
    restart = f"kubectl rollout restart deployment/boundtoken -n {names.NAMESPACE}"
    assert found.finding.commands == (APPLY, restart)
    assert found.cure == NO_ACCOUNT


def test_a_secret_that_is_gone_is_told_before_a_replica_restarts() -> None:
    name = "boundtoken-tls"
    unseen = Unseen(f"needs get on secrets/{name} in {names.NAMESPACE}")
    for secrets, status, text in (
        ({name: unseen}, "unknown", unseen.why),
        ({}, "unknown", "it was not looked at"),
        ({name: True}, "passed", f"secret/{name}"),
    ):
        finding = every(an_installation(**mounting(name, secrets)))["mounted-secrets"].finding
        assert (finding.status, finding.text) == (status, text)
    none = every(an_installation(**mounting("", {})))["mounted-secrets"].finding
    assert (none.status, none.text) == ("passed", "they mount none")
    gone = every(an_installation(deployment=None))["mounted-secrets"]
    assert gone.status == "unknown"


def test_a_replica_of_before_a_change_of_the_mode_has_lost_its_rights() -> None:
    needed = granted(shipped.rights(names.NAMESPACE, keeps_ca=False))
    older = {"replicas": (a_replica(1, keeps_ca=True), a_replica(2))}
    found = every(with_certificate(rights=needed, **older))["rights"]
    assert (found.status, found.cure) == ("warning", LOST)
    assert found.finding.text.endswith(" a CA of its own: pod/boundtoken-1")
    assert found.finding.commands == (
        f"kubectl rollout status deployment/boundtoken -n {names.NAMESPACE}",
    )
    whole = granted(shipped.rights(names.NAMESPACE))
    for seen in (
        with_certificate(rights=needed),
        with_certificate(rights=whole, **older),
        with_certificate(rights=needed, replicas=Unseen("needs list on pods")),
        an_installation(replicas=older["replicas"]),
    ):
        assert every(seen)["rights"].status == "passed"


def test_a_replica_that_is_not_ready_accuses_no_network_first() -> None:
    found = every(an_installation(**replica(problem="502 refused", is_ready=False)))["reachable"]
    assert found.finding.text == "pod/boundtoken-1 is not ready: 502 refused"
    assert found.finding.commands == (f"kubectl logs pod/boundtoken-1 -n {names.NAMESPACE}",)
    assert (found.status, found.cure) == ("failed", NOT_SERVING)


def test_without_a_self_probe_its_right_may_be_there_or_not() -> None:
    whole, less = shipped.rights(names.NAMESPACE), shipped.rights(names.NAMESPACE, has_probe=False)
    flag, variable = "--self-probe-interval", "BOUNDTOKEN_SELF_PROBE_INTERVAL"
    for flags in ([f"{flag}=0"], [flag, "0"], [f"{flag}=0.0"], [f"{flag}=60", flag, "0"]):
        for rights in (whole, less):
            found = every(with_flags(*flags, rights=granted(rights)))
            assert (found["rights"].status, found["rights-excess"].status) == ("passed", "passed")
    by_variable = with_flags(variables=[variable], rights=granted(less))
    assert every(by_variable)["rights"].status == "passed"
    for flags in (
        [],
        [f"{flag}=60"],
        [flag, "60"],
        [f"{flag}=0", f"{flag}=60"],
        [f"{flag}=x"],
        [flag],
    ):
        found = every(with_flags(*flags, rights=granted(less)))
        assert found["rights"].status == "failed"
    both = with_flags(flag, "60", variables=[variable], rights=granted(less))
    assert every(both)["rights"].status == "failed"


def test_with_a_certificate_of_others_the_entry_that_fails_closed_needs_rights_of_its_own() -> None:
    closed = with_entry(0, VALIDATING, failure_policy="Fail")
    needed = shipped.rights(names.NAMESPACE, keeps_ca=False)
    assert every(with_certificate(rights=granted(needed), **closed))["rights"].status == "failed"
    both = granted((*needed, *shipped.FAIL_CLOSED_RIGHTS))
    found = every(with_certificate(rights=both, **closed))
    assert (found["rights"].status, found["rights-excess"].status) == ("passed", "passed")


def test_certificates_of_others_are_not_out_of_step() -> None:
    metrics = {name: value for name, value in METRICS.items() if 'kind="ca"' not in name}
    replicas = (a_replica(metrics={**metrics, "boundtoken_cabundle_in_sync": 0.0}),)
    assert every(an_installation(replicas=replicas))["synced"].status == "passed"


def test_a_network_policy_counts_with_the_others_and_its_range_of_ports() -> None:
    def policy(*ports: Json, **spec: Any) -> Json:
        return {"metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"ports": list(ports)}], **spec}}  # fmt: skip

    def status(*policies: Json) -> str:
        seen = an_installation(network_policies=converted(NetworkPolicy, *policies))
        return every(seen)["network-policies"].status

    closed = policy({"port": 1})
    assert status(closed) == "failed"
    assert status(closed, policy({"port": 10250})) == "passed"
    assert status(policy({"port": 10000, "endPort": 11000})) == "passed"
    assert status(policy({"port": "tls"})) == "passed"
    assert status(policy({"port": 1}, policyTypes=["Egress"])) == "passed"
    assert status(policy({"port": 1}, podSelector={"matchLabels": {"a": "b"}})) == "passed"


def reached_from(*cidrs: str, **rule: Any) -> Result:
    """What is told of a NetworkPolicy that lets the TLS port be reached from these ranges."""
    peers = [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]
    ingress = [{"ports": [{"port": 10250}], "from": peers, **rule}, {"ports": [{"port": 8080}]}]
    document = {"metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": ingress}}
    seen = an_installation(network_policies=converted(NetworkPolicy, document))
    return every(seen)["network-policies"]


@pytest.mark.parametrize(
    "cidr", ["192.0.2.10/32", "198.51.100.0/24", "203.0.113.7/31", "2001:db8:1::/64"]
)
def test_addresses_of_documentation_let_nobody_in(cidr: str) -> None:
    found = reached_from("10.0.0.0/8", cidr)
    text = f"port 10250 may be reached from {cidr}: addresses for documentation"
    assert (found.status, found.finding.text.startswith(text)) == ("warning", True)
    assert found.cure == ADDRESSES
    assert reached_from(cidr, ports=[{"port": 8080}]).status == "failed"


def test_other_addresses_and_peers_are_no_examples() -> None:
    assert reached_from("10.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.0.0/16", "no").status == "passed"
    by_label: Json = {"from": [{"namespaceSelector": {}}]}
    assert reached_from(**by_label).status == "passed"


def test_long_lists_are_cut() -> None:
    namespaces = converted(
        Annotated,
        *(
            {"metadata": {"name": f"n{number}", "annotations": {names.INJECT: "x"}}}
            for number in range(200)
        ),
    )
    result = every(an_installation(namespaces=namespaces))["namespace-annotations"]
    assert result.finding.text.count("; ") < 100
    assert "and 150 more" in result.finding.text
    many = tuple(a_replica(number, problem="away") for number in range(20))
    text = every(an_installation(replicas=many))["reachable"].finding.text
    assert text.endswith(f"and {20 - MAX_LISTED} more")


def absent(**fields: Any) -> Installation:
    """Where nothing of boundtoken is there, but these."""
    policies, bindings = dict.fromkeys(shipped.POLICIES), dict.fromkeys(shipped.BINDINGS)
    nothing: Json = {
        "deployment": None,
        "service": None,
        "file": None,
        "configurations": {MUTATING: (), VALIDATING: ()},
        "policies": policies,
        "bindings": bindings,
        "replicas": (),
        "slices": (),
        "budgets": (),
    }
    return an_installation(**{**nothing, **fields})


def test_where_nothing_is_installed_one_finding_says_so() -> None:
    found = {result.id: result for result in run(ALL, absent())}
    (failed,) = [one for one in found.values() if one.status == "failed"]
    assert (failed.id, failed.cure) == ("deployment", INSTALL)
    assert failed.finding.text.startswith(f"{NOT_INSTALLED}: ")
    others = {one.finding.text for name, one in found.items() if name not in FIRST}
    assert others == {NOT_INSTALLED}


@pytest.mark.parametrize(
    "left",
    [
        {"service": an_installation().service},
        {"policies": an_installation().policies},
        {"configurations": OURS},
        {"configurations": {MUTATING: Unseen("no"), VALIDATING: ()}},
        {"file": Unseen("needs list")},
    ],
)
def test_what_is_left_or_was_not_seen_is_no_sign_that_nothing_is_installed(left: Json) -> None:
    found = every(absent(**left))
    assert found["deployment"].finding.text.startswith("there is no deployment/boundtoken")
    assert found["disruption-budget"].status == "warning"


def a_service(**selector: str) -> Service:
    spec = {"selector": selector, "ports": [{"port": 10250, "targetPort": "tls"}]}
    return msgspec.convert({"spec": spec}, Service)


def test_no_endpoint_is_no_failure_of_its_own_where_another_check_has_told_why() -> None:
    none_ready = every(an_installation(deployment=a_deployment(0, 0), replicas=(), slices=()))
    assert none_ready["endpoints"].status == "unknown"
    assert "while no replica is ready" in none_ready["endpoints"].finding.text
    assert none_ready["replicas"].cure == SCALE
    elsewhere = every(an_installation(service=a_service(app="x"), slices=()))
    assert elsewhere["endpoints"].status == "unknown"
    assert "while the check of the Service fails" in elsewhere["endpoints"].finding.text


def test_a_changed_selector_is_set_back_by_a_command_that_takes_out_what_was_added() -> None:
    changed = a_service(**shipped.LABELS, app="x")
    result = every(an_installation(service=changed))["service"]
    (command,) = result.finding.commands
    *start, patch = shlex.split(command)
    where = ["service/boundtoken", "-n", names.NAMESPACE]
    assert start == ["kubectl", "patch", *where, "--type=json", "-p"]
    spec = {"spec": {"selector": {**shipped.LABELS, "app": "x"}}}
    assert jsonpatch.apply_patch(spec, patch) == {"spec": {"selector": shipped.LABELS}}
    assert result.cure == SELECTOR
    template = {"metadata": {"labels": {"app": "of-an-overlay"}}}
    other = an_installation(service=changed, deployment=a_deployment(spec={"template": template}))
    assert every(other)["service"].finding.commands == (APPLY,)


def test_a_label_is_taken_off_by_a_command_of_its_own() -> None:
    metadata = {
        "name": "n",
        "labels": {names.INJECT: "enabled", "boundtoken.dev/x": "", "app": "a"},
    }
    evil = {"name": "m", "labels": {"boundtoken.dev/x;reboot": ""}}
    annotated = {"name": "o", "annotations": {names.INJECT: "yes"}}
    documents = [{"metadata": one} for one in (metadata, evil, annotated)]
    found = every(an_installation(namespaces=converted(Annotated, *documents)))
    assert found["namespace-annotations"].finding.commands == (
        "kubectl label namespace n boundtoken.dev/inject- boundtoken.dev/x-",
    )


def test_a_cluster_policy_decides_what_is_a_fault() -> None:
    namespaces = converted(Annotated, {"metadata": {"name": "n", "annotations": {names.EXPIRATION_SECONDS: "7200"}}})  # fmt: skip
    seen = an_installation(namespaces=namespaces, cluster=ClusterPolicy())
    assert every(seen)["namespace-annotations"].status == "passed"


def test_the_checks_with_dry_runs_can_be_left_out() -> None:
    tried = {check.id for check in checks(with_token=True)} - {
        check.id for check in checks(with_probes=False)
    }
    assert tried == {"dry-run-pod", "token-governance", "token-year"}
    assert isinstance(ALL[0], Check)


def test_what_was_added_to_a_binding_is_taken_out_by_a_command() -> None:
    spec = {**shipped.BINDINGS[names.POD_POLICY], "matchResources": {"namespaceSelector": {"matchLabels": {"x": "y"}}}}  # fmt: skip
    bindings = {**an_installation().bindings, names.POD_POLICY: specified(spec)}
    commands = every(an_installation(bindings=bindings))["policy-bindings"].finding.commands
    patch = '[{"op":"remove","path":"/spec/matchResources"}]'
    assert f"kubectl patch validatingadmissionpolicybinding/{names.POD_POLICY} --type=json -p '{patch}'" in commands  # fmt: skip


@pytest.mark.parametrize(
    ("name", "field", "status"),
    [
        (names.MISPLACED_POLICY, "matchConditions", "passed"),
        (names.POD_POLICY, "variables", "failed"),
    ],
)
def test_lines_folded_anew_are_no_difference_but_the_end_of_a_comment_is(
    name: str, field: str, status: str
) -> None:
    spec = shipped.POLICIES[name]
    first, *others = spec[field]
    folded = {**first, "expression": " ".join(first["expression"].splitlines())}
    assert folded != first
    policies = {
        **an_installation().policies,
        name: specified({**spec, field: [folded, *others]}),
    }
    assert every(an_installation(policies=policies))["policies"].status == status


def test_the_commands_are_those_for_the_reason() -> None:
    def commands(reason: str) -> tuple[str, ...]:
        waiting = (WAITING._replace(reason=reason),)
        seen = an_installation(deployment=a_deployment(2, 1), waiting=waiting)
        return every(seen)["replicas"].finding.commands

    own = names.NAMESPACE
    assert commands("CrashLoopBackOff") == (f"kubectl logs pod/b-1 -n {own} --previous",)
    assert commands("ImagePullBackOff") == (f"kubectl describe pod/b-1 -n {own}",)
    assert commands("Other") == (f"kubectl describe pod/b-1 -n {own}",)
    paused = a_deployment(spec={"paused": True})
    found = every(an_installation(deployment=paused))["rollout"].finding.commands
    assert found == (f"kubectl rollout resume deployment/boundtoken -n {own}",)


def test_the_settings_of_the_configuration_that_is_there_pass() -> None:
    text = "apiVersion: boundtoken.dev/v1alpha1"
    cluster = ClusterPolicy(api_audiences=("https://api",))
    settings = {
        name: bindings.annotations(cluster, text if name == names.POD_POLICY else "")
        for name in names.POLICY_BINDINGS
    }
    ours = {name: specified(spec, settings.get(name)) for name, spec in shipped.BINDINGS.items()}
    seen = an_installation(bindings=ours, file=a_file()._replace(text=text))
    assert every(seen)["policy-settings"].status == "passed"


def test_what_the_api_server_fills_in_is_no_difference() -> None:
    filled = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    spec = {**SPEC, "matchConstraints": {**filled, **SPEC["matchConstraints"]}}
    policies = {**an_installation().policies, names.POD_POLICY: specified(spec)}
    assert every(an_installation(policies=policies))["policies"].status == "passed"


@pytest.mark.parametrize(
    ("mounted", "name"),
    [((), "boundtoken"), (("c-1",), "c-1"), (("c-1", "of-a-sidecar"), "boundtoken")],
)
def test_a_lost_configuration_is_made_again_beside_the_file_of_an_overlay(
    mounted: tuple[str, ...], name: str
) -> None:
    text = "apiVersion: boundtoken.dev/v1alpha1"
    settings = bindings.annotations(ClusterPolicy(), text)
    ours = {name: specified(spec, settings) for name, spec in shipped.BINDINGS.items()}
    volumes = [{"name": f"v-{one}", "configMap": {"name": one}} for one in mounted]
    deployment = a_deployment(spec={"template": {"spec": {"volumes": volumes}}})
    seen = an_installation(file=None, bindings=ours, deployment=deployment)
    read, create, label = every(seen)["configuration"].finding.commands
    own, file = names.NAMESPACE, "boundtoken-restored.yaml"
    assert read.endswith(f" > {file}")
    assert create == f"kubectl create configmap {name} -n {own} --from-file=config.yaml={file}"
    assert label.startswith(f"kubectl label configmap {name} -n {own} ")
