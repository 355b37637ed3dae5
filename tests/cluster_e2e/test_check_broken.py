"""`boundtoken check` on the real control plane: what is broken in ways that are hard to make."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cluster_e2e.breaking import (
    BUDGETS,
    MUTATING,
    OURS,
    RBAC,
    ROLE,
    changed,
    checked,
    deleted,
    is_on_the_page,
    put,
)
from tests.cluster_e2e.stand_ins import (
    ADDRESSED,
    STRATEGIC,
    a_replica,
    answering,
    in_front,
    in_json,
    waiting,
)
from tests.controlplane import build
from tests.controlplane.cluster import MERGE_PATCH, StatusError
from tests.support.builders import Json, a_bare_pod
from tests.support.checking import Checked
from tests.support.cluster import CONFIGMAP, DEPLOYMENT, NAMESPACES, Cluster
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.waiting import wait_for
from webhook.checks.model import APPLY
from webhook.checks.probes import NOT_TRIED
from webhook.pki import authority


@contextlib.contextmanager
def a_namespace(cluster: Cluster, name: str, *inside: tuple[str, Json]) -> Iterator[str]:
    """A namespace that requests injection, with objects by their resource; gone afterwards."""
    annotations = {"boundtoken.dev/inject": "enabled", "boundtoken.dev/automount": "disabled"}
    path = f"{NAMESPACES}/{name}"
    cluster.plane.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": annotations}})
    for resource, body in inside:
        cluster.plane.call("POST", f"{path}/{resource}", {"metadata": {"name": "x"}, **body})
    try:
        yield path
    finally:
        cluster.plane.call("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE_PATCH)
        with contextlib.suppress(StatusError):  # it goes with its last finalizer
            cluster.plane.call("DELETE", path)


def test_a_namespace_that_lets_nothing_in_is_no_fault_and_the_next_is_tried(
    installed: Cluster,
) -> None:
    quota = ("resourcequotas", {"spec": {"hard": {"pods": "0"}}})
    least = {"type": "Container", "min": {"memory": "1Gi"}}
    limits = ("limitranges", {"spec": {"limits": [least]}})
    plane = installed.plane
    with (
        a_namespace(installed, "a0-ending") as ending,
        a_namespace(installed, "a1-quota", quota),
        a_namespace(installed, "a2-limits", limits),
        a_namespace(installed, "a3-open"),
    ):
        body = {"metadata": {"finalizers": ["example.com/kept"]}}
        plane.call("PATCH", ending, body, kind=MERGE_PATCH)
        plane.call("DELETE", ending)
        found = checked(installed)
        refused = checked(installed, "--dry-run-namespace", "a1-quota")
        ended = checked(installed, "--dry-run-namespace", "a0-ending")
    assert found.text("dry-run-pod") == "in namespace a3-open: injected"
    assert found.status("dry-run-pod") == "passed"
    for one, why in ((refused, "exceeded quota"), (ended, "is being terminated")):
        assert one.status("dry-run-pod") == "unknown"
        assert why in one.text("dry-run-pod")
        assert one.text("dry-run-pod").endswith("name another namespace with --dry-run-namespace")


def test_the_owner_of_the_first_namespace_does_not_decide_what_is_found_out(
    installed: Cluster,
) -> None:
    account = {"automountServiceAccountToken": False}
    with a_namespace(installed, "a0-replace") as path, a_namespace(installed, "a1-open"):
        wait_for(lambda: installed.plane.call("GET", f"{path}/serviceaccounts")["items"])
        installed.plane.call("PATCH", f"{path}/serviceaccounts/default", account, kind=MERGE_PATCH)
        installed.annotate("a0-replace", inject="replace", automount=None)
        one = checked(installed, "--dry-run-namespace", "a0-replace")
        assert checked(installed).text("dry-run-pod") == "in namespace a1-open: injected"
        with changed(installed, MUTATING, put("/webhooks/0/rules/0/operations", ["UPDATE"])):
            assert checked(installed).status("dry-run-pod") == "failed"
    assert (one.status("dry-run-pod"), one.by_id["dry-run-pod"]["cure"]) == ("warning", NOT_TRIED)


def test_another_replica_with_an_old_clock_version_and_image_is_told(
    installed: Cluster, tmp_path: Path
) -> None:
    metrics = 'boundtoken_build_info{python="3.13",version="0.0.1"} 1.0\n'
    assert checked(installed, "--no-dry-run").text("spread") == "2 replicas, all on node node-1"
    then = datetime.now(UTC) - timedelta(hours=2)
    root = authority.make_authority("another", then, timedelta(days=1))
    expired = authority.issue(root, ["localhost"], then, timedelta(hours=1))
    with (
        answering(tmp_path, expired, metrics, timedelta(minutes=-2)),
        a_replica(installed, "old", ADDRESSED),
    ):
        found = checked(installed, "--no-dry-run")
    assert seconds_of(found, "the clock of pod/old is (\\d+) s behind the API server's") > 115
    assert found.status("clock") == "failed"
    assert found.status("version") == "warning"
    assert "0.0.1" in found.text("version")
    assert found.status("rollout") == "warning"
    assert "example/boundtoken:0.0.1" in found.text("rollout")
    assert found.text("spread") == "3 on 2 nodes"
    assert "pod/old is not verified by the caBundle" in found.text("ca-bundle-trust")
    assert found.text("certificate-age").startswith("the certificate of pod/old expired at ")
    assert is_on_the_page(found, "certificate-age")


def seconds_of(found: Checked, pattern: str) -> int:
    """By how much a clock differs."""
    match = re.fullmatch(pattern, found.text("clock"))
    assert match is not None, found.text("clock")
    return int(match[1])


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("ImagePullBackOff", "kubectl describe pod/waits"),
        ("CrashLoopBackOff", "kubectl logs pod/waits"),
        ("CreateContainerConfigError", "kubectl describe pod/waits"),
    ],
)
def test_why_a_replica_waits_is_told_and_it_is_not_asked(
    installed: Cluster, reason: str, command: str
) -> None:
    with a_replica(installed, "waits", waiting(reason, "so says the kubelet")):
        found = checked(installed, "--no-dry-run")
    assert found.status("replicas") == "warning"
    assert f"pod/waits waits, {reason}: so says the kubelet: " in found.text("replicas")
    assert found.by_id["replicas"]["commands"][0].startswith(command)
    assert found.status("reachable") == "passed"
    assert "https:waits:" not in installed.plane.audit_log.read_text()


def test_a_paused_deployment_and_a_second_installation_are_told(installed: Cluster) -> None:
    name = installed.namespace()
    ours = installed.plane.call("GET", DEPLOYMENT)
    labels = ours["metadata"]["labels"]
    second = {"metadata": {"name": "bt", "labels": labels}, "spec": {**ours["spec"], "replicas": 0}}
    installed.plane.call("POST", f"/apis/apps/v1/namespaces/{name}/deployments", second)
    try:
        with changed(installed, DEPLOYMENT, put("/spec/paused", True)):
            found = checked(installed, "--no-dry-run")
    finally:
        installed.plane.call("DELETE", f"/apis/apps/v1/namespaces/{name}/deployments/bt")
    assert found.text("rollout").startswith("deployment/boundtoken is paused")
    command = "kubectl rollout resume deployment/boundtoken -n boundtoken-system"
    assert found.by_id["rollout"]["commands"] == [command]
    installed.plane.kubectl(
        *["rollout", "status", "deployment/boundtoken", "-n", "boundtoken-system"]
    )
    assert found.text("only-installation").endswith(f"deployment/bt in namespace {name}")


def in_a_shell(cluster: Cluster, commands: list[str], folder: Path) -> None:
    """Copied from the screen, with the kubectl of this cluster."""
    (folder / "bin").mkdir()
    kubectl = folder / "bin/kubectl"
    config = cluster.plane.kubeconfig()
    kubectl.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl --kubeconfig={config} "$@"\n')
    kubectl.chmod(0o755)
    environ = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder)}
    for command in commands:
        subprocess.run(["sh", "-c", command], cwd=folder, env=environ, check=True, timeout=60)


def test_a_selector_is_put_right_by_the_command_that_is_printed(
    installed: Cluster, tmp_path: Path
) -> None:
    selector = {"matchLabels": {"team": "a"}}
    operation = put("/webhooks/0/namespaceSelector", selector)
    with changed(installed, MUTATING, operation, put("/webhooks/1/objectSelector", selector)):
        found = checked(installed, "--no-dry-run").by_id["webhook-selectors"]
        in_a_shell(installed, found["commands"], tmp_path)
        after = checked(installed, "--no-dry-run")
    assert (found["status"], len(found["commands"])) == ("warning", 2)
    assert after.status("webhook-selectors") == "passed"


def test_what_is_left_over_is_deleted_by_the_commands_that_are_printed(
    installed: Cluster, tmp_path: Path
) -> None:
    """A webhook configuration of another name, and a second budget for the same pods."""
    plane = installed.plane
    for path, name in ((MUTATING, "zzz"), (f"{BUDGETS}/boundtoken", "other")):
        copy = plane.call("GET", path)
        copy["metadata"] = {"name": name}
        copy.pop("status", None)
        plane.call("POST", path.rpartition("/")[0], copy)
    found = checked(installed, "--no-dry-run")
    commands = [
        one
        for name in ("webhook-entries", "disruption-budget")
        for one in found.by_id[name]["commands"]
    ]
    in_a_shell(installed, commands, tmp_path)
    after = checked(installed, "--no-dry-run")
    assert (found.status("webhook-entries"), found.status("disruption-budget")) == (
        "warning",
        "failed",
    )
    assert after.status("webhook-entries") == after.status("disruption-budget") == "passed"


def test_a_deleted_configuration_is_made_again_by_the_commands_that_are_printed(
    installed: Cluster, tmp_path: Path
) -> None:
    before = installed.plane.call("GET", CONFIGMAP)
    installed.plane.call("DELETE", CONFIGMAP)
    found = checked(installed, "--no-dry-run").by_id["configuration"]
    in_a_shell(installed, found["commands"], tmp_path)
    after = installed.plane.call("GET", CONFIGMAP)
    assert found["status"] == "warning"
    assert after["data"] == before["data"]
    again = checked(installed, "--no-dry-run")
    assert again.status("configuration") == again.status("policy-settings") == "passed"


def test_an_account_that_is_gone_is_told_and_the_command_that_is_printed_brings_it_back(
    installed: Cluster, tmp_path: Path
) -> None:
    with deleted(installed, f"{OURS}/serviceaccounts/boundtoken"):
        found = checked(installed, "--no-dry-run").by_id["rights"]
    assert found["status"] == "failed"
    assert "serviceaccount/boundtoken is not in namespace boundtoken-system" in found["text"]
    apply, *restart = found["commands"]
    assert apply == APPLY
    in_a_shell(installed, restart, tmp_path)
    wait = "kubectl rollout status deployment/boundtoken -n boundtoken-system --timeout=2m"
    installed.plane.kubectl(*wait.split()[1:])
    wait_for(lambda: checked(installed, "--no-dry-run").of("failed") == {}, 60)
    wait_for(lambda: len(installed.kubelet.pods) == 2, 60)  # those of before have ended


def test_a_secret_of_the_certificate_that_is_gone_is_told_while_the_replicas_still_run(
    installed: Cluster,
) -> None:
    template = "/spec/template/spec"
    given = (
        put("/spec/paused", True),  # the replicas that run are those that had the Secret
        put(f"{template}/volumes/-", {"name": "tls", "secret": {"secretName": "boundtoken-tls"}}),
        put(f"{template}/containers/0/args/-", "--tls-cert=/run/boundtoken/tls/tls.crt"),
    )
    secrets, role = f"{OURS}/secrets", {"kind": "ClusterRole", "name": "view"}
    subject = {"kind": "User", "name": "alice"}
    viewer = {"metadata": {"name": "viewer"}, "roleRef": role, "subjects": [subject]}
    ours = ("--no-dry-run", "--webhook-namespace", "boundtoken-system")
    with changed(installed, DEPLOYMENT, *given):
        gone = checked(installed, "--no-dry-run")
        with changed(installed, ROLE, {"op": "remove", "path": "/rules/2"}):
            lost = checked(installed, "--no-dry-run")
        secret = {"metadata": {"name": "boundtoken-tls"}, "stringData": {"tls.crt": "x"}}
        installed.plane.call("POST", secrets, secret)
        installed.plane.call("POST", f"{RBAC}/namespaces/boundtoken-system/rolebindings", viewer)
        try:
            there = checked(installed, "--no-dry-run")
            wait_for(
                lambda: checked(installed, *ours, user="developer").status("service") == "passed"
            )
            forbidden = checked(installed, *ours, user="developer")
        finally:
            installed.plane.call("DELETE", f"{secrets}/boundtoken-tls")
            bindings = f"{RBAC}/namespaces/boundtoken-system/rolebindings"
            installed.plane.call("DELETE", f"{bindings}/viewer")
    told = "secret/boundtoken-tls is not in namespace boundtoken-system"
    assert gone.of("failed") == {"mounted-secrets": told}
    assert (gone.status("rights"), lost.status("rights")) == ("passed", "warning")
    older = lost.text("rights").partition("without the rights to keep a CA of its own: ")[2]
    assert set(older.split(", ")) == {f"pod/{one.name}" for one in installed.kubelet.pods}
    assert there.status("mounted-secrets") == "passed"
    assert forbidden.status("mounted-secrets") == "unknown"
    needed = "needs get on secrets/boundtoken-tls in boundtoken-system"
    assert forbidden.text("mounted-secrets") == needed
    assert checked(installed, "--no-dry-run").text("mounted-secrets") == "they mount none"


VAP = "validatingadmissionpolicies"


def without_policies(document: Json) -> None:
    document["resources"] = [one for one in document["resources"] if one["name"] != VAP]


def test_an_api_server_that_is_too_old_or_lacks_something_is_told(
    installed: Cluster, tmp_path: Path
) -> None:
    group = "/apis/admissionregistration.k8s.io/v1"
    gate = b'\nkubernetes_feature_enabled{name="ValidatingAdmissionPolicy",stage=""} 0\n'
    rewrites = {
        "/version": in_json(lambda one: one.update(gitVersion="v1.29.9", minor="29")),
        group: in_json(without_policies),
        "/metrics": lambda body: body + gate,
    }
    with in_front(installed.plane, rewrites, timedelta(minutes=2)) as server:
        flags = ("--kubeconfig", str(a_kubeconfig(tmp_path / "k", server)))
        pre, found = Checked(*flags, "--pre"), Checked(*flags, "--no-dry-run")
    assert set(pre.of("failed")) == {"api-version", "clock", "pre-policies", "pre-feature-gates"}
    assert pre.text("api-version") == "it is v1.29.9, and boundtoken needs 1.30 or newer"
    assert pre.text("pre-policies") == f"the API server does not serve {VAP}"
    assert pre.text("pre-feature-gates") == "the feature gate ValidatingAdmissionPolicy is off"
    assert seconds_of(pre, "the API server's clock is (\\d+) s ahead of this machine's") > 115
    assert found.status("api-version") == found.status("clock") == "failed"


def test_a_token_that_a_container_has_for_longer_than_it_lives_is_told(installed: Cluster) -> None:
    name = installed.namespace()
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]
    volume = {"name": "own", "projected": {"sources": sources}}
    pod = a_bare_pod(volumes=[volume])
    (container,) = pod["spec"]["containers"]
    container["volumeMounts"] = [{"name": "own", "mountPath": "/t/token", "subPath": "token"}]
    path = f"{NAMESPACES}/{name}/pods/{installed.run(name, pod)['metadata']['name']}/status"
    young, old = (datetime.now(UTC) - timedelta(minutes=minutes) for minutes in (5, 15))
    found = {}
    for since in (young, old):
        state = {"running": {"startedAt": since.strftime("%Y-%m-%dT%H:%M:%SZ")}}
        status = {"name": container["name"], "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}  # fmt: skip
        body = {"status": {"containerStatuses": [status]}}
        installed.plane.call("PATCH", path, body, kind=STRATEGIC)
        found[since] = checked(installed, "workload", "pod/web", "-n", name)
    assert found[young].status("workload-expired") == "passed"
    assert is_on_the_page(found[old], "workload-expired")
    told = found[old].text("workload-expired")
    assert "container app has the same token at /t/token since" in told
    assert told.endswith("and it lives 600 s")
