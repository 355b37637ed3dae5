"""Which layer decides a setting, what each layer requests, and what is wrong with it."""

import pytest

from tests.support.builders import Json, a_deployment, a_namespace_policy, a_pod, memory
from webhook.core import names
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, TokenPolicy
from webhook.simulation.admission import Admission
from webhook.simulation.explanation import Explained, explain
from webhook.simulation.layers import Lock, Request, Setting, demands, locks

LAYERS = ("locks", "pod", "template", "workload", "namespace", "defaults")


def explained(
    document: Json, cluster: ClusterPolicy | None = None, /, **annotations: str
) -> Explained:
    cluster = cluster or ClusterPolicy()
    return explain(document, Admission("shop", cluster, a_namespace_policy(cluster, **annotations)))


def setting(name: str, found: Explained) -> Setting:
    return next(one for one in found.settings if one.name == name)


def a_template(annotations: dict[str, str], workload: dict[str, str] | None = None) -> Json:
    document = a_deployment(workload)
    document = {**document, "apiVersion": "apps/v1", "kind": "Deployment"}
    template = document["spec"]["template"]
    template.setdefault("metadata", {})["annotations"] = annotations
    return document


DEFAULT_HOUR = ClusterPolicy(defaults=TokenPolicy(expiration_seconds=1200))


@pytest.mark.parametrize(
    ("layer", "document", "cluster", "namespace", "value"),
    [
        ("defaults", a_pod(), DEFAULT_HOUR, {}, "1200"),
        ("namespace", a_pod(), DEFAULT_HOUR, {"expiration_seconds": "1300"}, "1300"),
        ("workload", a_template({}, {names.EXPIRATION_SECONDS: "1400"}), DEFAULT_HOUR, {"expiration_seconds": "1300"}, "1400"),
        ("template", a_template({names.EXPIRATION_SECONDS: "1500"}, {names.EXPIRATION_SECONDS: "1400"}), DEFAULT_HOUR, {}, "1500"),
        ("pod", a_pod(annotations={names.EXPIRATION_SECONDS: "1600"}), DEFAULT_HOUR, {"expiration_seconds": "1300"}, "1600"),
        ("locks", a_pod(annotations={names.EXPIRATION_SECONDS: "9000"}), ClusterPolicy(locks=Locks(max_expiration_seconds=1700)), {}, "1700"),
    ],
    ids=["defaults", "namespace", "workload", "template", "pod", "locks"],
)  # fmt: skip
def test_every_layer_decides_once(
    layer: str, document: Json, cluster: ClusterPolicy, namespace: dict[str, str], value: str
) -> None:
    found = setting("expiration-seconds", explained(document, cluster, **namespace))
    assert (found.value, found.decided_by) == (value, layer)
    order = [LAYERS.index(request.layer) for request in found.requests]
    assert order == sorted(order)


def test_a_lock_of_the_namespace_and_one_over_the_defaults_decide_too() -> None:
    found = explained(a_pod(), max_expiration_seconds="900")
    assert setting("expiration-seconds", found)[1:3] == ("900", "locks")
    cluster = ClusterPolicy(defaults=TokenPolicy(audience="vault"))
    found = explained(a_pod(), cluster, allowed_audiences="aws")
    assert setting("audience", found)[1:3] == ("", "locks")


def test_what_is_not_used_is_told_with_its_fault() -> None:
    found = setting("audience", explained(a_pod(annotations={names.AUDIENCE: "a b"}), audience="x"))
    assert (found.value, found.decided_by) == ("x", "namespace")
    pod, namespace, defaults = found.requests
    assert (pod.layer, pod.value) == ("pod", "a b")
    assert pod.problem.startswith("ignored, must be one audience")
    assert namespace == Request("namespace", "x")
    assert defaults == Request("defaults", "")


def test_a_bad_value_of_a_workload_is_told_although_it_is_not_copied() -> None:
    found = explained(a_template({}, {names.EXPIRATION_SECONDS: "1h"}))
    workload, defaults = setting("expiration-seconds", found).requests
    assert (workload.layer, workload.value) == ("workload", "1h")
    assert workload.problem.startswith("ignored, must be an integer")
    assert defaults.problem == ""
    assert [fault.layer for fault in found.faults] == ["workload"]


