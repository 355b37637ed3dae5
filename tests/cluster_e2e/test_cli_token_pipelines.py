"""The examples of docs/pipelines.md as they stand there, on the real API server: what runs on other
people's machines runs in a shell here, with what their runner would give it.
"""

import configparser
import contextlib
import copy
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json
from tests.support.examples import CLUSTER, examples
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import free_port
from tests.support.threads import served
from tests.support.waiting import wait_for
from webhook import __version__
from webhook.tokens import claims_of

EXAMPLES = examples()
ARCHIVE = "https://archive.example.com"
MANIFEST: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "deployed", "namespace": "shop"},
    "data": {"by": "nobody"},
}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the PATH: kubectl, boundtoken, Python, and a pip that only says what it should
    do.
    """
    folder = tmp_path_factory.mktemp("tools")
    for name, line in (
        ("kubectl", f'exec {build.binary()} kubectl "$@"'),
        ("boundtoken", f'exec {BOUNDTOKEN} "$@"'),
        ("pip", 'echo "$@" >> "$PIP_LOG"'),
        ("python3", f'exec {sys.executable} "$@"'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def environ(plane: ControlPlane, tools: Path, tmp_path: Path) -> dict[str, str]:
    """Of a shell with an admin's kubeconfig; whoever runs an example has another one."""
    kept = ("LANG", "TMPDIR", "XDG_CACHE_HOME")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(plane.kubeconfig()),
        "PIP_LOG": str(tmp_path / "pip.log"),
    }


def shell(
    script: str, environ: dict[str, str], folder: Path, *arguments: str, strict: str = "-e"
) -> subprocess.CompletedProcess[str]:
    """A script as a runner starts it."""
    file = folder / "script.sh"
    file.write_text(script)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", strict, "-o", "pipefail", str(file), *arguments],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture(scope="module")
def prepared(
    plane: ControlPlane, tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """What a cluster admin does once; gives what the page's commands printed."""
    environ = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "KUBECONFIG": str(plane.kubeconfig()),
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    done = shell(EXAMPLES["prepare.sh"], environ, tmp_path_factory.mktemp("prepare"))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: "default" in plane.kubectl("get", "sa", "-n", "shop", "-o", "name"))
    yield done.stdout
    plane.kubectl("delete", "namespace", "shop")


@pytest.fixture
def checkout(plane: ControlPlane, tmp_path: Path) -> Path:
    """A repository with the kubeconfig of the page and something to deploy."""
    folder = tmp_path / "checkout"
    (folder / "ci").mkdir(parents=True)
    (folder / "deploy").mkdir()
    config = EXAMPLES["kubeconfig.yaml"].replace(CLUSTER, plane.url)
    (folder / "ci/kubeconfig.yaml").write_text(config)
    shutil.copy(plane.ca_file, folder / "ci/ca.crt")
    (folder / "deploy/configmap.yaml").write_text(yaml.safe_dump(MANIFEST))
    return folder


@pytest.fixture
def undeployed(plane: ControlPlane, prepared: str) -> Iterator[None]:
    yield
    with contextlib.suppress(StatusError):
        plane.call("DELETE", "/api/v1/namespaces/shop/configmaps/deployed")


def who_deployed(plane: ControlPlane) -> list[str]:
    """Who made the ConfigMap, by the audit log; and what with."""
    found = []
    for line in plane.audit_log.read_text().splitlines():
        if '"deployed"' in line and '"verb":"create"' in line:
            event = json.loads(line)
            if event["stage"] == "ResponseComplete":
                found.append(event["user"]["username"])
    return found


DEPLOYER = "system:serviceaccount:shop:deployer"


def test_the_preparation_shows_who_may(plane: ControlPlane, prepared: str) -> None:
    assert "Group shop-developers" in prepared
    assert "User ci:example/shop" in prepared
    assert "serviceaccount" not in plane.kubectl("auth", "whoami", user="pipeline")


@pytest.mark.usefixtures("undeployed")
def test_a_shell_deploys_as_the_account(
    plane: ControlPlane, environ: dict[str, str], checkout: Path
) -> None:
    before = who_deployed(plane)
    person = {**environ, "KUBECONFIG": str(plane.kubeconfig("developer"))}
    done = shell(EXAMPLES["deploy.sh"], person, checkout, "deploy")
    assert done.returncode == 0, done.stderr
    assert "configmap/deployed created" in done.stdout
    assert "deployed" in done.stdout.splitlines()[-1]
    assert who_deployed(plane)[len(before) :] == [DEPLOYER]
    direct = shell("kubectl get configmaps -n shop", person, checkout)
    assert direct.returncode == 1, "the person alone may not even look"


