"""What only a real API server can tell of injection: which pods are injected, and that they run."""

import json
from pathlib import Path

import pytest

from tests.cluster_e2e.sidecar import other_webhook
from tests.controlplane.cluster import ISSUER, MERGE_PATCH, NODE
from tests.support.builders import Json, a_bare_pod, a_container, mounts, token, volume_names
from tests.support.cluster import Cluster, life, namespaces_unreviewed
from tests.support.waiting import wait_for
from webhook.core import names

PATH = names.DEFAULT_PATH
YEAR = 31_536_000
MATRIX = [
    pytest.param("disabled", "enabled", id="neither"),
    pytest.param("disabled", "disabled", id="strip"),
    pytest.param("enabled", "disabled", id="inject and strip"),
    pytest.param("enabled", "enabled", id="inject"),
    pytest.param("replace", "disabled", id="replace and strip"),
    pytest.param("replace", "enabled", id="replace"),
]


def see_cell(cluster: Cluster, pod: Json, inject: str, automount: str) -> None:
    """One cell of the matrix, by what the pod carries and by how long its tokens live."""
    names_, spec = volume_names(pod), pod["spec"]
    assert spec.get("automountServiceAccountToken") is (False if automount == "disabled" else None)
    lives = {volume: life(token) for volume, token in cluster.tokens(pod).items()}
    status = (pod["metadata"].get("annotations") or {}).get(names.STATUS, "")
    if inject != "disabled":
        reason = "injected" if automount == "disabled" else "rewritten"
        assert status.startswith(
            f"{reason}: audience=(API server) expires=3600 set-by=namespace policy="
        )
    else:
        assert status.partition(" set-by")[0] == (
            "stripped: automount=disabled" if automount == "disabled" else ""
        )
    if inject == "disabled" and automount == "disabled":
        assert (names_, mounts(pod)["app"], lives) == ([], [], {})
        return
    (name,) = names_
    assert mounts(pod)["app"] == [(name, PATH)]
    assert name == "boundtoken" if automount == "disabled" else name.startswith("kube-api-access-")
    assert lives == {f"{name}/token": YEAR if inject == "disabled" else 3600}


@pytest.mark.parametrize(("inject", "automount"), MATRIX)
def test_each_cell_for_a_bare_pod(cluster: Cluster, inject: str, automount: str) -> None:
    pod = cluster.run(cluster.namespace(inject=inject, automount=automount))
    see_cell(cluster, pod, inject, automount)


@pytest.mark.parametrize(("inject", "automount"), MATRIX)
def test_each_cell_for_a_deployments_pods(cluster: Cluster, inject: str, automount: str) -> None:
    pod = cluster.deployment(cluster.namespace(inject=inject, automount=automount))
    cluster.bind(pod)
    see_cell(cluster, pod, inject, automount)


@pytest.mark.parametrize(("inject", "expected"), [("enabled", ["boundtoken"]), ("replace", [])])
def test_a_service_account_that_opts_out_gets_ours_by_enabled_and_stays_out_by_replace(
    cluster: Cluster, inject: str, expected: list[str]
) -> None:
    namespace = cluster.namespace()
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    cluster.plane.call("PATCH", path, {"automountServiceAccountToken": False}, kind=MERGE_PATCH)

    def probe() -> list[str]:
        pod, _ = cluster.create(namespace, a_bare_pod(name="probe"), query="?dryRun=All")
        return volume_names(pod)

    wait_for(lambda: probe() == [])  # the plugin knows
    cluster.annotate(namespace, inject="enabled", automount="disabled")
    wait_for(lambda: probe() == ["boundtoken"])
    cluster.annotate(namespace, inject=inject)
    wait_for(lambda: probe() == expected)


def test_a_misspelt_inject_beside_automount_disabled_takes_no_token(cluster: Cluster) -> None:
    with namespaces_unreviewed(cluster):  # else the API server takes no such namespace
        namespace = cluster.namespace(inject="true", automount="disabled")
    pod = cluster.run(namespace)
    (name,) = volume_names(pod)
    assert mounts(pod)["app"] == [(name, PATH)]
    assert "automountServiceAccountToken" not in pod["spec"]