def test_the_templates_own_value_wins_over_its_workloads() -> None:
    found = explained(a_template({names.AUDIENCE: "mine"}, {names.AUDIENCE: "yours"}))
    template, workload, _ = setting("audience", found).requests
    assert template == Request("template", "mine")
    assert workload == Request("workload", "yours", "the template's own value wins")


def test_an_annotation_on_what_another_workload_owns_is_told_to_have_no_effect() -> None:
    owned = {**a_template({}, {names.AUDIENCE: "vault"}), "kind": "ReplicaSet"}
    owned["metadata"]["ownerReferences"] = [{"kind": "X", "name": "x", "controller": True}]
    found = explained(owned)
    assert found.workload is not None
    assert found.workload.mutation.reason == "left-to-owner"
    workload, _ = setting("audience", found).requests
    assert workload.problem == "ignored, another workload owns this one: annotate that one"


def test_a_copy_in_a_pod_is_its_workloads_also_where_no_owner_is_seen() -> None:
    copied = {names.AUDIENCE: "vault"}
    pod = a_pod(annotations={**copied, names.FROM_WORKLOAD: memory(copied)})
    assert setting("audience", explained(pod)).decided_by == "workload"
    changed = a_pod(annotations={names.AUDIENCE: "aws", names.FROM_WORKLOAD: memory(copied)})
    assert setting("audience", explained(changed)).decided_by == "pod"


def test_locks_and_demands_name_where_they_were_set() -> None:
    cluster = ClusterPolicy(
        locks=Locks(max_expiration_seconds=7200, pod_overrides=False), enforce_floor="bound"
    )
    own = a_namespace_policy(cluster, allowed_audiences="vault", enforce="strict", audit="bound")
    assert locks(cluster, own) == (
        Lock("max-expiration-seconds", "7200", "the configuration"),
        Lock("allowed-audiences", "vault", "the namespace"),
        Lock("pod-overrides", "denied", "the configuration"),
    )
    assert demands(cluster, own) == (
        Lock("enforce", "strict:v1", "the namespace"),
        Lock("audit", "bound:v1", "the namespace"),
        Lock("enforceFloor", "bound", "the configuration"),
    )
    assert locks(ClusterPolicy(), a_namespace_policy()) == ()


def miss(document: Json, **annotations: str) -> bool:
    return explained(document, **annotations).is_missed


def test_a_request_that_gives_no_token_is_a_miss_and_an_opt_out_is_none() -> None:
    assert not miss(a_pod(), inject="enabled")
    assert not miss(a_pod())
    assert not miss(a_pod(automountServiceAccountToken=False), inject="enabled")
    assert not miss(a_pod(automountServiceAccountToken=False), inject="replace")
    assert miss(a_pod(annotations={names.INJECT: "true"}))
    assert miss(a_pod(annotations={names.MIRROR_POD: "x"}), inject="enabled")


def test_a_mirror_pod_gets_no_volume_of_the_plugin() -> None:
    found = explained(a_pod(annotations={names.MIRROR_POD: "x"}))
    assert found.before is not None
    assert "volumes" not in found.before["spec"]
    assert found.mutation.reason == "mirror-pod"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Pod", "apiVersion": "v1", "spec": 7},
        {"kind": "Pod", "apiVersion": "v1", "metadata": []},
        {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [7]}},
        {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": [1]},
        {"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"template": 7}},
        {"kind": "Rollout", "apiVersion": "a/v1", "spec": {"template": {"metadata": [1], "spec": {"containers": []}}}},
        {"kind": "Rollout", "apiVersion": "a/v1", "spec": {"template": {"spec": {"containers": ["x"]}}}},
    ],
)  # fmt: skip
def test_any_object_is_explained_or_told_to_be_unreadable(document: Json) -> None:
    found = explained(document, inject="enabled")
    if found.problem:
        assert found.mutation.reason == "malformed-review"
    else:
        assert found.mutation.reason == "not-applicable"


def test_an_empty_pod_and_a_kind_that_boundtoken_does_not_know() -> None:
    assert explained({"kind": "Pod", "apiVersion": "v1"}, inject="enabled").mutation.reason == (
        "unchanged"
    )
    rollout = {
        **a_template({names.AUDIENCE: "vault"}),
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
    }
    found = explained(rollout, inject="enabled")
    assert found.workload is not None
    assert found.workload.mutation.reason == "not-applicable"
    assert found.mutation.reason == "rewritten"
    assert setting("audience", found).decided_by == "template"
