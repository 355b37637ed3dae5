"""Would the API server call us: selectors, conditions and rules as Kubernetes has them."""

import copy
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.builders import Json, a_deployment, a_pod
from tests.support.paths import ROOT
from webhook.core import names
from webhook.simulation.calling import (
    CONDITIONS,
    NAME_LABEL,
    RESOURCES,
    Calling,
    Configuration,
    Selector,
    call_for,
    calling,
    others,
)

MANIFESTS = [
    *ROOT.glob("manifests/7*.yaml"),
    ROOT / "manifests/optional/legacy-tokens-fail-closed/kustomization.yaml",
]


def shipped() -> list[Json]:
    """Every webhook configuration in our manifests, and what is merged into one."""
    found: list[Json] = []
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            patches = [yaml.safe_load(patch["patch"]) for patch in document.get("patches", ())]
            merged = [patch for patch in patches if isinstance(patch, dict)]
            found += merged or [document]
    return found


def ours(kind: str = "MutatingWebhookConfiguration") -> Configuration:
    (found,) = (
        item for item in shipped() if item["kind"] == kind and "rules" in item["webhooks"][0]
    )
    return msgspec.convert(found, Configuration)


def callings(
    document: Json, *, labels: dict[str, str] | None = None, namespace: str = "shop", **more: Any
) -> dict[str, Calling]:
    call = call_for(document, namespace, labels, **more)
    return {
        entry.name: calling(entry, names.APP, call)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for entry in ours(kind).webhooks or ()
    }


def called(document: Json, **more: Any) -> list[str]:
    found = callings(document, **more)
    return [name.partition(".")[0] for name, one in found.items() if one.called]


def a_workload(kind: str = "Deployment", **annotations: str) -> Json:
    given = {names.DOMAIN + name: value for name, value in annotations.items()}
    document = a_deployment(given or None)
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    spec = document["spec"]
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": spec["template"]}}}
    return {**document, "apiVersion": group, "kind": kind, "spec": spec}


def test_every_condition_that_we_ship_about_pods_and_workloads_is_known() -> None:
    known = set(RESOURCES.values())
    texts = {
        " ".join(condition["expression"].split())
        for configuration in shipped()
        for entry in configuration["webhooks"]
        if "rules" not in entry or any(known & set(rule["resources"]) for rule in entry["rules"])
        for condition in entry.get("matchConditions", ())
    }
    assert texts == set(CONDITIONS)


def test_a_pod_is_sent_to_both_webhooks_and_an_excluded_or_mirror_pod_is_not() -> None:
    assert called(a_pod()) == ["pods", "enforced"]
    assert called(a_pod(), namespace="kube-system") == []
    assert called(a_pod(annotations={names.MIRROR_POD: "x"})) == ["enforced"]
    found = callings(a_pod(), namespace="kube-public")["pods.boundtoken.dev"]
    assert [(check.what, check.holds) for check in found.checks] == [
        ("rule", True),
        ("namespaceSelector", False),
        ("objectSelector", True),
        ("matchConditions not-a-mirror-pod", True),
    ]


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"]
)
def test_a_workload_is_sent_where_it_carries_an_annotation_of_ours_or_a_copy(kind: str) -> None:
    plain = a_workload(kind)
    assert called(plain) == ["templates"]
    assert called(a_workload(kind, audience="vault")) == ["workloads", "templates"]
    carried = copy.deepcopy(plain)
    spec = carried["spec"]
    template = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    template.setdefault("metadata", {})["annotations"] = {names.FROM_WORKLOAD: "audience=12345678"}
    assert called(carried) == ["workloads", "templates"]
    owned = copy.deepcopy(plain)
    owned["metadata"]["ownerReferences"] = [{"kind": "X", "name": "x", "controller": True}]
    assert called(owned) == []
    if kind == "CronJob":
        plain["spec"]["jobTemplate"]["metadata"] = {"annotations": {names.INJECT: "enabled"}}
        assert called(plain) == ["workloads", "templates"]