def test_a_container_that_is_skipped_keeps_the_automounted_token(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    skip = {names.SKIP_CONTAINERS: "side"}
    pod = cluster.run(
        namespace, a_bare_pod(a_container("app"), a_container("side"), annotations=skip)
    )
    automounted, ours = volume_names(pod)
    assert mounts(pod) == {"app": [(ours, PATH)], "side": [(automounted, PATH)]}
    lives = {volume: life(token) for volume, token in cluster.tokens(pod).items()}
    assert lives == {f"{automounted}/token": YEAR, f"{ours}/token": 3600}


@pytest.mark.parametrize("order", ["a", "z"], ids=["sorted before ours", "sorted after ours"])
@pytest.mark.parametrize("automount", ["enabled", "disabled"])
@pytest.mark.parametrize("path", [PATH, "/bound"], ids=["default path", "own path"])
def test_a_sidecar_of_another_webhook_gets_its_mount(
    cluster: Cluster, order: str, automount: str, path: str
) -> None:
    namespace = cluster.namespace(
        labels={"sidecar": "yes"}, inject="enabled", automount=automount, mount_path=path
    )
    with other_webhook(cluster.plane, f"{order}-sidecar", namespace):
        pod = cluster.run(namespace)
    by_container = mounts(pod)
    assert path in [mount_path for _, mount_path in by_container["sidecar"]]
    assert sorted(by_container["sidecar"]) == sorted(by_container["app"])
    lives = {life(token) for token in cluster.tokens(pod).values()}
    assert lives == {3600}
    assert len(volume_names(pod)) == (2 if path != PATH and automount == "enabled" else 1)


def test_a_mirror_pod_of_the_node_passes_untouched(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    node = cluster.plane.call("GET", f"/api/v1/nodes/{NODE}")
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": NODE,
        "uid": node["metadata"]["uid"],
        "controller": True,
    }
    annotations = {names.MIRROR_POD: "hash", "kubernetes.io/config.source": "file"}
    pod = a_bare_pod(name=f"static-{NODE}", annotations=annotations, nodeName=NODE)
    pod["metadata"]["ownerReferences"] = [owner]
    created = cluster.plane.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod, user="node")
    assert volume_names(created) == []
    assert created["metadata"]["annotations"] == annotations
    assert "automountServiceAccountToken" not in created["spec"]


