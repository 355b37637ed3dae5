"""`boundtoken explain` beside an API server that a test plays: what is missing, broken, forbidden
or long.
"""

import base64
import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import Json, a_deployment, a_pod, automounted
from tests.support.explaining import run_explain
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import ROOT
from tests.support.played import Played, playing
from webhook.cli.cluster.reader import MAX_PAGES, PAGE
from webhook.cli.explain import report
from webhook.core import names
from webhook.pki import authority
from webhook.simulation.calling import Others

GROUP = "/apis/admissionregistration.k8s.io/v1"
SHOP = "/api/v1/namespaces/shop"
OURS = "/api/v1/namespaces/boundtoken-system"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/boundtoken-system/endpointslices"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"
MADE, EARLIER, LATER = "2026-02-01T00:00:05Z", "2026-02-01T00:00:01Z", "2026-02-01T00:00:09Z"


@pytest.fixture
def played() -> Iterator[Played]:
    with playing(an_installation()) as api:
        yield api


def shipped(kind: str) -> Json:
    (path,) = ROOT.glob(f"manifests/7?-{kind.lower()}.yaml")
    found: Json = yaml.safe_load(path.read_text())
    return found


def a_ca_bundle(days: int = 1) -> str:
    now = datetime.now(UTC) - timedelta(days=2)
    return base64.b64encode(
        authority.make_authority("ca", now, timedelta(days=2 + days)).certificate.pem
    ).decode()


def an_installation() -> Json:
    """Boundtoken as it is installed, and a Deployment with a pod in an annotated namespace."""
    mutating = shipped("MutatingWebhookConfiguration")
    for entry in mutating["webhooks"]:
        entry["clientConfig"]["caBundle"] = a_ca_bundle()
        entry["clientConfig"]["service"]["namespace"] = "boundtoken-system"
    mutating["metadata"]["creationTimestamp"] = EARLIER
    namespace = {"metadata": {"name": "shop", "annotations": {names.INJECT: "enabled"}}}
    return {
        f"{GROUP}/mutatingwebhookconfigurations": [mutating],
        f"{GROUP}/validatingwebhookconfigurations": [],
        f"{GROUP}/validatingadmissionpolicybindings/boundtoken-pods": {"metadata": {}},
        f"{OURS}/services/boundtoken": {"spec": {"ports": [{"port": 10250}]}},
        SLICES: [{"endpoints": [{"conditions": {"ready": True}}, {"conditions": {}}, {"conditions": {"ready": False}}]}],
        f"{OURS}/configmaps": [],
        SHOP: namespace,
        f"{SHOP}/serviceaccounts/default": {},
        f"{SHOP}/pods": [a_living_pod()],
        f"{SHOP}/pods/web-1-x": a_living_pod(),
        f"{SHOP}/events": [],
        "/apis/apps/v1/namespaces/shop/replicasets/web-1": owned_by("Deployment", "web", a_deployment()),
        DEPLOYMENT: a_deployment(),
    }  # fmt: skip


def owned_by(kind: str, name: str, document: Json) -> Json:
    document["metadata"]["ownerReferences"] = [{"kind": kind, "name": name, "controller": True}]
    return document


def a_living_pod(name: str = "web-1-x", owner: tuple[str, str] = ("ReplicaSet", "web-1")) -> Json:
    pod = automounted(a_pod())
    pod["metadata"] |= {
        "name": name,
        "creationTimestamp": MADE,
        "labels": {"app": "web", "pod-template-hash": "1"},
    }
    return owned_by(*owner, pod)


def run(api: Played, folder: Path, *arguments: str) -> tuple[int, str, str]:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", api.server, namespace="shop")
    words = arguments or ("deployment/web",)
    return run_explain(*words, "--kubeconfig", str(kubeconfig))


def explained(api: Played, folder: Path, *arguments: str) -> Json:
    code, out, err = run(api, folder, *(arguments or ("deployment/web",)), "-o", "json")
    assert code in (0, 1), err
    result = json.loads(out)
    unread = {one["what"]: one["why"] for one in result["unread"]}
    return {"code": code, "unread": unread, **result["objects"][0]}


