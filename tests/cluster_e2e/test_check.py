"""`boundtoken check` on the real control plane: everything right after an install, and each thing
that a test breaks told by its own check.
"""

import asyncio
import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.cluster_e2e.breaking import (
    BUDGETS,
    CA_BUNDLE,
    EXPECTED_WARNINGS,
    MUTATING,
    NETWORK,
    POLICY,
    RBAC,
    ROLE,
    SERVICE,
    VALIDATING,
    blocked,
    changed,
    checked,
    deleted,
    is_on_the_page,
    put,
)
from tests.cluster_e2e.sidecar import other_webhook, without_ours
from tests.controlplane.cluster import MERGE_PATCH
from tests.support.builders import Json, a_bare_pod
from tests.support.checking import Checked, run_check
from tests.support.cluster import (
    BINDINGS,
    CONFIGMAP,
    NAMESPACES,
    Cluster,
    namespaces_unreviewed,
    scale,
)
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.processes import boundtoken, free_port
from tests.support.waiting import wait_for
from webhook.cli.check import output
from webhook.cluster.client import ApiClient
from webhook.cluster.credentials import FromKubeconfig
from webhook.pki import authority, replicas
from webhook.pki.replicas import Replica


def test_everything_is_right_after_an_install_and_nothing_is_left_of_it(installed: Cluster) -> None:
    before = len(installed.plane.call("GET", f"{NAMESPACES}/default/pods")["items"])
    # Other tests may have changed the configuration just now.
    wait_for(lambda: checked(installed).status("configuration-applied") == "passed")
    found = checked(installed)
    assert (found.of("failed"), found.of("unknown"), found.code) == ({}, {}, 0)
    assert set(found.of("warning")) <= EXPECTED_WARNINGS
    assert found.text("replicas") == "2 of 2 are ready"
    assert len(installed.plane.call("GET", f"{NAMESPACES}/default/pods")["items"]) == before
    clocks = [replica.ahead_seconds for replica in served(installed)]
    assert all(seconds is not None and abs(seconds) < 5 for seconds in clocks)
    pre = checked(installed, "--pre")
    assert (pre.of("failed"), pre.of("unknown"), pre.code) == ({}, {}, 0)
    assert "upgrade" in pre.text("pre-absent")


def served(cluster: Cluster) -> list[Replica]:
    """What each replica serves, through the API server's proxy."""

    async def fetch() -> list[Replica]:
        credentials = FromKubeconfig(str(cluster.plane.kubeconfig()), None)
        async with ApiClient(credentials, "test") as client:
            return await replicas.fetch(client, "boundtoken-system")

    return asyncio.run(fetch())


