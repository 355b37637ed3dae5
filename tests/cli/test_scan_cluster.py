"""`boundtoken scan` of an API server that a test plays: rights, pages, Ctrl-C, the terminal."""

import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import Json, a_deployment, a_pod, automounted
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.played import Played, playing
from tests.support.scanning import run_scan
from webhook.cli.explain.tree import columns
from webhook.core import names

GROUP = "/apis/admissionregistration.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ENTRY = {
    "name": "pods.boundtoken.dev",
    "clientConfig": {"service": {"name": "boundtoken", "namespace": "boundtoken-system"}},
    "rules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    ],
}


def a_listed_pod(number: int, namespace: str = "shop") -> Json:
    pod = automounted(a_pod(), f"{names.AUTOMOUNTED_PREFIX}{number:05}")
    return {"metadata": {**pod["metadata"], "name": f"web-{number}", "namespace": namespace}, "spec": pod["spec"]}  # fmt: skip


def a_cluster(pods: int = 3) -> Json:
    """Everything that a scan reads, by path."""
    space = {"metadata": {"name": "shop", "annotations": {names.INJECT: "enabled"}, "labels": {}}}
    account = {"metadata": {"name": "default", "namespace": "shop"}}
    secret = {"metadata": {"name": "old", "namespace": "shop", "annotations": {"kubernetes.io/service-account.name": "default"}}}  # fmt: skip
    workload = a_deployment()
    workload["metadata"] = {"name": "cart", "namespace": "shop"}
    lists: Json = {
        f"{GROUP}/mutatingwebhookconfigurations": [{"metadata": {"name": "boundtoken"}, "webhooks": [ENTRY]}],
        f"{GROUP}/validatingadmissionpolicybindings/boundtoken-pods": {"metadata": {}},
        "/version": {},
        "/api/v1/namespaces/boundtoken-system/configmaps": [],
        "/api/v1/namespaces": [space, {"metadata": {"name": "other"}}],
        "/api/v1/namespaces/shop": space,
        "/apis/storage.k8s.io/v1/csidrivers": [],
        "/apis/apps/v1/deployments": [workload],
        "/api/v1/serviceaccounts": [account],
        "/api/v1/secrets": [secret],
        "/api/v1/pods": [a_listed_pod(number) for number in range(pods)],
        f"{RBAC}/clusterroles": [{"metadata": {"name": "r"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}],
        f"{RBAC}/clusterrolebindings": [{"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "x"}]}],
        f"{RBAC}/roles": [],
        f"{RBAC}/rolebindings": [],
    }  # fmt: skip
    others = ("apps/v1/statefulsets", "apps/v1/daemonsets", "batch/v1/jobs", "batch/v1/cronjobs")
    lists |= {f"/apis/{path}": [] for path in others}
    lists |= {"/api/v1/replicationcontrollers": []}
    for path in [path for path in lists if re.fullmatch(r"/api(s/\w+)?/v1/[a-z]+", path)]:
        prefix, _, resource = path.rpartition("/")
        lists[f"{prefix}/namespaces/shop/{resource}"] = lists[path]
    return lists | {f"{RBAC}/namespaces/shop/{one}": [] for one in ("roles", "rolebindings")}


@pytest.fixture
def played() -> Iterator[Played]:
    with playing(a_cluster()) as api:
        yield api


def run(api: Played, folder: Path, *arguments: str) -> tuple[int, str, str]:
    return run_scan(*arguments, "--kubeconfig", str(a_kubeconfig(folder / "config", api.server)))


def scanned(api: Played, folder: Path, *arguments: str) -> tuple[int, Json]:
    code, out, err = run(api, folder, "-o", "json", *arguments)
    assert err == ""
    return code, dict(json.loads(out))


def test_a_cluster_is_told(played: Played, tmp_path: Path) -> None:
    code, found = scanned(played, tmp_path)
    assert (code, found["unread"], found["context"], found["complete"]) == (0, [], "admin", True)
    assert sorted(row["object"] for row in found["tokens"]) == ["deployment/cart", "pod/web-0", "pod/web-1", "pod/web-2"]  # fmt: skip
    assert [space["name"] for space in found["namespaces"]] == ["other", "shop"]
    assert all(space["covered"] for space in found["namespaces"])
    assert found["secrets"][0]["name"] == "old"
    assert found["minters"][0]["subject"] == "User x"
    assert {one["code"] for one in found["findings"]} >= {"missing", "year-long", "legacy"}


def test_of_secrets_only_metadata_of_legacy_tokens_are_requested(
    played: Played, tmp_path: Path
) -> None:
    scanned(played, tmp_path)
    queries = [query for path, query in played.queries if path.endswith("/secrets")]
    assert [query["fieldSelector"] for query in queries] == [[f"type={names.LEGACY_TOKEN_TYPE}"]]
    assert played.accepted["/api/v1/secrets"] == "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"  # fmt: skip


def test_a_list_comes_in_pages_and_the_selectors_are_the_api_servers(
    played: Played, tmp_path: Path
) -> None:
    played.objects["/api/v1/pods"] = [a_listed_pod(number) for number in range(1200)]
    _, found = scanned(played, tmp_path, "-l", "app=cart")
    assert len([row for row in found["tokens"] if row["object"].startswith("pod/")]) == 1200
    pages = [query for path, query in played.queries if path == "/api/v1/pods"]
    assert [(page["limit"], page.get("continue")) for page in pages] == [(["500"], None), (["500"], ["500"]), (["500"], ["1000"])]  # fmt: skip
    assert {page["labelSelector"][0] for page in pages} == {"app=cart"}
    assert found["serviceAccounts"] == []  # what nobody uses is not known
    scanned(played, tmp_path, "--namespace-selector", "x=y")
    queries = [query for path, query in played.queries if path == "/api/v1/namespaces"]
    assert [query.get("labelSelector") for query in queries] == [None, ["x=y"]]


def test_with_namespaces_nothing_else_is_listed(played: Played, tmp_path: Path) -> None:
    code, found = scanned(played, tmp_path, "-n", "shop")
    assert (code, found["unread"]) == (0, [])
    assert [space["name"] for space in found["namespaces"]] == ["shop"]
    assert len(found["tokens"]) == 4
    paths = {path for path, _ in played.queries}
    assert not paths & {"/api/v1/pods", "/api/v1/secrets", "/api/v1/namespaces"}


def test_a_namespace_that_is_not_there_is_told(played: Played, tmp_path: Path) -> None:
    code, out, err = run(played, tmp_path, "-n", "nowhere")
    assert (code, out) == (3, "")
    assert "namespace" in err


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/api/v1/secrets", "secrets"),
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces", "namespaces"),
        ("/api/v1/serviceaccounts", "serviceaccounts"),
        ("/apis/apps/v1/deployments", "deployments"),
        ("/apis/storage.k8s.io/v1/csidrivers", "csidrivers"),
        (f"{RBAC}/clusterroles", "clusterroles"),
        (f"{GROUP}/mutatingwebhookconfigurations", "mutatingwebhookconfigurations"),
    ],
)
def test_what_may_not_be_read_is_told_and_the_rest_as_well(
    played: Played, tmp_path: Path, path: str, what: str
) -> None:
    played.objects[path] = 403
    code, found = scanned(played, tmp_path)
    assert code == 0
    assert found["unread"] == [{"what": what, "why": f"needs list on {what}"}]
    assert len(found["tokens"]) == {"pods": 1, "deployments": 3}.get(what, 4)
    assert bool(found["secrets"]) is (what != "secrets")
    assert bool(found["minters"]) is (what != "clusterroles")


@pytest.mark.parametrize("namespaces", [[], 403])
def test_a_selector_that_chooses_no_namespace_is_no_success(
    played: Played, tmp_path: Path, namespaces: Any
) -> None:
    played.objects["/api/v1/namespaces"] = namespaces
    code, out, err = run(played, tmp_path, "--namespace-selector", "team=x", "-o", "json")
    assert (code, json.loads(out)["tokens"]) == (3, [])
    assert "No resources found: --namespace-selector team=x chooses no namespace" in err


def test_fail_on_what_may_not_be_read_is_no_success(played: Played, tmp_path: Path) -> None:
    played.objects["/api/v1/secrets"] = 403
    code, _, err = run(played, tmp_path, "--fail-on", "legacy")
    assert (code, err) == (3, "boundtoken: secrets: needs list on secrets, so --fail-on cannot tell\n")  # fmt: skip
    assert run(played, tmp_path, "--fail-on", "stale")[0] == 0
    assert run(played, tmp_path, "--fail-on", "stale,missing")[0] == 1


def test_pages_that_are_too_long_are_requested_again_with_fewer_objects(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.cli.cluster.reader.MAX_BYTES", 50_000)
    played.objects["/api/v1/pods"] = [a_listed_pod(number) for number in range(130)]
    _, found = scanned(played, tmp_path)
    assert found["unread"] == []
    objects = [row["object"] for row in found["tokens"] if row["object"].startswith("pod/")]
    assert len(objects) == len(set(objects)) == 130
    limits = [query["limit"] for path, query in played.queries if path == "/api/v1/pods"]
    assert limits[:2] == [["500"], ["62"]]


def test_a_list_that_is_broken_or_expires_is_told(played: Played, tmp_path: Path) -> None:
    played.objects["/api/v1/pods"] = {"metadata": {}, "items": [7]}
    _, found = scanned(played, tmp_path)
    assert found["unread"][0]["what"] == "pods"
    assert "cannot be read" in found["unread"][0]["why"]
    played.objects["/api/v1/pods"] = 410
    _, found = scanned(played, tmp_path)
    assert "410" in found["unread"][0]["why"]


def test_an_unknown_user_fails(played: Played, tmp_path: Path) -> None:
    played.objects["/version"] = 401
    code, out, err = run(played, tmp_path)
    assert (code, out) == (3, "")
    assert "401" in err


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"\xff", b"", 302, 404, 503])
def test_who_answers_as_no_api_server_does_is_a_failure(
    played: Played, tmp_path: Path, answer: bytes | int
) -> None:
    played.objects["/version"] = answer
    code, out, err = run(played, tmp_path)
    assert (code, out) == (3, "")
    assert err.startswith("boundtoken: GET /version: ")
    assert err.endswith("the server of the kubeconfig does not answer as an API server does\n")


