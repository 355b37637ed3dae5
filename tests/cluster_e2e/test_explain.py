"""`boundtoken explain` beside what admission then does on the real API server."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster_e2e.generated import Generator
from tests.cluster_e2e.sidecar import other_webhook, without_ours
from tests.controlplane.cluster import NODE, StatusError
from tests.support.builders import Json, a_bare_pod, a_container, a_deployment, token, volume_names
from tests.support.cluster import NAMESPACES, Cluster, scale
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.core import names

DENIED_PODS = 300
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ON: Any = {"inject": "enabled", "automount": "disabled"}


def explain(cluster: Cluster, *arguments: str, user: str = "admin", documents: Any = None) -> Json:
    """The JSON, with the exit code as `code`."""
    flags = ["-f", "-", "--from-cluster"] if documents is not None else []
    stdin = json.dumps({"kind": "List", "items": documents}) if documents is not None else None
    result = boundtoken(
        *("explain", *flags, *arguments, "-o", "json"),
        kubeconfig=cluster.plane.kubeconfig(user),
        stdin=stdin,
    )
    assert result.returncode in (0, 1), result.stderr
    return {"code": result.returncode, **json.loads(result.stdout)}


def one(cluster: Cluster, *arguments: str, **options: Any) -> Json:
    """The only object that is explained, with the exit code as `code`."""
    result = explain(cluster, *arguments, **options)
    (found,) = result["objects"]
    unread = {one["what"]: one["why"] for one in result["unread"]}
    return {"code": result["code"], "unread": unread, **found}


def codes(found: Json) -> list[str]:
    """Why the pods of an object differ."""
    return [cause["code"] for pod in found["pods"] for cause in pod["causes"]]


def a_manifest(namespace: str, name: str = "web", *containers: Json, **fields: Any) -> Json:
    pod = a_bare_pod(*containers, name=name, **fields)
    pod["metadata"]["namespace"] = namespace
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def a_workload(namespace: str, kind: str = "Deployment", **fields: Any) -> Json:
    made = a_deployment(fields.pop("annotations", None), **fields)
    made["metadata"]["namespace"] = namespace
    return {**made, "apiVersion": "apps/v1", "kind": kind}


def without_suffix(message: str) -> str:
    """A message with * for what the API server makes up of the automounted volume's name."""
    return re.sub("kube-api-access-[a-z0-9]{5}", "kube-api-access-*", message)


def audited(cluster: Cluster, namespace: str, webhook: str, resource: str = "pods") -> list[str]:
    """The reasons that a webhook of ours gave for creates in a namespace."""
    key = f"{webhook}.boundtoken.dev/reason"
    return [found[key] for found in cluster.audit(namespace, resource) if key in found]


def test_every_reason_for_a_pod_is_what_admission_then_says(cluster: Cluster) -> None:
    own = a_container("app", ("own", names.DEFAULT_PATH))
    volumes = [{"name": "own", "emptyDir": {}}]
    cases: list[tuple[str, Any, Json]] = [
        ("injected", ON, {}),
        ("rewritten", {"inject": "enabled"}, {}),
        ("stripped", {"automount": "disabled"}, {}),
        ("unchanged", {"inject": "enabled"}, {"volumes": volumes, "containers": [own]}),
        ("not-requested", {}, {}),
        ("nothing-to-replace", {"inject": "replace"}, {"automountServiceAccountToken": False}),
        ("pod-opted-out", ON, {"automountServiceAccountToken": False}),
    ]
    pods = []
    for _, annotations, spec in cases:
        pod = a_manifest(cluster.namespace(**annotations))
        pods.append({**pod, "spec": {**pod["spec"], **spec}})
    pods.append(a_manifest("boundtoken-system", "not-ours"))
    result = explain(cluster, documents=pods)
    expected = [*(reason for reason, *_ in cases), "own-namespace"]
    assert [found["verdict"]["reason"] for found in result["objects"]] == expected
    assert all(found["calls"][0]["called"] for found in result["objects"])
    *pods, ours = pods
    for pod, found in zip(pods, result["objects"], strict=False):
        namespace = pod["metadata"]["namespace"]
        created, warnings = cluster.create(namespace, pod)
        assert audited(cluster, namespace, "pods")[-1] == found["verdict"]["reason"]
        status = created["metadata"].get("annotations", {}).get(names.STATUS, "")
        assert status == found["verdict"]["status"]
        assert warnings == found["verdict"]["warnings"]
    with pytest.raises(StatusError, match="PodSecurity"):  # after mutation
        cluster.create("boundtoken-system", ours)
    assert audited(cluster, "boundtoken-system", "pods")[-1] == "own-namespace"