def test_an_installation_that_stands_and_a_pod_that_was_missed(
    played: Played, tmp_path: Path
) -> None:
    found = explained(played, tmp_path)
    assert found["problems"] == ["it differs from what it would get now"]
    assert found["unread"] == {}
    assert [cause["code"] for cause in found["pods"][0]["causes"]] == ["maybe-away"]
    assert found["calls"][0]["service"] == {
        "ok": True,
        "text": "service/boundtoken in boundtoken-system, 2 ready endpoints",
    }
    assert found["configuration"] == "the defaults: no ConfigMap in boundtoken-system"
    assert explained(played, tmp_path, "pod/web-1-x")["owner"] == "deployment/web"


def the_pods_entry(api: Played) -> Json:
    found: Json = api.objects[f"{GROUP}/mutatingwebhookconfigurations"][0]["webhooks"][0]
    return found


@pytest.mark.parametrize(
    ("breakage", "problem"),
    [
        (lambda api: api.objects.update({f"{OURS}/services/boundtoken": 404}), "service/boundtoken in boundtoken-system is missing"),
        (lambda api: api.objects.update({f"{OURS}/services/boundtoken": {"spec": {"ports": [{"port": 443}]}}}), "has no port 10250"),
        (lambda api: api.objects.update({SLICES: []}), "no ready endpoints"),
        (lambda api: the_pods_entry(api)["clientConfig"].pop("caBundle"), "caBundle none: the API server cannot verify a replica"),
        (lambda api: the_pods_entry(api)["clientConfig"].update(caBundle="!"), "caBundle cannot be read"),
        (lambda api: the_pods_entry(api)["clientConfig"].update(caBundle=a_ca_bundle(days=-1)), "every certificate in it has expired"),
        (lambda api: the_pods_entry(api).update(namespaceSelector={"matchLabels": {"no": "such"}}), "does not call boundtoken about its pods: namespaceSelector"),
        (lambda api: the_pods_entry(api).update(objectSelector={"matchLabels": {"no": "such"}}), "does not call boundtoken about its pods: objectSelector"),
        (lambda api: the_pods_entry(api)["clientConfig"]["service"].update(port=1), "has no port 1"),
        (lambda api: the_pods_entry(api)["clientConfig"]["service"].update(path="/mutat\x1b"), 'path "/mutat\\x1b" of the entry: boundtoken answers at /mutate'),
        (lambda api: the_pods_entry(api)["clientConfig"]["service"].pop("path"), 'path "/" of the entry: boundtoken answers at /mutate'),
        (lambda api: the_pods_entry(api)["matchConditions"].append({"name": "off", "expression": " false"}), "does not call boundtoken about its pods: matchConditions off"),
        (lambda api: the_pods_entry(api).update(rules=[]), "entry for pods: no rule of its entries is for pods"),
        (lambda api: api.objects.update({f"{GROUP}/mutatingwebhookconfigurations": []}), "it is not installed"),
    ],
)  # fmt: skip
def test_what_does_not_stand_is_a_problem(
    played: Played, tmp_path: Path, breakage: Any, problem: str
) -> None:
    breakage(played)
    found = explained(played, tmp_path)
    assert found["code"] == 1
    assert [one for one in found["problems"] if problem in one] != []


def test_one_configuration_that_is_called_is_enough(played: Played, tmp_path: Path) -> None:
    configurations = played.objects[f"{GROUP}/mutatingwebhookconfigurations"]
    old = copy.deepcopy(configurations[0])
    old["metadata"]["name"] = "an-older-one"
    for entry in old["webhooks"]:
        entry["namespaceSelector"] = {"matchLabels": {"x": "y"}}
    configurations.insert(0, old)
    found = explained(played, tmp_path)
    assert [call["called"] for call in found["calls"] if call["request"] == "CREATE pods"] == [False, True]  # fmt: skip
    assert found["problems"] == ["it differs from what it would get now"]


def test_an_expression_that_is_not_ours_is_told_and_its_result_is_not_known(
    played: Played, tmp_path: Path
) -> None:
    condition = {"name": "odd", "expression": "object.metadata.name != 'x'"}
    the_pods_entry(played)["matchConditions"].append(condition)
    the_pods_entry(played)["failurePolicy"] = "Fail"
    found = explained(played, tmp_path)["calls"][0]
    assert (found["called"], found["away"]) == (None, "refused")
    assert found["checks"][-1] == {
        "what": "matchConditions odd",
        "holds": None,
        "text": "not evaluated: object.metadata.name != 'x'",
    }
    assert "not known whether it is called" in run(played, tmp_path)[1]


