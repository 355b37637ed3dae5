"""`boundtoken token request`: what is printed where, and what never is."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.issuer import Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken

TOKEN = r"eyJ[\w-]+\.[\w-]+\.[\w-]+"
STRAY = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsiYSJdfQ.c2lnbmF0dXJl"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def kubeconfig(issuer: Issuer, tmp_path: Path) -> Path:
    return a_kubeconfig(tmp_path / "kubeconfig", issuer.url, namespace="shop")


def test_a_pipe_gets_the_token_alone_and_a_terminal_a_newline(
    issuer: Issuer, kubeconfig: Path
) -> None:
    result = boundtoken("token", "request", "cart", kubeconfig=kubeconfig)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(TOKEN, result.stdout)
    assert issuer.paths[-1] == "/api/v1/namespaces/shop/serviceaccounts/cart/token"
    leader, follower = pty.openpty()
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [str(BOUNDTOKEN), "token", "request", "cart"]
    subprocess.run(command, stdout=follower, check=True, env=environ)
    os.close(follower)
    assert re.fullmatch(TOKEN + "\r\n", os.read(leader, 10_000).decode())
    os.close(leader)


def test_every_flag_reaches_the_api_server(issuer: Issuer, kubeconfig: Path) -> None:
    flags = (
        "--audience=vault --audience aws --duration 2h --bound-object-kind Secret "
        "--bound-object-name s --bound-object-uid u -n till"
    )
    result = boundtoken("token", "request", "cart", *flags.split(), kubeconfig=kubeconfig)
    assert (result.returncode, result.stderr) == (0, "")
    assert issuer.paths[-1] == "/api/v1/namespaces/till/serviceaccounts/cart/token"
    assert issuer.requests[-1]["spec"] == {
        "audiences": ["vault", "aws"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"},
        "expirationSeconds": 7200,
    }


def test_each_form_of_the_output(kubeconfig: Path) -> None:
    def output(form: str, *flags: str) -> str:
        result = boundtoken("token", "request", "cart", "-o", form, *flags, kubeconfig=kubeconfig)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith("\n")
        return result.stdout

    whole = json.loads(output("json"))
    assert (whole["kind"], whole["metadata"]) == (
        "TokenRequest",
        {"name": "cart", "namespace": "shop"},
    )
    assert re.fullmatch(TOKEN, whole["status"]["token"])
    assert yaml.safe_load(output("yaml")).keys() == whole.keys()
    managed = json.loads(output("json", "--show-managed-fields"))
    assert managed["metadata"]["managedFields"] == []
    assert re.fullmatch(
        rf"TOKEN={TOKEN}\nTOKEN_EXPIRATION_TIMESTAMP=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n",
        output("env"),
    )
    credential = json.loads(output("exec-credential"))
    assert credential["apiVersion"] == "client.authentication.k8s.io/v1"
    assert re.fullmatch(TOKEN, credential["status"]["token"])


def test_another_life_than_requested_and_warnings_of_the_server_go_to_standard_error(
    issuer: Issuer, kubeconfig: Path
) -> None:
    issuer.lifetime, issuer.warnings = 600, ["use less \x1b[31m"]
    try:
        result = boundtoken("token", "request", "cart", "--duration", "1h", kubeconfig=kubeconfig)
    finally:
        issuer.lifetime, issuer.warnings = None, []
    assert result.returncode == 0
    assert re.fullmatch(TOKEN, result.stdout)
    assert result.stderr.splitlines() == [
        "Warning: use less \\x1b[31m",
        "Warning: token of shop/cart: 3600 s were requested, it lives 600 s: the API server or an "
        "admission webhook shortened it",
    ]


def test_for_a_pod_its_account_and_its_uid_are_taken(issuer: Issuer, kubeconfig: Path) -> None:
    issuer.objects["/api/v1/namespaces/shop/pods/cart-0"] = {
        "metadata": {"name": "cart-0", "namespace": "shop", "uid": "u-1"},
        "spec": {"serviceAccountName": "till"},
    }
    result = boundtoken("token", "request", "--for-pod", "cart-0", kubeconfig=kubeconfig)
    assert (result.returncode, result.stderr) == (0, "")
    assert issuer.paths[-1] == "/api/v1/namespaces/shop/serviceaccounts/till/token"
    assert issuer.requests[-1]["spec"]["boundObjectRef"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "cart-0",
        "uid": "u-1",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "exactly one NAME is required, got 0"),
        ("a b", "exactly one NAME is required, got 2"),
        ("a --duration 5", 'invalid argument "5" for "--duration" flag: time: missing unit'),
        ("a --for-pod x", "--for-pod takes account and object from the pod: leave out ACCOUNT"),
        ("--for-pod x --bound-object-kind Pod --bound-object-name y", "--for-pod takes account"),
        ("--for-pod x/y", 'invalid resource name "x/y"'),
    ],
)
def test_wrong_use_is_2_before_anything_is_read(arguments: str, message: str) -> None:
    result = boundtoken("token", "request", *arguments.split(), kubeconfig=Path("/missing"))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")


def test_a_refusal_is_3_and_the_api_servers_word(issuer: Issuer, kubeconfig: Path) -> None:
    issuer.script.append(
        lambda _: issuer.refuse(422, "may not specify a duration less than 10 minutes")
    )
    result = boundtoken("token", "request", "cart", "--duration", "5m", kubeconfig=kubeconfig)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        "boundtoken: failed to create token: may not specify a duration less than 10 minutes\n"
    )
    assert issuer.requests[-1]["spec"]["expirationSeconds"] == 300


@pytest.mark.parametrize(
    "arguments",
    [
        "token request {}",
        "token request cart {}",
        "token request cart -n {}",
        "token request cart --duration {}",
        "token request cart --bound-object-kind {}",
        "token request --for-pod /{}",
        "token request cart --kubeconfig {}",
        "token {}",
        "{}",
        "config check {}",
    ],
)
def test_a_token_in_a_wrong_place_is_not_repeated(arguments: str, kubeconfig: Path) -> None:
    result = boundtoken(*arguments.format(STRAY).split(), kubeconfig=Path("/missing"))
    assert result.returncode in (2, 3)
    assert "c2lnbmF0dXJl" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_closed_pipe_and_a_full_disk_are_one_line_at_most(kubeconfig: Path) -> None:
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    for redirection, code, message in (
        ("> /dev/full", 3, "boundtoken: No space left on device\n"),
        (">&-", 0, ""),
        ("| true", 0, ""),
    ):
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'"$0" token request cart {redirection}', BOUNDTOKEN],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
        )
        assert (result.returncode, result.stderr) == (code, message)


def test_it_leaves_no_core_and_lets_no_debugger_in() -> None:
    code = """
import ctypes, resource
from webhook.cli.process import protect
protect()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""
    result = subprocess.run(
        [BOUNDTOKEN.with_name("python"), "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "0 (0, 0)\n"