def test_a_version_that_may_not_be_read_is_no_failure(played: Played, tmp_path: Path) -> None:
    played.objects["/version"] = 403
    code, found = scanned(played, tmp_path)
    assert (code, len(found["tokens"])) == (0, 4)


def started(
    api: Played, folder: Path, *arguments: str, **options: Any
) -> "subprocess.Popen[bytes]":
    config = a_kubeconfig(folder / "config", api.server)
    command = [str(BOUNDTOKEN), "scan", "--kubeconfig", str(config), *arguments]
    return subprocess.Popen(command, **options)


def test_ctrl_c_prints_what_was_seen(played: Played, tmp_path: Path) -> None:
    played.objects["/api/v1/pods"] = [a_listed_pod(number) for number in range(700)]
    played.hanging.add("/api/v1/pods")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(played, tmp_path, "-o", "json", "--fail-on", "missing", **pipes) as process:
        assert played.hangs.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    found = json.loads(out)
    assert (process.returncode, found["complete"]) == (3, False)
    pods = [row for row in found["tokens"] if row["object"].startswith("pod/")]
    assert len(pods) == 500
    assert found["unread"] == [{"what": "the rest", "why": "interrupted: what follows was not looked at"}]  # fmt: skip
    assert found["serviceAccounts"] == []
    assert err == b"boundtoken: interrupted: this is what was seen until then\n"