def test_a_url_instead_of_a_service_and_no_ca_bundle_are_the_systems(
    played: Played, tmp_path: Path
) -> None:
    the_pods_entry(played)["clientConfig"] = {"url": "https://elsewhere.example.com"}
    found = explained(played, tmp_path)["calls"][0]
    assert found["caBundle"] == {"ok": True, "text": "none: the system's authorities"}
    assert found["service"]["ok"] is None


CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


def test_the_configuration_is_that_of_the_config_map_where_no_replica_has_noted_one(
    played: Played, tmp_path: Path
) -> None:
    text = f"{CONFIGURATION}defaults: {{expirationSeconds: 1800}}\n"
    config_map = {"metadata": {"name": "mine"}, "data": {"config.yaml": text}}
    played.objects[f"{OURS}/configmaps"] = [{"metadata": {}}, config_map]
    found = explained(played, tmp_path)
    assert found["configuration"] == "configmap/mine"
    assert found["wouldGet"]["tokens"][0]["expirationSeconds"] == 1800
    config_map["data"] = {"config.yaml": "nonsense: 1"}
    found = explained(played, tmp_path)
    assert "has faults" in found["unread"]["the configuration"]
    assert found["notes"][0].startswith("the configuration was not seen")


def test_a_configuration_that_is_given_holds_instead_of_the_clusters(
    played: Played, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"{CONFIGURATION}locks: {{maxExpirationSeconds: 900}}\n")
    text = f"{CONFIGURATION}defaults: {{expirationSeconds: 1800}}\n"
    config_map = {"metadata": {"name": "mine"}, "data": {"config.yaml": text}}
    played.objects[f"{OURS}/configmaps"] = [config_map]
    found = explained(played, tmp_path, "deployment/web", "--config", str(file))
    assert found["configuration"] == "--config"
    assert found["wouldGet"]["tokens"][0]["expirationSeconds"] == 900


def test_a_pod_that_says_no_where_its_template_does_not_was_changed_by_boundtoken(
    played: Played, tmp_path: Path
) -> None:
    pod = played.objects[f"{SHOP}/pods/web-1-x"]
    pod["spec"] = {**a_pod()["spec"], "automountServiceAccountToken": False}
    found = explained(played, tmp_path, "pod/web-1-x")["pods"][0]
    assert [cause["code"] for cause in found["causes"]] == ["taken-off"]
    played.objects[DEPLOYMENT]["spec"]["template"]["spec"]["automountServiceAccountToken"] = False
    assert explained(played, tmp_path, "pod/web-1-x")["pods"][0]["differs"] is False


def test_a_pod_that_was_changed_is_no_problem_where_the_configuration_was_not_seen(
    played: Played, tmp_path: Path
) -> None:
    played.objects[f"{OURS}/configmaps"] = 403
    played.objects[f"{GROUP}/validatingadmissionpolicybindings/boundtoken-pods"] = 403
    pod = played.objects[f"{SHOP}/pods"][0]
    status = "rewritten: audience=(API server) expires=900 set-by=defaults policy=12345678"
    pod["metadata"]["annotations"] = {names.STATUS: status}
    found = explained(played, tmp_path)
    assert (found["code"], found["pods"][0]["differs"]) == (0, True)
    assert found["unread"]["configmaps in boundtoken-system"].startswith("needs list on")
    played.objects[f"{OURS}/configmaps"] = []
    assert explained(played, tmp_path)["code"] == 1


def test_any_read_that_fails_is_told_and_the_rest_goes_on(played: Played, tmp_path: Path) -> None:
    paths = [path for path in played.objects if path != DEPLOYMENT]
    for path in paths:
        played.objects[path] = 500
    found = explained(played, tmp_path)
    assert (found["code"], found["verdict"]) == (0, None)
    assert found["unread"]["namespaces/shop"] == "500 refused with 500"
    assert len(found["unread"]) >= 8
    for path in paths:
        played.objects[path] = "nonsense"
    assert explained(played, tmp_path)["code"] == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (404, "deployment/web is not in namespace shop"),
        (403, "deployment/web: needs get on deployments in shop"),
        (500, "deployment/web: 500 refused with 500"),
    ],
)
def test_an_object_that_cannot_be_read_is_a_failure(
    played: Played, tmp_path: Path, code: int, message: str
) -> None:
    played.objects[DEPLOYMENT] = code
    assert run(played, tmp_path) == (3, "", f"boundtoken: {message}\n")