def test_warnings_reach_the_client_and_audit_annotations_the_log(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    _, warnings = cluster.create(
        namespace,
        a_bare_pod(annotations={names.EXPIRATION_SECONDS: "599", names.DOMAIN + "injct": "x"}),
    )
    assert warnings == [
        'boundtoken.dev/injct="x" on the pod: ignored, there is no such annotation; did you mean boundtoken.dev/inject?',
        'boundtoken.dev/expiration-seconds="599" on the pod: 600 is used: 600 is the shortest that Kubernetes accepts',
    ]
    (event,) = wait_for(lambda: cluster.audit(namespace))
    assert event["pods.boundtoken.dev/reason"] == "rewritten"
    assert len(event["pods.boundtoken.dev/policy"]) == 8
    assert event["pods.boundtoken.dev/faults"] == "; ".join(warnings)


def test_an_audience_that_is_the_api_servers_own_surprises_nobody(cluster: Cluster) -> None:
    """We learn it from the aud claim of our own token."""
    namespace = cluster.namespace(inject="enabled")
    assert (
        cluster.create(namespace, a_bare_pod(name="own", annotations={names.AUDIENCE: ISSUER}))[1]
        == []
    )
    (warning,) = cluster.create(
        namespace, a_bare_pod(name="other", annotations={names.AUDIENCE: "vault"})
    )[1]
    assert "replaces the Kubernetes API token: API clients in this pod will get 401" in warning


def test_a_person_with_kubectl_sees_the_warning(cluster: Cluster, tmp_path: Path) -> None:
    namespace = cluster.namespace(inject="enabled")
    file = tmp_path / "pod.json"
    file.write_text(
        json.dumps(
            {"apiVersion": "v1", "kind": "Pod", **a_bare_pod(annotations={names.AUDIENCE: "a b"})}
        )
    )
    stderr = cluster.plane.run_kubectl("apply", "-n", namespace, "-f", str(file)).stderr
    assert 'Warning: boundtoken.dev/audience="a b" on the pod: ignored' in stderr


def test_the_reason_in_the_audit_log_is_the_same_in_both_rounds(cluster: Cluster) -> None:
    namespace = cluster.namespace(labels={"sidecar": "yes"}, inject="enabled", automount="disabled")
    since = len(cluster.plane.logs("kube-apiserver", 10**6).splitlines())
    with other_webhook(cluster.plane, "z-sidecar", namespace):
        cluster.create(namespace, a_bare_pod())
    event = wait_for(lambda: cluster.audit(namespace))[-1]
    assert event["pods.boundtoken.dev/reason"] == "injected"
    complaints = [
        line
        for line in cluster.plane.logs("kube-apiserver", 10**6).splitlines()[since:]
        if "audit annotation" in line
    ]
    assert complaints == []


def test_annotating_the_namespace_changes_the_next_pod_within_a_second(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    assert (
        token(
            cluster.create(namespace, a_bare_pod(name="before"))[0],
            _only(cluster, namespace, "before"),
        )["expirationSeconds"]
        == 3607
    )
    cluster.annotate(namespace, inject="enabled", automount="disabled")
    wait_for(
        lambda: (
            volume_names(cluster.create(namespace, a_bare_pod(), query="?dryRun=All")[0])
            == ["boundtoken"]
        ),
        1,
        0.01,
    )
    cluster.annotate(namespace, inject=None, automount=None)
    wait_for(
        lambda: (
            volume_names(cluster.create(namespace, a_bare_pod(), query="?dryRun=All")[0])
            != ["boundtoken"]
        ),
        1,
        0.01,
    )


def _only(cluster: Cluster, namespace: str, pod: str) -> str:
    (name,) = volume_names(cluster.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}"))
    return name


def test_a_namespace_and_its_pod_created_back_to_back_are_handled(cluster: Cluster) -> None:
    for _ in range(10):
        namespace = cluster.namespace(wait=False, inject="enabled", automount="disabled")
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        cluster.plane.call("POST", account, {"metadata": {"name": "own"}})
        pod, _ = cluster.create(namespace, a_bare_pod(serviceAccountName="own"))
        assert volume_names(pod) == ["boundtoken"]


def test_a_server_side_dry_run_shows_the_patched_pod(cluster: Cluster, tmp_path: Path) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    file = tmp_path / "pod.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", **a_bare_pod()}))
    shown = json.loads(
        cluster.plane.kubectl(
            "create", "--dry-run=server", "-o", "json", "-n", namespace, "-f", str(file)
        )
    )
    assert volume_names(shown) == ["boundtoken"]
    assert cluster.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []


def test_fields_that_only_a_new_api_server_knows_survive(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    sidecar = a_container("side", restartPolicy="Always", startupProbe={"grpc": {"port": 8080}})
    pod, _ = cluster.create(namespace, a_bare_pod(initContainers=[sidecar]))
    (kept,) = pod["spec"]["initContainers"]
    assert (kept["restartPolicy"], kept["startupProbe"]["grpc"]["port"]) == ("Always", 8080)
    assert mounts(pod)["side"] == [("boundtoken", PATH)]


def test_a_pod_copied_from_a_living_one_is_brought_to_the_policy_that_holds(
    cluster: Cluster,
) -> None:
    first = cluster.run(cluster.namespace(inject="enabled", automount="disabled", audience="vault"))
    namespace = cluster.namespace(inject="enabled", automount="disabled", expiration_seconds="1200")
    copied = {
        "metadata": {"name": "copy", "annotations": first["metadata"]["annotations"]},
        "spec": first["spec"],
    }
    pod, _ = cluster.create(namespace, copied)
    assert volume_names(pod) == ["boundtoken"]
    assert token(pod, "boundtoken") == {"path": "token", "expirationSeconds": 1200}
