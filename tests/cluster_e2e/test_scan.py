"""`boundtoken scan` beside what the node is really given, on the real API server."""

import base64
import json
import os
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster_e2e import scanned
from tests.cluster_e2e.scanned import ISSUER, Made
from tests.controlplane import build
from tests.support import many_pods
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES, Cluster, life
from tests.support.measured import measured
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.scanning.rights import FOLDED, RIGHTS
from webhook.tokens.rbac.grants import Permission

SPACES = 200
"""As many as make each state come several times."""
RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC = f"/apis/{RBAC_GROUP}/v1"


def scan(cluster: Cluster, *arguments: str, user: str = "admin") -> Json:
    """The JSON, with the exit code as `code`."""
    result = boundtoken("scan", *arguments, "-o", "json", kubeconfig=cluster.plane.kubeconfig(user))
    assert result.stdout, result.stderr
    return {"code": result.returncode, **json.loads(result.stdout)}


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> list[Made]:
    plane, kubelet = request.getfixturevalue("plane"), request.getfixturevalue("kubelet")
    return scanned.make(Cluster(plane, kubelet), SPACES)


def audiences(token: str) -> list[str]:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return list(claims["aud"])


Row = tuple[str, str, str, str, int, str]
"""Namespace, pod, volume, file, lifetime in seconds, audience."""


def of_report(found: Json, spaces: set[str]) -> Counter[Row]:
    return Counter(
        (
            *(row["namespace"], row["object"].removeprefix("pod/"), row["volume"], row["file"]),
            *(row["lifetimeSeconds"], row["audience"] or ISSUER),
        )
        for row in found["tokens"]
        if row["namespace"] in spaces and row["source"] != "legacy-secret"
    )


def of_node(cluster: Cluster, one: Made) -> list[Row]:
    return [
        (
            *(one.namespace, one.pod["metadata"]["name"]),
            re.sub("kube-api-access-[a-z0-9]{5}", "kube-api-access-*", volume),
            *(file, life(token), audiences(token)[0]),
        )
        for volume, file, token in scanned.given_to_node(cluster.plane, one.pod)
    ]


def test_each_row_is_what_the_node_is_really_given(cluster: Cluster, made: list[Made]) -> None:
    found = scan(cluster, "--namespace-selector", "scanned=yes")
    assert (found["code"], found["unread"], found["complete"]) == (0, [], True)
    with ThreadPoolExecutor(4) as pool:
        rows = Counter(
            row for rows in pool.map(lambda one: of_node(cluster, one), made) for row in rows
        )
    assert of_report(found, {one.namespace for one in made}) == rows
    lives = {row["lifetimeSeconds"] for row in found["tokens"]}
    assert lives >= {600, 900, 3600, 86400, 31_536_000, None}
    assert {row["source"] for row in found["tokens"]} == {
        *("automounted", "boundtoken", "projected", "legacy-secret", "csi")
    }


CODES: dict[int, set[str]] = {
    0: {"year-long", "strict"},
    1: set(),
    2: {"strict"},
    3: {"stale"},
    4: set(),
    5: {"year-long", "strict", "missing"},
    6: {"stale"},
    7: {"stale"},
    8: {"stale"},
    9: {"year-long", "strict"},
    10: set(),
    11: set(),
    12: {"year-long", "strict"},
    13: {"strict"},
    14: {"year-long", "strict"},
    15: {"strict"},
    16: {"strict"},
    17: {"year-long", "strict"},
    18: {"year-long", "strict"},
}
"""Of the pod of each state, by its number; of the other states what their own tokens are."""


def test_what_is_to_be_done_in_each_state(cluster: Cluster, made: list[Made]) -> None:
    found = scan(cluster, "--namespace-selector", "scanned=yes")
    by_space: dict[str, set[str]] = {}
    for finding in found["findings"]:
        if finding["object"].startswith("pod/"):
            by_space.setdefault(finding["namespace"], set()).add(finding["code"])
    secrets = [one for one in found["findings"] if one["code"] == "legacy"]
    assert {one["message"].partition("; mounted by ")[2] for one in secrets} == {"pod/web"}
    count = len(scanned.states())
    for number, one in enumerate(made):
        if (expected := CODES.get(number % count)) is not None:
            assert by_space.get(one.namespace, set()) == expected, (number % count, one.state)