def test_an_answer_without_anything_is_no_bug(played: Played, tmp_path: Path) -> None:
    played.objects[f"{SHOP}/pods/web-1-x"] = {}
    assert explained(played, tmp_path, "pod/web-1-x")["verdict"]["reason"] == "unchanged"


def test_an_answer_that_is_nested_too_deeply_is_a_failure(played: Played, tmp_path: Path) -> None:
    deep: Json = {}
    for _ in range(450):
        deep = {"a": deep}
    played.objects[DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]["x"] = deep
    code, out, err = run(played, tmp_path)
    assert (code, out) == (3, "")
    assert "at most 100 levels are allowed" in err


def test_a_namespace_that_is_not_there_is_a_problem(played: Played, tmp_path: Path) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(yaml.safe_dump(a_pod()))
    played.objects[SHOP] = 404
    found = explained(played, tmp_path, "-f", str(manifest), "--from-cluster")
    assert found["problems"] == ["there is no namespace of this name"]


@pytest.mark.parametrize("name", ["../../../api/v1/secrets", "shop?watch=1", "Shop", "a/b"])
def test_no_path_is_made_of_what_is_no_name(played: Played, tmp_path: Path, name: str) -> None:
    pod = a_pod(serviceAccountName=name)
    manifest = tmp_path / "pod.json"
    for namespace in (name, "shop"):
        pod["metadata"]["namespace"] = namespace
        manifest.write_text(json.dumps(pod))
        explained(played, tmp_path, "-f", str(manifest), "--from-cluster")
    paths = {path for path, _ in played.queries}
    assert paths <= played.objects.keys() | {f"{GROUP}/mutatingwebhookconfigurations"}
    assert not any(name in path for path in paths)


def test_every_field_of_the_json_is_described(played: Played, tmp_path: Path) -> None:
    text = (ROOT / "docs/reference.md").read_text()
    section = text[text.index("### What a pod gets") :].partition("\n### Tokens")[0]
    described = set(re.findall(r"`(\w+)`", section))
    found = explained(played, tmp_path, "pod/web-1-x", "--show-patch")
    del found["code"]
    parts = [found, found["verdict"], found["enforcement"], *found["pods"], *found["calls"]]
    parts += [found["restart"], found["others"], found["layers"][0]]
    assert {key for part in parts for key in part} <= described


def test_a_service_account_that_opts_out_counts(played: Played, tmp_path: Path) -> None:
    played.objects[SHOP]["metadata"]["annotations"] = {names.INJECT: "replace"}
    played.objects[f"{SHOP}/serviceaccounts/default"] = {"automountServiceAccountToken": False}
    assert explained(played, tmp_path)["verdict"]["reason"] == "nothing-to-replace"
    del played.objects[f"{SHOP}/serviceaccounts/default"]
    assert explained(played, tmp_path)["verdict"]["reason"] == "rewritten"


def test_a_service_account_that_is_not_there_is_a_problem(played: Played, tmp_path: Path) -> None:
    played.objects[f"{SHOP}/serviceaccounts/default"] = 403
    assert explained(played, tmp_path)["problems"] == ["it differs from what it would get now"]
    del played.objects[f"{SHOP}/serviceaccounts/default"]
    found = explained(played, tmp_path)
    problem = 'the API server refuses its pods, for there is no service account of this name: "default"'  # fmt: skip
    assert problem in found["problems"]
    assert problem in explained(played, tmp_path, "pod/web-1-x")["problems"]