def test_a_job_is_never_sent_at_an_update_and_a_deployment_is() -> None:
    assert called(a_workload("Job", inject="enabled"), operation="UPDATE") == ["templates"]
    given = a_workload(inject="enabled")
    assert called(given, operation="UPDATE") == ["workloads", "templates"]


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1"}, True),
        ({"matchLabels": {"a": "1"}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "1"}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)  # fmt: skip
def test_a_selector_matches_as_in_kubernetes(
    selector: Json, labels: dict[str, str], matches: bool
) -> None:
    assert msgspec.convert(selector, Selector).matches(labels) == matches


def an_entry(**fields: Any) -> Configuration:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    entry = {"name": "other.example.com", "rules": [rule], **fields}
    return msgspec.convert({"metadata": {"name": "other"}, "webhooks": [entry]}, Configuration)


def one(configuration: Configuration, document: Json | None = None, **more: Any) -> Calling:
    (entry,) = configuration.webhooks or ()
    call = call_for(document or a_pod(), "shop", more.pop("labels", {}), **more)
    return calling(entry, "other", call)


@pytest.mark.parametrize(
    ("resources", "matches"),
    [(["*"], True), (["*/*"], True), (["pods/*"], True), (["*/status"], False), (["pods/status"], False), (["nodes"], False), ([], False)],
)  # fmt: skip
def test_a_rule_names_resources_as_in_kubernetes(resources: list[str], matches: bool) -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": resources, "operations": ["*"]}
    assert one(an_entry(rules=[rule])).called is matches


@pytest.mark.parametrize("field", ["apiGroups", "apiVersions", "operations"])
def test_a_rule_with_another_value_does_not_match(field: str) -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    assert one(an_entry(rules=[{**rule, field: ["other"]}])).called is False
    assert one(an_entry(rules=[{**rule, "scope": "Cluster"}])).called is False
    assert one(an_entry(rules=[{**rule, "scope": "Namespaced"}])).called is True


def test_an_expression_that_is_not_ours_is_told_and_not_guessed() -> None:
    found = one(an_entry(matchConditions=[{"name": "odd", "expression": "true ||\n false"}]))
    assert found.called is None
    assert found.checks[-1] == ("matchConditions odd", None, "not evaluated: true || false")
    selector = {"matchLabels": {"no": "such"}}
    conditions = [{"name": "odd", "expression": "true"}]
    assert one(an_entry(objectSelector=selector, matchConditions=conditions)).called is False


def test_labels_that_are_not_known_decide_nothing_but_a_name_is_always_known() -> None:
    by_label = an_entry(namespaceSelector={"matchLabels": {"team": "shop"}})
    assert one(by_label, labels=None).called is None
    assert one(by_label, labels={"team": "shop"}).called is True
    assert one(by_label, labels={}).called is False
    by_name = an_entry(namespaceSelector={"matchLabels": {NAME_LABEL: "shop"}})
    assert one(by_name, labels=None).called is True


def test_an_object_selector_reads_the_labels_of_both_objects() -> None:
    document = a_pod()
    document["metadata"]["labels"] = {"app": "web"}
    by_label = an_entry(objectSelector={"matchLabels": {"app": "web"}})
    assert one(by_label, document).called is True
    assert one(by_label).called is False


def test_who_else_mutates_is_told_in_the_order_of_the_names() -> None:
    def named(name: str, **fields: Any) -> Configuration:
        made = an_entry(**fields)
        metadata = msgspec.structs.replace(made.metadata, name=name)
        return msgspec.structs.replace(made, metadata=metadata)

    given = (
        named("z-mesh"),
        named("a-once"),
        named("a-twice", reinvocationPolicy="IfNeeded"),
        named("y-elsewhere", namespaceSelector={"matchLabels": {"mesh": "on"}}),
        ours(),
    )
    found = others(given, call_for(a_pod(), "shop", {}))
    assert found.before == ("a-once/other.example.com", "a-twice/other.example.com")
    assert found.again == ("a-twice/other.example.com",)
    assert found.after == ("z-mesh/other.example.com",)
