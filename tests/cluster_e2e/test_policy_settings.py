"""The policies with boundtoken beside them: what the replicas keep in the bindings, what everything
costs, who is starved.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, StatusError
from tests.support.builders import COMPLIANT, VIOLATING, Json, a_bare_pod
from tests.support.cluster import BINDINGS, NAMESPACES, Cluster, quiet, rolled_out, starved
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken, free_port
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.enforcement.policies import bindings

PODS = 200
ALL = pytest.mark.parametrize("name", names.POLICY_BINDINGS)


def metric(cluster: Cluster, name: str) -> list[float]:
    """A metric of every replica."""
    found = []
    for pod in cluster.kubelet.pods:
        with urllib.request.urlopen(f"http://{pod.ip}:8080/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found.append(
            next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
        )
    return found


def annotate(cluster: Cluster, name: str, annotations: dict[str, str | None]) -> None:
    cluster.plane.call(
        "PATCH", f"{BINDINGS}/{name}", {"metadata": {"annotations": annotations}}, kind=MERGE_PATCH
    )


@ALL
@pytest.mark.parametrize("how", ["deleted", "emptied", "garbled", "one changed", "one added"])
def test_what_somebody_changes_in_a_binding_is_put_back_within_five_seconds(
    cluster: Cluster, name: str, how: str
) -> None:
    wait_for(lambda: metric(cluster, "boundtoken_policy_in_sync") == [1.0, 1.0], 20)
    before = cluster.settings(name)
    assert before[names.EXCLUDED_NAMESPACES].split() == [
        "boundtoken-system",
        "kube-node-lease",
        "kube-public",
        "kube-system",
    ]
    bad: dict[str, str | None] = {
        "deleted": dict.fromkeys(before),
        "emptied": dict.fromkeys(before, ""),
        "garbled": dict.fromkeys(before, "garbage"),
        "one changed": {names.ENFORCE_FLOOR: "strict"},
        "one added": {names.DOMAIN + "unknown": "x"},
    }[how]  # type: ignore[assignment]
    annotate(cluster, name, bad)
    wait_for(lambda: cluster.settings(name) == before, 5)
    wait_for(lambda: metric(cluster, "boundtoken_policy_in_sync") == [1.0, 1.0], 5)


def test_the_annotations_of_others_and_a_second_apply_are_left_alone(cluster: Cluster) -> None:
    name = names.POD_POLICY
    before = cluster.settings(name)
    annotate(cluster, name, {"team": "platform"})
    cluster.plane.kubectl("apply", "-k", "manifests")
    assert cluster.settings(name) == before
    assert (
        cluster.plane.call("GET", f"{BINDINGS}/{name}")["metadata"]["annotations"]["team"]
        == "platform"
    )
    annotate(cluster, name, {"team": None})


def test_what_another_replica_has_written_whole_is_left_to_it_for_a_while(cluster: Cluster) -> None:
    name = names.POD_POLICY
    before = cluster.settings(name)
    others = {**before, names.ENFORCE_FLOOR: "bound"}
    others[names.CONFIG_DIGEST] = bindings.digest(
        {key: value for key, value in others.items() if key != names.CONFIG_DIGEST}
    )
    annotate(cluster, name, dict(others))
    time.sleep(6)
    assert cluster.settings(name) == others
    annotate(cluster, name, {names.CONFIG_DIGEST: "x"})
    wait_for(lambda: cluster.settings(name) == before, 5)


def test_a_deleted_binding_is_logged_and_counted_and_made_again_by_apply(
    cluster: Cluster,
) -> None:
    name = names.LEGACY_SECRET_POLICY
    counted = 'boundtoken_policy_updates_total{result="missing"}'
    before = metric(cluster, counted)
    expected = cluster.settings(name)
    cluster.plane.kubectl("delete", "validatingadmissionpolicybinding", name)
    wait_for(lambda: metric(cluster, "boundtoken_policy_in_sync") == [0.0, 0.0], 10)
    wait_for(
        lambda: (
            [now - then for now, then in zip(metric(cluster, counted), before, strict=True)]
            == [1.0, 1.0]
        ),
        10,
    )
    for pod in cluster.kubelet.pods:
        assert (
            f'"event":"policy binding is missing, the API server does not enforce","binding":"{name}"'
            in pod.log
        )
    cluster.plane.kubectl("apply", "-k", "manifests")
    wait_for(lambda: cluster.settings(name) == expected, 10)
    wait_for(lambda: metric(cluster, "boundtoken_policy_in_sync") == [1.0, 1.0], 10)


def test_a_change_of_the_configuration_reaches_the_api_server_within_seconds(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    namespace = quiet(cluster)
    cluster.configure(
        {
            **configured,
            "locks": {**configured["locks"], "enforceFloor": "bound", "maxExpirationSeconds": 3607},
        }
    )
    wait_for(lambda: "set expirationSeconds to 3600" in cluster.denial(namespace, VIOLATING), 5)
    annotations = cluster.settings()
    assert (annotations[names.ENFORCE_FLOOR], annotations[names.MAX_EXPIRATION_SECONDS]) == (
        "bound",
        "3607",
    )
    cluster.configure({**configured, "namespaces": {"excluded": [namespace]}})
    wait_for(lambda: cluster.denial(namespace, VIOLATING) == "", 5)
    assert names.MAX_EXPIRATION_SECONDS not in cluster.settings()


def test_config_preview_says_whom_a_floor_would_refuse_and_what_depends_on_us(
    cluster: Cluster, tmp_path: Path
) -> None:
    injecting, plain, spared = (
        cluster.namespace(inject="enabled", automount="disabled"),
        cluster.namespace(),
        cluster.namespace(),
    )
    for namespace in (injecting, plain, spared):
        cluster.create(namespace, a_bare_pod(name="cni", hostNetwork=True))
    file = tmp_path / "config.yaml"
    head = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
    file.write_text(f"{head}locks: {{enforceFloor: bound}}\nnamespaces: {{excluded: [{spared}]}}\n")
    result = boundtoken(
        "config", "preview", str(file), "-o", "json", kubeconfig=cluster.plane.kubeconfig()
    )
    assert (result.returncode, result.stderr) == (1, "")
    report = json.loads(result.stdout)
    found = report["namespaces"]
    assert spared not in found
    assert {spared, "kube-system", "boundtoken-system"} <= set(
        report["namespacesLeftOut"]["excluded"]
    )
    assert report["pods"]["refused"] >= 1
    assert found[injecting][0].startswith(
        "pod/cni: complies by injection only, and is refused while boundtoken is down"
    )
    assert (
        found[plain][0]
        == f'1 existing pod in namespace "{plain}" violates the cluster\'s enforceFloor "bound": 1 will be refused (pod/cni)'
    )
    assert found[plain][1].startswith(
        'pod/cni: [token-lifetime] volume "kube-api-access-*": the automounted token is valid for one year'
    )
    text = boundtoken("config", "preview", str(file), kubeconfig=cluster.plane.kubeconfig())
    assert f"namespace/{plain}\n" in text.stdout
    assert "not for excluded namespaces: " in text.stdout
    assert text.stdout.splitlines()[-1].startswith("floor bound: ")
    file.write_text(head)
    off = boundtoken("config", "preview", str(file), kubeconfig=cluster.plane.kubeconfig())
    assert (off.returncode, off.stdout) == (
        0,
        f"{file}: locks.enforceFloor is off, so no pod would be refused\n",
    )
    file.write_text(f"{head}locks: {{enforceFloor: bound}}\n")
    denied = boundtoken(
        "config", "preview", str(file), kubeconfig=cluster.plane.kubeconfig("editor")
    )
    assert (denied.returncode, "forbidden" in denied.stderr) == (3, True)


def test_a_process_beside_the_replicas_writes_nothing(
    cluster: Cluster, configured: dict[str, Json], tmp_path: Path
) -> None:
    cluster.configure({**configured, "locks": {**configured["locks"], "enforceFloor": "bound"}})
    before = cluster.settings()
    file = tmp_path / "config.yaml"
    file.write_text("apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n")
    listen = [f"--listen=127.0.0.1:{free_port()}", f"--plain-listen=127.0.0.1:{free_port()}"]
    for more in ([], [f"--config={file}"]):
        command = [
            str(BOUNDTOKEN),
            "serve",
            f"--kubeconfig={cluster.plane.kubeconfig()}",
            *listen,
            *more,
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            time.sleep(4)
            assert process.poll() is None
            process.kill()
        assert cluster.settings() == before


def test_without_the_right_to_the_bindings_the_replicas_say_so_and_are_still_held_down(
    cluster: Cluster,
) -> None:
    plane, role = cluster.plane, "/apis/rbac.authorization.k8s.io/v1/clusterroles/boundtoken"
    cluster_role = plane.call("GET", role)
    fewer = [
        rule
        for rule in cluster_role["rules"]
        if "validatingadmissionpolicybindings" not in rule["resources"]
    ]
    plane.call("PATCH", role, {"rules": fewer}, kind=MERGE_PATCH)
    try:
        plane.kubectl("rollout", "restart", "-n", "boundtoken-system", "deployment/boundtoken")
        rolled_out(cluster)
        wait_for(
            lambda: all(
                '"event":"policy binding watch interrupted"' in pod.log
                for pod in cluster.kubelet.pods
            ),
            20,
        )
        token = plane.kubectl("create", "token", "boundtoken", "-n", "boundtoken-system").strip()
        with pytest.raises(
            StatusError,
            match="boundtoken creates the Secret boundtoken-ca, of type Opaque, and no other",
        ):
            plane.call(
                "POST",
                f"{NAMESPACES}/boundtoken-system/secrets",
                {"metadata": {"name": "other"}},
                token=token,
            )
    finally:
        plane.call("PATCH", role, {"rules": cluster_role["rules"]}, kind=MERGE_PATCH)
    wait_for(lambda: metric(cluster, "boundtoken_policy_in_sync") == [1.0, 1.0], 30)


def test_leftover_labels_are_named_with_the_command_that_takes_them_off(cluster: Cluster) -> None:
    namespace = cluster.namespace(labels={names.LEFTOVER_LABEL: "true"})
    assert cluster.denial(namespace, VIOLATING) == ""  # it does nothing
    cluster.plane.kubectl("rollout", "restart", "-n", "boundtoken-system", "deployment/boundtoken")
    rolled_out(cluster)
    hint = f"kubectl label namespaces -l {names.LEFTOVER_LABEL} {names.LEFTOVER_LABEL}-"
    wait_for(
        lambda: all(
            f'"namespaces":["{namespace}"],"hint":"{hint}"' in pod.log
            for pod in cluster.kubelet.pods
        ),
        10,
    )
    cluster.plane.kubectl(*hint.removeprefix("kubectl ").split())
    assert (
        names.LEFTOVER_LABEL
        not in cluster.plane.call("GET", f"{NAMESPACES}/{namespace}")["metadata"]["labels"]
    )


def test_what_the_policies_cost_beside_the_webhooks(cluster: Cluster, record_property: Any) -> None:
    """Microseconds for each pod, as the API server counts them itself; the README says what they
    were.
    """
    spent = {}
    for level in ("strict", "off"):
        namespace = cluster.namespace(enforce=level)
        wait_for(
            lambda namespace=namespace, level=level: (
                bool(cluster.denial(namespace, VIOLATING)) is (level == "strict")
            ),
            15,
        )
        before = seconds(cluster.plane)
        for _ in range(PODS):
            assert cluster.denial(namespace, COMPLIANT) == ""
        after = seconds(cluster.plane)
        spent[level] = {name: round((after[name] - before[name]) / PODS * 1e6) for name in after}
    print("microseconds for each pod:", spent)
    record_property("microseconds", spent)
    assert 0 < spent["strict"]["policies"] < spent["strict"]["validating webhook"]
    assert spent["off"]["policies"] < spent["strict"]["policies"]


def seconds(plane: ControlPlane) -> dict[str, float]:
    """What the API server has spent so far on validating policies, and on our two webhooks for
    pods.
    """
    text = plane.kubectl("get", "--raw", "/metrics")
    found = {"policies": 0.0, "mutating webhook": 0.0, "validating webhook": 0.0}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("apiserver_admission_controller_admission_duration_seconds_sum") and (
            'name="ValidatingAdmissionPolicy"' in name and 'operation="CREATE"' in name
        ):
            found["policies"] += float(value)
        if name.startswith("apiserver_admission_webhook_admission_duration_seconds_sum"):
            if 'name="pods.boundtoken.dev"' in name:
                found["mutating webhook"] += float(value)
            if 'name="enforced.boundtoken.dev"' in name:
                found["validating webhook"] += float(value)
    return found


def test_stalled_and_starved_replicas_let_nothing_through(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    """512 idle connections for each replica, then every replica stopped: who violates is refused,
    who complies is created.
    """
    cluster.configure({**configured, "locks": {**configured["locks"], "enforceFloor": "bound"}})
    enforced, under_floor = cluster.namespace(enforce="strict"), quiet(cluster)
    wait_for(
        lambda: cluster.denial(enforced, VIOLATING) and cluster.denial(under_floor, VIOLATING), 15
    )
    with starved(cluster.kubelet):
        check_both(cluster, enforced, under_floor)
    with stalled(cluster):
        check_both(cluster, enforced, under_floor)


def check_both(cluster: Cluster, *namespaces: str) -> None:
    for namespace in namespaces:
        assert "[token-lifetime]" in cluster.denial(namespace, VIOLATING)
        assert cluster.denial(namespace, COMPLIANT) == ""


@contextlib.contextmanager
def stalled(cluster: Cluster) -> Iterator[None]:
    pids = [pod.pid for pod in cluster.kubelet.pods]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 2, 60)