def test_a_namespace_and_an_account_among_the_manifests_are_applied_with_them(
    played: Played, tmp_path: Path
) -> None:
    def verdict(*manifests: Json) -> tuple[str, list[str]]:
        path = tmp_path / "manifests.json"
        path.write_text(json.dumps({"kind": "List", "items": manifests}))
        kubeconfig = a_kubeconfig(tmp_path / "kubeconfig", played.server, namespace="shop")
        words = ("-f", str(path), "--from-cluster", "-o", "json", "--kubeconfig", str(kubeconfig))
        found = json.loads(run_explain(*words)[1])["objects"][0]
        return found["verdict"]["reason"], found["problems"]

    def in_namespace(name: str) -> Json:
        pod = a_pod(serviceAccountName="cart")
        return {**pod, "metadata": {"name": "web", "namespace": name}}

    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cart"}}
    refused = 'the API server refuses its pods, for there is no service account of this name: "cart"'  # fmt: skip
    assert verdict(in_namespace("shop")) == ("rewritten", [refused])
    assert verdict(in_namespace("shop"), account) == ("rewritten", [])
    account["automountServiceAccountToken"] = False
    assert verdict(in_namespace("shop"), account) == ("injected", [])
    off = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": {names.INJECT: "disabled"}}}  # fmt: skip
    assert verdict(in_namespace("shop"), account, off) == ("not-requested", [])
    assert verdict(in_namespace("new")) == ("not-requested", ["there is no namespace of this name"])
    new = {**off, "metadata": {"name": "new", "annotations": {names.INJECT: "enabled"}}}
    account["metadata"]["namespace"] = "new"
    assert verdict(in_namespace("new"), account, new) == ("injected", [])


@pytest.mark.parametrize(
    ("owner", "command", "remark"),
    [
        (("StatefulSet", "db"), "kubectl rollout restart statefulset/db -n shop", ""),
        (("Rollout", "web"), "kubectl delete pod/web-1-x -n shop", "its Rollout makes it again"),
        (("Job", "once"), "kubectl delete job/once -n shop", "delete the Job and create it again"),
        (("ReplicaSet", "gone"), "kubectl delete pod/web-1-x -n shop", "its ReplicaSet makes it again"),
        (("ReplicaSet", "../.."), "kubectl delete pod/web-1-x -n shop", "its ReplicaSet makes it again"),
    ],
)  # fmt: skip
def test_the_owner_of_a_pod_is_what_to_restart(
    played: Played, tmp_path: Path, owner: tuple[str, str], command: str, remark: str
) -> None:
    kinds = {"StatefulSet": ("apps/v1", "statefulsets"), "Job": ("batch/v1", "jobs")}
    kind, name = owner
    if kind in kinds:
        api, resource = kinds[kind]
        played.objects[f"/apis/{api}/namespaces/shop/{resource}/{name}"] = a_deployment()
    played.objects[f"{SHOP}/pods/web-1-x"] = a_living_pod(owner=owner)
    found = explained(played, tmp_path, "pod/web-1-x")
    assert found["restart"] == {"command": command, "remark": remark}
    assert bool(found["notes"]) == (kind not in kinds)


def test_a_pod_that_has_ended_is_no_problem(played: Played, tmp_path: Path) -> None:
    pod = a_living_pod(owner=("Job", "once"))
    pod["status"] = {"phase": "Succeeded"}
    played.objects[f"{SHOP}/pods/web-1-x"] = pod
    played.objects["/apis/batch/v1/namespaces/shop/jobs/once"] = a_deployment()
    found = explained(played, tmp_path, "pod/web-1-x")
    assert (found["code"], found["problems"], found.get("restart")) == (0, [], None)
    assert found["pods"][0]["differs"] is True
    assert "it has ended (Succeeded)" in run(played, tmp_path, "pod/web-1-x")[1]


@pytest.mark.parametrize(
    ("kind", "group"), [("StatefulSet", "apps.kruise.io"), ("Job", "batch.volcano.sh")]
)
def test_an_owner_of_another_group_is_not_the_one_of_kubernetes(
    played: Played, tmp_path: Path, kind: str, group: str
) -> None:
    for path in (
        "/apis/apps/v1/namespaces/shop/statefulsets",
        "/apis/batch/v1/namespaces/shop/jobs",
    ):
        played.objects[f"{path}/web"] = a_deployment()
    pod = a_living_pod(owner=(kind, "web"))
    pod["metadata"]["ownerReferences"][0]["apiVersion"] = f"{group}/v1"
    played.objects[f"{SHOP}/pods/web-1-x"] = pod
    found = explained(played, tmp_path, "pod/web-1-x")
    remark = f"its {kind}.{group} makes it again"
    assert found["restart"] == {"command": "kubectl delete pod/web-1-x -n shop", "remark": remark}
    assert found["owner"] == f"{kind.lower()}.{group}/web"
    assert not any("/web" in path and "/pods/" not in path for path, _ in played.queries)