def read_all(terminal: int) -> str:
    found = b""
    try:
        while block := os.read(terminal, 1 << 16):
            found += block
    except OSError:  # its end is closed
        pass
    os.close(terminal)
    return found.decode()


def test_a_terminal_of_80_columns_gets_a_bar_that_is_gone_before_the_result(
    played: Played, tmp_path: Path
) -> None:
    played.objects["/api/v1/pods"] = [a_listed_pod(number) for number in range(700)]
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with started(played, tmp_path, stdout=its, stderr=its) as process:
        os.close(its)
        text = read_all(ours)
    assert process.returncode == 0
    bars, _, result = text.rpartition("\r\x1b[K")
    assert "] pods: 500 of 700" in bars
    assert "0 of 0" not in bars  # such as of daemonsets
    assert "[########################] pods: 700 of 700" in bars
    assert max(columns(bar) for bar in re.split(r"\r\x1b\[K|\r", bars)) <= 80
    assert "\x1b" not in result
    lines = result.replace("\r\n", "\n").splitlines()
    assert "context admin" in lines[0]
    assert max(columns(line) for line in lines if not line.startswith("    kubectl")) <= 80


def test_a_pipe_gets_no_bar_and_may_end_early(played: Played, tmp_path: Path) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(played, tmp_path, "-o", "wide", **pipes) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert b"\x1b" not in out
    assert b"\r" not in out
    with started(played, tmp_path, "-o", "json", **pipes) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