@pytest.mark.parametrize(
    ("name", "path", "operation", "status", "text"),
    [
        ("webhook-entries", MUTATING, {"op": "remove", "path": "/webhooks/1"}, "failed", "has no entry workloads.boundtoken.dev"),
        ("webhook-rules", MUTATING, put("/webhooks/0/rules/0/operations", ["UPDATE"]), "failed", "pods.boundtoken.dev: no rule for CREATE pods"),
        ("webhook-selectors", MUTATING, put("/webhooks/0/namespaceSelector", {"matchLabels": {"a": "b"}}), "warning", "namespaceSelector is a=b"),
        ("webhook-conditions", MUTATING, {"op": "remove", "path": "/webhooks/0/matchConditions"}, "warning", "matchCondition not-a-mirror-pod is missing"),
        ("webhook-policies", VALIDATING, put("/webhooks/1/failurePolicy", "Fail"), "failed", "templates.boundtoken.dev: failurePolicy is Fail"),
        ("webhook-timeouts", MUTATING, put("/webhooks/0/timeoutSeconds", 30), "warning", "timeoutSeconds is 30, and 3 in the manifests"),
        ("webhook-service", MUTATING, put("/webhooks/0/clientConfig/service/path", "/m"), "failed", "it calls path /m, and must call /mutate"),
        ("policies", POLICY.replace("misplaced", "pods"), put("/spec/failurePolicy", "Ignore"), "failed", "spec.failurePolicy"),
        ("policies", POLICY.removesuffix("-misplaced"), put("/spec/validations/0/expression", "true"), "failed", "validatingadmissionpolicy/boundtoken is not that of this release: spec.validations.0.expression"),
        ("policy-bindings", f"{BINDINGS}/boundtoken", put("/spec/validationActions", ["Audit"]), "failed", "spec.validationActions.0"),
        ("rights", ROLE, put("/rules/0/verbs", ["get"]), "failed", "list namespaces, watch namespaces"),
        ("network-policies", NETWORK, put("/spec/ingress", [{"ports": [{"port": 8080}]}]), "failed", "does not allow port 10250"),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
)  # fmt: skip
def test_what_is_changed_is_told_by_its_check(
    installed: Cluster, *, name: str, path: str, operation: Json, status: str, text: str
) -> None:
    with changed(installed, path, operation):
        found = checked(installed, "--no-dry-run")
    assert found.status(name) == status
    assert text in found.text(name)
    others = {*found.of("failed"), *found.of("warning")} - EXPECTED_WARNINGS - {name}
    assert others == set()
    assert found.code == (1 if status == "failed" else 0)


@pytest.mark.parametrize(
    ("name", "path", "status", "text"),
    [
        ("disruption-budget", f"{BUDGETS}/boundtoken", "warning", "no PodDisruptionBudget selects"),
        ("policy-bindings", f"{BINDINGS}/boundtoken-legacy-secrets", "failed", "boundtoken-legacy-secrets is missing"),
        ("policies", POLICY, "failed", "boundtoken-misplaced is missing"),
    ],
    ids=["budget", "binding", "policy"],
)  # fmt: skip
def test_what_is_deleted_is_told_by_its_check(
    installed: Cluster, name: str, path: str, status: str, text: str
) -> None:
    with deleted(installed, path):
        found = checked(installed, "--no-dry-run")
    assert (found.status(name), text in found.text(name)) == (status, True)
    synced = {"synced"} if "bindings" in path else set()  # the replicas miss it as well
    others = {*found.of("failed"), *found.of("warning")} - EXPECTED_WARNINGS - {name} - synced
    assert others == set()

    def is_right_again() -> bool:
        again = checked(installed, "--no-dry-run")
        return again.code == 0 and again.status("synced") == "passed"

    wait_for(is_right_again, 30)


def test_a_second_budget_and_a_second_role_are_told(installed: Cluster) -> None:
    budget = installed.plane.call("GET", f"{BUDGETS}/boundtoken")
    copy = {"metadata": {"name": "second"}, "spec": budget["spec"]}
    subject = {"kind": "ServiceAccount", "name": "boundtoken", "namespace": "boundtoken-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    binding = {"metadata": {"name": "more"}, "roleRef": role, "subjects": [subject]}
    installed.plane.call("POST", BUDGETS, copy)
    installed.plane.call("POST", f"{RBAC}/clusterrolebindings", binding)
    try:
        found = checked(installed, "--no-dry-run")
    finally:
        installed.plane.call("DELETE", f"{BUDGETS}/second")
        installed.plane.call("DELETE", f"{RBAC}/clusterrolebindings/more")
    assert found.text("disruption-budget").endswith("boundtoken, second")
    assert found.text("rights-excess").startswith("clusterrolebinding/more also grants: get ")


def test_a_path_of_the_api_server_is_a_right_too(installed: Cluster) -> None:
    subject = {"kind": "ServiceAccount", "name": "boundtoken", "namespace": "boundtoken-system"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "paths"}
    rule = {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}
    made = {
        "clusterroles": {"metadata": {"name": "paths"}, "rules": [rule]},
        "clusterrolebindings": {"metadata": {"name": "paths"}, "roleRef": reference, "subjects": [subject]},
    }  # fmt: skip
    for resource, body in made.items():
        installed.plane.call("POST", f"{RBAC}/{resource}", body)
    try:
        found = checked(installed, "--no-dry-run")
    finally:
        for resource in made:
            installed.plane.call("DELETE", f"{RBAC}/{resource}/paths")
    more = "clusterrolebinding/paths also grants: get /metrics, get /logs/*"
    assert found.text("rights-excess") == more


def test_zero_replicas_no_endpoint_a_blocked_port_and_a_wrong_ca_bundle_are_told_apart(
    installed: Cluster,
) -> None:
    where = ("--dry-run-namespace", installed.namespace(inject="enabled", automount="disabled"))
    selector = put("/spec/selector", {"app": "another"})
    with changed(installed, SERVICE, selector):
        wait_for(lambda: installed.kubelet.proxy.ready("boundtoken") == 0)
        installed.plane.egress.cut()
        endpoints = checked(installed, *where)
    wait_for(lambda: installed.kubelet.proxy.ready("boundtoken") == 2)
    with blocked(installed):
        port = checked(installed, *where)
    bundles = {}
    keep = {"op": "replace", "path": "/rules/2/verbs", "value": ["get", "list", "watch"]}
    for name, operation in {
        "another": put(CA_BUNDLE, another_ca()),
        "expired": put(CA_BUNDLE, another_ca(days=-1)),
        "none": {"op": "remove", "path": CA_BUNDLE},
    }.items():
        # The replicas put it right unless they may not; then they are soon not ready any more.
        with changed(installed, ROLE, keep), changed(installed, MUTATING, operation):
            bundles[name] = checked(installed, *where)
        wait_for(lambda: installed.kubelet.proxy.ready("boundtoken") == 2, 60)
    scale(installed, 0)
    zero = checked(installed, *where)
    unread = with_an_unread_configuration(installed, *where)
    done = threading.Thread(target=scale, args=(installed, 2))
    done.start()
    code, *_ = run_check("--kubeconfig", str(installed.plane.kubeconfig()), "--wait", "60")
    done.join()
    assert code == 0
    assert set(endpoints.of("failed")) == {"service", "dry-run-pod"}
    assert set(port.of("failed")) == {"reachable", "dry-run-pod"}
    assert set(zero.of("failed")) == {"replicas", "dry-run-pod"}
    also = {"rights", "synced", "replicas", "endpoints"}
    assert {name: set(found.of("failed")) - also for name, found in bundles.items()} == {
        "another": {"ca-bundle-trust", "dry-run-pod"},
        "expired": {"ca-bundle", "ca-bundle-trust", "ca-age", "dry-run-pod"},
        "none": {"ca-bundle", "ca-bundle-trust", "dry-run-pod"},
    }
    assert is_on_the_page(endpoints, "service")
    assert is_on_the_page(port, "reachable")
    assert is_on_the_page(bundles["expired"], "ca-bundle-trust")
    assert is_on_the_page(bundles["expired"], "ca-age")
    assert "while the check of the Service fails" in endpoints.text("endpoints")
    assert "502" in port.text("reachable")
    assert port.text("dry-run-pod").endswith("and would have boundtoken/token of 3600 s")
    assert (
        bundles["another"].text("ca-bundle-trust").endswith("the caBundle of pods.boundtoken.dev")
    )
    assert bundles["none"].text("ca-bundle").startswith("pods.boundtoken.dev: none")
    assert "0 replicas are requested" in zero.text("replicas")
    assert unread.text("policy-settings").startswith("no replica has read configmap/boundtoken")
    assert unread.text("token-governance") == "a token of 136 years: it was not refused"
    assert zero.status("policy-settings") == zero.status("token-governance") == "passed"
    assert zero.text("ca-bundle-trust") == "no replica runs"
    afterwards = checked(installed)
    assert "pods.boundtoken.dev" in afterwards.text("fail-open")
    assert is_on_the_page(afterwards, "fail-open")


def with_an_unread_configuration(cluster: Cluster, *where: str) -> Checked:
    """What is found while the ConfigMap demands something that no replica knows of."""
    text = cluster.plane.call("GET", CONFIGMAP)["data"]["config.yaml"]
    demanding = {**yaml.safe_load(text), "tokenRequests": {"mode": "enforce"}}
    with changed(cluster, CONFIGMAP, put("/data/config.yaml", yaml.safe_dump(demanding))):
        return checked(cluster, *where)


def another_ca(days: int = 1) -> str:
    """The caBundle of an authority that signed nothing of ours."""
    now = datetime.now(UTC) - timedelta(days=10)
    made = authority.make_authority("another", now, timedelta(days=10 + days))
    return base64.b64encode(made.certificate.pem).decode()


def test_a_bad_configuration_is_told_with_every_fault_and_that_replicas_refuse_it(
    installed: Cluster,
) -> None:
    text = installed.plane.call("GET", CONFIGMAP)["data"]["config.yaml"]
    body = {"data": {"config.yaml": text.replace("inject: disabled", "inject: often")}}
    with blocked(installed):  # boundtoken itself would refuse it
        installed.plane.call("PATCH", CONFIGMAP, body, kind=MERGE_PATCH)
    try:
        wait_for(
            lambda: checked(installed, "--no-dry-run").status("configuration-applied") == "failed"
        )
        found = checked(installed, "--no-dry-run")
    finally:
        installed.plane.call("PATCH", CONFIGMAP, {"data": {"config.yaml": text}}, kind=MERGE_PATCH)
    assert "configmap/boundtoken: defaults.inject" in found.text("configuration")
    assert is_on_the_page(found, "configuration")
    assert is_on_the_page(found, "configuration-applied")
    assert "refused the file" in found.text("configuration-applied")
    wait_for(lambda: checked(installed, "--no-dry-run").code == 0, 30)


def test_settings_that_are_edited_by_hand_are_told(installed: Cluster) -> None:
    keep = {"op": "replace", "path": "/rules/4/verbs", "value": ["get", "list", "watch"]}
    edit = put("/metadata/annotations/boundtoken.dev~1enforce-floor", "strict")
    with changed(installed, ROLE, keep), changed(installed, f"{BINDINGS}/boundtoken-pods", edit):
        found = checked(installed, "--no-dry-run")
    assert "edited by hand" in found.text("policy-settings")
    assert found.status("policy-settings") == "failed"


def test_each_fault_of_a_namespace_is_told(installed: Cluster) -> None:
    with namespaces_unreviewed(installed):
        name = installed.namespace(inject="yes", enforce="bond", labels={"boundtoken.dev/x": "y"})
    installed.annotate("kube-public", inject="enabled")
    try:
        found = checked(installed, "--no-dry-run")
    finally:
        installed.annotate("kube-public", inject=None)
        installed.plane.call("DELETE", f"{NAMESPACES}/{name}")
    text = found.text("namespace-annotations")
    for annotation in ("boundtoken.dev/inject", "boundtoken.dev/enforce", "boundtoken.dev/x"):
        assert any(
            f"{annotation}=" in one and f"namespace/{name}:" in one for one in text.split("; ")
        )
    assert "namespace/kube-public is excluded" in found.text("namespace-excluded")


def test_another_webhook_after_ours_is_told_and_what_it_takes_off(installed: Cluster) -> None:
    name = installed.namespace(inject="enabled", automount="disabled")
    with other_webhook(installed.plane, "z-strip", name, without_ours):
        found = checked(installed, "--dry-run-namespace", name)
    assert "z-strip/z-strip.example.com" in found.text("other-webhooks")
    assert found.text("dry-run-pod").endswith(
        "it has no token, and would have boundtoken/token of 3600 s"
    )


def test_governance_is_tried_without_issuing_a_token_and_a_year_only_when_asked(
    installed: Cluster, configured: dict[str, Json]
) -> None:
    off = checked(installed)
    assert off.text("token-governance") == "the configuration demands nothing"
    installed.configure(
        {**configured, "tokenRequests": {"mode": "enforce"}, "legacySecrets": {"mode": "enforce"}}
    )
    both = "refused: a token of 136 years, a Secret with a legacy token"
    wait_for(lambda: checked(installed).text("token-governance") == both)
    with deleted(installed, f"{BINDINGS}/boundtoken-token-requests"):
        wait_for(lambda: checked(installed).status("token-governance") == "warning")
        assert "only the webhook refused it" in checked(installed).text("token-governance")
        with blocked(installed):
            found = checked(installed)
    assert found.text("token-governance") == "a token of 136 years: it was not refused"
    assert found.status("token-governance") == "failed"
    assert issued(installed) == 0
    wait_for(lambda: checked(installed).text("token-governance") == both)
    refused = checked(installed, "--request-token")
    assert refused.status("token-year") == "unknown"
    exempt = {"namespaces": [], "usernames": ["admin"], "serviceAccounts": [], "runtimeClasses": []}
    installed.configure({**configured, "tokenRequests": {"mode": "enforce"}, "exemptions": exempt})
    wait_for(
        lambda: (
            checked(installed).text("token-governance")
            == '"admin" is exempt: it can be tried by another user only'
        )
    )
    installed.configure(configured)
    wait_for(lambda: checked(installed, "--request-token").status("token-year") == "passed")
    code, text, err = run_check(
        "--kubeconfig", str(installed.plane.kubeconfig()), "--request-token"
    )
    assert (code, "31536000 s: one year" in text) == (0, True)
    assert "eyJ" not in text + err


def issued(cluster: Cluster) -> int:
    """How many tokens of the default account of `default` were issued."""
    events = map(json.loads, cluster.plane.audit_log.read_text().splitlines())
    return sum(
        event["objectRef"].get("subresource") == "token"
        and (event["objectRef"]["namespace"], event["objectRef"]["name"]) == ("default", "default")
        and event.get("responseStatus", {}).get("code") == 201
        and event["user"]["username"] == "admin"
        for event in events
        if event.get("objectRef")
    )


def test_with_a_viewers_rights_each_says_what_it_needs_and_the_rest_is_told(
    installed: Cluster,
) -> None:
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    body = {"metadata": {"name": "viewer"}, "roleRef": role, "subjects": [subject]}
    installed.plane.call("POST", f"{RBAC}/clusterrolebindings", body)
    try:
        ours = ("--webhook-namespace", "boundtoken-system", "--dry-run-namespace", "default")
        wait_for(
            lambda: checked(installed, *ours, user="developer").status("deployment") == "passed"
        )
        found = checked(installed, *ours, user="developer")
    finally:
        installed.plane.call("DELETE", f"{RBAC}/clusterrolebindings/viewer")
    assert (found.code, found.of("failed")) == (3, {})
    assert set(found.of("passed")) >= {
        "api-server",
        "replicas",
        "service",
        "endpoints",
        "configuration",
    }
    unknown = found.of("unknown")
    assert unknown["webhook-rules"] == "needs list on mutatingwebhookconfigurations"
    assert unknown["policies"] == "needs get on validatingadmissionpolicies"
    assert unknown["rights"] == "needs list on clusterrolebindings"
    assert unknown["synced"] == "needs get on pods/proxy in boundtoken-system"
    assert unknown["fail-open"] == "needs get on /metrics"
    assert unknown["dry-run-pod"] == "needs create on pods in namespace default, also for a dry run"
    assert "pods/proxy" in unknown["reachable"]
    pre = checked(installed, "--pre", user="editor")
    assert pre.text("pre-rights").startswith("you may not: get namespaces, create namespaces")
    assert pre.status("pre-granting") == "failed"


def test_before_installing_what_is_in_the_way_is_told(installed: Cluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    name = installed.namespace(labels=labels, wait=False)
    path, closed = (
        f"{NAMESPACES}/{name}",
        {"metadata": {"name": "closed"}, "spec": {"podSelector": {}}},
    )
    installed.plane.call(
        "POST", f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies", closed
    )
    uids = {"metadata": {"annotations": {"openshift.io/sa.scc.uid-range": "1000/100"}}}
    installed.plane.call("PATCH", path, uids, kind=MERGE_PATCH)
    found = checked(installed, "--pre", "--webhook-namespace", name)
    assert found.of("failed") == {
        "pre-absent": "it is installed in namespace boundtoken-system already",
        "network-policies": "networkpolicy/closed does not allow port 10250",
    }
    assert "users 1000/100" in found.text("pre-pod-security")
    absent = checked(installed, "--webhook-namespace", name, "--no-dry-run")
    assert {"deployment", "service", "webhook-service"} <= set(absent.of("failed"))


def test_an_api_server_that_cannot_be_reached_is_one_failure(tmp_path: Path) -> None:
    kubeconfig = a_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{free_port()}")
    is_told_once("--kubeconfig", str(kubeconfig))
    is_told_once("--kubeconfig", str(kubeconfig), "--pre")


def is_told_once(*flags: str) -> str:
    """That the API server cannot be reached, and nothing else; gives what is shown."""
    found = Checked(*flags)
    assert (found.code, set(found.of("failed"))) == (1, {"api-server"})
    others = len(found.by_id) - 1
    assert (others > 8, len(found.of("unknown"))) == (True, others)
    code, shown, _ = run_check(*flags)
    assert (code, shown.count("see boundtoken help checks"), "\n? " in shown) == (1, 1, False)
    *_, rest, _, total = shown.splitlines()
    assert rest == f"not run: {others} checks that ask the API server"
    assert total == f"{others + 1} checks: 1 failed, {others} not found out"
    return shown


def test_credentials_that_are_refused_are_one_failure(installed: Cluster, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "k"
    text = installed.plane.kubeconfig().read_text()
    kubeconfig.write_text(text.replace(installed.plane.tokens["admin"], "old"))
    assert "401" in is_told_once("--kubeconfig", str(kubeconfig))


def test_a_workload_that_is_not_there_yet_is_waited_for(installed: Cluster) -> None:
    name = installed.namespace(inject="enabled", automount="disabled")
    installed.reader(name)
    words = ("workload", "pod/web", "-n", name, "--kubeconfig", str(installed.plane.kubeconfig()))
    assert run_check(*words, "--wait", "3")[0] == 3
    later = threading.Timer(3, installed.run, (name,))
    later.start()
    code, shown, err = run_check(*words, "--wait", "30")
    later.join()
    assert (code, err) == (0, ""), shown


def test_the_list_fits_80_columns_and_a_pipe_and_junit_is_xml(installed: Cluster) -> None:
    with changed(installed, MUTATING, put("/webhooks/0/failurePolicy", "Fail")):
        environ = {"PYTHONIOENCODING": "utf-8"}
        kubeconfig = installed.plane.kubeconfig()
        shown = boundtoken("check", "--fix-hint", kubeconfig=kubeconfig, environ=environ)
        _, plain, _ = run_check("--kubeconfig", str(kubeconfig))  # a text has no encoding
        _, xml, _ = run_check("--kubeconfig", str(kubeconfig), "-o", "junit")
    assert (shown.returncode, shown.stderr) == (1, "")
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index(f"{output.MARKS['failed']} the webhooks fail open")
    assert "    kubectl apply -k OVERLAY" in lines[at : at + 8]
    assert "    see boundtoken help checks webhook-policies" in lines[at : at + 9]
    assert "\033" not in shown.stdout
    assert "x the webhooks fail open" in plain.splitlines()
    marks = {line.split(" ")[0] for line in plain.splitlines()}
    assert marks.isdisjoint(set(output.MARKS.values()) - set(output.ASCII_MARKS.values()))
    suites = ET.fromstring(xml)
    (failure,) = suites.iter("failure")
    assert "failurePolicy is Fail" in failure.attrib["message"]
    assert int(suites.attrib["tests"]) == len(list(suites.iter("testcase")))


def complaints(cluster: Cluster, *words: str, user: str = "admin") -> Checked:
    return checked(cluster, "workload", *words, user=user)


def test_a_workload_that_is_right_passes_and_each_complaint_is_told(installed: Cluster) -> None:
    name = installed.namespace()
    where = ("-n", name)
    pod = installed.deployment(name)["metadata"]["name"]
    installed.reader(name)
    installed.annotate(name, inject="enabled", automount="disabled")
    before = complaints(installed, "deployment/web", *where)
    assert (before.code, set(before.of("failed"))) == (1, {"workload-injected"})
    command = f"kubectl rollout restart deployment/web -n {name}"
    assert before.by_id["workload-injected"]["commands"] == [command]
    installed.plane.kubectl(*command.split()[1:])
    path = f"{NAMESPACES}/{name}/pods"
    wait_for(lambda: len(installed.plane.call("GET", path)["items"]) > 1)
    installed.plane.call("DELETE", f"{path}/{pod}", {"gracePeriodSeconds": 0})
    wait_for(lambda: complaints(installed, "deploy/web", *where).code == 0)
    after = complaints(installed, "deploy/web", "--can", "get/configmaps", *where)
    assert set(after.of("passed")) == set(after.by_id)
    cannot = complaints(installed, "deploy/web", "--can", "delete/secrets", *where)
    assert cannot.text("workload-rights") == "serviceaccount/default may not delete secrets"
    left = next(
        one
        for one in installed.plane.call("GET", path)["items"]
        if one["metadata"]["name"] != pod and "deletionTimestamp" not in one["metadata"]
    )
    of_pod = complaints(installed, f"pod/{left['metadata']['name']}", *where)
    assert of_pod.code == 0
    with changed(installed, MUTATING, put("/webhooks/0/rules/0/operations", ["UPDATE"])):
        uncalled = complaints(installed, "deploy/web", *where)
    assert uncalled.status("workload-called") == "failed"


def test_what_is_wrong_with_a_template_is_told(installed: Cluster) -> None:
    name = installed.namespace(inject="enabled", audience="vault", enforce="strict")
    volume = {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    mount = {"name": "own", "mountPath": "/t/token", "subPath": "token"}
    container = {"name": "app", "image": "registry.example/app:1", "volumeMounts": [mount]}
    empty = {"name": "empty", "secret": {"secretName": "empty"}}
    missing = {"name": "missing", "secret": {"secretName": "missing"}}
    spare = {"name": "spare", "secret": {"secretName": "spare", "optional": True}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"serviceAccountName": "nobody", "containers": [container], "volumes": [volume, empty, missing, spare]}}  # fmt: skip
    deployment = {
        "metadata": {"name": "web", "annotations": {"boundtoken.dev/inject": "often"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    account = {"kubernetes.io/service-account.name": "default"}
    secret = {"metadata": {"name": "empty", "annotations": account}, "type": "kubernetes.io/service-account-token"}  # fmt: skip
    installed.plane.call("POST", f"{NAMESPACES}/{name}/secrets", secret)
    found: Any = wait_for(
        lambda: installed.plane.call("GET", f"{NAMESPACES}/{name}/secrets/empty").get("data")
    )
    assert found["token"]
    installed.plane.call("POST", f"/apis/apps/v1/namespaces/{name}/deployments", deployment)
    found = complaints(installed, "deployment/web", "-n", name)
    failed = found.of("failed")
    assert failed["workload-account"].startswith("there is no serviceaccount/nobody")
    assert "[token-mount]" in failed["workload-accepted"]
    assert "never refreshed" in failed["workload-refresh"]
    assert failed["workload-secrets"] == "secret/missing is missing"
    warned = found.of("warning")
    assert 'boundtoken.dev/inject="often"' in warned["workload-annotations"]
    assert "is for vault" in warned["workload-audience"]
    assert "no role is bound to serviceaccount/nobody" in found.text("workload-rights")
    assert found.status("workload-rights") == "passed"
    bare = installed.namespace()
    pod = a_bare_pod(automountServiceAccountToken=False)
    installed.create(bare, pod)
    assert "pod/web has none" in complaints(installed, "pod/web", "-n", bare).of("warning")["workload-token"]  # fmt: skip
    code, _, err = run_check("workload", "deployment/none", "-n", bare, "--kubeconfig", str(installed.plane.kubeconfig()))  # fmt: skip
    assert (code, "deployment/none is not in namespace" in err) == (3, True)