def test_annotations_that_the_template_lacks_are_a_problem(played: Played, tmp_path: Path) -> None:
    played.objects[DEPLOYMENT]["metadata"]["annotations"] = {names.AUDIENCE: "vault"}
    found = explained(played, tmp_path)
    assert found["problems"][0].startswith("its template lacks what its annotations request")
    job = {**a_deployment({names.AUDIENCE: "vault"})}
    played.objects["/apis/batch/v1/namespaces/shop/jobs/once"] = job
    found = explained(played, tmp_path, "job/once")
    assert found["problems"][0].startswith("annotations on an existing Job have no effect")


def test_pods_are_of_the_workload_and_alike_ones_are_told_once(
    played: Played, tmp_path: Path
) -> None:
    others = [a_living_pod(f"other-{n}", ("ReplicaSet", "other-1")) for n in range(5)]
    ending = a_living_pod("web-1-ending")
    ending["metadata"]["deletionTimestamp"] = LATER
    played.objects[f"{SHOP}/pods"] = [
        *(a_living_pod(f"web-1-{number}") for number in range(PAGE + 30)),
        *others,
        ending,
    ]
    found = explained(played, tmp_path)
    assert len(found["pods"]) == PAGE + 30
    assert found["problems"] == ["280 of 280 pods differ from what they would get now"]
    (query,) = (query for path, query in played.queries if path == f"{SHOP}/pods" and "continue" not in query)  # fmt: skip
    assert query["labelSelector"] == ["app=web"]
    _, text, _ = run(played, tmp_path)
    assert "280 pods differ, made at 2026-02-01T00:00:05Z" in text
    assert "and 270 more" in text
    assert len(text.splitlines()) < 80


def test_the_webhooks_are_looked_through_once_for_all_pods(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def others(*given: object) -> Others:
        calls.append(given)
        return Others()

    monkeypatch.setattr(report, "others", others)
    played.objects[f"{SHOP}/pods"] = [a_living_pod(f"web-1-{number}") for number in range(50)]
    assert len(explained(played, tmp_path)["pods"]) == 50
    assert len(calls) == 2


def test_a_list_without_an_end_is_ended_and_told(played: Played, tmp_path: Path) -> None:
    pods = [a_living_pod(f"web-1-{number}") for number in range(PAGE * MAX_PAGES + 1)]
    played.objects[f"{SHOP}/pods"] = pods
    found = explained(played, tmp_path)
    assert len(found["pods"]) == PAGE * MAX_PAGES
    assert found["unread"]["more pods in shop"] == f"only the first {PAGE * MAX_PAGES} were looked at"  # fmt: skip


def an_event(name: str, message: str, time: str = LATER) -> Json:
    return {
        "reason": "FailedCreate",
        "message": message,
        "lastTimestamp": time,
        "involvedObject": {"kind": "ReplicaSet", "name": name},
    }


def test_events_of_a_replicaset_of_a_foreign_owner_are_told(played: Played, tmp_path: Path) -> None:
    failed = 'failed calling webhook "pods.boundtoken.dev": connection refused'
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "controller": True}  # fmt: skip
    path = "/apis/apps/v1/namespaces/shop/replicasets/web-1"
    played.objects[path]["metadata"]["ownerReferences"] = [rollout]
    played.objects[f"{SHOP}/events"] = [an_event("web-1", failed), an_event("web-2", failed)]
    found = explained(played, tmp_path, "pod/web-1-x")
    assert [event["object"] for event in found["refusals"]] == ["replicaset/web-1"]
    assert found["restart"]["remark"] == "its Rollout makes it again"


def a_refusal(pod: str, volume: str, why: str = "violates") -> str:
    denial = f"denied request: boundtoken {why}: volume kube-api-access-{volume}"
    return f'Error creating: pods "web-1-{pod}" is forbidden: ValidatingAdmissionPolicy {denial}'