def a_reader(cluster: Cluster, namespace: str, user: str) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    body = {"metadata": {"name": "viewers"}, "roleRef": role, "subjects": [subject]}
    cluster.plane.call("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)
    path = f"{NAMESPACES}/{namespace}/pods"
    wait_for(lambda: not scanned.refused(cluster, path, "developer"))


def test_a_viewer_hears_what_it_may_not_see_and_the_rest(
    cluster: Cluster, made: list[Made]
) -> None:
    one = made[5]
    a_reader(cluster, one.namespace, "alice")
    theirs = scan(cluster, "-n", one.namespace, user="developer")
    ours = scan(cluster, "-n", one.namespace)
    assert (theirs["code"], ours["unread"]) == (0, [])
    assert sorted(unread["what"] for unread in theirs["unread"]) == [
        *("clusterrolebindings", "clusterroles", "configmaps in boundtoken-system", "csidrivers"),
        *("mutatingwebhookconfigurations", f"rolebindings in {one.namespace}"),
        *(f"roles in {one.namespace}", f"secrets in {one.namespace}"),
        "validatingadmissionpolicybindings",
    ]
    assert theirs["tokens"] == ours["tokens"]
    pods = [[f for f in of["findings"] if f["object"] == "pod/web"] for of in (theirs, ours)]
    assert pods[0] == pods[1]
    assert scan(cluster, "-n", one.namespace, "--fail-on", "legacy", user="developer")["code"] == 3
    assert scan(cluster, user="developer")["tokens"] == []


def test_who_may_get_tokens_of_others_is_what_the_api_server_allows(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    rules = {
        "mint": {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        "pods": {"apiGroups": [""], "resources": ["*"], "verbs": ["create"]},
        "read": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
        "none": {"apiGroups": [""], "resources": ["serviceaccounts/*", "pods/*"], "verbs": ["*"]},
        "make": {"apiGroups": ["apps", "batch"], "resources": ["*"], "verbs": ["create"]},
        "change": {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
        "debug": {
            "apiGroups": [""],
            "resources": ["pods/ephemeralcontainers"],
            "verbs": ["update"],
        },
        "act": {"apiGroups": [""], "resources": ["*"], "verbs": ["impersonate"]},
        "bind": {"apiGroups": [RBAC_GROUP], "resources": ["*"], "verbs": ["bind", "escalate"]},
    }
    for name, rule in rules.items():
        base = f"{RBAC}/namespaces/{namespace}"
        body = {"metadata": {"name": name}, "rules": [rule]}
        cluster.plane.call("POST", f"{base}/roles", body)
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
        body = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
        cluster.plane.call("POST", f"{base}/rolebindings", body)
    found = scan(cluster, "-n", namespace)["minters"]
    can = {one["subject"]: set(one["can"]) for one in found if one["namespace"] == namespace}
    for name in rules:
        assert can.get(f"User {name}", set()) == expected_rights(cluster, namespace, name), name
    everywhere = [one["subject"] for one in found if one["namespace"] == "*"]
    assert "Group system:masters" in everywhere


def expected_rights(cluster: Cluster, namespace: str, user: str) -> set[str]:
    """What the API server lets somebody do, in the words of a scan."""
    found = [
        right.text
        for right in RIGHTS
        for where in ["" if right.is_of_cluster else namespace]
        if any(may(cluster, where, user, permission) for permission in right.permissions)
    ]
    for word, texts in FOLDED.items():
        if texts <= set(found):
            found = [word, *(one for one in found if one not in texts)]
    return set(found)


def may(cluster: Cluster, namespace: str, user: str, permission: Permission) -> bool:
    attributes = {
        "namespace": namespace,
        "verb": permission.verb,
        "group": permission.group,
        "resource": permission.resource,
        "subresource": permission.subresource,
    }
    body = {"spec": {"user": user, "resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(cluster.plane.call("POST", path, body)["status"]["allowed"])


def finding(found: Json, code: str, title: str) -> Json | None:
    return next((one for one in found["findings"] if (one["code"], one["object"]) == (code, title)), None)  # fmt: skip


def patch(cluster: Cluster, folder: Path) -> None:
    """Apply the patches as their script does, with the kubectl of the control plane."""
    command = folder / "kubectl"
    binary, config = build.binary(), cluster.plane.kubeconfig()
    command.write_text(f'#!/bin/sh\nexec {binary} kubectl --kubeconfig={config} "$@"\n')
    command.chmod(0o700)
    path = f"{folder}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path}
    subprocess.run(["sh", str(folder / "apply.sh")], check=True, env=environ, timeout=60)


def test_the_command_and_the_patches_that_are_told_end_it(cluster: Cluster, tmp_path: Path) -> None:
    namespace = cluster.namespace()
    pod = cluster.deployment(namespace)["metadata"]["name"]
    flags = ("-n", namespace)
    first = scan(cluster, *flags, "--fix", str(tmp_path / "fixes"))
    told = finding(first, "year-long", "deployment/web")
    assert told is not None
    assert told["fix"] == f"kubectl annotate --overwrite namespace {namespace} boundtoken.dev/inject=replace boundtoken.dev/automount=disabled"  # fmt: skip
    before = tmp_path / "before.json"
    before.write_text(json.dumps({key: value for key, value in first.items() if key != "code"}))
    patch(cluster, tmp_path / "fixes")
    told = finding(scan(cluster, *flags), "missing", "deployment/web")
    assert told is not None
    assert told["fix"] == f"kubectl rollout restart deployment/web -n {namespace}"
    cluster.plane.kubectl(*told["fix"].split()[1:])
    path = f"{NAMESPACES}/{namespace}/pods"
    wait_for(lambda: len(cluster.plane.call("GET", path)["items"]) > 1)
    cluster.plane.call("DELETE", f"{path}/{pod}", {"gracePeriodSeconds": 0})
    wait_for(lambda: not finding(scan(cluster, *flags), "missing", "deployment/web"))
    later = scan(cluster, *flags, "--since-file", str(before), "--fail-on", "year-long,missing")
    assert later["code"] == 0
    assert [row["source"] for row in later["since"]["tokens"]] == ["automounted"]
    assert {row["source"] for row in later["tokens"]} == {"boundtoken"}
    second = tmp_path / "second"
    scan(cluster, *flags, "--fix", str(second))
    patch(cluster, second)
    (space,) = scan(cluster, *flags)["namespaces"]
    assert (space["enforce"], space["level"], space["inject"]) == ("strict", "strict", "replace")


MANY = int(os.environ.get("BOUNDTOKEN_SCAN_PODS", "600"))
MAX_SECONDS, MAX_MEGABYTES = 20.0, 300


@pytest.mark.slow("measures time and memory")
def test_many_pods_take_little_time_and_memory(cluster: Cluster, tmp_path: Path) -> None:
    """10,000 with `make long`: under 20 s and 300 MB on two cores."""
    spaces = [cluster.namespace(labels={"many": "yes"}) for _ in range(10)]
    plane = cluster.plane
    paths = [
        (
            f"{NAMESPACES}/{spaces[number % len(spaces)]}/pods",
            many_pods.a_big_pod(f"web{number // 50}-{number}", number),
        )
        for number in range(MANY)
    ]
    many_pods.create(plane, paths)
    output = tmp_path / "scan.json"
    command = [str(BOUNDTOKEN), "scan", "--namespace-selector", "many=yes", "-o", "json"]
    with output.open("wb") as file:
        took = measured([*command, "--kubeconfig", str(plane.kubeconfig())], stdout=file)
    seconds, megabytes = took.seconds, took.peak_bytes / (1 << 20)
    print(f"{MANY} pods: {seconds:.1f} s, {took.cpu_seconds:.1f} s of CPU, {megabytes:.0f} MB")
    found = json.loads(output.read_text())
    assert (took.code, len(found["tokens"])) == (0, MANY)
    assert len({row["owner"] for row in found["tokens"]}) == -(-MANY // 50)
    assert seconds < MAX_SECONDS
    assert megabytes < (MAX_MEGABYTES if MANY >= 10_000 else MAX_MEGABYTES / 2)
