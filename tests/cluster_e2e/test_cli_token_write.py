"""`boundtoken token write` and `token run` on the real API server: whose token it is, who accepts
it, and what a program finds.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import build
from tests.controlplane.cluster import ISSUER, ControlPlane
from tests.support.builders import Json
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.tokens import ApiServer, TokenFile, claims_of

SHOP = "token-write"
VAULT = "https://vault.example.com"


@pytest.fixture(scope="module")
def shop(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A namespace with two accounts, of which `deployer` may look at ConfigMaps."""
    plane.kubectl("create", "namespace", SHOP)
    for account in ("cart", "deployer"):
        plane.kubectl("create", "serviceaccount", account, "-n", SHOP)
    made = boundtoken(
        *("token", "rbac", "-n", SHOP, "--for", f"serviceaccount:{SHOP}/deployer"),
        *("--verb", "get,list,watch", "--resource", "configmaps"),
    )
    plane.kubectl("apply", "-f", "-", stdin=made.stdout)
    plane.kubectl("create", "configmap", "greeting", "-n", SHOP, "--from-literal=text=hello")
    yield plane
    plane.kubectl("delete", "namespace", SHOP, "--wait=false")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def environ(plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    """What people have: kubectl in the PATH, and a kubeconfig."""
    script = tmp_path / "bin/kubectl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}:{BOUNDTOKEN.parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig())}


def write(
    plane: ControlPlane, folder: Path, *arguments: str, user: str = "admin"
) -> subprocess.CompletedProcess[str]:
    return boundtoken(
        *("token", "write", "cart", "-n", SHOP, "--to", str(folder), *arguments),
        kubeconfig=plane.kubeconfig(user),
    )


def token_requests(plane: ControlPlane, account: str) -> list[Json]:
    """What the audit log has of TokenRequests for an account of the namespace."""
    found = []
    for line in plane.audit_log.read_text().splitlines():
        if '"subresource":"token"' in line and f'"namespace":"{SHOP}"' in line:
            event = json.loads(line)
            is_over = event["stage"] == "ResponseComplete"
            if is_over and event["objectRef"]["name"] == account:
                found.append(event)
    return found


def test_the_api_server_accepts_the_token_for_its_audience(
    shop: ControlPlane, folder: Path
) -> None:
    assert write(shop, folder, "--audience", VAULT, "--duration", "10m", "--once").returncode == 0
    token = (folder / "token").read_text()
    assert claims_of(token).lifetime_seconds == 600
    review = shop.review_token(token, VAULT)
    assert review["authenticated"]
    assert review["user"]["username"] == f"system:serviceaccount:{SHOP}:cart"
    assert not shop.review_token(token).get("authenticated")


def test_a_program_uses_the_folder_as_it_uses_that_of_a_pod(
    shop: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the library, and every client of Kubernetes, reads in a pod."""
    assert write(shop, folder, "--once").returncode == 0
    assert (folder / "ca.crt").read_bytes() == shop.ca_file.read_bytes()
    assert (folder / "namespace").read_text() == SHOP
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(shop.port))
    server = ApiServer.in_cluster(folder)
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = json.loads(server.post(review, b"{}"))
    user = answer["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{SHOP}:cart"
    assert TokenFile(folder / "token").audiences == (ISSUER,)


def test_without_the_right_the_advice_is_what_helps(shop: ControlPlane, folder: Path) -> None:
    refused = write(shop, folder, "--once", user="editor")
    assert refused.returncode == 3
    assert f"needs a Role in namespace {SHOP} with the rule" in refused.stderr
    assert not (folder / "token").exists()
    made = boundtoken("token", "rbac", "cart", "-n", SHOP, "--for", "user:editor")
    shop.kubectl("apply", "-f", "-", stdin=made.stdout)
    try:
        wait_for(lambda: write(shop, folder, "--once", user="editor").returncode == 0)
        other = boundtoken(
            *("token", "write", "deployer", "-n", SHOP, "--to", f"{folder}2", "--once"),
            kubeconfig=shop.kubeconfig("editor"),
        )
        assert other.returncode == 3, "and for no other account"
    finally:
        shop.kubectl("delete", "-f", "-", stdin=made.stdout)


@pytest.mark.parametrize("account", ["nobody", "cart"])
def test_an_account_that_is_not_there_is_told(
    shop: ControlPlane, folder: Path, account: str
) -> None:
    result = boundtoken(
        *("token", "write", account, "-n", "token-nowhere", "--to", str(folder)),
        kubeconfig=shop.kubeconfig(),
    )
    assert result.returncode == 3
    assert "not found" in result.stderr


def test_it_makes_one_request_and_renews_nothing_too_early(
    shop: ControlPlane, folder: Path
) -> None:
    before = len(token_requests(shop, "cart"))
    command = [str(BOUNDTOKEN), "token", "write", "cart", "-n", SHOP, "--to", str(folder)]
    environ = {**os.environ, "KUBECONFIG": str(shop.kubeconfig())}
    process = subprocess.Popen(command, env=environ)
    try:
        wait_for((folder / "token").exists)
        time.sleep(7)  # more than one look at the source
        assert len(token_requests(shop, "cart")) == before + 1
    finally:
        process.terminate()
    assert process.wait(60) == 0


def test_killed_at_any_moment_the_folder_is_whole(shop: ControlPlane, folder: Path) -> None:
    """tests/tokens/test_volume.py kills after each step; here all of it runs for real."""
    assert write(shop, folder, "--once").returncode == 0
    draw = random.Random(5)
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                claims_of((folder / "token").read_text())
                assert (folder / "namespace").read_text() == SHOP
                assert (folder / "ca.crt").read_bytes() == shop.ca_file.read_bytes()
            except (OSError, ValueError, AssertionError) as problem:
                wrong.append(problem)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        command = [str(BOUNDTOKEN), "token", "write", "cart", "-n", SHOP, "--to", str(folder)]
        environ = {**os.environ, "KUBECONFIG": str(shop.kubeconfig())}
        for _ in range(8):
            process = subprocess.Popen([*command, "--once"], env=environ, stderr=-3)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.3, 1.2))
            process.kill()
            process.wait()
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    assert write(shop, folder, "--once").returncode == 0
    assert len(list(folder.glob("..2*"))) == 1


def run(
    environ: dict[str, str], *arguments: str, account: str = "deployer"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BOUNDTOKEN), "token", "run", account, "-n", SHOP, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_kubectl_runs_as_the_account_and_may_what_it_may(
    shop: ControlPlane, environ: dict[str, str]
) -> None:
    who = run(environ, "--", "kubectl", "auth", "whoami", "-o", "json")
    assert who.returncode == 0, who.stderr
    user = json.loads(who.stdout)["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{SHOP}:deployer"
    allowed = run(environ, "--", "kubectl", "get", "configmap", "greeting", "-o", "name")
    assert (allowed.returncode, allowed.stdout) == (0, "configmap/greeting\n")
    refused = run(environ, "--", "kubectl", "get", "secrets")
    assert refused.returncode == 1
    assert f'"system:serviceaccount:{SHOP}:deployer" cannot list' in refused.stderr
    assert token_requests(shop, "deployer")


def test_a_python_program_runs_as_the_account_too(
    shop: ControlPlane, environ: dict[str, str]
) -> None:
    program = (
        "import kubernetes; kubernetes.config.load_kube_config(); "
        f"print(kubernetes.client.CoreV1Api().read_namespaced_config_map('greeting', '{SHOP}').data['text'])"
    )
    result = run(environ, "--", sys.executable, "-c", program)
    assert (result.returncode, result.stdout) == (0, "hello\n")


def test_a_token_for_another_audience_is_of_no_use_to_kubectl(
    shop: ControlPlane, environ: dict[str, str]
) -> None:
    line = 'kubectl get configmaps; cat "$VAULT_TOKEN_FILE"'
    result = run(environ, "--audience", VAULT, "--env", "VAULT_TOKEN_FILE", "--", "sh", "-c", line)
    assert "You must be logged in to the server" in result.stderr
    assert shop.review_token(result.stdout, VAULT)["authenticated"]


def test_nothing_is_left_of_a_pipeline_that_is_cancelled(
    shop: ControlPlane, environ: dict[str, str], tmp_path: Path
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    process = subprocess.Popen(
        [
            *(str(BOUNDTOKEN), "token", "run", "deployer", "-n", SHOP),
            *("--", "kubectl", "get", "configmaps", "--watch"),
        ],
        env={**environ, "XDG_RUNTIME_DIR": str(runtime)},
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"NAME" in process.stdout.readline()
    (token_file,) = runtime.glob("*/serviceaccount/token")
    token = token_file.read_text()
    assert shop.review_token(token)["authenticated"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (1, 128 + signal.SIGTERM), "which is what kubectl makes of it"
    assert list(runtime.iterdir()) == []