def test_events_that_only_made_up_names_tell_apart_are_one(played: Played, tmp_path: Path) -> None:
    many = an_event("web-1", f"(combined from similar events): {a_refusal('4kd9x', 'fj2vq')}")
    played.objects[f"{SHOP}/events"] = [
        an_event("web-1", a_refusal("x7k2m", "bcd24"), "2026-02-01T00:00:08Z"),
        {**many, "count": 7, "lastTimestamp": "2026-02-01T00:00:09Z"},
        an_event("web-1", a_refusal("wwwww", "lmnop", "differs in lmnop"), "2026-02-01T00:00:07Z"),
    ]
    played.objects[f"{SHOP}/pods"] = []
    other, same = explained(played, tmp_path)["refusals"]
    assert (same["count"], same["time"]) == (8, "2026-02-01T00:00:09Z")
    assert same["message"] == a_refusal("*", "*")
    # No suffix has the letters l, m or o.
    assert (other["count"], other["message"]) == (1, a_refusal("*", "lmnop", "differs in lmnop"))
    assert ", 8 times: Error" in " ".join(run(played, tmp_path)[1].replace("|", "").split())


def test_the_suffix_of_a_volume_that_is_foreseen_is_not_made_up(
    played: Played, tmp_path: Path
) -> None:
    played.objects[SHOP]["metadata"]["annotations"] = {"boundtoken.dev/enforce": "strict"}
    enforcement = explained(played, tmp_path)["enforcement"]
    assert "kube-api-access-*" in enforcement["denial"]
    assert "kube-api-access-0" not in json.dumps(enforcement)


def test_events_of_before_a_pod_was_made_are_over(played: Played, tmp_path: Path) -> None:
    failed = 'failed calling webhook "pods.boundtoken.dev": connection refused'
    made = played.objects[f"{SHOP}/pods"][0]["metadata"]["creationTimestamp"]
    for time, number in (("2026-01-01T00:00:00Z", 0), (made, 1), (None, 1)):
        played.objects[f"{SHOP}/events"] = [{**an_event("web-1", failed), "lastTimestamp": time}]
        assert len(explained(played, tmp_path)["refusals"]) == number, time


def test_an_owner_that_is_gone_is_not_what_to_restart(played: Played, tmp_path: Path) -> None:
    played.objects["/apis/apps/v1/namespaces/shop/deployments/web"] = 404
    found = explained(played, tmp_path, "pod/web-1-x")
    assert found["restart"]["command"] == "kubectl delete pod/web-1-x -n shop"
    assert "its ReplicaSet makes it again" in found["restart"]["remark"]


def test_an_entry_that_is_reached_is_enough(played: Played, tmp_path: Path) -> None:
    configurations = played.objects[f"{GROUP}/mutatingwebhookconfigurations"]
    old = copy.deepcopy(configurations[0])
    old["metadata"]["name"] = "an-older-one"
    for entry in old["webhooks"]:
        entry["clientConfig"]["service"]["path"] = "/wrong"
    configurations.insert(0, old)
    assert explained(played, tmp_path)["problems"] == ["it differs from what it would get now"]


def test_a_replicaset_of_a_deployment_is_restarted_by_it(played: Played, tmp_path: Path) -> None:
    path = "/apis/apps/v1/namespaces/shop/replicasets/web-1"
    played.objects[path]["metadata"]["name"] = "web-1"
    found = explained(played, tmp_path, "replicaset/web-1")
    assert found["restart"]["command"] == "kubectl rollout restart deployment/web -n shop"


def test_a_paused_deployment_is_resumed_first(played: Played, tmp_path: Path) -> None:
    path = "/apis/apps/v1/namespaces/shop/deployments/web"
    played.objects[path]["spec"]["paused"] = True
    for name in ("deployment/web", "pod/web-1-x"):
        found = explained(played, tmp_path, name)["restart"]
        assert found["command"].startswith("kubectl rollout resume deployment/web -n shop && ")
        assert found["remark"].startswith("it is paused")


def test_events_of_refused_pods_are_told(played: Played, tmp_path: Path) -> None:
    failed = 'failed calling webhook "pods.boundtoken.dev": connection refused \x1b[2J'
    played.objects[f"{SHOP}/events"] = [
        an_event("web-1", failed),
        an_event("web-1", "exceeded quota"),
        an_event("website-1", failed),
        an_event("web-frontend-1", failed),
        an_event("web", failed),
    ]
    found = explained(played, tmp_path)
    event = {"time": LATER, "object": "replicaset/web-1", "message": failed, "count": 1}
    assert found["refusals"] == [event]
    played.objects[f"{SHOP}/events"] = [an_event("web-1", failed + "x" * 100_000)]
    assert len(explained(played, tmp_path)["refusals"][0]["message"]) == 5000
    played.objects[f"{SHOP}/events"] = [an_event("web-1", failed)]
    assert "\x1b" not in run(played, tmp_path)[1]
    assert "on replicaset/web-1: failed calling webhook" in " ".join(run(played, tmp_path)[1].split())  # fmt: skip