class GitHub(http.server.BaseHTTPRequestHandler):
    """The endpoint of a runner that gives ID tokens."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        is_of_the_runner = (
            self.headers.get("Authorization") == "bearer of-the-runner"
            and query.get("audience") == [CLUSTER]
            and query.get("api-version") == ["2.0"]
        )
        body = json.dumps({"value": self.server.token if is_of_the_runner else None}).encode()  # type: ignore[attr-defined]
        self.send_response(200 if is_of_the_runner else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def github(token: str) -> Iterator[str]:
    """Gives the URL that a runner has in its environment."""
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitHub)) as server:
        server.token = token  # type: ignore[attr-defined]
        yield f"http://127.0.0.1:{server.server_address[1]}/token?api-version=2.0"


@pytest.mark.usefixtures("undeployed")
def test_the_workflow_of_github_deploys_without_a_secret(
    plane: ControlPlane, environ: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    workflow = yaml.safe_load(EXAMPLES["github.yaml"])
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    checkout_step, *steps = workflow["jobs"]["deploy"]["steps"]
    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", checkout_step["uses"])
    before = who_deployed(plane)
    with github(plane.tokens["pipeline"]) as url:
        runner = {
            **{name: value for name, value in environ.items() if name != "KUBECONFIG"},
            "ACTIONS_ID_TOKEN_REQUEST_URL": url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
        }
        for step in steps:
            done = shell(step["run"], runner, checkout)
            assert done.returncode == 0, (step["name"], done.stderr)
    assert "configmap/deployed created" in done.stdout
    assert who_deployed(plane)[len(before) :] == [DEPLOYER]
    assert (checkout / "ci/id-token").stat().st_mode & 0o077 == 0
    assert (tmp_path / "pip.log").read_text() == f"install boundtoken[cli]=={__version__}\n"


def test_a_workflow_that_github_refuses_ends_there(environ: dict[str, str], checkout: Path) -> None:
    step = yaml.safe_load(EXAMPLES["github.yaml"])["jobs"]["deploy"]["steps"][2]
    with github("x") as url:
        runner = {
            **environ,
            "ACTIONS_ID_TOKEN_REQUEST_URL": url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong",
        }
        assert shell(step["run"], runner, checkout).returncode != 0


def test_the_api_server_is_told_of_github_by_the_names_that_the_workflow_uses() -> None:
    config = yaml.safe_load(EXAMPLES["authentication.yaml"])
    assert config["kind"] == "AuthenticationConfiguration"
    (issuer,) = config["jwt"]
    assert issuer["issuer"]["audiences"] == [CLUSTER]
    assert CLUSTER in EXAMPLES["github.yaml"]
    assert yaml.safe_load(EXAMPLES["gitlab.yaml"])["deploy"]["id_tokens"] == {
        "CLUSTER_ID_TOKEN": {"aud": CLUSTER}
    }
    (rule,) = issuer["claimValidationRules"]
    branches = yaml.safe_load(EXAMPLES["github.yaml"])[True]["push"][
        "branches"
    ]  # "on" is a boolean
    assert rule["expression"] == f'claims.ref == "refs/heads/{branches[0]}"'


def test_the_api_server_accepts_the_configuration(plane: ControlPlane, tmp_path: Path) -> None:
    """By its own validation: it is started with it, and asks the issuer for its keys."""
    nowhere = "https://127.0.0.1:1"
    text = EXAMPLES["authentication.yaml"].replace(
        "https://token.actions.githubusercontent.com", nowhere
    )
    assert nowhere in text
    (tmp_path / "authentication.yaml").write_text(text)
    command = [
        *(str(build.binary()), "kube-apiserver", "--etcd-servers=http://127.0.0.1:1"),
        f"--authentication-config={tmp_path / 'authentication.yaml'}",
        f"--cert-dir={tmp_path}",
        f"--secure-port={free_port()}",
        "--bind-address=127.0.0.1",
        "--service-account-issuer=https://127.0.0.1:2",
        f"--service-account-key-file={plane.folder / 'sa.pub'}",
        f"--service-account-signing-key-file={plane.folder / 'sa.key'}",
    ]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file)
    try:
        wait_for(lambda: "oidc authenticator" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-2000:]
        assert "invalid authentication configuration" not in log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("undeployed")
def test_the_job_of_gitlab_deploys_without_a_secret(
    plane: ControlPlane, environ: dict[str, str], checkout: Path
) -> None:
    job = yaml.safe_load(EXAMPLES["gitlab.yaml"])["deploy"]
    before = who_deployed(plane)
    runner = {name: value for name, value in environ.items() if name != "KUBECONFIG"}
    runner["CLUSTER_ID_TOKEN"] = plane.tokens["pipeline"]
    script = "\n".join([*job["before_script"], *job["script"]])
    done = shell(script, runner, checkout)
    assert done.returncode == 0, done.stderr
    assert "configmap/deployed created" in done.stdout
    assert who_deployed(plane)[len(before) :] == [DEPLOYER]
    assert (checkout / "ci/id-token").stat().st_mode & 0o077 == 0


UNIT = "archiver-token.service"


def test_the_unit_is_one_that_systemd_accepts(tmp_path: Path) -> None:
    unit = EXAMPLES[UNIT].replace("/usr/local/bin/boundtoken", str(BOUNDTOKEN))
    (tmp_path / UNIT).write_text(unit)
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT)],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in done.stderr.splitlines() if UNIT in line]
        assert ours == []
        assert done.returncode == 0, done.stderr
    assert service()["Type"] == "notify"
    assert service()["RuntimeDirectoryPreserve"] == "yes"


def service() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(EXAMPLES[UNIT])
    return dict(parser["Service"])


@pytest.fixture
def archiver(plane: ControlPlane, prepared: str) -> Iterator[None]:
    """The account of the unit, and the right of a machine to request its tokens."""
    made = subprocess.run(
        [str(BOUNDTOKEN), "token", "rbac", "archiver", "-n", "shop", "--for", "user:editor"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plane.kubectl("create", "serviceaccount", "archiver", "-n", "shop")
    plane.kubectl("apply", "-f", "-", stdin=made)
    yield
    plane.kubectl("delete", "-f", "-", stdin=made)
    plane.kubectl("delete", "serviceaccount", "archiver", "-n", "shop")


@pytest.mark.usefixtures("archiver")
def test_the_command_of_the_unit_keeps_the_folder(plane: ControlPlane, tmp_path: Path) -> None:
    """With systemd's part played by the test: the user, the folder and the paths."""
    command = shlex.split(service()["ExecStart"])
    assert command[0] == "/usr/local/bin/boundtoken"
    folder = f"/run/{service()['RuntimeDirectory']}"
    (tmp_path / "archiver").mkdir()
    words = [word.replace(folder, str(tmp_path / "archiver")) for word in command[1:]]
    words[words.index("/etc/archiver/kubeconfig")] = str(plane.kubeconfig("editor"))
    process = subprocess.Popen([str(BOUNDTOKEN), *words])
    try:
        token = tmp_path / "archiver/token/token"
        wait_for(token.exists)
        review = plane.review_token(token.read_text(), ARCHIVE)
        assert review["user"]["username"] == "system:serviceaccount:shop:archiver"
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_the_sidecar_has_its_token_before_the_pod_starts(
    plane: ControlPlane, environ: dict[str, str], prepared: str, tmp_path: Path
) -> None:
    """In a pod of the stand-in for the kubelet, which runs one container: that of the sidecar."""
    done = shell(EXAMPLES["sidecar.sh"], environ, tmp_path)
    assert done.returncode == 0, done.stderr
    pod = yaml.safe_load(EXAMPLES["sidecar.yaml"])
    plane.call("POST", "/api/v1/namespaces/shop/pods?dryRun=All", pod)
    alone = copy.deepcopy(pod)
    (sidecar,) = alone["spec"].pop("initContainers")
    assert sidecar.pop("restartPolicy") == "Always"
    assert sidecar["image"] == f"boundtoken:{__version__}"
    probe = sidecar["startupProbe"]["exec"]["command"]
    alone["spec"]["containers"] = [sidecar]
    with Kubelet(plane, "shop") as kubelet:
        running = kubelet.run(alone)
        emptied = running.folder / "tokens"
        token = emptied / "archive/token"
        wait_for(lambda: token.exists() or running.ended, 30)
        assert token.exists(), running.log
        assert probe == ["python3", "-c", "open('/tokens/archive/token')"]
        assert token.stat().st_mode & 0o777 == 0o644
        claims = claims_of(token.read_text())
        assert (claims.account, claims.audiences) == ("archiver", (ARCHIVE,))
        assert plane.review_token(token.read_text(), ARCHIVE)["authenticated"]
        assert (emptied / "archive/ca.crt").read_bytes() == plane.ca_file.read_bytes()
        assert f"{sidecar['volumeMounts'][0]['mountPath']}/archive: new token" in running.log
    plane.kubectl("delete", "pod", "reporter", "-n", "shop", "--grace-period=0", "--force")
    for name in ("reporter", "archiver"):
        plane.kubectl("delete", "serviceaccount", name, "-n", "shop")
