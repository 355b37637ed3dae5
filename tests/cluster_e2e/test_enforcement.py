"""Enforcement on the real API server: what is denied, what a token of an allowed pod really is, and
who is never asked.
"""

import json
from typing import Any

import pytest

from tests.cluster_e2e.sidecar import a_year, other_webhook
from tests.controlplane.cluster import KubectlError, StatusError
from tests.controlplane.volumes import node_token
from tests.support.builders import Json, a_container, a_deployment, a_pod
from tests.support.cluster import NAMESPACES, Cluster, life, namespaces_unreviewed
from tests.support.waiting import wait_for
from webhook.core import names


def a_nameless(pod: Json) -> Json:
    """The pod without its namespace, so that any may take it."""
    pod["metadata"].pop("namespace", None)
    return pod


def bare(name: str = "web", **spec: Any) -> Json:
    pod = a_nameless(a_pod(**spec))
    pod["metadata"]["name"] = name
    return pod


def with_token(seconds: int, name: str = "web") -> Json:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}}
    volume = {"name": "t", "projected": {"sources": [source]}}
    return bare(name, volumes=[volume], automountServiceAccountToken=False)


def judges(cluster: Cluster, namespace: str) -> None:
    """Wait until the API server enforces what a namespace demands."""
    wait_for(lambda: cluster.denial(namespace, with_token(1 << 32, "probe")), 15)


def test_a_year_long_token_is_denied_and_the_message_says_what_to_do(cluster: Cluster) -> None:
    namespace = cluster.namespace(enforce="bound")
    judges(cluster, namespace)
    message = cluster.denial(namespace, bare(), query="")
    assert message.startswith(
        f'namespace "{namespace}" enforces "bound:v1": [token-lifetime] volume "kube-api-access-'
    )
    assert message.endswith(
        '": the automounted token is valid for one year, not 86400 s; annotate namespace or pod template with boundtoken.dev/inject=replace'
    )
    fix = {"boundtoken.dev/inject": "enabled"}
    assert (
        cluster.denial(namespace, {**bare(), "metadata": {"name": "web", "annotations": fix}}) == ""
    )
    cluster.create(namespace, bare(automountServiceAccountToken=False))


def test_the_fix_of_a_strict_denial_leaves_a_token(cluster: Cluster) -> None:
    """The first fix that was named once left none."""
    namespace = cluster.namespace(enforce="strict")
    judges(cluster, namespace)
    message = cluster.denial(namespace, bare(), query="")
    fix = (
        "annotate namespace or pod template with boundtoken.dev/automount=disabled, inject=replace"
    )
    assert f'"strict" forbids the automounted token; {fix}; if it needs no API access, ' in message
    annotations = {names.AUTOMOUNT: "disabled", names.INJECT: "enabled"}
    pod, _ = cluster.create(
        namespace, {**bare(), "metadata": {"name": "web", "annotations": annotations}}
    )
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["boundtoken"]


def test_injection_and_enforcement_together(cluster: Cluster) -> None:
    namespace = cluster.namespace(
        inject="enabled", automount="disabled", enforce="strict", warn="strict"
    )
    judges(cluster, namespace)
    _, warnings = cluster.create(namespace, bare())
    assert warnings == []


def test_warnings_and_audit_annotations_deny_nothing(cluster: Cluster) -> None:
    namespace = cluster.namespace(warn="strict", audit="bound")
    wait_for(lambda: cluster.create(namespace, bare("probe"), query="?dryRun=All")[1], 15)
    made, warnings = cluster.create(namespace, bare())
    assert all(warning.startswith('would violate boundtoken "strict:v1": ') for warning in warnings)
    assert len(warnings) == 2
    events = [json.loads(line) for line in cluster.plane.audit_log.read_text().splitlines()]
    uid_events = [
        event
        for event in events
        if event.get("objectRef", {}).get("namespace") == namespace and event["verb"] == "create"
    ]
    annotations = [
        event.get("annotations", {})
        for event in uid_events
        if event["objectRef"]["resource"] == "pods"
    ]
    assert any(
        entry.get("enforced.boundtoken.dev/violations", "").startswith("bound:v1: [token-")
        for entry in annotations
    )
    assert made["metadata"]["name"] == "web"