def an_audit_event(name: str, received: str, annotations: dict[str, str], **more: Any) -> str:
    reference = {"resource": "pods", "namespace": "shop", **({"name": name} if name else {})}
    return json.dumps(
        {
            "kind": "Event",
            "verb": "create",
            "objectRef": reference,
            "requestReceivedTimestamp": received,
            "stageTimestamp": received,
            "annotations": annotations,
            **more,
        },
        separators=(",", ":"),
    )


CALLED = {"pods.boundtoken.dev/reason": "injected"}
FAILED = {"failed-open.mutation.webhook.admission.k8s.io/round_0_index_1": "pods.boundtoken.dev"}
UNKNOWN = {"pods.boundtoken.dev/reason": "namespace-unknown"}
OTHER_FAILED = {"failed-open.mutation.webhook.admission.k8s.io/round_0_index_0": "mesh.example.com"}
MOMENT = "2026-02-01T00:00:05.123456Z"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([an_audit_event("web-1-x", MOMENT, FAILED)], "webhook-away"),
        # A pod of the same name, which is gone: those of a StatefulSet have the same names again.
        ([an_audit_event("web-1-x", EARLIER, FAILED)], "maybe-away"),
        ([an_audit_event("web-1-x", EARLIER, FAILED), an_audit_event("web-1-x", MOMENT, CALLED)], "taken-off"),
        ([an_audit_event("", MOMENT, FAILED)], "webhook-away"),
        ([an_audit_event("", MOMENT, FAILED), an_audit_event("", MOMENT, FAILED)], "webhook-away"),
        ([an_audit_event("", MOMENT, CALLED)], "taken-off"),
        ([an_audit_event("", MOMENT, FAILED), an_audit_event("", MOMENT, CALLED)], "maybe-away"),
        ([an_audit_event("other", MOMENT, FAILED)], "maybe-away"),
        ([an_audit_event("", LATER, FAILED)], "maybe-away"),
        ([an_audit_event("web-1-x", MOMENT, OTHER_FAILED)], "maybe-away"),
        ([an_audit_event("web-1-x", MOMENT, UNKNOWN)], "could-not-decide"),
        ([an_audit_event("web-1-x", MOMENT, UNKNOWN), an_audit_event("web-1-x", MOMENT, CALLED)], "maybe-away"),
        ([an_audit_event("web-1-x", MOMENT, FAILED, verb="get")], "maybe-away"),
        ([an_audit_event("web-1-x", MOMENT, FAILED, responseStatus={"code": 403})], "maybe-away"),
        ([an_audit_event("web-1-x", MOMENT, CALLED, requestURI="/api/v1/x?dryRun=All"), an_audit_event("web-1-x", MOMENT, FAILED, responseStatus={"code": 201})], "webhook-away"),
        ([an_audit_event("web-1-x", MOMENT, FAILED).replace('":', '": ')], "webhook-away"),
        ([an_audit_event("web-1-x", MOMENT, {"pods.boundtoken.dev/reason": "not-requested"})], "changed"),
        (['{"resource":"pods",', "[" * 9000 + '"resource":"pods"', "", "x"], "maybe-away"),
    ],
)  # fmt: skip
def test_the_audit_log_tells_whether_boundtoken_was_away(
    played: Played, tmp_path: Path, lines: list[str], code: str
) -> None:
    log = tmp_path / "audit.log"
    log.write_text("\n".join(lines) + "\n")
    found = explained(played, tmp_path, "pod/web-1-x", "--audit-log", str(log))
    assert [cause["code"] for cause in found["pods"][0]["causes"]] == [code]


def test_a_log_that_is_not_there_is_a_usage_error(played: Played, tmp_path: Path) -> None:
    code, out, err = run(played, tmp_path, "pod/web-1-x", "--audit-log", str(tmp_path / "none"))
    assert (code, out) == (2, "")
    assert "must be a readable file" in err