def test_a_pod_that_the_api_server_never_sends_is_told_so(cluster: Cluster) -> None:
    namespace = cluster.namespace(**ON)
    mirror = a_manifest(namespace, annotations={names.MIRROR_POD: "x"}, nodeName=NODE)
    pods = [mirror, a_manifest("kube-public")]
    result = explain(cluster, documents=pods)
    assert [found["verdict"]["reason"] for found in result["objects"]] == ["mirror-pod", "excluded-namespace"]  # fmt: skip
    failed = [
        [check["what"] for check in call["checks"] if check["holds"] is False]
        for found in result["objects"]
        for call in found["calls"]
        if call["webhook"] == "pods.boundtoken.dev"
    ]
    assert failed == [["matchConditions not-a-mirror-pod"], ["namespaceSelector"]]
    for pod in pods:
        cluster.create(pod["metadata"]["namespace"], pod)
        assert audited(cluster, pod["metadata"]["namespace"], "pods") == []
    cluster.plane.call("DELETE", f"{NAMESPACES}/kube-public/pods/web")


def test_every_reason_for_a_workload_a_namespace_and_an_evaluation(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    plain, strict, warned = (
        cluster.namespace(),
        cluster.namespace(enforce="strict"),
        cluster.namespace(warn="strict", inject="enabled", automount="disabled"),
    )
    exempt = cluster.namespace(enforce="strict")
    cluster.configure({**configured, "exemptions": {"namespaces": [exempt]}})
    owned = a_workload(plain, "ReplicaSet")
    owned["metadata"] |= {"name": "owned", "annotations": {names.INJECT: "enabled"}}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": True}  # fmt: skip
    owned["metadata"]["ownerReferences"] = [owner]
    copied = a_workload(plain, annotations={names.AUDIENCE: "vault"})
    bad = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bad", "annotations": {names.INJECT: "true"}}}  # fmt: skip
    broken = {**a_manifest(plain), "spec": {"containers": 7}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": plain}}
    evaluated = [a_manifest(name) for name in (plain, strict, warned, exempt)]
    result = explain(cluster, documents=[copied, owned, bad, broken, service, *evaluated])
    found = result["objects"]
    assert [one["workload"]["reason"] for one in found[:2]] == ["copied", "left-to-owner"]
    reasons = [one["verdict"]["reason"] for one in found[2:5]]
    assert reasons == ["bad-annotations", "malformed-review", "not-applicable"]
    judged = [one["enforcement"] for one in found[5:]]
    assert [one["reason"] for one in judged] == ["not-enforced", "violates", "complies", "exempt"]
    for manifest, resource in ((copied, "deployments"), (owned, "replicasets")):
        path = f"/apis/apps/v1/namespaces/{plain}/{resource}"
        cluster.plane.call("POST", path, manifest)
        expected = "copied" if manifest is copied else "left-to-owner"
        assert audited(cluster, plain, "workloads", resource)[-1] == expected
    with pytest.raises(StatusError) as refused:
        cluster.plane.call("POST", NAMESPACES, bad)
    assert found[2]["verdict"]["denial"] in str(refused.value)
    with pytest.raises(StatusError):
        cluster.create(plain, broken)
    denial = without_suffix(cluster.denial(strict, evaluated[1]))
    assert denial == judged[1]["denial"]
    for manifest, one in zip(evaluated, judged, strict=True):
        if one["outcome"] != "denied":
            namespace = manifest["metadata"]["namespace"]
            cluster.create(namespace, {**manifest, "metadata": {"name": "last"}})
            assert audited(cluster, namespace, "enforced")[-1] == one["reason"]


def test_every_layer_decides_once_as_its_pod_shows(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    configured["defaults"] = {"inject": "enabled", "expirationSeconds": 1200}
    configured["locks"] = {"maxExpirationSeconds": 7200}
    cluster.configure(configured)
    seconds = names.EXPIRATION_SECONDS
    template = {"metadata": {"annotations": {seconds: "1500"}}}
    written: dict[str, tuple[Any, Any]] = {
        "defaults": ({}, None),
        "namespace": ({"expiration_seconds": "1300"}, None),
        "workload": ({"expiration_seconds": "1300"}, {"annotations": {seconds: "1400"}}),
        "template": ({}, {"annotations": {seconds: "1400"}, "template": template}),
        "pod": ({"expiration_seconds": "1300"}, {seconds: "1600"}),
        "locks": ({}, {seconds: "9000"}),
    }
    documents = []
    for layer, (annotations, fields) in written.items():
        namespace = cluster.namespace(**annotations)
        if layer in ("workload", "template"):
            document = a_workload(namespace, annotations=fields["annotations"])
            metadata = document["spec"]["template"]["metadata"]
            metadata |= fields.get("template", {}).get("metadata", {})
        else:
            document = a_manifest(namespace, annotations=fields or {})
        documents.append(document)
    result = explain(cluster, documents=documents)
    rows = [
        setting
        for found in result["objects"]
        for setting in found["layers"]
        if setting["name"] == "expiration-seconds"
    ]
    assert [row["decidedBy"] for row in rows] == list(written)
    assert [row["value"] for row in rows] == ["1200", "1300", "1400", "1500", "1600", "7200"]
    for document, row in zip(documents, rows, strict=True):
        pod = made(cluster, document)
        (volume,) = volume_names(pod)
        assert str(token(pod, volume)["expirationSeconds"]) == row["value"]


def made(cluster: Cluster, document: Json) -> Json:
    """The pod that the cluster makes of a manifest."""
    namespace = document["metadata"]["namespace"]
    if document["kind"] == "Pod":
        return cluster.create(namespace, document)[0]
    cluster.plane.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", document)
    (pod,) = wait_for(lambda: cluster.plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"])
    return dict(pod)


def test_pods_before_the_annotation_differ_and_the_command_that_is_told_ends_it(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace()
    pod = cluster.deployment(namespace)["metadata"]["name"]
    assert one(cluster, "deployment/web", "-n", namespace)["code"] == 0
    changed = wait_for(lambda: annotated_later(cluster, namespace, pod))
    found = one(cluster, f"pod/{pod}", "-n", namespace)
    assert (found["code"], codes(found)) == (1, ["before-annotation"])
    assert (found["owner"], found["verdict"]["reason"]) == ("deployment/web", "injected")
    assert changed in found["pods"][0]["causes"][0]["text"]
    command = found["restart"]["command"]
    assert command == f"kubectl rollout restart deployment/web -n {namespace}"
    cluster.plane.kubectl(*command.split()[1:])
    path = f"{NAMESPACES}/{namespace}/pods"
    wait_for(lambda: len(cluster.plane.call("GET", path)["items"]) > 1)
    cluster.plane.call("DELETE", f"{path}/{pod}", {"gracePeriodSeconds": 0})
    wait_for(lambda: one(cluster, "deploy", "web", "-n", namespace)["code"] == 0)
    cluster.annotate(namespace, expiration_seconds="1800")
    found = one(cluster, "deployment/web", "-n", namespace)
    assert codes(found)[0] == "older-policy"
    assert found["pods"][0]["has"]["tokens"][0]["expirationSeconds"] == 3600
    assert found["wouldGet"]["tokens"][0]["expirationSeconds"] == 1800


def annotated_later(cluster: Cluster, namespace: str, pod: str) -> str:
    """Annotate the namespace in a later second than the one in which a pod was made; gives the
    time.
    """
    path = f"{NAMESPACES}/{namespace}"
    cluster.annotate(namespace, inject=None)
    cluster.annotate(namespace, **ON)
    created = cluster.plane.call("GET", f"{path}/pods/{pod}")["metadata"]["creationTimestamp"]
    managed = cluster.plane.call("GET", path)["metadata"]["managedFields"]
    latest = max(str(entry["time"]) for entry in managed)
    return latest if latest > created else ""


@pytest.fixture
def away(cluster: Cluster) -> Iterator[None]:
    """No replica while the test runs."""
    scale(cluster, 0)
    yield
    if not cluster.kubelet.pods:
        scale(cluster, 2)


def test_while_it_is_away_this_is_told_and_afterwards_who_was_missed(
    cluster: Cluster, away: None
) -> None:
    namespace = cluster.namespace(**ON)
    found = one(cluster, documents=[a_manifest(namespace)])
    assert (found["code"], found["verdict"]["reason"]) == (1, "injected")
    assert found["problems"] == [
        "boundtoken cannot be reached now: service/boundtoken in boundtoken-system, no ready endpoints"
    ]
    assert found["calls"][0]["away"].startswith("taken as it is")
    strict = a_manifest(cluster.namespace(**ON, enforce="strict"))
    judged = one(cluster, documents=[strict])["enforcement"]
    assert (judged["reason"], judged["denial"]) == ("complies", "")
    assert (
        without_suffix(cluster.denial(strict["metadata"]["namespace"], strict))
        == judged["awayDenial"]
    )
    cluster.deployment(namespace)
    bare, _ = cluster.create(namespace, a_manifest(namespace, "bare"))
    assert volume_names(bare)[0].startswith("kube-api-access-")
    scale(cluster, 2)
    log = str(cluster.plane.audit_log)
    found = one(cluster, "pod/bare", "-n", namespace)
    assert (found["code"], codes(found)) == (1, ["maybe-away"])
    assert found["restart"]["command"] == f"kubectl replace --force -n {namespace} -f FILE"
    result = explain(cluster, "pod/bare", "deployment/web", "-n", namespace, "--audit-log", log)
    assert [codes(found) for found in result["objects"]] == [["webhook-away"], ["webhook-away"]]


def test_another_webhook_that_takes_it_off_is_told_and_a_sidecar_is_no_difference(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace(**ON)
    with other_webhook(cluster.plane, "z-strip", namespace, without_ours):
        pod = cluster.deployment(namespace)
        found = one(cluster, "deployment/web", "-n", namespace)
    assert volume_names(pod) == []
    assert found["others"] == {"before": [], "again": [], "after": ["z-strip/z-strip.example.com"]}
    assert (found["code"], codes(found)) == (1, ["taken-off"])
    assert "z-strip/z-strip.example.com" in found["pods"][0]["causes"][0]["text"]
    namespace = cluster.namespace(**ON)
    with other_webhook(cluster.plane, "a-sidecar", namespace):
        pod = cluster.deployment(namespace)
        found = one(cluster, "deployment/web", "-n", namespace)
    assert len(pod["spec"]["containers"]) == 2
    assert found["others"]["before"] == ["a-sidecar/a-sidecar.example.com"]
    assert (found["code"], codes(found)) == (0, [])


def bind(cluster: Cluster, namespace: str, user: str, role: Json) -> None:
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    body = {"metadata": {"name": "explain"}, "roleRef": role, "subjects": [subject]}
    cluster.plane.call("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)


def test_with_a_viewers_rights_it_says_what_it_could_not_see_and_tells_the_rest(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace()
    cluster.deployment(namespace)
    cluster.annotate(namespace, **ON)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    bind(cluster, namespace, "alice", role)
    target = ("deployment/web", "-n", namespace)
    wait_for(lambda: may_read(cluster, *target, user="developer"))
    theirs, ours = one(cluster, *target, user="developer"), one(cluster, *target)
    assert ours["unread"] == {}
    assert sorted(theirs["unread"]) == [
        "configmaps in boundtoken-system",
        "endpointslices in boundtoken-system",
        "mutatingwebhookconfigurations",
        "services in boundtoken-system",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ]
    assert theirs["unread"]["mutatingwebhookconfigurations"] == "needs list on mutatingwebhookconfigurations"  # fmt: skip
    same = ("verdict", "layers", "enforcement", "wouldGet", "restart", "problems", "code")
    assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
    assert theirs["notes"][0].startswith("the configuration was not seen")


def may_read(cluster: Cluster, *target: str, user: str) -> bool:
    result = boundtoken("explain", *target, kubeconfig=cluster.plane.kubeconfig(user))
    return result.returncode != 3


def test_who_may_read_a_pod_alone_hears_of_no_verdict_but_of_what_it_has(cluster: Cluster) -> None:
    namespace = cluster.namespace(**ON)
    cluster.create(namespace, a_manifest(namespace))
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    body = {"metadata": {"name": "explain"}, "rules": rules}
    cluster.plane.call("POST", f"{RBAC}/namespaces/{namespace}/roles", body)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "explain"}
    bind(cluster, namespace, "ci:example/shop", role)
    target = ("pod/web", "-n", namespace)
    wait_for(lambda: may_read(cluster, *target, user="pipeline"))
    found = one(cluster, *target, user="pipeline")
    assert (found["code"], found["verdict"]) == (0, None)
    assert found["unread"][f"namespaces/{namespace}"] == f"needs get on namespaces/{namespace}"
    assert found["pods"][0]["has"]["tokens"][0]["volume"] == "boundtoken"
    result = boundtoken("explain", "deploy/web", "-n", namespace, kubeconfig=cluster.plane.kubeconfig("pipeline"))  # fmt: skip
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"boundtoken: deployment/web: needs get on deployments in {namespace}\n"


ENFORCING: list[Any] = [
    {"enforce": "bound"},
    {"enforce": "strict"},
    {"enforce": "strict", **ON},
    {"enforce": "strict", "inject": "enabled"},
    {"enforce": "bound", "inject": "replace", "audience": "vault"},
    {"enforce": "bound", "allowed_audiences": "vault, aws", "max_expiration_seconds": "7200"},
]


def test_what_it_says_is_refused_the_api_server_refuses(cluster: Cluster) -> None:
    generator = Generator(20_261)
    namespaces = [cluster.namespace(**annotations) for annotations in ENFORCING]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **generator.pod(f"web-{number}")}
        for number in range(DENIED_PODS)
    ]
    for number, pod in enumerate(pods):
        pod["metadata"]["namespace"] = namespaces[number % len(namespaces)]
    found = explain(cluster, documents=pods)["objects"]
    here = [one_found["enforcement"]["denial"] for one_found in found]
    there = [without_suffix(cluster.denial(pod["metadata"]["namespace"], pod)) for pod in pods]
    assert here == there
    assert 100 < sum(map(bool, there)) < DENIED_PODS