def test_a_controllers_pod_is_denied_and_its_event_says_why(cluster: Cluster) -> None:
    namespace = cluster.namespace(enforce="bound", warn="bound")
    judges(cluster, namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _, warnings = cluster.plane.call_with_warnings("POST", path, a_deployment())
    (warning,) = warnings
    assert (
        '"kube-api-access-*" (unless the service account opts out): the automounted token is valid for one year'
        in warning
    )
    assert warning.endswith("annotate namespace or pod template with boundtoken.dev/inject=replace")

    def told() -> bool:
        events = cluster.plane.call("GET", f"{NAMESPACES}/{namespace}/events")["items"]
        return any(
            e["involvedObject"]["kind"] == "ReplicaSet"
            and 'enforces "bound:v1": [token-lifetime]' in e["message"]
            for e in events
        )

    wait_for(told, 20)
    assert cluster.plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"] == []


@pytest.mark.parametrize(("level", "promised"), [("bound", 86400), ("strict", 3600)])
def test_tokens_of_allowed_pods_live_as_promised_and_those_of_denied_ones_would_not(
    cluster: Cluster, level: str, promised: int
) -> None:
    namespace, free = cluster.namespace(enforce=level), cluster.namespace()
    judges(cluster, namespace)
    for seconds in sorted({600, 3600, 3607, promised, promised + 1, 1 << 32}):
        name = f"s{seconds}"
        twin = cluster.run(free, with_token(seconds, name))
        lives = life(
            node_token(cluster.plane, twin, {"path": "token", "expirationSeconds": seconds})
        )
        try:
            cluster.create(namespace, with_token(seconds, name))
        except StatusError as problem:
            assert problem.code == 403
            assert lives > promised, seconds
        else:
            assert lives <= promised, seconds


def test_ephemeral_containers_are_judged_by_what_they_bring(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    pod, _ = cluster.create(namespace, bare())
    volume = pod["spec"]["volumes"][0]["name"]
    cluster.annotate(namespace, enforce="bound")
    judges(cluster, namespace)
    path = f"{NAMESPACES}/{namespace}/pods/web/ephemeralcontainers"

    def debug(*mounts: tuple[str, str]) -> None:
        pod = cluster.plane.call("GET", path.removesuffix("/ephemeralcontainers"))
        pod["spec"].setdefault("ephemeralContainers", []).append(
            a_container(f"debug-{len(mounts)}", *mounts)
        )
        cluster.plane.call("PUT", path, pod)

    debug()
    with pytest.raises(StatusError, match=r"denied request: .*\[token-lifetime\]"):
        debug((volume, "/t"))


def test_existing_pods_can_be_updated_after_enforcement_began(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    cluster.create(namespace, bare())
    cluster.annotate(namespace, enforce="strict")
    judges(cluster, namespace)
    change = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:2"}]},
    }
    path = f"{NAMESPACES}/{namespace}/pods/web"
    changed = cluster.plane.call(
        "PATCH", path, change, kind="application/strategic-merge-patch+json"
    )
    assert changed["spec"]["containers"][0]["image"].endswith(":2")


def test_a_later_webhook_that_puts_a_year_long_token_back_is_caught(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled", enforce="bound")
    judges(cluster, namespace)
    cluster.create(namespace, bare("before"))
    late = pytest.raises(StatusError, match='volume "late": 3607 makes a token valid for one year')
    with other_webhook(cluster.plane, "z-year", namespace, a_year), late:
        cluster.create(namespace, bare())
    cluster.create(namespace, bare("after"))


def test_token_requests_of_people_are_governed_and_the_clusters_are_not(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    plane = cluster.plane
    namespace = cluster.namespace(max_expiration_seconds="7200", allowed_audiences="vault")
    plane.kubectl(
        "create", "rolebinding", "edit", "--clusterrole=edit", "--user=editor", "-n", namespace
    )

    def ask(*arguments: str, user: str = "editor") -> str:
        return plane.kubectl(
            "create", "token", "default", "-n", namespace, *arguments, user=user
        ).strip()

    assert life(ask("--duration=9000s")) == 9000
    cluster.configure(
        {**configured, "tokenRequests": {"mode": "warn"}, "legacySecrets": {"mode": "warn"}}
    )
    result = plane.run_kubectl(
        "create", "token", "default", "-n", namespace, "--duration=9000s", user="editor"
    )
    assert result.stderr.startswith("Warning: would be denied: token of service account ")
    assert life(result.stdout.strip()) == 9000
    cluster.configure(
        {**configured, "tokenRequests": {"mode": "enforce"}, "legacySecrets": {"mode": "enforce"}}
    )
    with pytest.raises(
        KubectlError,
        match=r"9000 s are asked for, and at most 7200 s are allowed; use --duration=7200s",
    ):
        wait_for(lambda: not ask("--duration=9000s"), 10)
    with pytest.raises(
        KubectlError,
        match=r'audience "elsewhere" is not allowed; leave --audience out, or use one of "vault"',
    ):
        ask("--audience=elsewhere")
    assert life(ask("--duration=7200s", "--audience=vault")) == 7200
    for identity in (
        "--as=system:kube-controller-manager",
        "--as=system:serviceaccount:kube-system:job-controller",
    ):
        assert (
            life(ask("--duration=9000s", identity, "--as-group=system:masters", user="admin"))
            == 9000
        )
    for pretender in (
        ("--as=eve", "--as-group=system:nodes"),
        ("--as=system:node:eve", "--as-group=people"),
    ):
        with pytest.raises(KubectlError, match="use --duration=7200s"):
            ask("--duration=9000s", *pretender, "--as-group=system:masters", user="admin")
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 9000},
    }
    path = f"{NAMESPACES}/{namespace}/serviceaccounts/default/token"
    with pytest.raises(StatusError, match="at most 7200 s are allowed"):
        plane.call("POST", path + "?dryRun=All", body, user="editor")
    pod = cluster.run(namespace, with_token(9000))
    assert life(node_token(plane, pod, {"path": "token", "expirationSeconds": 9000})) == 9000
    secret = {
        "metadata": {
            "name": "old",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    with pytest.raises(
        StatusError, match="holds a token that never expires; use kubectl create token"
    ):
        plane.call("POST", f"{NAMESPACES}/{namespace}/secrets", secret)
    plane.call("POST", f"{NAMESPACES}/{namespace}/secrets", {"metadata": {"name": "fine"}})


def test_floor_and_exemptions_of_the_configuration(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    plain, spared = cluster.namespace(), cluster.namespace(enforce="off")
    cluster.configure(
        {
            **configured,
            "locks": {**configured["locks"], "enforceFloor": "bound"},
            "exemptions": {
                "namespaces": [spared],
                "usernames": ["editor"],
                "serviceAccounts": [f"{plain}/spared"],
                "runtimeClasses": ["spared"],
            },
        }
    )
    judges(cluster, plain)
    cluster.annotate(plain, enforce="off")
    assert cluster.denial(plain, bare()).startswith(
        f'namespace "{plain}" is under the cluster\'s enforceFloor "bound": ['
    )
    cluster.create(spared, bare())
    plane = cluster.plane
    plane.kubectl("create", "serviceaccount", "spared", "-n", plain)
    plane.kubectl(
        "create", "rolebinding", "edit", "--clusterrole=edit", "--user=editor", "-n", plain
    )
    plane.call(
        "POST",
        "/apis/node.k8s.io/v1/runtimeclasses",
        {"metadata": {"name": "spared"}, "handler": "x"},
    )
    try:
        assert cluster.denial(plain, bare(), user="editor") == ""
        assert cluster.denial(plain, bare(serviceAccountName="spared")) == ""
        assert wait_for(lambda: cluster.denial(plain, bare(runtimeClassName="spared")) == "")
    finally:
        plane.call("DELETE", "/apis/node.k8s.io/v1/runtimeclasses/spared")


def test_a_fault_in_enforce_counts_as_strict_and_a_version_can_be_pinned(cluster: Cluster) -> None:
    with namespaces_unreviewed(cluster):
        faulty = cluster.namespace(enforce="sttrict")
    pinned = cluster.namespace(enforce="bound", enforce_version="v1")
    judges(cluster, faulty)
    judges(cluster, pinned)
    assert f'namespace "{faulty}" enforces "strict:v1": [' in cluster.denial(
        faulty, with_token(7200)
    )
    cluster.create(pinned, with_token(7200))


def test_a_change_of_demands_lists_what_would_fail_and_a_dry_run_changes_nothing(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace()
    cluster.plane.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", a_deployment())
    cluster.plane.kubectl("scale", "deployment/web", "--replicas=3", "-n", namespace)
    cluster.create(namespace, bare("single"))
    cluster.create(namespace, bare("fine", automountServiceAccountToken=False))
    wait_for(lambda: len(cluster.plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"]) == 5)
    annotate = ("annotate", "namespace", namespace, "--overwrite")
    warnings = cluster.plane.run_kubectl(
        *annotate, "boundtoken.dev/enforce=bound", "--dry-run=server"
    ).stderr.splitlines()
    assert warnings == [
        f'Warning: 4 existing pods in namespace "{namespace}" violate "bound": 4 will be refused (deployment/web (3 pods), pod/single); 1 complies',
        'Warning: deployment/web (3 pods), pod/single: [token-lifetime] volume "kube-api-access-*": the automounted token is valid for '
        "one year, not 86400 s; annotate namespace or pod template with boundtoken.dev/inject=replace",
    ]
    assert (
        cluster.plane.run_kubectl(*annotate, "boundtoken.dev/enforce=bound").stderr.splitlines()
        == warnings
    )
    assert cluster.plane.run_kubectl(*annotate, "unrelated=1").stderr == ""
    assert (
        len(
            cluster.plane.run_kubectl(
                *annotate, "boundtoken.dev/max-expiration-seconds=600"
            ).stderr.splitlines()
        )
        == 2
    )
    assert cluster.plane.run_kubectl(*annotate, "boundtoken.dev/enforce=off").stderr == ""
