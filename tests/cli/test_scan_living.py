"""`boundtoken scan -f` of what kubectl get printed: living pods beside what made them."""

from typing import Any

import pytest

from tests.support.builders import Json, a_container, a_pod, automounted, mutated
from tests.support.scanned_manifests import ON, a_space, a_workload, scanned

HASH = {"pod-template-hash": "7f"}


def owned_by(kind: str, name: str, api: str = "apps/v1") -> Json:
    return {"ownerReferences": [{"apiVersion": api, "kind": kind, "name": name, "controller": True}]}  # fmt: skip


def living(name: str, pod: Json | None = None, **metadata: Any) -> Json:
    made = automounted(a_pod()) if pod is None else pod
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**made["metadata"], "name": name, "namespace": "shop", "uid": f"u-{name}", **metadata},
        "spec": {**made["spec"], "nodeName": "node-1"},
        "status": {"phase": "Running"},
    }  # fmt: skip


def of_cart(name: str, pod: Json | None = None) -> Json:
    return living(name, pod, labels=HASH, **owned_by("ReplicaSet", "cart-7f"))


def a_replica_set(**changed: Any) -> Json:
    made = a_workload()
    made |= {"kind": "ReplicaSet"}
    made["metadata"] = {"name": "cart-7f", "namespace": "shop", "labels": HASH, **owned_by("Deployment", "cart")}  # fmt: skip
    made["spec"] = {**made["spec"], **changed}
    return made


def told(*documents: Json) -> list[tuple[str, str]]:
    _, found = scanned(*documents)
    return [(row["object"], row["owner"]) for row in found["tokens"]]


PODS = [(f"pod/cart-{number}", "deployment/cart") for number in range(2)]


def test_pods_beside_their_deployment_are_counted_once_and_told_as_in_a_cluster() -> None:
    pods = [of_cart("cart-0"), of_cart("cart-1")]
    assert told(a_space(), a_workload(), *pods) == PODS
    assert told(a_space(), *pods, a_replica_set(), a_workload()) == PODS
    assert told(a_space(), *pods, a_replica_set()) == [(name, "replicaset/cart-7f") for name, _ in PODS]  # fmt: skip
    assert told(a_space(), *pods) == PODS
    _, found = scanned(a_space(**ON), a_workload(), *pods)
    (missing,) = (one for one in found["findings"] if one["code"] == "missing")
    assert missing["message"] == "2 of 2 pods have no token of boundtoken, and one is requested"
    assert missing["fix"] == "kubectl rollout restart deployment/cart -n shop"


def test_a_living_pod_has_what_it_has_and_not_what_it_would_get() -> None:
    plain = living("web", a_pod())  # such as one whose service account opts out
    assert told(a_space(), plain) == []
    manifest = {key: plain[key] for key in ("apiVersion", "kind")}
    manifest |= {"metadata": {"name": "web", "namespace": "shop"}, "spec": {**a_pod()["spec"], "nodeName": "x"}}  # fmt: skip
    assert told(a_space(), manifest) == [("pod/web", "")]
    _, found = scanned(a_space(), living("web"))
    assert (found["namespaces"][0]["pods"], found["namespaces"][0]["yearLong"]) == (1, 1)


@pytest.mark.parametrize("sign", [{"uid": ""}, {"status": {}}, {"nodeName": None}])
def test_two_signs_of_life_are_enough(sign: Json) -> None:
    pod = living("web", a_pod())
    for part, inner in ((pod["metadata"], "uid"), (pod, "status"), (pod["spec"], "nodeName")):
        part[inner] = sign.get(inner, part[inner])
    assert told(a_space(), pod) == []


def test_a_replica_set_that_is_kept_for_a_rollback_is_not_counted() -> None:
    old = a_replica_set(replicas=0)
    old["spec"]["template"]["spec"] = a_pod(a_container("other", ("t", "/t")))["spec"]
    assert told(a_space(), a_workload(), old) == [("deployment/cart", "")]
    old["spec"]["replicas"] = 1
    assert told(a_space(), old, a_workload()) == [("deployment/cart", ""), ("replicaset/cart-7f", "")]  # fmt: skip


def test_a_manifest_that_names_an_owner_among_the_files_is_left_to_it() -> None:
    pod = {**a_pod(), "metadata": {"name": "x", "namespace": "shop", "labels": HASH, **owned_by("ReplicaSet", "cart-7f")}}  # fmt: skip
    assert told(a_space(), pod, a_workload()) == [("deployment/cart", "")]
    volume = {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    pod["spec"]["volumes"] = [volume]  # which nobody hides behind an owner
    assert ("pod/x", "") in told(a_space(), pod, a_workload())


def test_a_job_and_its_cron_job() -> None:
    template = a_workload()["spec"]["template"]
    cron: Json = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "shop"}, "spec": {"jobTemplate": {"spec": {"template": template}}}}  # fmt: skip
    job: Json = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "c-1", "namespace": "shop", **owned_by("CronJob", "c", "batch/v1")}, "spec": {"template": template}}  # fmt: skip
    pod = living("c-1-x", **owned_by("Job", "c-1", "batch/v1"))
    assert told(a_space(), job, cron) == [("cronjob/c", "")]
    assert told(a_space(), job) == [("job/c-1", "")]
    assert told(a_space(), pod, job, cron) == [("pod/c-1-x", "cronjob/c")]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert told(a_space(), job) == []


def test_without_the_configuration_a_pod_of_ours_is_not_called_stale() -> None:
    ours = of_cart("cart-0", mutated(automounted(a_pod()), **ON, expiration_seconds="1200"))
    _, found = scanned(a_space(**ON), a_workload(), ours)
    assert "stale" not in [one["code"] for one in found["findings"]]


def test_bare_pods_of_one_name_are_two() -> None:
    _, found = scanned(a_space(), living("web"), living("web"))
    assert [one["object"] for one in found["findings"] if one["code"] == "year-long"] == ["pod/web"] * 2  # fmt: skip


def test_a_living_pod_that_cannot_be_read_is_told() -> None:
    pod = living("web")
    pod["spec"]["volumes"] = [{"name": "x", "csi": {"driver": 7}}]
    _, found = scanned(a_space(), pod)
    assert [(one["object"], one["code"]) for one in found["findings"]] == [
        ("pod/web", "unreadable")
    ]
